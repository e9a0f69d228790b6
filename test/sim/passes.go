package sim

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// passes is who could start and is not tried.
type passes struct {
	// since is who fits and is allowed since somebody was tried, and which leaders were tried since then, and how often: leader ->
	// leader -> times. Who is tried, or let through to be, leaves it.
	since map[types.UID]map[types.UID]int
	// excused are those whose last attempt says nothing of when they are tried again: it has ended in an error, out of turn, or was
	// refused by what the plugin does not hear of although it would fit.
	excused map[types.UID]bool
}

// checkPasses is called when somebody is tried: whoever fits and is allowed is tried within one pass. What a pass is, is seen from
// outside: while one that fits waits, no leader is tried three times. Twice it may be, for the one that fits may have been tried already
// in the pass in which room came back for it: others have their turn in the rest of that one, and before it in the next.
//
// It looks only when plugin and scheduler know the same, and nothing is kept for anybody, so that it can tell who fits.
//
// Seen failing, with once in place of twice, when whoever was due was tried again in the same pass, and when the next pass began without
// one of those that waited for it. With twice it has not been: whoever has failed before is judged outside of scheduling cycles, and takes
// one when it fits, so that what starves somebody is hardly seen from outside. TestEverybodyIsTriedOnceBeforeAnybodyIsTriedTwice of
// pkg/waiting sees it first.
func (r *replica) checkPasses(tried *v1.Pod) {
	w := r.world
	counts := spark.IsDriver(tried) && !r.passes.excused[tried.UID]
	delete(r.passes.since, tried.UID)
	delete(r.passes.excused, tried.UID)
	if !r.caughtUp() || r.ledger.Collected() != nil {
		clear(r.passes.since)
		return
	}
	fitting := r.fitting("")
	for _, app := range w.apps {
		uid := app.driver
		node, fits := fitting[uid]
		if !fits {
			delete(r.passes.since, uid)
			continue
		}
		others := r.passes.since[uid]
		if others == nil {
			r.passes.since[uid] = map[types.UID]int{}
			continue
		}
		if !counts {
			continue
		}
		if others[tried.UID]++; others[tried.UID] > 2 {
			w.fail("pass", "%s: driver %s fits on %s with its whole gang, and is not tried, while %s is for the third time since: %s",
				r.name, app.key(), node, keyOf(tried), r.whereabouts(app.pod()))
		}
		w.stats.Passes++
	}
}

// checkFitting is called after every event: who does not fit any more has been waiting for something since.
func (r *replica) checkFitting() {
	if len(r.passes.since) == 0 {
		return
	}
	fitting := r.fitting("")
	for uid := range r.passes.since {
		if _, fits := fitting[uid]; !fits {
			delete(r.passes.since, uid)
		}
	}
}

// fitting are the leaders that wait, are not about to be tried, unless it is a given one, and could start by what the plugin has been
// told: leader -> node for it.
func (r *replica) fitting(tried types.UID) map[types.UID]string {
	w, fitting := r.world, map[types.UID]string{}
	waiting := map[types.UID]bool{}
	for _, g := range r.ledger.Gangs() {
		waiting[g.Leader] = g.Phase == gang.Waiting && r.ledger.Waits(g.Leader)
	}
	free, nodes := map[string]resource.Vector{}, []*v1.Node(nil)
	view := r.ledger.View()
	for i := range view.Len() {
		if node := view.Object(i); node != nil {
			free[node.Name], nodes = *view.Free(i), append(nodes, node)
		}
	}
	for _, app := range w.apps {
		m, p := r.told.pods[app.driver], app.plan
		if !waiting[app.driver] || r.passes.excused[app.driver] || m == nil || m.pod == nil || m.pod.DeletionTimestamp != nil || !spark.IsDriver(m.pod) {
			continue
		}
		if _, gated := r.queue.unschedulable.get(queueKey(m.pod)); !gated && app.driver != tried || p.missing || p.broken || app.unpredicted || w.contested(app) {
			continue
		}
		if node := w.fits(p, m.pod, nodes, free); node != "" && r.allows(m.pod.Namespace, p.asks()) {
			fitting[app.driver] = node
		}
	}
	return fitting
}
