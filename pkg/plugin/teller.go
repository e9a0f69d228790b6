package plugin

import (
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/spark"
)

// Teller is what the plugin says of pods that kube-scheduler has failed to schedule. The zero Teller, without a plugin, says nothing.
type Teller struct{ plugin *Plugin }

// Condition is the reason that the condition PodScheduled of such a pod gets; reason is the plugin's own, empty where the words are
// kube-scheduler's. Autoscalers buy nodes for v1.PodReasonUnschedulable, and for no others.
func (t Teller) Condition(pod *v1.Pod, reason gang.Reason) string {
	if t.plugin == nil {
		return v1.PodReasonUnschedulable
	}
	return t.plugin.ledger.Condition(pod.UID, reason)
}

// NoNodes takes that a pod was not tried because there is no node, and is what to say of it: empty for what is no gang, and where the
// ledger has heard of nodes by now.
func (t Teller) NoNodes(pod *v1.Pod) (gang.Reason, string) {
	p := t.plugin
	if p == nil {
		return "", ""
	}
	attempt, effects := p.ledger.Attempt(p.clock.Now(), pod.UID, 0)
	p.effects.add(effects)
	for i := range attempt.View.Len() {
		if attempt.View.Object(i) != nil {
			return "", ""
		}
	}
	verdict := attempt.Seats.Verdict
	if attempt.Gang {
		verdict = attempt.Demand.Verdict // of its queue, which may have let others in since the pod passed the Gate
	}
	if verdict.Passes() {
		verdict = gang.Verdict{Reason: gang.NeverFitsCluster, Message: "the cluster has no nodes"}
	}
	p.tell(ledger.Refused{UID: pod.UID, Epoch: attempt.View.Epoch, Edition: attempt.Edition, Verdict: verdict})
	p.pending.failed(pod, p.ledger.Waits(pod.UID))
	if !spark.Leads(pod) {
		return "", ""
	}
	return verdict.Reason, verdict.Say(p.names())
}
