package ledger

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/reclaim"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/waiting"
)

// valid tells whether a plan still holds: the waiter asks for the same, nothing has become of anybody who has to go, their
// queues still give it and that of the waiter lets it in, and the nodes have the room.
func (rs *reclaims) valid(w *waiting.Waiter, plan *reclaim.Plan) bool {
	if w.Asks.Queue != plan.Request.Queue || !w.Asks.Demand.Amount.Equal(plan.Request.Demand) {
		return false
	}
	freed := map[string]resource.Vector{} // node -> what comes free
	for at, v := range plan.Victims {
		if !rs.victims.holders.Is(v.Holder) || rs.accounts.queueOf(v.Holder.Key.Namespace) != plan.Chosen[at].Queue {
			return false
		}
		v.EachRoom(func(node string, amount resource.Vector) { freed[node] = freed[node].Add(amount) })
	}
	var overtaken *collection
	if plan.Overtaken != "" {
		if overtaken = rs.collections.of(plan.Overtaken); overtaken == nil {
			return false
		}
		if owner := rs.waiting.Of(plan.Overtaken).Asks; owner.Queue != w.Asks.Queue || owner.Priority >= w.Asks.Priority {
			return false
		}
		for node, amount := range overtaken.room() {
			freed[node] = freed[node].Add(amount)
		}
	}
	others := slices.DeleteFunc(slices.Clone(rs.collections.list), func(c *collection) bool { return c == overtaken })
	defer rs.accounts.queues.Simulate(rs.coming(others))()
	if overtaken != nil && overtaken.preemption != nil {
		defer rs.accounts.queues.Simulate([]quota.Change{{Queue: overtaken.preemption.queue, Demand: overtaken.preemption.demand, Promised: -1}})()
	}
	if len(plan.Chosen) > 0 && !rs.accounts.queues.Allows(plan.Request, plan.Chosen) {
		return false
	}
	defer rs.accounts.queues.Simulate(reclaim.Released(plan.Chosen))()
	if !rs.accounts.queues.Fits(w.Asks.Queue, w.Asks.Demand).Passes() {
		return false
	}
	for _, p := range rs.victims.leaving {
		if p.goes(rs.outcome.now) {
			freed[p.placed] = freed[p.placed].Add(p.Requests)
		}
	}
	if c := rs.collections.of(w.ID()); c != nil {
		for node, amount := range c.amounts() {
			freed[node] = freed[node].Add(amount)
		}
	}
	return placesHold(rs.nodes, rs.waits.wants(w.ID()), plan.Places, freed)
}

// placesHold tells whether the nodes of a plan have the room when so much has come free: node -> amount.
func placesHold(nodes *inventory.Nodes, wants []want, places []reclaim.Place, freed map[string]resource.Vector) bool {
	taken := map[string]resource.Vector{} // node -> sum
	for _, place := range places {
		if place.Role >= len(wants) || !nodes.Exists(place.Node) || !wants[place.Role].eligible(nodes.Of(place.Node).Object) {
			return false
		}
		taken[place.Node] = taken[place.Node].Add(wants[place.Role].requests.Scale(place.Count))
		if !taken[place.Node].Fits(nodes.Of(place.Node).Free.Add(freed[place.Node])) {
			return false
		}
	}
	return true
}

// take lets the victims of a plan go and keeps the room for the waiter as it comes free.
func (rs *reclaims) take(w *waiting.Waiter, plan *reclaim.Plan, grace *time.Duration) {
	rs.waits.endCollectionOf(w.ID()) // what was collected so far is part of the plan
	c := newCollection(w.ID(), rs.waits.wants(w.ID()), rs.outcome.now)
	c.preemption = &preemption{queue: w.Asks.Queue, demand: w.Asks.Demand, verdict: gang.Verdict{Reason: gang.Reclaiming, Detail: plan.Taking("takes back ")}}
	c.after = evictionPatience
	rs.overtake(c, plan.Overtaken)
	var evictions []Effect
	for at, v := range plan.Victims {
		if plan.Chosen[at].Queue != w.Asks.Queue {
			c.preemption.taken = c.preemption.taken.Add(v.Amount)
		}
		e, why := rs.members.gangs[v.Holder.ID], plan.Why(at)
		switch {
		case v.Kind == quota.Slot:
			_, open := e.Counts()
			rs.slots.totals.Released[TakenBack] += open
			rs.slots.step(e, gang.Released{})
			delete(rs.slots.degraded, e)
			rs.outcome.save(e)
		case v.Kind == quota.Gang && e != nil:
			e.preemptor = w.ID()
			rs.victims.holders.Touch(v.Holder.ID)
			c.preemption.gangs = append(c.preemption.gangs, goingGang{e, grace, plan.Chosen[at].Protected, why})
		}
		for _, held := range v.Pods {
			p := rs.members.pods[held.UID]
			rs.victims.leave(c, p)
			c.after = max(c.after, evictionPatience+p.grace(grace))
			evictions = append(evictions, p.evict(grace, plan.Chosen[at].Protected, why))
		}
		if len(v.Pods) == 0 {
			rs.outcome.effects = append(rs.outcome.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.SlotsReleased, Detail: why}})
		}
	}
	rs.claim(c, plan.Places)
	rs.collections.add(c)
	rs.accounts.queues.Promise(w.Asks.Queue, w.Asks.Demand)
	w.Promised, w.Protection = true, quota.Protection{}
	rs.keepPlaces(c, plan.Places)
	rs.waits.tell(w, c.preemption.verdict)
	rs.outcome.effects = append(rs.outcome.effects, evictions...)
}

