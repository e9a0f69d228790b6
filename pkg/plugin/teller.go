package plugin

import (
	"cmp"
	"strings"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/spark"
)

// Teller is what the plugin says of pods that kube-scheduler has failed to schedule. The zero Teller, without a plugin, says nothing.
type Teller struct{ plugin *Plugin }

// Words are what is said of such a pod.
type Words struct {
	// Condition is the reason that the condition PodScheduled gets. Autoscalers buy nodes for v1.PodReasonUnschedulable, and for no others.
	Condition string
	// Text is what condition and event say.
	Text string
	// Status is the annotation gang.AnnotationStatus; empty means that there is none.
	Status string
	// Series is by what client-go takes events for the same, of which it writes only the first text.
	Series string
	// Patch and Event tell whether the condition is written, even if no node is nominated, and whether there is an event: what a pod has
	// been told is not told again all the time.
	Patch, Event bool
}

// unnamed is what kube-scheduler says of nodes that PreFilter has not named.
const unnamed = "didn't satisfy plugin(s) [" + Name + "]"

// Words takes that kube-scheduler is about to tell why an attempt has failed: what the plugin has refused the pod with, the zero Verdict if
// something else has, and what kube-scheduler would say. false means that kube-scheduler says it.
func (t Teller) Words(pod *v1.Pod, verdict gang.Verdict, own string) (Words, bool) {
	p := t.plugin
	if p == nil {
		return Words{}, false
	}
	if !verdict.Passes() {
		verdict = t.amended(pod, verdict)
	}
	say := sayingOf(p, pod, verdict)
	if say.quoted = verdict.Passes(); say.quoted {
		// Where it is room, the ledger has been told; whatever else has refused it is said by the filter.
		say.verdict = ledger.Why(p.ledger, pod.UID)
		say.verdict.Reason = cmp.Or(say.verdict.Reason, gang.Constraints)
		others := "were not chosen for it"
		if p.describe(pod).Kind == ledger.Worker {
			others = "hold no slot for it"
		}
		say.text = string(say.verdict.Reason) + ": " + strings.ReplaceAll(own, unnamed, others)
	}
	said := p.effects.notices.take(pod, say, false)
	if p.current(pod) == nil { // nobody tells of its end any more
		t.Untold(pod)
	}
	if said.event {
		logTold(p, pod, say.verdict)
	}
	words := Words{Condition: say.condition, Text: say.text, Status: said.status, Series: string(say.verdict.Reason), Patch: said.patch, Event: said.event}
	return words, true
}

// amended is a verdict with what PostFilter has found since: others leave for the pod, or are protected. Of the plugin's own words
// kube-scheduler passes on only what PreFilter has said.
func (t Teller) amended(pod *v1.Pod, verdict gang.Verdict) gang.Verdict {
	node, taking := t.plugin.ledger.Nomination(pod.UID)
	if node != "" {
		return taking
	}
	if protection := t.plugin.ledger.Protection(pod.UID); protection != "" && (verdict.OfRoom() || verdict.Reason == gang.QueueLimit) {
		verdict.Message += "; " + protection
	}
	return verdict
}

// Untold takes that what was to be said of a pod could not be written.
func (t Teller) Untold(pod *v1.Pod) {
	if t.plugin != nil {
		t.plugin.effects.notices.forget(pod.UID)
	}
}

// sayingOf is what a pod is told that waits for what a verdict says.
func sayingOf(p *Plugin, pod *v1.Pod, verdict gang.Verdict) saying {
	return saying{verdict: verdict, condition: p.ledger.Condition(pod.UID, verdict.Reason), text: verdict.Say(p.names())}
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
