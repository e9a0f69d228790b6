package plugin

import (
	"context"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
)

// clearNomination takes back a nomination for a node that an attempt before may have left on the pod.
var clearNomination = &fwk.PostFilterResult{NominatingInfo: &fwk.NominatingInfo{NominatingMode: fwk.ModeOverride}}

// PostFilter tells the ledger that an attempt failed. It never makes room.
func (p *Plugin) PostFilter(_ context.Context, state fwk.CycleState, pod *v1.Pod, statuses fwk.NodeToStatusReader) (*fwk.PostFilterResult, *fwk.Status) {
	refused := ledger.Refused{UID: pod.UID}
	if c := cycleOf(state); c != nil {
		refused.Epoch, refused.Verdict = c.view.Epoch, c.shortage
		refused.Rehearsed, refused.Company, refused.Took = c.rehearsed, c.company, c.took
		if refused.Verdict.Passes() && p.refusedAny(statuses) {
			refused.Verdict = gang.Verdict{Reason: gang.Fragmented, Message: "the nodes that have room keep it for workers of other applications"}
		}
	}
	p.tell(refused)
	return clearNomination, fwk.NewStatus(fwk.Unschedulable)
}

// refusedAny tells whether this plugin's Filter refused some node.
func (p *Plugin) refusedAny(statuses fwk.NodeToStatusReader) bool {
	nodes, err := statuses.NodesForStatusCode(p.handle.SnapshotSharedLister().NodeInfos(), fwk.Unschedulable)
	if err != nil {
		p.logger.Error(err, "Nodes of a failed attempt cannot be read")
		return false
	}
	for _, node := range nodes {
		if statuses.Get(node.Node().Name).Plugin() == Name {
			return true
		}
	}
	return false
}
