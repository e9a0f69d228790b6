package ledger

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

const (
	// claimPause is how long a waiter for which nothing can be taken back is not looked at again.
	claimPause = 5 * time.Second
	// claimsPerTick bounds how often everything that runs is looked through in one tick.
	claimsPerTick = 16
	// slotPatience is how long nobody of a gang may have come or gone before its open slots are taken back: executors of one
	// that has just started arrive one after another.
	slotPatience = 30 * time.Second
	// claimPatience is how long, beyond their grace, those who have to go may take until others are looked for.
	claimPatience = time.Minute
	// defaultGrace is what the API server gives pods that say nothing else.
	defaultGrace = 30 * time.Second
)

// reclaim is what others give back for one waiter. The room is kept for it in the collection that the claim belongs to.
type reclaim struct {
	queue string
	// demand is promised to the waiter by its queue.
	demand quota.Demand
	// taken from other queues, for the budget of this one.
	taken resource.Vector
	pods  []*pod   // that have to go
	gangs []*entry // that have to go as a whole
	// verdict tells the waiter's user.
	verdict gang.Verdict
}

// reclaimLocked makes room for those who may take it back from others: of every queue the first in turn, and who comes after
// it if it may not.
func (l *Ledger) reclaimLocked() {
	for _, c := range slices.Clone(l.collections) {
		if c.reclaim != nil && !l.readyLocked(c) && !c.reclaim.comes() {
			l.waiting.byPod[c.waiter].claimed = time.Time{}
			l.abandonLocked(c)
		}
	}
	var victims map[types.UID]*victim
	looked, claimed := 0, map[string]bool{} // queue -> has taken something back in this tick
	lowest := l.priorities.lowest()
	if len(l.reclaims) == 0 && l.waiting.priorities.highest() <= lowest {
		return // nobody may take anything back, however many wait
	}
	for _, asks := range l.queues.Firsts(func(asks quota.Waiter) bool { return l.mayClaimLocked(asks, lowest) }) {
		w := l.waiting.byPod[asks.ID]
		wish, wants := l.wishLocked(w, lowest)
		if claimed[asks.Queue] || !wants {
			continue
		}
		w.claimed = l.now
		var hopeless bool
		l.foreseeLocked(func() { hopeless = !wish.Preempts && l.queues.Choose(wish, nil, nil).Obstacle != quota.NotEnough })
		if hopeless {
			continue // whatever runs
		}
		if victims == nil {
			victims = l.victimsLocked()
		}
		claimed[asks.Queue] = l.claimLocked(w, wish, victims)
		if looked++; looked == claimsPerTick {
			return
		}
	}
}

// comes tells whether somebody still has to leave. Otherwise what they left has gone to another claim on the same node,
// which then needed less of what was to leave for it, or to others of the same queue.
func (r *reclaim) comes() bool {
	return slices.ContainsFunc(r.pods, func(p *pod) bool { return p.placed != "" })
}

// mayClaimLocked tells whether somebody may have to leave for a waiter, whatever it lacks.
func (l *Ledger) mayClaimLocked(asks quota.Waiter, lowest int32) bool {
	w := l.waiting.byPod[asks.ID]
	if asks.Elastic || !w.claimed.IsZero() && l.now.Sub(w.claimed) < claimPause {
		return false
	}
	return (asks.Priority > lowest && !w.meek || l.reclaims[asks.Queue]) && !l.reclaimsLocked(asks.ID)
}

// reclaimsLocked tells whether somebody leaves for a waiter already.
func (l *Ledger) reclaimsLocked(waiter types.UID) bool {
	c := l.collectionOfLocked(waiter)
	return c != nil && c.reclaim != nil
}

