package rehearsal

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/resource"
)

// ErrBound means that a WhatIf has filtered as many nodes as it may.
var ErrBound = errors.New("no more nodes may be filtered for this answer")

// NominatedFilters are Filters that count the pods of no lower priority that are nominated for a node as if they were there.
type NominatedFilters interface {
	RunFilterPluginsWithNominatedPods(ctx context.Context, state fwk.CycleState, pod *v1.Pod, info fwk.NodeInfo) *fwk.Status
	RunPreFilterExtensionAddPod(ctx context.Context, state fwk.CycleState, podToSchedule *v1.Pod, podInfoToAdd fwk.PodInfo, nodeInfo fwk.NodeInfo) *fwk.Status
	RunPreFilterExtensionRemovePod(ctx context.Context, state fwk.CycleState, podToSchedule *v1.Pod, podInfoToRemove fwk.PodInfo, nodeInfo fwk.NodeInfo) *fwk.Status
}

// Unit is what goes from a node as one.
type Unit struct {
	// Pods of it that are on the node.
	Pods []fwk.PodInfo
	// Amount that comes free there.
	Amount resource.Vector
}

// WhatIf asks the framework's filters whether a node would take a pod if some others had gone from it. It changes copies of nodes and
// of the cycle's state only.
type WhatIf struct {
	Filters NominatedFilters
	// State of the pod's scheduling cycle after PreFilter.
	State   fwk.CycleState
	Pod     *v1.Pod
	Request resource.Vector
	// Left is how many nodes may still be filtered.
	Left int
}

// Needed are those of the units that have to go so that a node takes the pod: indexes. Whoever comes first in units stays if it can.
// gone have to go already. free is what the node has as long as nobody goes. It is false if the node does not take the pod though all
// have gone. After an error, of which ErrBound is one, it says nothing.
func (w *WhatIf) Needed(ctx context.Context, info fwk.NodeInfo, free resource.Vector, gone Unit, units []Unit) (needed []int, takes bool, err error) {
	n := &emptied{WhatIf: w, ctx: ctx, node: info.Snapshot(), state: w.State.Clone(), free: free}
	n.remove(gone)
	for _, unit := range units {
		n.remove(unit)
	}
	if !n.takes() {
		return nil, false, n.err
	}
	for i, unit := range units {
		if n.add(unit); !n.takes() {
			n.remove(unit)
			needed = append(needed, i)
		}
	}
	return needed, true, n.err
}

// emptied is a node from which some have gone.
type emptied struct {
	*WhatIf
	ctx   context.Context
	node  fwk.NodeInfo
	state fwk.CycleState
	free  resource.Vector
	err   error // nothing is right any more after one
}

// takes tells whether the node takes the pod now.
func (n *emptied) takes() bool {
	if n.err != nil || !n.Request.Fits(n.free) {
		return false
	}
	if n.Left--; n.Left < 0 {
		n.err = ErrBound
		return false
	}
	status := n.Filters.RunFilterPluginsWithNominatedPods(n.ctx, n.state, n.Pod, n.node)
	if status.Code() == fwk.Error {
		n.err = fmt.Errorf("filter %s on node %s: %w", klog.KObj(n.Pod), n.node.Node().Name, status.AsError())
	}
	return status.IsSuccess()
}

func (n *emptied) remove(unit Unit) {
	n.free = n.free.Add(unit.Amount)
	for _, info := range unit.Pods {
		if n.err == nil {
			n.err = n.node.RemovePod(klog.FromContext(n.ctx), info.GetPod())
		}
		if n.err == nil {
			n.err = n.Filters.RunPreFilterExtensionRemovePod(n.ctx, n.state, n.Pod, info, n.node).AsError()
		}
	}
}

// add is the inverse of remove.
func (n *emptied) add(unit Unit) {
	n.free = n.free.Sub(unit.Amount)
	for _, info := range unit.Pods {
		if n.err == nil {
			n.node.AddPodInfo(info)
			n.err = n.Filters.RunPreFilterExtensionAddPod(n.ctx, n.state, n.Pod, info, n.node).AsError()
		}
	}
}
