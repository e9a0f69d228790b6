package sim

import (
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/spark"
)

// evictionWindow is how long an eviction may have been on its way, with calls that fail and are made again: by the queues of that time
// it may have been right.
const evictionWindow = 10 * time.Minute

// formerLayout is queues that a replica knew until then.
type formerLayout struct {
	queues ledger.Queues
	until  time.Time
}

// checkProtected: no application and no pod by itself goes for another queue before it has run for as long as its queue, or one above
// it, protects it.
func (r *replica) checkProtected(victim *v1.Pod) {
	_, preemptor := r.ledger.Situation(victim.UID)
	namespace, known := r.namespaceOf(preemptor)
	if !known || !spark.IsDriver(victim) && !r.lone(victim) || victim.Spec.NodeName == "" {
		return
	}
	ran := time.Since(condition(victim, v1.PodScheduled).LastTransitionTime.Time)
	if !protectedIn(r.layout, victim.Namespace, namespace, ran) {
		return
	}
	for _, former := range r.former {
		if time.Since(former.until) < evictionWindow && !protectedIn(former.queues, victim.Namespace, namespace, ran) {
			return
		}
	}
	r.world.fail("protected", "%s: %s is evicted for %s of another queue after %s, in queues %s", r.name, keyOf(victim), preemptor, ran, textOf(r.layout))
}

// protectedIn tells whether whoever has run for so long is protected from those of another namespace.
func protectedIn(layout ledger.Queues, victim, preemptor string, ran time.Duration) bool {
	way := wayIn(layout, victim)
	longest := time.Duration(0)
	for _, spec := range way {
		longest = max(longest, spec.Reclaim.Protect)
	}
	return way[0].Name != quota.Unassigned && way[0].Name != wayIn(layout, preemptor)[0].Name && ran < longest
}

// namespaceOf is where a waiter is; false if the plugin has not been told of it.
func (r *replica) namespaceOf(waiter types.UID) (string, bool) {
	if m := r.told.pods[waiter]; m != nil && m.last != nil {
		return m.last.Namespace, true
	}
	for _, g := range r.ledger.Gangs() {
		if g.Leader == waiter {
			return g.Key.Namespace, true
		}
	}
	return "", false
}