// wishLocked is what a waiter lacks that others may have to give; false if it lacks something else, or nobody has to.
func (l *Ledger) wishLocked(w *waiter, lowest int32) (quota.Claim, bool) {
	spec, _ := l.queues.Spec(w.asks.Queue)
	wish := quota.Claim{
		Queue: w.asks.Queue, Demand: w.asks.Demand.Amount, Priority: w.asks.Priority,
		Preempts: !w.meek && w.asks.Priority > lowest, Early: l.now.Sub(w.since) < spec.Reclaim.After,
	}
	if !wish.Preempts && (wish.Early || !spec.Reclaim.Enabled) {
		return wish, false
	}
	verdict := l.queues.Fits(w.asks.Queue, w.asks.Demand)
	switch {
	case verdict.Reason == quota.QueueLimit:
		wish.Within = verdict.Queue
		usage, _ := l.queues.Usage(verdict.Queue)
		var over []resource.Amount
		for _, limit := range usage.Limit {
			if asked := wish.Demand.Of(limit.Name); asked > 0 {
				over = append(over, resource.Amount{Name: limit.Name, Value: max(usage.Used.Of(limit.Name)+asked-limit.Value, 0)})
			}
		}
		wish.Lacking = resource.OfAmounts(over)
	case !verdict.Passes() || w.shape.rehearsed || !w.shape.lacksRoom():
		return wish, false
	default:
		free := l.nodes.Total()
		if c := l.collectionOfLocked(w.uid()); c != nil {
			for _, kept := range c.kept {
				free = free.Add(kept.amount)
			}
		}
		for _, p := range l.leaving {
			if p.taker == "" {
				free = free.Add(p.Requests)
			}
		}
		if wish.Lacking = wish.Demand.Missing(free); wish.Lacking.IsZero() {
			wish.Lacking = l.pieceLocked(w, spec)
		}
	}
	if spec.Reclaim.Enabled && !wish.Preempts && !l.utilizedLocked(wish.Lacking, spec.Reclaim.Utilization) {
		return wish, false
	}
	for _, c := range l.collections {
		if c.reclaim != nil && c.reclaim.queue == wish.Queue {
			wish.Taken = wish.Taken.Add(c.reclaim.taken)
		}
	}
	return wish, !wish.Lacking.IsZero()
}

// utilizedLocked tells whether so many percent of the nodes are in use, of some resource that is lacking.
func (l *Ledger) utilizedLocked(lacking resource.Vector, percent int64) bool {
	for name := range lacking.List() {
		if all := l.nodes.Capacity().Of(name); lacking.Of(name) > 0 && all-l.nodes.Total().Of(name) >= all/100*percent {
			return true
		}
	}
	return percent == 0
}

// pieceLocked is a bit of everything that a waiter may lack for which enough is free in all, but not in one piece. What its
// queue is not guaranteed it cannot take back.
func (l *Ledger) pieceLocked(w *waiter, spec quota.Spec) resource.Vector {
	var bits []resource.Amount
	for name := range w.asks.Demand.Amount.List() {
		if _, guaranteed := spec.Guaranteed.Of(name); guaranteed || !spec.Reclaim.Enabled {
			bits = append(bits, resource.Amount{Name: name, Value: 1})
		}
	}
	return resource.OfAmounts(bits)
}

// claimLocked takes back what makes a waiter fit, if there is something, and tells whether it has.
func (l *Ledger) claimLocked(w *waiter, wish quota.Claim, all map[types.UID]*victim) bool {
	t := l.trialLocked(w, all)
	candidates := make([]quota.Victim, 0, len(all))
	for _, v := range all {
		if !v.leaves() {
			candidates = append(candidates, v.Victim)
		}
	}
	l.foreseeLocked(func() {
		if !t.enough(nil) { // else what is leaving already will do
			t.choice = l.queues.Choose(wish, candidates, t.enough)
		}
	})
	if len(t.choice.Victims) == 0 {
		return false
	}
	slots, fits := t.plan()
	if !fits {
		return false
	}
	spec, _ := l.queues.Spec(w.asks.Queue)
	if spec.Reclaim.DryRun {
		l.tellLocked(w, gang.Verdict{Reason: gang.WouldReclaim, Message: "would take back " + t.summary()})
		return false
	}
	l.takeLocked(w, t, slots, spec.Reclaim.Grace)
	return true
}

