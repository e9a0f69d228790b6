package plugin

import (
	"context"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/resource"
)

// Filter keeps a pod off room that is kept for others, and a leader off nodes where its workers would not fit any
// more. It judges by the ledger alone; the framework's own filters judge by the scheduler's snapshot. Either may hear of
// a pod's end before the other: only what both call free is free, or the room of a lost worker would go to whoever comes
// before the ledger has kept it for the next one. So may they of a node: one that only the snapshot shows uncordoned would go
// to whoever is tried before the ledger has heard of that, and not to the first in turn.
// kube-scheduler says on how many nodes each of these sentences is so.
func (p *Plugin) Filter(_ context.Context, state fwk.CycleState, _ *v1.Pod, nodeInfo fwk.NodeInfo) *fwk.Status {
	c := cycleOf(state)
	if c == nil {
		return fwk.NewStatus(fwk.Error, "no plan of this scheduling cycle: PreFilter did not run")
	}
	name := nodeInfo.Node().Name
	i, known := c.view.Index(name)
	if !known {
		return fwk.NewStatus(fwk.Unschedulable, "node(s) that have come a moment ago")
	}
	if c.closes(nodeInfo.Node()) {
		return fwk.NewStatus(fwk.Unschedulable, "node(s) that have changed a moment ago")
	}
	if c.leads() && !c.fit.LeaderFits(i) {
		return fwk.NewStatus(fwk.Unschedulable, "node(s) on which the leader would leave no room for its workers")
	}
	free := c.free(i)
	if c.request.Fits(free) {
		return nil
	}
	if missing := c.request.Missing(free); missing.Missing(*c.view.Held(i)).Equal(missing) {
		return fwk.NewStatus(fwk.Unschedulable, "node(s) without enough room")
	}
	return fwk.NewStatus(fwk.Unschedulable, "node(s) whose room is kept for workers of other applications")
}

// free is what a node has for the pod: its own slots are kept for it.
func (c *cycle) free(i int) resource.Vector {
	return c.view.Free(i).Add(c.seats.Slots[c.view.Name(i)])
}

// takes tells whether a node has room for the pod, and for its gang with it, as the ledger knows it.
func (c *cycle) takes(name string) bool {
	i, known := c.view.Index(name)
	return known && c.request.Fits(c.free(i)) && !(c.leads() && !c.fit.LeaderFits(i))
}
