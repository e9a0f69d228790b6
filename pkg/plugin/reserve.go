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
		p.tell(ledger.Placed{UID: pod.UID, Node: node})
		return nil
	}
	slots, err := slotsFor(c, node)
	if err == nil {
		err = p.apply(ledger.Admitted{Leader: pod.UID, Node: node, Slots: slots})
	}
	if err != nil {
		// An error, not a refusal: the attempt is repeated after a backoff.
		return fwk.AsStatus(fmt.Errorf("reserve room for the gang of %s: %w", klog.KObj(pod), err))
	}
	p.logger.V(2).Info("Gang admitted", "gang", klog.KObj(pod), "node", node, "slots", len(slots))
	return nil
}

// Unreserve undoes Reserve; for a pod that is bound, or was never reserved, it does nothing.
func (p *Plugin) Unreserve(_ context.Context, _ fwk.CycleState, pod *v1.Pod, _ string) {
	p.tell(ledger.Unplaced{UID: pod.UID})
}

// slotsFor chooses the workers' slots for a leader that sits on a node.
func slotsFor(c *cycle, node string) ([]gang.Slot, error) {
	leader, known := c.view.Index(node)
	if !known {
		return nil, errNoPlan
	}
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
				Requests: c.definition.Roles[part.Role].Requests,
			})
		}
	}
	return slots, nil
}
