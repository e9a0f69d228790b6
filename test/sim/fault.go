package sim

import (
	"errors"
	"fmt"
	"time"
)

// Fault is a kind of thing that goes wrong.
type Fault int

// The kinds of faults.
const (
	CallRefused      Fault = iota // the API server answers with an error
	AnswerLost                    // a call takes effect, but its caller gets an error
	CallSlow                      // a call takes seconds
	WatchLag                      // a watch is seconds late
	CacheLate                     // kube-scheduler's own handlers hear of everything milliseconds after the plugin's
	LedgerLate                    // the plugin's handlers hear of everything milliseconds after kube-scheduler's own
	WatchBroken                   // a watch breaks, events are missed, everything is listed again
	EventRepeated                 // an informer repeats itself
	Restart                       // the scheduler is killed and started again
	Failover                      // the scheduler is killed and a replica that was standing by takes over
	NodeLost                      // a node dies with everything on it
	NodeDeleted                   // a node object is deleted, its pods follow later
	NodeCordoned                  // a node is cordoned, and uncordoned later
	NodeTainted                   // a node gets a taint, and loses it later
	NodeShrunk                    // a node offers less than before
	DriverCrashed                 // a driver fails
	DriverDeleted                 // a user deletes a driver, in whatever state
	ExecutorLost                  // an executor fails or is deleted, and Spark replaces it
	MapLate                       // the ConfigMap of a driver comes late
	MapMissing                    // the ConfigMap of a driver never comes
	MapBroken                     // the ConfigMap of a driver cannot be understood
	MapForeign                    // the name of a ConfigMap is still that of another driver
	ExecutorsLarger               // executors ask for more than was predicted
	ExecutorsFewer                // an application asks for fewer executors than was predicted
	ExecutorsPinned               // executors may use fewer nodes than was predicted
	ExecutorsForeign              // executors of other resource profiles, which nobody can predict
	RivalPods                     // another scheduler binds its pods onto the same nodes
	Usurped                       // another scheduler binds a pod of ours
	NameReused                    // a pod is deleted and created again under its name
	KeyShared                     // two drivers claim one application
	Strangers                     // somebody in a namespace of its own writes whatever it likes
	numberOfFaults
)

var faultNames = [numberOfFaults]string{
	"CallRefused", "AnswerLost", "CallSlow", "WatchLag", "CacheLate", "LedgerLate", "WatchBroken", "EventRepeated", "Restart", "Failover",
	"NodeLost", "NodeDeleted", "NodeCordoned", "NodeTainted", "NodeShrunk", "DriverCrashed", "DriverDeleted",
	"ExecutorLost", "MapLate", "MapMissing", "MapBroken", "MapForeign", "ExecutorsLarger", "ExecutorsFewer",
	"ExecutorsPinned", "ExecutorsForeign", "RivalPods", "Usurped", "NameReused", "KeyShared", "Strangers",
}

// String is the name by which a fault is switched off.
func (f Fault) String() string { return faultNames[f] }

// FaultNamed finds a fault by its name.
func FaultNamed(name string) (Fault, error) {
	for f := range numberOfFaults {
		if faultNames[f] == name {
			return f, nil
		}
	}
	return 0, fmt.Errorf("fault %q is not known; known are %v", name, faultNames)
}

// strikes decides whether a fault happens now. Probabilities are those of a seed in which the fault is at home.
func (w *World) strikes(f Fault, p float64) bool {
	if w.act != storm || !w.climate.faults[f] || !w.chance.happens(p) {
		return false
	}
	w.stats.Faults[f]++
	return true
}

// fate is what becomes of a call.
type fate struct {
	refusal error // it takes no effect and is answered with this
	loss    error // it takes effect and is answered with this all the same
	lands   bool  // it takes effect even if its caller dies before
	idle    bool
}

// Not among the errors after which client-go tries again by itself, with a delay that no seed decides.
var (
	errRefused = errors.New("connect: connection refused")
	errTimeout = errors.New("net/http: request canceled while waiting for the answer")
)

func (w *World) fate(c *call) fate {
	f := fate{lands: w.chance.happens(0.5)}
	switch {
	case c.kind == callActivate:
		f.lands = false
	case c.kind == callGetConfigMap && w.api.lacksMap(c.key):
		f.idle = true
	case w.strikes(CallRefused, 0.03):
		f.refusal = errRefused
	case w.strikes(AnswerLost, 0.02):
		f.loss = errTimeout
	}
	return f
}

// travel is how long a call takes to get somewhere, or its answer to come back.
func (w *World) travel(kind callKind) time.Duration {
	switch {
	case kind == callActivate:
		if w.chance.happens(0.05) {
			return w.chance.between(0, 200*time.Millisecond)
		}
		return w.chance.between(0, 200*time.Microsecond)
	case w.strikes(CallSlow, 0.01):
		return w.chance.between(time.Second, 20*time.Second)
	default:
		return w.chance.delay(2*time.Millisecond, 50*time.Millisecond)
	}
}
