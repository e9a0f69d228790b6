package plugin

import (
	"context"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"
)

// Score prefers, for a leader, the node that keeps its gang together as the placement strategy wants it. Every other
// pod is indifferent.
func (p *Plugin) Score(_ context.Context, state fwk.CycleState, _ *v1.Pod, nodeInfo fwk.NodeInfo) (int64, *fwk.Status) {
	c := cycleOf(state)
	if !c.leads() {
		return 0, nil
	}
	i, known := c.view.Index(nodeInfo.Node().Name)
	if !known {
		return 0, nil
	}
	return int64(c.fit.Score(i)), nil
}

// ScoreExtensions are not needed: scores are between 0 and 100 as they are.
func (p *Plugin) ScoreExtensions() fwk.ScoreExtensions { return nil }
