package ledger

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/reclaim"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/waiting"
)

const (
	// reclaimPause is how long a waiter for which nothing can be taken back is not looked at again.
	reclaimPause = 5 * time.Second
	// plansPerTick bounds how often everything that runs is looked through in one tick.
	plansPerTick = 16
	// plansAtOnce bounds how many plans are made for an attempt that has just failed, and workAtOnce how many nodes and holders are
	// gone through for all such plans between two ticks: they hold up the scheduling cycle.
	plansAtOnce = 2
	workAtOnce  = 20_000
	// evictionPatience is how long, beyond their grace, those who have to go may take until others are looked for.
	evictionPatience = time.Minute
	// defaultGrace is what the API server gives pods that say nothing else.
	defaultGrace = 30 * time.Second
	// longestGrace bounds what a pod says itself: who borrows must not keep what it has to give back for as long as it likes. A queue
	// may say more.
	longestGrace = 10 * time.Minute
	// refreshedAtOnce bounds how many pods and slots are listed anew while the lock is held.
	refreshedAtOnce = 500
	// groupsAtOnce bounds of how many groups the first is looked for while the lock is held: some microseconds each.
	groupsAtOnce = 200
	// victimsPerTick bounds how many are looked through in one tick, for all plans together.
	victimsPerTick = 1 << 18
)

// victims is what may be taken back, and by whom.
type victims struct {
	// reclaims are the queues that take back what they have lent.
	reclaims map[string]bool
	// budgets are the PodDisruptionBudgets: namespace -> those in it. A list is never changed once it is there.
	budgets map[string][]Budget
	// priorities counts the pods that may be taken back.
	priorities quota.Priorities
	// leaving are the pods that have a node and are on their way out, or have to go for somebody.
	leaving map[types.UID]*pod
	// holders is what may be taken back.
	holders *reclaim.Index
	// solver works for one plan at a time, and busy means that it does: not under the lock.
	solver placement.Solver
	busy   bool
	// early is how many nodes and holders have been gone through since the last tick for those whose attempt has just failed.
	early int

	members *members
}

// reclaims carries out what plans ask for. A pod has to go only while somebody is promised the room, and a plan that no longer stands
// changes nothing.
type reclaims struct {
	nodes       *inventory.Nodes
	members     *members
	outcome     *outcome
	victims     *victims
	accounts    *accounts
	slots       *slots
	waits       *waits
	waiting     *waiting.Room
	collections *collections
}

// preemption is what others give back for one waiter. The room is kept for it in the collection that it belongs to.
type preemption struct {
	queue string
	// demand is promised to the waiter by its queue.
	demand quota.Demand
	// taken from other queues, for the budget of this one.
	taken resource.Vector
	pods  []*pod      // that have to go
	gangs []goingGang // that have to go as a whole
	// verdict tells the waiter's user.
	verdict gang.Verdict
	// rules means that room is not all that they leave: an attempt fails until all have gone.
	rules bool
}

// goingGang is a gang that has to go as a whole, and how its pods are evicted: as in Evict.
type goingGang struct {
	*entry
	grace  *time.Duration
	forced bool
	why    gang.Detail
}

// candidate is somebody who waits and may take something back.
type candidate struct {
	first  quota.First
	waiter reclaim.Waiter
}

// Look makes room for those who may take it back from others; a Tick does so as well. It answers a Look that was asked for.
func (l *Ledger) Look(now time.Time) []Effect { return l.reclaim(now, plansPerTick) }

