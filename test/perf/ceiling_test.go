//go:build perf

package perf_test

import (
	"context"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"
)

// ceilingName is the plugin's name in ceiling.yaml.
const ceilingName = "Ceiling"

// ceiling pins every pod to the next node that has room. It is the least that a scheduler can think.
type ceiling struct {
	next int // index into the nodes of the snapshot, where the search goes on; cycles run one after the other
}

func newCeiling(context.Context, runtime.Object, fwk.Handle) (fwk.Plugin, error) {
	return &ceiling{}, nil
}

func (*ceiling) Name() string { return ceilingName }

// PreFilter names one node. In these workloads cpu is what nodes run out of first.
func (c *ceiling) PreFilter(_ context.Context, _ fwk.CycleState, pod *v1.Pod, nodes []fwk.NodeInfo) (*fwk.PreFilterResult, *fwk.Status) {
	cpu := pod.Spec.Containers[0].Resources.Requests.Cpu().MilliValue()
	for range nodes {
		node := nodes[c.next%len(nodes)]
		c.next++
		if node.GetRequested().GetMilliCPU()+cpu <= node.GetAllocatable().GetMilliCPU() {
			return &fwk.PreFilterResult{NodeNames: sets.New(node.Node().Name)}, nil
		}
	}
	return nil, fwk.NewStatus(fwk.Unschedulable, "no node has room")
}

func (*ceiling) PreFilterExtensions() fwk.PreFilterExtensions { return nil }
