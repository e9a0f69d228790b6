package sim

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// passes is who could start and is not tried.
type passes struct {
	// since is who fits and is allowed since somebody was tried, and in which pass that was: leader -> pass. Who is tried, or let through to
	// be, leaves it.
	since map[types.UID]uint64
	// excused are those whose last attempt says nothing of when they are tried again: it has ended in an error, out of turn, or was
	// refused by what the plugin does not hear of although it would fit.
	excused map[types.UID]bool
}

// checkPasses is called when somebody is tried: whoever fits and is allowed is tried within one pass. Who did when a pass began, and
// does when the next but one has begun, was forgotten.
//
// It looks only when plugin and scheduler know the same, and nothing is kept for anybody, so that it can tell who fits.
func (r *replica) checkPasses(tried *v1.Pod) {
	w := r.world
	delete(r.passes.since, tried.UID)
	delete(r.passes.excused, tried.UID)
	if !r.caughtUp() || r.ledger.Collected() != nil {
		clear(r.passes.since)
		return
	}
	pass := ledger.PassOf(r.ledger)
	fitting := r.fitting("")
	for _, app := range w.apps {
		uid := app.driver
		node, fits := fitting[uid]
		if !fits {
			delete(r.passes.since, uid)
			continue
		}
		since, known := r.passes.since[uid]
		if !known {
			r.passes.since[uid] = pass
			continue
		}
		if pass > since+1 {
			w.fail("pass", "%s: driver %s fits on %s with its whole gang since pass %d, and is not tried although pass %d has begun: %s",
				r.name, app.key(), node, since, pass, r.whereabouts(app.pod()))
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