// reclaim makes room for those who may take it back from others: of every queue the first in turn, and who comes after it if
// it may not. Who has to go is a long answer, so it is found without the lock, and checked when it is carried out. At most so many
// plans are made.
func (l *Ledger) reclaim(now time.Time, most int) []Effect {
	groups, effects := l.beginReclaim(now)
	if len(groups) == 0 {
		return effects
	}
	var candidates []candidate
	for some := range slices.Chunk(groups, groupsAtOnce) {
		candidates = append(candidates, l.candidates(some)...)
	}
	if len(candidates) > 0 {
		effects = append(effects, l.reclaimFor(now, candidates, most)...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.victims.busy = false
	return effects
}

// beginReclaim ends what comes to nothing, and names all groups of those who wait if somebody may have to leave for one of them. Then
// nobody else reclaims until all are planned for.
func (l *Ledger) beginReclaim(now time.Time) (groups []*quota.Group, effects []Effect) {
	effects = l.hold(now, func() {
		if !l.members.synced || l.victims.busy {
			return
		}
		l.reclaims.endVain(l.settleLocked)
		if len(l.victims.reclaims) > 0 || l.waiting.Highest() > l.waits.lowest() { // else nobody may take anything back, however many wait
			groups = quota.Groups(l.accounts.queues)
		}
		l.victims.busy = len(groups) > 0
	})
	return groups, effects
}

// endVain ends what is kept for those whom nobody leaves for any more, and settles every time.
func (rs *reclaims) endVain(settle func()) {
	for _, c := range slices.Clone(rs.collections.list) {
		if c.preemption == nil || rs.waits.ready(c) || c.preemption.comes() {
			continue
		}
		// Others have gone for it: what is free elsewhere by now is its own before it is for whoever is tried next.
		if rs.collections.seekElsewhere(c); c.seeking {
			settle()
		}
		if rs.waits.ready(c) {
			continue
		}
		rs.waiting.Of(c.waiter).Claimed = time.Time{}
		rs.waits.endCollection(c)
		settle()
	}
}

// candidates are the first of some groups, of those for whom somebody may have to leave. By the time that it is planned for one, it may
// not wait any more.
func (l *Ledger) candidates(groups []*quota.Group) (candidates []candidate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lowest := l.waits.lowest()
	for first := range l.accounts.queues.Firsts(groups, func(asks quota.Waiter) bool { return l.reclaims.may(asks, lowest) }) {
		candidates = append(candidates, candidate{first, reclaimerOf(l.waiting.Of(first.ID), l.collections.of(first.ID))})
	}
	return candidates
}

// reclaimFor plans for candidates in turn, without the lock.
func (l *Ledger) reclaimFor(now time.Time, candidates []candidate, most int) (effects []Effect) {
	for !l.refreshHolders() {
	}
	cluster := l.cluster(now)
	waiters, firsts := map[types.UID]*reclaim.Waiter{}, []quota.First(nil)
	for i := range candidates {
		if _, may := cluster.Request(&candidates[i].waiter); may {
			waiters[candidates[i].first.ID], firsts = &candidates[i].waiter, append(firsts, candidates[i].first)
		}
	}
	planned, seen, reclaims := 0, 0, map[string]bool{} // queue -> has taken something back in this tick
	for asks := range quota.InTurn(cluster.Queues, firsts) {
		request, may := cluster.Request(waiters[asks.ID]) // others have taken something meanwhile
		if reclaims[asks.Queue] || !may {
			continue
		}
		looked, waits := l.look(now, asks.ID)
		if !waits {
			continue
		}
		plan, victims, found := cluster.Plan(&l.victims.solver, &looked, request)
		if !found {
			effects = append(effects, l.protect(now, asks.ID, plan.Protection)...)
		} else {
			done, said := l.execute(now, asks.ID, plan)
			if effects = append(effects, said...); done {
				reclaims[asks.Queue] = true
				cluster = l.cluster(now)
			}
		}
		planned, seen = planned+1, seen+victims
		if planned == most || seen >= victimsPerTick {
			break
		}
	}
	return effects
}

// refreshHolders lists some of those anew that something has become of; false means that there are more.
func (l *Ledger) refreshHolders() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.victims.holders.Refresh(refreshedAtOnce, l.victims.holder)
}

// holder is what a gang that runs, or a pod by itself, holds; nil for everybody else.
func (vs *victims) holder(id types.UID) *reclaim.Holder {
	if p := vs.members.pods[id]; p != nil && p.Kind != Leader {
		if p.placed == "" || p.Foreign || inventory.Permanent(p.Object) || vs.members.gangOf(p) != nil {
			return nil
		}
		h := reclaim.Holder{
			ID: id, Key: gang.Key{Namespace: p.Namespace, Name: string(id)}, Object: p.Object, Priority: p.Priority, Created: p.Created, Kind: quota.Gang,
			Charged: p.charged.demand,
		}
		if p.Kind == Worker && !p.Upfront {
			h.Kind, h.Key = quota.Elastic, p.Gang // nobody knows how many of them its leader needs
		}
		return h.With([]reclaim.Pod{p.held()})
	}
	e := vs.members.gangs[id]
	if e == nil || e.Phase != gang.Running {
		return nil
	}
	h := reclaim.Holder{
		ID: id, Key: e.Key, Object: e.leader.Object, Priority: e.leader.Priority, Created: e.leader.Created, Charged: e.charged.demand,
		Gang: true, Leaves: e.preemptor != "", Needed: map[string]int{}, Amount: e.open, Whole: e.upfront != nil && e.upfront.group.Whole,
	}
	var pods []reclaim.Pod
	for _, p := range vs.members.apps[e.Key].workers {
		if p.placed != "" && vs.members.gangOf(p) == e {
			pods = append(pods, p.held())
		}
	}
	if e.upfront == nil && e.leader.placed != "" {
		pods = append(pods, e.leader.held())
	}
	for _, role := range e.Gang.Definition.Roles {
		h.Needed[role.Name] = role.Minimum
		e.OpenSlots(role.Name, func(slot gang.Slot) bool {
			h.Open = append(h.Open, slot)
			return true
		})
	}
	if e.leader.Ready {
		h.Idle = e.progress
	}
	return h.With(pods)
}

// held is a pod that has a node, as it is now.
func (p *pod) held() reclaim.Pod {
	return reclaim.Pod{
		UID: p.UID, Object: p.Object, Node: p.placed, Requests: p.Requests, Priority: p.Priority, Created: p.Created, Started: p.started,
		Role: p.Role, Worker: p.Kind == Worker, Leaves: p.leaves(),
	}
}

// leaves tells whether a pod has to go, or is going.
func (p *pod) leaves() bool { return p.preemptor != "" || p.Object.DeletionTimestamp != nil }

// cluster is everything that plans depend on, as it is now.
func (l *Ledger) cluster(now time.Time) *reclaim.Cluster {
	l.mu.Lock()
	c, queues := l.reclaims.cluster(now)
	l.mu.Unlock()
	c.Queues = queues.Tree()
	return c
}

// cluster is everything that plans depend on, of whose Queues a tree is yet to be made.
func (rs *reclaims) cluster(now time.Time) (*reclaim.Cluster, *quota.Frozen) {
	rs.victims.holders.Refresh(refreshedAtOnce, rs.victims.holder) // what has happened since
	c := &reclaim.Cluster{
		Now: now, View: rs.nodes.View(rs.waiting.Epoch()), Namespaces: rs.accounts.layout.Namespaces, Holders: rs.victims.holders.Holders(),
		Budgets: maps.Clone(rs.victims.budgets), Leaving: map[string]resource.Vector{}, Coming: rs.coming(rs.collections.list),
		Taken: map[string]resource.Vector{}, Lowest: rs.waits.lowest(), Collections: rs.overtakable(),
	}
	for _, p := range rs.victims.leaving {
		if p.goes(now) {
			c.Leaving[p.placed] = c.Leaving[p.placed].Add(p.Requests)
		}
	}
	for _, other := range rs.collections.list {
		if r := other.preemption; r != nil {
			c.Taken[r.queue] = c.Taken[r.queue].Add(r.taken)
		}
	}
	return c, quota.Freeze(rs.accounts.queues)
}

// overtakable is all that is kept for those who wait, the lowest priority first, and of those the youngest.
func (rs *reclaims) overtakable() []reclaim.Collection {
	var overtakable []reclaim.Collection
	list := slices.Clone(rs.collections.list)
	slices.SortStableFunc(list, func(a, b *collection) int {
		return rs.waiting.Of(b.waiter).Turn.Compare(rs.waiting.Of(a.waiter).Turn)
	})
	for _, c := range list {
		asks := rs.waiting.Of(c.waiter).Asks
		o := reclaim.Collection{Owner: c.waiter, Queue: asks.Queue, Priority: asks.Priority, Room: c.room()}
		if c.preemption != nil {
			o.Promised, o.Promises = c.preemption.demand, true
		}
		overtakable = append(overtakable, o)
	}
	return overtakable
}

// room is what is kept, and what others leave for the waiter: node -> amount.
func (c *collection) room() map[string]resource.Vector {
	room := c.amounts()
	if c.preemption != nil {
		for _, p := range c.preemption.pods {
			if p.placed != "" && p.preemptor == c.waiter {
				room[p.placed] = room[p.placed].Add(p.Requests)
			}
		}
	}
	return room
}

// goes tells whether a pod leaves that nobody waits for yet. One that has been leaving for too long does not count: its kubelet may be
// dead.
func (p *pod) goes(now time.Time) bool {
	return p.preemptor == "" && p.Object.DeletionTimestamp != nil && now.Sub(p.Object.DeletionTimestamp.Time) < evictionPatience
}

// coming is what becomes of queues when everything has come true that is on its way.
func (rs *reclaims) coming(collections []*collection) []quota.Change {
	var changes []quota.Change
	going := func(c charge) {
		changes = append(changes, quota.Change{Queue: c.queue, Demand: c.demand, Charged: -1})
	}
	for _, p := range rs.victims.leaving {
		going(p.charged)
		if e := rs.members.gangs[p.UID]; e != nil && e.preemptor == "" && p.Object.DeletionTimestamp != nil { // with its leader a gang has gone
			going(e.charged)
		}
	}
	for _, c := range collections {
		if c.preemption == nil {
			continue
		}
		changes = append(changes, quota.Change{Queue: c.preemption.queue, Demand: c.preemption.demand, Charged: 1, Promised: -1})
		for _, e := range c.preemption.gangs {
			if e.preemptor == c.waiter {
				going(e.charged)
			}
		}
	}
	return changes
}

// comes tells whether somebody still has to leave. Otherwise what they left has gone to another collection on the same node,
// which then needed less of what was to leave for it, or to others of the same queue.
func (r *preemption) comes() bool {
	return slices.ContainsFunc(r.pods, func(p *pod) bool { return p.placed != "" && p.leaves() })
}

// may tells whether somebody may have to leave for a waiter, whatever it lacks.
func (rs *reclaims) may(asks quota.Waiter, lowest int32) bool {
	w := rs.waiting.Of(asks.ID)
	if p := rs.members.pods[asks.ID]; p != nil && p.picky && len(p.only) == 0 {
		return false
	}
	if e := rs.members.gangs[asks.ID]; e != nil && rs.outcome.now.Before(e.inVain.until) {
		return false
	}
	if asks.Elastic || rs.pauses(w) || rs.waits.scaleUps.first(asks.ID) {
		return false
	}
	return (rs.waits.outranks(w, lowest) || rs.victims.reclaims[asks.Queue]) && !rs.waits.reclaims(asks.ID)
}

// pauses tells whether somebody has been looked at a moment ago, and nobody's protection has ended since.
func (rs *reclaims) pauses(w *waiting.Waiter) bool {
	if next := w.Protection.Next; w.Claimed.Before(next) && !rs.outcome.now.Before(next) {
		return false
	}
	return !w.Claimed.IsZero() && rs.outcome.now.Sub(w.Claimed) < reclaimPause
}

// due tells whether somebody whose attempt has just failed may have something taken back at once: until then lower priorities could
// start in what is free beside the victims, and more of them would have to go. Where the answer takes too long to wait for it in a
// scheduling cycle, a Look is asked for instead.
func (rs *reclaims) due(uid types.UID) bool {
	p := rs.members.pods[uid]
	if p == nil || !rs.members.synced {
		return false
	}
	w, lowest := rs.waiting.Of(rs.members.waiterOf(p)), rs.waits.lowest()
	if w == nil || !rs.may(w.Asks, lowest) {
		return false
	}
	if spec, _ := rs.accounts.queues.Spec(w.Asks.Queue); !rs.waits.outranks(w, lowest) {
		if rs.outcome.now.Sub(w.Since) < spec.Reclaim.After {
			return false
		}
	}
	work := rs.nodes.Len() + rs.victims.holders.Len()
	if rs.victims.busy || rs.victims.early+work > workAtOnce {
		rs.outcome.effects = append(rs.outcome.effects, Look{})
		return false
	}
	rs.victims.early += work
	return true
}

// reclaims tells whether somebody leaves for a waiter already.
func (ws *waits) reclaims(waiter types.UID) bool {
	c := ws.collections.of(waiter)
	return c != nil && c.preemption != nil
}

// reclaimerOf is a waiter for which so much is collected; nil means nothing.
func reclaimerOf(w *waiting.Waiter, collected *collection) reclaim.Waiter {
	r := reclaim.Waiter{Asks: w.Asks, NeverPreempts: w.NeverPreempts, Since: w.Since, LacksRoom: w.LacksRoom()}
	if collected != nil {
		for _, kept := range collected.kept {
			r.Kept = r.Kept.Add(kept.amount)
		}
	}
	return r
}

// look is what a plan for a waiter has to be about; false if it does not wait any more, or somebody leaves for it already.
func (l *Ledger) look(now time.Time, id types.UID) (reclaim.Case, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.waiting.Of(id)
	if w == nil || l.waits.reclaims(id) {
		return reclaim.Case{}, false
	}
	w.Claimed = now
	looked := reclaim.Case{Waiter: reclaimerOf(w, l.collections.of(id)), Title: w.Turn.Gang.String(), Pods: l.waits.asks(id)}
	if object := l.members.object(id); object != nil {
		looked.Title = object.Namespace + "/" + object.Name
	}
	if p := l.members.pods[id]; p != nil {
		looked.Only, p.only = p.only, nil // by the next look it may not be true any more
	}
	if c := l.collections.of(id); c != nil {
		looked.KeptOn = c.amounts()
	}
	return looked, true
}

// protect notes for how long those are protected who would have to go for a waiter, and tells its user.
func (l *Ledger) protect(now time.Time, id types.UID, protection quota.Protection) []Effect {
	return l.hold(now, func() {
		w := l.waiting.Of(id)
		if w == nil {
			return
		}
		former := w.Protection
		w.Protection = protection
		if !protection.Until.IsZero() && former.String() != protection.String() {
			l.waits.tellAgain(w)
		}
		l.settleLocked()
	})
}

// execute lets those of a plan go, if it still holds, and tells whether they do.
func (l *Ledger) execute(now time.Time, id types.UID, plan reclaim.Plan) (done bool, effects []Effect) {
	effects = l.hold(now, func() {
		if done = l.reclaims.execute(id, &plan); done || len(l.outcome.effects) > 0 {
			l.settleLocked()
		}
	})
	return done, effects
}

func (rs *reclaims) execute(id types.UID, plan *reclaim.Plan) bool {
	w := rs.waiting.Of(id)
	if w == nil || rs.waits.reclaims(id) {
		return false
	}
	if !rs.valid(w, plan) {
		w.Claimed = time.Time{} // to be planned anew
		return false
	}
	switch spec, _ := rs.accounts.queues.Spec(w.Asks.Queue); {
	case spec.Reclaim.DryRun && len(plan.Victims) == 0:
		return false
	case spec.Reclaim.DryRun:
		rs.waits.tell(w, gang.Verdict{Reason: gang.WouldReclaim, Detail: plan.Taking("would take back ")})
		return false
	default:
		rs.take(w, plan, spec.Reclaim.Grace)
		return true
	}
}