// overtake ends what is kept for somebody else, and lets those who have to go for it go for c instead.
func (rs *reclaims) overtake(c *collection, owner types.UID) {
	former := rs.collections.of(owner)
	if former == nil {
		return
	}
	var pods []*pod
	var gangs []goingGang
	if r := former.preemption; r != nil {
		pods = slices.DeleteFunc(slices.Clone(r.pods), func(p *pod) bool { return p.placed == "" || p.preemptor != owner })
		gangs = slices.DeleteFunc(slices.Clone(r.gangs), func(e goingGang) bool { return e.preemptor != owner })
		c.preemption.taken, c.after = r.taken, max(c.after, former.after)
	}
	rs.waits.endCollection(former)
	for _, p := range pods {
		rs.victims.leave(c, p)
	}
	for _, e := range gangs {
		e.preemptor = c.waiter
		rs.victims.holders.Touch(e.leader.UID)
	}
	c.preemption.gangs = append(c.preemption.gangs, gangs...)
	loser := rs.waiting.Of(owner)
	rs.waiting.Failed(loser, waiting.Failure{Epoch: rs.waiting.Epoch(), Verdict: gang.Verdict{Reason: gang.ClusterFull,
		Message: "what was kept for it went to somebody of a higher priority"}}, rs.outcome.now)
	rs.waits.tell(loser, loser.Verdict())
}

// claim notes which of those who are going anyway leave what is to come for a collection.
func (rs *reclaims) claim(c *collection, places []reclaim.Place) {
	lacking := map[string]resource.Vector{} // node -> amount
	for _, place := range places {
		lacking[place.Node] = lacking[place.Node].Add(c.wants[place.Role].requests.Scale(place.Count))
	}
	for node := range lacking {
		lacking[node] = lacking[node].Missing(rs.nodes.Of(node).Free)
	}
	for _, p := range c.preemption.pods {
		lacking[p.placed] = lacking[p.placed].Missing(p.Requests)
	}
	for _, p := range sorted(rs.victims.leaving) {
		left := lacking[p.placed].Missing(p.Requests)
		if p.goes(rs.outcome.now) && !left.Equal(lacking[p.placed]) {
			lacking[p.placed] = left
			c.after = max(c.after, evictionPatience+p.grace(nil))
			rs.victims.leave(c, p)
		}
	}
}

// leave lets a pod go for a collection.
func (vs *victims) leave(c *collection, p *pod) {
	p.preemptor = c.waiter
	vs.touch(p)
	vs.leaving[p.UID] = p
	c.preemption.pods = append(c.preemption.pods, p)
}

// follow lets a worker go with its gang that goes already. Nobody let it in: it was bound by a call whose answer was lost.
func (ws *waits) follow(e *entry, p *pod) {
	c := ws.collections.of(e.preemptor)
	if c == nil || c.preemption == nil {
		return
	}
	for _, going := range c.preemption.gangs {
		if going.entry == e {
			ws.victims.leave(c, p)
			ws.outcome.effects = append(ws.outcome.effects, p.evict(going.grace, going.forced, going.why))
		}
	}
}

// evict asks for the eviction of a pod; the arguments as in Evict.
func (p *pod) evict(grace *time.Duration, forced bool, why gang.Detail) Evict {
	return Evict{Pod: p.Object, Grace: p.cappedGrace(grace), Forced: forced, Verdict: gang.Verdict{Reason: gang.Reclaimed, Detail: why}}
}

// keepPlaces keeps what is free of the room of a plan.
func (rs *reclaims) keepPlaces(c *collection, places []reclaim.Place) {
	next := make([]int, len(c.wants)) // want -> the first of its pods without a node
	for k := len(c.kept) - 1; k >= 0; k-- {
		next[c.kept[k].want] = k
	}
	for _, place := range places {
		for range place.Count {
			rs.collections.settleOn(rs.outcome.now, c, next[place.Role], place.Node)
			next[place.Role]++
		}
	}
	c.homeless, c.seeking = nil, false
}

// grace is how long a pod may take to end.
func (p *pod) grace(given *time.Duration) time.Duration {
	switch own := p.Object.Spec.TerminationGracePeriodSeconds; {
	case given != nil:
		return *given
	case own != nil:
		return time.Duration(min(*own, int64(longestGrace/time.Second))) * time.Second
	default:
		return defaultGrace
	}
}

