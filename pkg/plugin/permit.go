package plugin

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"
)

// longestBarrier is how long the framework lets a pod wait at most. The ledger ends the wait long before.
const longestBarrier = 15 * time.Minute

// Permit holds a pod of an up-front gang until every pod of its start has a node.
func (p *Plugin) Permit(_ context.Context, _ fwk.CycleState, pod *v1.Pod, _ string) (*fwk.Status, time.Duration) {
	waits, verdict := p.ledger.Barrier(pod.UID)
	switch {
	case !verdict.Passes():
		return p.statusOf(verdict), 0
	case waits:
		return fwk.NewStatus(fwk.Wait), longestBarrier
	default:
		return nil, 0
	}
}
