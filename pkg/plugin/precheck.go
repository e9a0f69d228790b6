package plugin

import (
	"time"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
)

// refreshPeriod is how often one of those who would fail for the same reason as before is tried all the same, so that the numbers
// its user reads are not old.
const refreshPeriod = time.Second

// prechecker answers for gangs that have failed before and get their turn again because something has changed: if they do
// not fit now either, for the reason their users know, they are not tried. An attempt would take the scheduling cycle that
// all pods share, and hold it up while the API server writes the condition once more with other numbers. Whether the answer is
// right matters to nobody but the gang: with everything it does not know better it lets the attempt happen. How much time all of
// them take, the ledger bounds: it hears how long each answer took.
//
// It belongs to the goroutine of the effects.
type prechecker struct {
	plugin    *Plugin
	solver    placement.Solver
	refreshed time.Time // when one was tried all the same
}

// fails tells the ledger of a gang that would fail as it did before. It is false for everybody who is to be tried.
func (c *prechecker) fails(activated ledger.Activate) bool {
	p := c.plugin
	pod := p.current(activated.Pod)
	if pod == nil {
		return false
	}
	began := p.clock.Now()
	attempt, told := p.ledger.Precheck(pod.UID)
	if told == "" {
		return false
	}
	c.solver.Work = &placement.Work{}
	fit, shortage := c.solver.Fit(attempt.View, attempt.Demand.Pods.On(attempt.View))
	if fit != nil {
		return false
	}
	verdict := presentShortage(attempt.View, &attempt.Demand, shortage)
	if verdict.Reason != told {
		return false
	}
	now := p.clock.Now()
	p.answers.spending.note(pod.Namespace, c.solver.Work, now, now.Sub(began), false)
	if now.Sub(c.refreshed) >= refreshPeriod {
		c.refreshed = now
		return false
	}
	p.tell(ledger.Refused{UID: pod.UID, Epoch: attempt.View.Epoch, Edition: attempt.Edition, Verdict: verdict, Took: now.Sub(began)})
	return true
}
