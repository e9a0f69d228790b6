package plugin

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/resource"
)

// Filter keeps a pod off room that is kept for others, and a leader off nodes where its workers would not fit any
// more. That the node has room at all is the business of the framework's own filter.
func (p *Plugin) Filter(_ context.Context, state fwk.CycleState, _ *v1.Pod, nodeInfo fwk.NodeInfo) *fwk.Status {
	c := cycleOf(state)
	if c == nil {
		return fwk.NewStatus(fwk.Error, "no plan of this scheduling cycle: PreFilter did not run")
	}
	name := nodeInfo.Node().Name
	i, known := c.view.Index(name)
	if !known {
		return fwk.NewStatus(fwk.Unschedulable, "node is not in the ledger yet")
	}
	if c.fit != nil && !c.fit.LeaderFits(i) {
		return fwk.NewStatus(fwk.Unschedulable, "the workers do not fit any more if the leader sits here")
	}
	if c.view.Held(i).IsZero() {
		return nil
	}
	held := c.view.Held(i).Sub(c.seats.Slots[name])
	if missing := c.request.Missing(freeOf(nodeInfo).Sub(held)); !missing.IsZero() {
		return fwk.NewStatus(fwk.Unschedulable, fmt.Sprintf("room is reserved for workers of other applications (short of %s)", missing))
	}
	return nil
}

// freeOf is what the framework's snapshot says is free on a node; negative where it is overbooked.
func freeOf(nodeInfo fwk.NodeInfo) resource.Vector {
	return vectorOf(nodeInfo.GetAllocatable(), nodeInfo.GetAllocatable().GetAllowedPodNumber()).
		Sub(vectorOf(nodeInfo.GetRequested(), len(nodeInfo.GetPods())))
}

func vectorOf(r fwk.Resource, pods int) resource.Vector {
	v := resource.Vector{CPU: r.GetMilliCPU(), Memory: r.GetMemory(), EphemeralStorage: r.GetEphemeralStorage(), Pods: int64(pods)}
	return v.WithExtended(r.GetScalarResources())
}
