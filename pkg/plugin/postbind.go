package plugin

import (
	"context"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/spark"
)

// PostBind tells the user of a leader who has read why it waits that its whole gang has room now. Of one that starts at once
// kube-scheduler's own event Scheduled says enough: another would cost every small application a call to the API server.
func (p *Plugin) PostBind(_ context.Context, state fwk.CycleState, pod *v1.Pod, node string) {
	if spark.Leads(pod) {
		logFate(p, pod, "Leader bound", "node", node)
	}
	leader := admittedOf(state)
	if leader == nil {
		return
	}
	if !leader.written {
		// Somebody else has bound the leader: an extender, or another plugin that a configuration puts before this one.
		p.effects.add([]ledger.Effect{ledger.Save{Leader: pod}})
	}
	if !toldToWait(pod) {
		return
	}
	reservation, admitted := p.ledger.Reservation(pod.UID)
	if !admitted {
		return
	}
	nodes := map[string]struct{}{node: {}}
	for _, slot := range reservation.Slots {
		nodes[slot.Node] = struct{}{}
	}
	p.effects.add([]ledger.Effect{ledger.Tell{Pod: pod, Verdict: gang.Verdict{
		Reason:  gang.GangAdmitted,
		Message: fmt.Sprintf("the leader and %s have room on %s", gang.Counted(leader.workers, "worker"), gang.Counted(len(nodes), "node")),
	}}})
}

// toldToWait tells whether a pod's condition has said why it is not scheduled, as far as the scheduling cycle knows.
func toldToWait(pod *v1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(condition v1.PodCondition) bool {
		return condition.Type == v1.PodScheduled && condition.Status == v1.ConditionFalse
	})
}
