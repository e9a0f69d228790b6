package plugin

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
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
	fit        layout
	definition gang.Definition
	// seats of a worker; empty for every other pod.
	seats ledger.Seats
	// shortage is why PreFilter refused the pod; zero when it did not.
	shortage gang.Verdict
	// rehearsed means that shortage is the framework's filters' word, which changes with the pods that come and go.
	rehearsed bool
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
func (p *Plugin) PreFilter(ctx context.Context, state fwk.CycleState, pod *v1.Pod, _ []fwk.NodeInfo) (*fwk.PreFilterResult, *fwk.Status) {
	if rehearsing(state) {
		return nil, fwk.NewStatus(fwk.Skip)
	}
	c := &cycle{request: resource.OfPod(pod), view: p.ledger.View()}
	state.Write(cycleKey, c)
	if leads(pod) {
		return p.plan(ctx, state, c, pod)
	}
	limit := seatLimit
	if bondsOf(pod).any() {
		// Whether it may take one of its slots can depend on which of the others are taken.
		limit = maxReservedWorkers
	}
	c.seats = p.ledger.Seats(pod.UID, limit)
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
func (p *Plugin) plan(ctx context.Context, state fwk.CycleState, c *cycle, leader *v1.Pod) (*fwk.PreFilterResult, *fwk.Status) {
	definition, waiting := p.ledger.Definition(leader.UID)
	if !waiting {
		if status := p.gate(leader); !status.IsSuccess() {
			return nil, status
		}
		// It has changed in between, or is placed already: never place a leader without its workers.
		return nil, fwk.AsStatus(errMoved)
	}
	c.definition = definition
	asked := p.gangOf(c, leader)
	fit, shortage := p.solver.Fit(c.view, asked)
	if shortage != nil {
		c.shortage = p.explain(c, asked, shortage)
		return nil, statusOf(c.shortage)
	}
	c.fit = fit
	if bonded(leader, definition.Roles) {
		return p.planRehearsed(ctx, state, c, asked, leader)
	}
	return nil, nil
}

// planRehearsed replaces the layout of the fast path by one that the framework's filters accept.
func (p *Plugin) planRehearsed(ctx context.Context, state fwk.CycleState, c *cycle, asked placement.Gang, leader *v1.Pod) (*fwk.PreFilterResult, *fwk.Status) {
	found, verdict, err := p.rehearse(ctx, state, c.view, c.fit, asked, leader, c.definition.Roles)
	c.fit, c.shortage, c.rehearsed = nil, verdict, !verdict.Passes()
	if err != nil {
		return nil, fwk.AsStatus(fmt.Errorf("rehearse the gang of %s: %w", klog.KObj(leader), err))
	}
	if c.rehearsed {
		return nil, statusOf(verdict)
	}
	c.fit = found
	return &fwk.PreFilterResult{NodeNames: sets.New(c.view.Name(found.leader))}, nil
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
