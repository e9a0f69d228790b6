package sim

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/plugin"
)

// checkPass: whoever fits and is allowed is tried within one pass. Of a waiter that could start all the time nobody else is refused
// twice by the plugin before it has been tried once: whom each of two attempts found no room for has had its turn in between.
// What is kept for somebody is not free, and what only one of plugin and scheduler counts is left out.
//
// Seen failing when every bit of room that came back began a new pass, from the top of the order.
func (r *replica) checkPass(a *attempt) {
	w, tried := r.world, a.info.Pod
	delete(r.passed, tried.UID)
	if len(a.diagnosis.UnschedulablePlugins) != 1 || !a.diagnosis.UnschedulablePlugins.Has(plugin.Name) || !r.caughtUp() {
		return
	}
	passed := map[types.UID]map[types.UID]bool{}
	for _, waiter := range r.couldBeTried() {
		if waiter.UID == tried.UID {
			continue
		}
		since := r.passed[waiter.UID]
		if since == nil {
			since = map[types.UID]bool{}
		}
		if since[tried.UID] {
			w.fail("passed over", "%s: %s was refused twice, and %s, which could start all the time, not tried once: %s", r.name, keyOf(tried), keyOf(waiter), r.whereabouts(waiter))
		}
		since[tried.UID] = true
		passed[waiter.UID] = since
	}
	r.passed = passed
}

// couldBeTried are the pods by themselves and drivers that wait at the Gate although there is room for them, and their queues let
// them in.
func (r *replica) couldBeTried() (could []*v1.Pod) {
	w := r.world
	if r.reclaiming() || len(r.ghosts) > 0 || len(r.queue.nominated.node) > 0 {
		return nil
	}
	phases := map[types.UID]gang.Phase{}
	for _, g := range r.ledger.Gangs() {
		phases[g.Leader] = g.Phase
	}
	free := r.free("")
	for _, info := range r.queue.unschedulable.all() {
		pod := w.api.pod(keyOf(info.Pod), info.Pod.UID)
		if pod == nil || pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil || info.GatingPlugin != plugin.Name || !r.ledger.Waits(pod.UID) {
			continue
		}
		if app := w.appOf(pod); !r.lone(pod) && (app == nil || pod.UID != app.driver || phases[pod.UID] != gang.Waiting) {
			continue
		}
		if r.couldStart(pod, free) && r.allows(pod.Namespace, r.asksOf(pod)) {
			could = append(could, pod)
		}
	}
	return could
}
