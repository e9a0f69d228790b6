package plugin

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
)

// errNoPlan means that a node was chosen for a leader on which its gang does not fit.
var errNoPlan = errors.New("the gang does not fit with its leader on the chosen node")

// admittedKey of a cycle's state is there when the pod is the leader of a gang with workers that was admitted.
const admittedKey fwk.StateKey = Name + "Admitted"

// admitted is what the binding of such a leader knows. One goroutine at a time touches it.
type admitted struct {
	workers int
	written bool // Bind has written the reservation
}

// Clone returns the same: the framework copies states for trials, and those are over.
func (a *admitted) Clone() fwk.StateData { return a }

// admittedOf is nil for every other pod.
func admittedOf(state fwk.CycleState) *admitted { return read[*admitted](state, admittedKey) }

// Reserve commits: a leader gets its node and its workers their slots in one step, any other pod takes its place. Bindings can
// be many and slow, and what the cycle has seen of the cluster does not wait with them.
func (p *Plugin) Reserve(_ context.Context, state fwk.CycleState, pod *v1.Pod, node string) *fwk.Status {
	c := cycleOf(state)
	switch {
	case c != nil && c.draft != nil:
		return c.draft.reserve(state, c.demand.Role, pod, node)
	case onlyDrafted(state, c):
		return nil
	}
	if c == nil || c.fit == nil {
		state.Delete(cycleKey)
		return fwk.AsStatus(p.apply(ledger.Placed{UID: pod.UID, Node: node}))
	}
	defer spend(p, c)
	event, err := admission(c, node)
	event.Took = c.took
	events := []ledger.Event{event}
	if c.demand.Upfront {
		events = append(events, ledger.Placed{UID: pod.UID, Node: node})
	}
	if err == nil && !c.demand.Upfront {
		if problem := unwritable(pod, c.demand.Roles, event.Slots); problem != "" {
			p.tell(ledger.Refuted{Leader: pod.UID, Problem: problem})
			return p.statusOf(gang.Verdict{Reason: gang.InvalidGang, Message: problem})
		}
	}
	if err == nil {
		err = p.apply(events...)
	}
	if err != nil {
		// An error, not a refusal: the attempt is repeated after a backoff.
		return fwk.AsStatus(fmt.Errorf("reserve room for the gang of %s: %w", klog.KObj(pod), err))
	}
	if !c.demand.Upfront && c.demand.Workers() > 0 {
		state.Write(admittedKey, &admitted{workers: c.demand.Workers()})
		p.namespaces.Admitted(pod, c.demand.Roles, p.args.UnclaimedSlotTimeout.Duration)
	}
	state.Delete(cycleKey)
	logFate(p, pod, "Gang admitted", "node", node, "slots", len(event.Slots))
	return nil
}

// admission is everything that is reserved when the tried pod goes to a node.
func admission(c *cycle, node string) (ledger.Admitted, error) {
	if c.demand.Upfront {
		return ledger.Admitted{Leader: c.demand.Leader, Slots: c.slots, Edition: c.edition}, nil
	}
	leader, known := c.view.Index(node)
	if !known {
		return ledger.Admitted{}, errNoPlan
	}
	slots, err := slotsFor(c, leader)
	return ledger.Admitted{Leader: c.demand.Leader, Node: node, Slots: slots, Edition: c.edition}, err
}

// Unreserve undoes Reserve; for a pod that is bound, or was never reserved, it does nothing.
func (p *Plugin) Unreserve(_ context.Context, state fwk.CycleState, pod *v1.Pod, _ string) {
	if c := cycleOf(state); onlyDrafted(state, c) {
		if c.draft != nil {
			c.draft.giveBack(pod.UID)
		}
		return
	}
	p.tell(ledger.Unplaced{UID: pod.UID})
	p.namespaces.Dropped(pod)
	p.pending.failed(pod, false)
}

// slotsFor chooses the workers' slots for a leader that sits on a node, or on none.
func slotsFor(c *cycle, leader int) ([]gang.Slot, error) {
	plan, fits := c.fit.Plan(leader)
	if !fits {
		return nil, errNoPlan
	}
	var slots []gang.Slot
	for _, part := range plan {
		for range part.Count {
			slots = append(slots, gang.Slot{
				Role:     part.Role,
				Node:     c.view.Name(part.Node),
				Requests: c.demand.Roles[part.Role].Requests,
			})
		}
	}
	return slots, nil
}
