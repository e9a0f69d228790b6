package plugin

import (
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/plugin/podgroups"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

const (
	// foretellRest is how many times as long as an answer took no other is sought after it: those who wait in vain cost a twentieth
	// of one processor at most, however many they are and however often room comes back.
	foretellRest = 19
	// retellPeriod is how often one of those who are foretold the same as before is tried all the same, so that the numbers
	// its user reads are not old.
	retellPeriod = time.Second
)

// foreteller answers for gangs that have failed before and get their turn again because something has changed: if they do
// not fit now either, for the reason their users know, they are not tried. An attempt would take the scheduling cycle that
// all pods share, and hold it up while the API server writes the condition once more with other numbers. Whether the answer is
// right matters to nobody but the gang: with everything it does not know better it lets the attempt happen.
//
// It belongs to the goroutine of the effects.
type foreteller struct {
	plugin *Plugin
	solver placement.Solver
	asked  []*v1.Pod        // to be answered for
	rested <-chan time.Time // nil while it does not rest
	retold time.Time        // when one was tried all the same
}

// add takes a pod that the ledger wants to be tried. It is false for one that is to be tried at once: no gang waits with it
// whose user has been told that it lacks room.
func (f *foreteller) add(pod *v1.Pod) bool {
	if _, together := pod.Annotations[spark.AnnotationWorkers]; !leads(pod) && !together && podgroups.NameOf(pod) == "" {
		return false
	}
	if toldReason(f.plugin.current(pod)) == "" {
		return false
	}
	f.asked = append(f.asked, pod)
	return true
}

// answer tells the ledger of those that would fail again, and returns those that are to be tried.
func (f *foreteller) answer() (tried []*v1.Pod) {
	p := f.plugin
	for ; f.rested == nil && len(f.asked) > 0; f.asked = f.asked[1:] {
		began := p.clock.Now()
		if refused, fails := f.failsAgain(f.asked[0]); fails {
			p.tell(refused)
			if rest := foretellRest * p.clock.Since(began); rest > 0 {
				f.rested = p.clock.After(rest)
			}
		} else {
			tried = append(tried, f.asked[0])
		}
	}
	return tried
}

// failsAgain tells whether an attempt would end as the last one did.
func (f *foreteller) failsAgain(pod *v1.Pod) (ledger.Refused, bool) {
	p := f.plugin
	if pod = p.current(pod); pod == nil || !p.ledger.Probed(pod.UID) {
		return ledger.Refused{}, false // it is not its turn: the queue only has to look at it again
	}
	c := &cycle{request: resource.OfPod(pod), view: p.ledger.ViewFor(pod.UID)}
	var tried bool
	if c.demand, tried = p.ledger.Demand(pod.UID); !tried || !c.demand.Verdict.Passes() {
		return ledger.Refused{}, false
	}
	fit, shortage := f.solver.Fit(c.view, askedFor(c, pod))
	if fit != nil {
		return ledger.Refused{}, false
	}
	verdict := presentShortage(shortage)
	if toldReason(pod) != verdict.Reason {
		return ledger.Refused{}, false
	}
	if now := p.clock.Now(); now.Sub(f.retold) >= retellPeriod {
		f.retold = now
		return ledger.Refused{}, false
	}
	return ledger.Refused{UID: pod.UID, Epoch: c.view.Epoch, Verdict: verdict}, true
}

// toldReason is why the pod waits for room, as its condition says it after an attempt; empty if it says nothing, or anything
// else.
func toldReason(pod *v1.Pod) gang.Reason {
	if pod == nil {
		return ""
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type != v1.PodScheduled || condition.Status != v1.ConditionFalse {
			continue
		}
		for _, reason := range []gang.Reason{gang.ClusterFull, gang.Fragmented} {
			// kube-scheduler puts how many nodes it has looked at before the reason.
			if _, said, found := strings.Cut(condition.Message, ": "); found && strings.HasPrefix(said, string(reason)+": ") {
				return reason
			}
		}
	}
	return ""
}