// takeLocked lets the chosen ones go and keeps the room for the waiter as it comes free.
func (l *Ledger) takeLocked(w *waiter, t *trial, slots []placement.Slots, grace *time.Duration) {
	l.giveUpLocked(w.uid()) // what was collected so far is part of the plan
	c := newCollection(w.uid(), t.wants, l.now)
	c.reclaim = &reclaim{queue: w.asks.Queue, demand: w.asks.Demand, verdict: gang.Verdict{Reason: gang.Reclaiming, Message: "takes back " + t.summary()}}
	c.after = claimPatience
	var evictions []Effect
	for _, chosen := range t.choice.Victims {
		v := t.all[chosen.ID]
		if chosen.Queue != w.asks.Queue {
			c.reclaim.taken = c.reclaim.taken.Add(chosen.Amount)
		}
		if v.Kind == quota.Slot {
			l.stepLocked(v.entry, gang.Released{})
			delete(l.degraded, v.entry)
			l.saveLocked(v.entry)
		}
		if v.Kind == quota.Gang && v.entry != nil {
			v.entry.taker = w.uid()
			c.reclaim.gangs = append(c.reclaim.gangs, v.entry)
		}
		for _, p := range v.pods {
			p.taker = w.uid()
			l.leaving[p.UID] = p
			c.reclaim.pods = append(c.reclaim.pods, p)
			c.after = max(c.after, claimPatience+p.grace(grace))
			evictions = append(evictions, Evict{Pod: p.Object, Grace: grace, Forced: v.Protected, Verdict: gang.Verdict{Reason: gang.Reclaimed, Message: t.why(v, p)}})
		}
		if len(v.pods) == 0 {
			l.effects = append(l.effects, Tell{v.entry.leader.Object, gang.Verdict{Reason: gang.SlotsReleased, Message: t.why(v, nil)}})
		}
	}
	l.collections = append(l.collections, c)
	l.queues.Promise(w.asks.Queue, w.asks.Demand)
	next := make([]int, len(t.wants)) // want -> the first of its pods without a node
	for k := len(c.kept) - 1; k >= 0; k-- {
		next[c.kept[k].want] = k
	}
	for _, s := range slots {
		node := t.view.Name(s.Node)
		for range s.Count {
			l.settleOnLocked(c, next[s.Role], node)
			next[s.Role]++
		}
	}
	c.homeless, c.seeking = nil, false
	l.tellLocked(w, c.reclaim.verdict)
	l.effects = append(l.effects, evictions...)
}

// grace is how long a pod may take to end.
func (p *pod) grace(given *time.Duration) time.Duration {
	switch own := p.Object.Spec.TerminationGracePeriodSeconds; {
	case given != nil:
		return *given
	case own != nil:
		return time.Duration(*own) * time.Second
	default:
		return defaultGrace
	}
}

// withdrawLocked lets those stay who were to go for a collection that has ended and are not on their way yet.
func (l *Ledger) withdrawLocked(c *collection) {
	if c.reclaim == nil {
		return
	}
	l.queues.Retract(c.reclaim.queue, c.reclaim.demand)
	l.waiting.idle = l.waiting.idle && !l.queues.Freed()
	for _, p := range c.reclaim.pods {
		if p.taker == c.waiter {
			p.taker = ""
			if !p.leaves() {
				delete(l.leaving, p.UID)
			}
		}
	}
	for _, e := range c.reclaim.gangs {
		if e.taker != c.waiter {
			continue
		}
		e.taker = ""
		if a := l.apps[e.Key]; a != nil {
			for _, p := range sorted(a.workers) {
				l.reviseLocked(p)
			}
		}
	}
}

// Leaves tells whether a pod still has to go for which an Evict was asked.
func (l *Ledger) Leaves(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pods[uid]
	return p != nil && p.taker != ""
}

// foreseeLocked lets f see the queues as they will be when everything has come true that is on its way: who has to go has
// gone, and those for whom they go have started.
func (l *Ledger) foreseeLocked(f func()) {
	var coming []*reclaim
	for _, c := range l.collections {
		if c.reclaim != nil {
			coming = append(coming, c.reclaim)
		}
	}
	for _, r := range coming {
		l.queues.Retract(r.queue, r.demand)
		l.queues.Charge(r.queue, r.demand)
	}
	going := l.goingLocked()
	for _, c := range going {
		l.queues.Release(c.queue, c.demand)
	}
	f()
	for _, c := range going {
		l.queues.Charge(c.queue, c.demand)
	}
	for _, r := range coming {
		l.queues.Release(r.queue, r.demand)
		l.queues.Promise(r.queue, r.demand)
	}
}

// goingLocked is what is charged for pods on their way out, and for the slots of gangs that go as a whole.
func (l *Ledger) goingLocked() []charge {
	var going []charge
	for _, p := range l.leaving {
		going = append(going, p.charged)
	}
	for _, c := range l.collections {
		if c.reclaim == nil {
			continue
		}
		for _, e := range c.reclaim.gangs {
			if e.taker == c.waiter {
				going = append(going, e.charged)
			}
		}
	}
	return going
}
