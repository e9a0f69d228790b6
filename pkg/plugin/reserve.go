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

// Reserve commits: a leader gets its node and its workers their slots in one step, any other pod takes its place.
func (p *Plugin) Reserve(_ context.Context, state fwk.CycleState, pod *v1.Pod, node string) *fwk.Status {
	c := cycleOf(state)
	if c == nil || c.fit == nil {
		return fwk.AsStatus(p.apply(ledger.Placed{UID: pod.UID, Node: node}))
	}
	admitted, err := admission(c, node)
	if err == nil {
		err = p.apply(admitted)
	}
	if err != nil {
		// An error, not a refusal: the attempt is repeated after a backoff.
		return fwk.AsStatus(fmt.Errorf("reserve room for the gang of %s: %w", klog.KObj(pod), err))
	}
	if c.demand.Upfront {
		p.tell(ledger.Placed{UID: pod.UID, Node: node})
	}
	p.logger.V(2).Info("Gang admitted", "gang", klog.KObj(pod), "node", node, "slots", len(admitted.Slots))
	return nil
}

// admission is everything that is reserved when the tried pod goes to a node.
func admission(c *cycle, node string) (ledger.Admitted, error) {
	if c.demand.Upfront {
		return ledger.Admitted{Leader: c.demand.Leader, Slots: c.slots}, nil
	}
	leader, known := c.view.Index(node)
	if !known {
		return ledger.Admitted{}, errNoPlan
	}
	slots, err := slotsFor(c, leader)
	return ledger.Admitted{Leader: c.demand.Leader, Node: node, Slots: slots}, err
}

// Unreserve undoes Reserve; for a pod that is bound, or was never reserved, it does nothing.
func (p *Plugin) Unreserve(_ context.Context, _ fwk.CycleState, pod *v1.Pod, _ string) {
	p.tell(ledger.Unplaced{UID: pod.UID})
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