// cappedGrace is the grace to be said at the eviction of a pod; nil means that its own holds.
func (p *pod) cappedGrace(given *time.Duration) *time.Duration {
	if own := p.Object.Spec.TerminationGracePeriodSeconds; given == nil && own != nil && *own > int64(longestGrace/time.Second) {
		capped := longestGrace
		return &capped
	}
	return given
}

// endPreemption lets those stay who were to go for a collection that has ended and are not on their way yet.
func (ws *waits) endPreemption(c *collection) {
	if c.preemption == nil {
		return
	}
	ws.accounts.queues.Retract(c.preemption.queue, c.preemption.demand)
	if w := ws.waiting.Of(c.waiter); w != nil {
		w.Promised = false
	}
	if waiter := ws.members.pods[c.waiter]; waiter != nil && waiter.placed == "" {
		ws.outcome.effects = append(ws.outcome.effects, Unnominate{waiter.Object})
	}
	begun := c.preemption.begun(ws.members)
	for _, p := range c.preemption.pods {
		if e := ws.members.gangOf(p); e != nil && begun[e] {
			continue
		}
		if p.preemptor == c.waiter {
			p.preemptor = ""
			ws.victims.touch(p)
			if !p.leaves() {
				delete(ws.victims.leaving, p.UID)
			}
		}
	}
	for _, e := range c.preemption.gangs {
		if e.preemptor != c.waiter || begun[e.entry] {
			continue
		}
		e.preemptor = ""
		ws.victims.holders.Touch(e.leader.UID)
		if a := ws.members.apps[e.Key]; a != nil {
			for _, p := range sorted(a.workers) {
				ws.outcome.revise(p)
			}
		}
	}
}

// begun are the gangs that go all together or not at all, and of which something has gone already: the rest follows, whatever becomes of
// the waiter.
func (r *preemption) begun(members *members) map[*entry]bool {
	begun := map[*entry]bool{}
	for _, going := range r.gangs {
		e := going.entry
		if e.upfront == nil || !e.upfront.group.Whole || members.gangs[e.leader.UID] != e {
			continue
		}
		begun[e] = slices.ContainsFunc(r.pods, func(p *pod) bool {
			return p.Gang == e.Key && (p.placed == "" || p.Object.DeletionTimestamp != nil)
		})
	}
	return begun
}

// Nomination is the node that others leave for a pod by itself or a leader, and what its user is told of it; empty means that
// nobody does.
func (l *Ledger) Nomination(uid types.UID) (node string, verdict gang.Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.collections.of(uid); c != nil && c.preemption != nil && l.members.pods[uid] != nil {
		return c.kept[0].node, c.preemption.verdict
	}
	return "", gang.Verdict{}
}

// Protection says until when those are protected who would have to go for a pod or its gang; empty means that this is not why nobody
// goes.
func (l *Ledger) Protection(uid types.UID) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.members.pods[uid]
	if p == nil {
		return ""
	}
	if w := l.waiting.Of(l.members.waiterOf(p)); w != nil {
		return l.waits.protection(w)
	}
	return ""
}

// Situation tells whether a pod has a node, or is about to get one, and for whom it still has to go if an Evict was asked; empty means
// that it need not go.
func (l *Ledger) Situation(uid types.UID) (placed bool, preemptor types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.members.pods[uid]; p != nil {
		return p.placed != "", p.preemptor
	}
	return false, ""
}

// Evicting takes that a pod is about to be evicted, and tells whether it still has to go. From then on no worker follows it, whoever
// it had to go for: the call cannot be taken back. If it fails, EvictionFailed says so.
func (l *Ledger) Evicting(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.members.pods[uid]
	if p == nil || p.preemptor == "" {
		return false
	}
	p.called = true
	return true
}

// stays takes that the eviction of a pod has come to nothing.
func (rs *reclaims) stays(p *pod) {
	if !p.called {
		return
	}
	p.called = false
	if e := rs.members.gangOf(p); e != nil && p == e.leader && e.preemptor == "" {
		for _, worker := range sorted(rs.members.apps[e.Key].workers) {
			rs.outcome.revise(worker)
		}
	}
}

func (vs *victims) forgetBudget(namespace, name string) {
	rest := slices.DeleteFunc(slices.Clone(vs.budgets[namespace]), func(b Budget) bool { return b.Name == name })
	if vs.budgets[namespace] = rest; len(rest) == 0 {
		delete(vs.budgets, namespace)
	}
}

// touch notes that something has become of a pod, and so of what it and its gang hold.
func (vs *victims) touch(p *pod) {
	vs.holders.Touch(p.UID)
	if e := vs.members.gangOf(p); e != nil {
		vs.holders.Touch(e.leader.UID)
	}
}
