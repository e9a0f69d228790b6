package sim

import (
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// claimWindow is for how long after somebody has gone for a waiter nobody of lower priority may take what it left. It is longer
// than the scheduler's cache lags as a rule, and a waiter is tried again.
const claimWindow = 5 * time.Second

// claim is what others have had to go for.
type claim struct {
	waiter types.UID
	// victims are those who were evicted for it: pod -> where it was.
	victims map[types.UID]string
	// gone counts those of whose end the plugin has been told, and left is when it was last told of one.
	gone int
	left time.Time
	// overtaken means that somebody of a higher priority of its queue has got what was left for it.
	overtaken bool
	// inherited means that it was made before the scheduler started.
	inherited bool
}

// claim notes for whom a pod is evicted.
func (r *replica) claim(victim *v1.Pod) {
	_, taker := r.ledger.Situation(victim.UID)
	if taker == "" || victim.Spec.NodeName == "" {
		return
	}
	at := slices.IndexFunc(r.claims, func(c *claim) bool { return c.waiter == taker })
	if at < 0 {
		at = len(r.claims)
		r.claims = append(r.claims, &claim{waiter: taker, victims: map[types.UID]string{}})
	}
	r.claims[at].victims[victim.UID] = victim.Spec.NodeName
}

// inherit takes over what others have had to go for while the scheduler before this one led, and are on their way: nobody remembers for whom,
// and a pod by itself, of which nothing has to be found out first, gets it all the same.
func (r *replica) inherit() {
	for _, c := range r.world.bequeathed {
		if m := r.told.pods[c.waiter]; m != nil && m.pod != nil && r.lone(m.pod) {
			r.claims = append(r.claims, &claim{waiter: c.waiter, victims: c.victims, inherited: true})
		}
	}
	r.world.bequeathed = nil
}

// checkSpared: after a restart nobody else has to go for a pod by itself while those who had to before are on their way, and leave it enough.
// What leaves a node on which something is kept for another is that one's.
func (r *replica) checkSpared() {
	for _, c := range r.claims {
		if !c.inherited {
			continue
		}
		free, leaves := r.free(""), map[string]bool{}
		var more []string
		for uid, m := range r.told.pods {
			if m.pod == nil || m.counted == "" {
				continue
			}
			_, taker := r.ledger.Situation(uid)
			if _, known := c.victims[uid]; !known && taker == c.waiter && m.pod.DeletionTimestamp == nil { // else it goes anyway: seed 41000721
				more = append(more, keyOf(m.pod))
			} else if known && (taker == "" || taker == c.waiter) && m.pod.DeletionTimestamp != nil && time.Since(m.pod.DeletionTimestamp.Time) < claimWindow {
				free[m.counted], leaves[m.counted] = free[m.counted].Add(m.requests), true
			}
		}
		if len(more) == 0 {
			continue
		}
		c.inherited = false // its plan is made, and judged now
		waiter := r.told.pods[c.waiter]
		if waiter == nil || waiter.pod == nil || len(leaves) == 0 || !r.allows(waiter.pod.Namespace, r.asksOf(waiter.pod)) {
			continue
		}
		maps.DeleteFunc(free, func(node string, _ resource.Vector) bool { return !leaves[node] || r.claimedByOthers(node, c.waiter) })
		if r.couldStart(waiter.pod, free) {
			slices.Sort(more)
			r.world.fail("spared", "%s: %v have to go for %s, to which what leaves since before the restart suffices: %s",
				r.name, more, keyOf(waiter.pod), r.whereabouts(waiter.pod))
		}
	}
}

// claimedByOthers tells whether a node is kept for somebody else than a waiter, or somebody else claims it.
func (r *replica) claimedByOthers(node string, waiter types.UID) bool {
	if slices.ContainsFunc(r.claims, func(c *claim) bool { return c.waiter != waiter && c.on(node) }) {
		return true
	}
	for uid := range r.told.pods {
		if kept, _ := r.ledger.Nomination(uid); uid != waiter && kept == node {
			return true
		}
	}
	return false
}

// checkClaims notes who has gone, and forgets the claims of those who have what they wanted or are gone themselves.
func (r *replica) checkClaims() {
	r.claims = slices.DeleteFunc(r.claims, func(c *claim) bool {
		gone := 0
		for uid := range c.victims {
			if r.told.buried[uid] {
				gone++
			}
		}
		if gone > c.gone {
			c.gone, c.left = gone, time.Now()
		}
		m := r.told.pods[c.waiter]
		return m == nil || m.counted != ""
	})
}

// overtake notes whose claims somebody of a higher priority of their queue has got.
func (r *replica) overtake(pod *v1.Pod, node string) {
	for _, c := range r.claims {
		m := r.told.pods[c.waiter]
		if m == nil || m.pod == nil || !c.on(node) || *m.pod.Spec.Priority >= *pod.Spec.Priority {
			continue
		}
		c.overtaken = c.overtaken || r.way(m.pod.Namespace)[0].Name == r.way(pod.Namespace)[0].Name
	}
}

// checkOvertaken: nobody of lower priority is placed on what was taken back for a waiter of the same queue that could use it.
// Whether kube-scheduler's cache has heard of that by then is no excuse. What claims a slot takes no more than was taken before. It
// is asked only when nothing was kept for anybody: else nothing was lost, or the pod may have had what was kept for it.
func (r *replica) checkOvertaken(pod *v1.Pod, node string) {
	w := r.world
	if r.told.buried[pod.UID] || r.takesSlot(pod) || r.haunted(node) {
		return
	}
	for _, c := range r.claims {
		m := r.told.pods[c.waiter]
		if m == nil || m.counted != "" || m.pod == nil || w.strangers[c.waiter] {
			continue
		}
		waiter := w.api.pod(keyOf(m.pod), c.waiter)
		if c.overtaken || c.left.IsZero() || time.Since(c.left) > claimWindow || waiter == nil || waiter.Spec.NodeName != "" || waiter.DeletionTimestamp != nil || *waiter.Spec.Priority <= *pod.Spec.Priority {
			continue
		}
		if r.way(waiter.Namespace)[0].Name != r.way(pod.Namespace)[0].Name {
			continue
		}
		with, without := r.free(""), r.free(pod.UID)
		fitsWith, fitsWithout := r.couldStart(waiter, with), r.couldStart(waiter, without)
		asks := r.asksOf(waiter)
		allowed, allowedWithout := r.allows(waiter.Namespace, asks), r.wouldAllow(pod.UID, waiter.Namespace, asks)
		if !fitsWithout || !allowedWithout || fitsWith && allowed {
			continue
		}
		if !fitsWith && !c.on(node) {
			continue // what it wanted was elsewhere
		}
		w.fail("overtaken", "%s: %s of priority %d was given node %s, which %s of priority %d could have: %d have gone for it (fits %v, allowed %v): %s",
			r.name, keyOf(pod), *pod.Spec.Priority, node, keyOf(waiter), *waiter.Spec.Priority, c.gone, fitsWith, allowed, r.whereabouts(waiter))
	}
}

// on tells whether somebody has gone from a node.
func (c *claim) on(node string) bool {
	for _, from := range c.victims {
		if from == node {
			return true
		}
	}
	return false
}

// takesSlot tells whether a pod has a slot of its gang.
func (r *replica) takesSlot(pod *v1.Pod) bool {
	for _, g := range r.ledger.Gangs() {
		for _, slot := range g.Slots {
			if slot.Worker == pod.UID {
				return true
			}
		}
	}
	return false
}

// free is what every node has by what the plugin was told, less what is held; a pod may be left out, with the slots of the gang that
// it leads.
func (r *replica) free(without types.UID) map[string]resource.Vector {
	free := map[string]resource.Vector{}
	view := r.ledger.View()
	for i := range view.Len() {
		if view.Object(i) != nil {
			free[view.Name(i)] = *view.Free(i)
		}
	}
	if m := r.told.pods[without]; m != nil && m.counted != "" {
		free[m.counted] = free[m.counted].Add(m.requests)
	}
	for _, g := range r.ledger.Gangs() {
		if g.Leader != without {
			continue
		}
		for _, slot := range g.Slots {
			if slot.Worker == "" && slot.Node != "" {
				free[slot.Node] = free[slot.Node].Add(slot.Requests)
			}
		}
	}
	return free
}

// couldStart tells whether there is room for a pod by itself, or for a driver with its executors.
func (r *replica) couldStart(pod *v1.Pod, free map[string]resource.Vector) bool {
	w := r.world
	if app := w.appOf(pod); app != nil {
		p := app.plan
		if pod.UID != app.driver || p.missing || p.broken || app.unpredicted || w.contested(app) {
			return false
		}
		return w.fits(p, pod, w.api.nodes.all(), free) != ""
	}
	for _, node := range w.api.nodes.all() {
		if r.told.nodes[node.Name] == nil || r.keepsForOthers(node.Name) {
			continue
		}
		if admits(node, &pod.Spec) && admits(r.told.nodes[node.Name], &pod.Spec) && requestsOf(pod).Fits(free[node.Name]) {
			return true
		}
	}
	return false
}

// asksOf is what a pod by itself, or a driver for its application, asks its queue for.
func (r *replica) asksOf(pod *v1.Pod) quota.Demand {
	if app := r.world.appOf(pod); app != nil {
		return app.plan.asks()
	}
	return quota.Demand{Amount: requestsOf(pod), Gangs: 1}
}
