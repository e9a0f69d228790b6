package plugin

import (
	"context"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"
)

// PreEnqueue keeps a pod away from the scheduling cycles until the ledger lets it be tried.
func (p *Plugin) PreEnqueue(_ context.Context, pod *v1.Pod) *fwk.Status {
	if !p.exists(pod) {
		// The ledger may have buried it already and must not hear of it again.
		return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "the pod is gone")
	}
	verdict, effects := p.ledger.Gate(p.clock.Now(), p.describe(pod))
	p.effects.add(effects)
	return statusOf(verdict)
}
