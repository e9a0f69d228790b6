package sim

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
)

// errStopped is what calls of a replica get that does not live any more.
var errStopped = errors.New("the scheduler has been stopped")

// call is something a goroutine of a replica asks of the world outside. The goroutine waits for the answer.
type call struct {
	replica *replica
	kind    callKind
	// key orders calls that arrive at the same moment: which of two goroutines is faster must not matter.
	key string
	// asked is when the simulation took it, and began to let it travel.
	asked time.Time
	// serve does what is asked; it runs as part of the simulation. nil for the end of a background task.
	serve func() error
	// then is called with the result, as part of the simulation, after the goroutine has gone on. May be nil.
	then func(error)
	// answer ends the wait of the goroutine; nil when none waits.
	answer   chan error
	answered bool
}

// callKind is what a call asks for, and decides how long it takes and how it may fail.
type callKind int

const (
	// callLocal is served by the scheduler's own process: it cannot fail.
	callLocal callKind = iota
	callActivate
	callGetConfigMap
	callPatchPod
	callPatchStatus
	callBind
	callDeletePod
	callGetPod
	// callDone is the end of a background task.
	callDone
)

func (k callKind) String() string {
	return [...]string{"local", "activate", "get configmap", "patch", "patch status", "bind", "delete", "get pod", "done"}[k]
}

// desk is where the calls of goroutines arrive.
type desk struct {
	mu      sync.Mutex // guards everything below
	arrived []*call
	notes   []note
	wake    chan struct{}
}

func newDesk() *desk { return &desk{wake: make(chan struct{}, 1)} }

// ask hands a call in and waits for its answer.
func (d *desk) ask(c *call) error {
	if c.replica.stopped.Load() {
		return errStopped
	}
	c.answer = make(chan error, 1)
	d.arrive(c)
	return <-c.answer
}

func (d *desk) arrive(c *call) {
	d.mu.Lock()
	d.arrived = append(d.arrived, c)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// note is something a replica has said: as a Kubernetes event, or as an error in its log.
type note struct {
	replica *replica
	about   *v1.Pod // nil for the log
	reason  string
	said    string // to whoever may read the events of the pod; empty for the log
	text    string
}

func (d *desk) note(n note) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = append(d.notes, n)
}

// take returns what has arrived since it was last asked, in an order that does not depend on the Go scheduler.
func (d *desk) take() ([]*call, []note) {
	d.mu.Lock()
	defer d.mu.Unlock()
	calls, notes := d.arrived, d.notes
	d.arrived, d.notes = nil, nil
	if len(calls) > 1 {
		order := func(a, b *call) int {
			return cmp.Or(cmp.Compare(a.replica.name, b.replica.name), cmp.Compare(a.kind, b.kind), cmp.Compare(a.key, b.key))
		}
		slices.SortStableFunc(calls, order)
		for i := range calls[1:] {
			// Two that read the same of one informer are answered the same, in whatever order.
			if order(calls[i], calls[i+1]) == 0 && calls[i].kind != callLocal {
				panic(fmt.Sprintf("sim: two calls that cannot be told apart: %s %s", calls[i].kind, calls[i].key))
			}
		}
	}
	slices.SortStableFunc(notes, compareNotes)
	return calls, notes
}

// compareNotes puts what the log says before events: a scheduling cycle writes the one while a goroutine of the plugin records the other.
//
// Seen failing at aa1a2b9: of six traces of seed 28 two told of an attempt that failed after what the plugin said of it.
func compareNotes(a, b note) int {
	if by := cmp.Compare(a.replica.name, b.replica.name); by != 0 || (a.about == nil) != (b.about == nil) {
		return cmp.Or(by, boolRank(b.about == nil)-boolRank(a.about == nil))
	}
	if a.about == nil {
		return cmp.Compare(a.text, b.text)
	}
	return cmp.Compare(keyOf(a.about), keyOf(b.about))
}

// background runs f on a goroutine of its own and then, when f has returned, as part of the simulation.
func (r *replica) background(key string, f func() error, then func(error)) {
	go func() {
		err := f()
		r.world.desk.arrive(&call{replica: r, kind: callDone, key: key, serve: func() error { return err }, then: then})
	}()
}

// request asks the API server on behalf of a replica without a goroutine that waits.
func (r *replica) request(kind callKind, key string, serve func() error, then func(error)) {
	r.world.route(&call{replica: r, kind: kind, key: key, serve: serve, then: then})
}
