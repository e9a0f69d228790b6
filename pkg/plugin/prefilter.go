package plugin

import (
	"context"
	"errors"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// seatLimit is how many nodes a worker with slots is filtered on; more than one, so that a node that has just become
// unsuitable does not cost another attempt.
const seatLimit = 4

// cycle is what one scheduling cycle knows; PreFilter writes it, later points read it, several at a time.
type cycle struct {
	request resource.Vector
	view    *ledger.View
	// fit of a leader's gang; nil for every other pod, and when the gang does not fit.
	fit        *placement.Fit
	definition gang.Definition
	// seats of a worker; empty for every other pod.
	seats ledger.Seats
	// shortage is why PreFilter refused the pod; zero when it did not.
	shortage gang.Verdict
}

const cycleKey fwk.StateKey = Name

// Clone returns the cycle itself: nothing changes it after PreFilter.
func (c *cycle) Clone() fwk.StateData { return c }

func cycleOf(state fwk.CycleState) *cycle {
	data, err := state.Read(cycleKey)
	if err != nil {
		return nil
	}
	c, _ := data.(*cycle)
	return c
}

// PreFilter plans: for a leader, whether its whole gang fits; for a worker, which nodes hold its slots.
func (p *Plugin) PreFilter(_ context.Context, state fwk.CycleState, pod *v1.Pod, _ []fwk.NodeInfo) (*fwk.PreFilterResult, *fwk.Status) {
	c := &cycle{request: resource.OfPod(pod), view: p.ledger.View()}
	state.Write(cycleKey, c)
	if leads(pod) {
		return nil, p.plan(c, pod)
	}
	c.seats = p.ledger.Seats(pod.UID, seatLimit)
	if !c.seats.Verdict.Passes() {
		c.shortage = c.seats.Verdict
		return nil, statusOf(c.shortage)
	}
	if c.seats.Pinned {
		return &fwk.PreFilterResult{NodeNames: sets.KeySet(c.seats.Slots)}, nil
	}
	return nil, nil
}

// PreFilterExtensions are not needed: what the plugin knows does not depend on the pods of a trial.
func (p *Plugin) PreFilterExtensions() fwk.PreFilterExtensions { return nil }

// errMoved means that a leader that came to be placed was not waiting for it any more, or not yet. The attempt is repeated
// after a backoff.
var errMoved = errors.New("the gang has changed during the attempt")

// plan asks whether the leader's gang fits.
func (p *Plugin) plan(c *cycle, leader *v1.Pod) *fwk.Status {
	definition, waiting := p.ledger.Definition(leader.UID)
	if !waiting {
		if status := p.gate(leader); !status.IsSuccess() {
			return status
		}
		// It has changed in between, or is placed already: never place a leader without its workers.
		return fwk.AsStatus(errMoved)
	}
	c.definition = definition
	asked := p.gangOf(c, leader)
	fit, shortage := p.solver.Fit(c.view, asked)
	if shortage != nil {
		c.shortage = p.explain(c, asked, shortage)
		return statusOf(c.shortage)
	}
	c.fit = fit
	return nil
}

// leaderName is what people call the leader.
func leaderName(leader *v1.Pod) string {
	if spark.IsDriver(leader) {
		return spark.RoleDriver
	}
	return "leader"
}

// eligibility is which nodes of a view may hold the pod, resources aside.
func eligibility(pod *v1.Pod, view *ledger.View) func(node int) bool {
	eligible := placement.Eligibility(pod)
	return func(node int) bool { return eligible(view.Object(node)) }
}

// gangOf translates a definition for placement.
func (p *Plugin) gangOf(c *cycle, leader *v1.Pod) placement.Gang {
	asked := placement.Gang{
		Leader:   &placement.Member{Name: leaderName(leader), Request: c.request, Eligible: eligibility(leader, c.view)},
		Strategy: placement.Strategy(p.args.Placement),
	}
	for _, role := range c.definition.Roles {
		asked.Roles = append(asked.Roles, placement.Role{
			Member: placement.Member{Name: role.Name, Request: role.Requests, Eligible: eligibility(role.Pod, c.view)},
			Count:  role.Count,
		})
	}
	return asked
}
