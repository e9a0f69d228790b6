package plugin

import (
	"context"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
)

// PreEnqueue keeps a pod away from the scheduling cycles until the ledger lets it be tried.
func (p *Plugin) PreEnqueue(_ context.Context, pod *v1.Pod) *fwk.Status {
	return p.gate(pod)
}

// gate asks the ledger whether a pod may be tried. The scheduler may ask for a pod that has gone, and the ledger, told of
// it again, would never forget it. The informer drops a pod before it tells anybody of its end: a pod that is still there
// after the ledger has answered is one whose end the ledger will be told.
func (p *Plugin) gate(pod *v1.Pod) *fwk.Status {
	verdict, number, effects := p.ledger.Gate(p.clock.Now(), p.describe(pod))
	p.effects.add(effects)
	p.pending.judged(pod, verdict.Passes(), number)
	if p.current(pod) == nil {
		p.tell(ledger.PodGone{UID: pod.UID})
		p.pending.gone(pod)
		p.arrivals.leave(pod.UID)
		return fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "the pod is gone")
	}
	if !verdict.Passes() && verdict.Reason != gang.NotSynced && pod.Status.NominatedNodeName != "" {
		if node, _ := p.ledger.Nomination(pod.UID); node != pod.Status.NominatedNodeName {
			p.forgetNomination(pod)
		}
	}
	return p.statusOf(verdict)
}

// forgetNomination takes back the nomination of a pod that is kept at the Gate. A scheduler that was killed between reserving
// and binding leaves it on a leader, and kube-scheduler would keep the room of one pod for it, which is somebody else's
// by now. What kube-scheduler remembers goes at once, what is written on the pod follows. Before the ledger knows the
// cluster nothing is forgotten: a nomination says where the rest of a half bound gang was going to.
func (p *Plugin) forgetNomination(pod *v1.Pod) {
	p.handle.DeleteNominatedPodIfExists(pod)
	p.effects.clear(pod)
}
