package plugin

import (
	"cmp"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/spark"
)

// Teller is what the plugin says of pods that kube-scheduler has failed to schedule. The zero Teller, without a plugin, says nothing.
type Teller struct{ plugin *Plugin }

// Words are what is said of such a pod. The zero Words are kube-scheduler's own.
type Words struct {
	// Condition is the reason that the condition PodScheduled gets. Autoscalers buy nodes for v1.PodReasonUnschedulable, and for no others.
	Condition string
	// Text is what condition and event say; empty means kube-scheduler's own text.
	Text string
	// Status is the annotation gang.AnnotationStatus; empty means that there is none.
	Status string
}

// Words takes that kube-scheduler is about to tell why an attempt has failed: what the plugin has refused the pod with, the zero Verdict if
// something else has, and what kube-scheduler would say.
func (t Teller) Words(pod *v1.Pod, verdict gang.Verdict, own string) Words {
	p := t.plugin
	if p == nil {
		return Words{Condition: v1.PodReasonUnschedulable}
	}
	words := Words{Condition: p.ledger.Condition(pod.UID, verdict.Reason)}
	if verdict.Passes() {
		// Where it is room, the ledger has been told; whatever else has refused it is said by the filter.
		verdict = ledger.Why(p.ledger, pod.UID)
		verdict.Reason = cmp.Or(verdict.Reason, gang.Constraints)
		words.Status = p.effects.notices.status(pod, verdict, own)
	} else {
		words.Text = verdict.Say(p.names())
		words.Status = p.effects.notices.status(pod, verdict, "")
	}
	if p.current(pod) == nil { // nobody tells of its end any more
		p.effects.notices.forget(pod.UID)
	}
	return words
}

// NoNodes takes that a pod was not tried because there is no node, and is what to say of it: nothing for what is no gang, and where the
// ledger has heard of nodes by now.
func (t Teller) NoNodes(pod *v1.Pod) gang.Verdict {
	p := t.plugin
	if p == nil {
		return gang.Verdict{}
	}
	attempt, effects := p.ledger.Attempt(p.clock.Now(), pod.UID, 0)
	p.effects.add(effects)
	for i := range attempt.View.Len() {
		if attempt.View.Object(i) != nil {
			return gang.Verdict{}
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
		return gang.Verdict{}
	}
	return verdict
}
