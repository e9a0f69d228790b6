package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
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

// victim is something that may be taken back, with what that means on nodes.
type victim struct {
	quota.Victim
	entry *entry // whose slots or whole gang it is; nil for a pod by itself
	pods  []*pod // that have to go, workers before their leader
}

// eachRoom is what comes free where.
func (v *victim) eachRoom(f func(node string, amount resource.Vector)) {
	for _, p := range v.pods {
		f(p.placed, p.Requests)
	}
	if v.entry == nil || v.Kind == quota.Elastic {
		return
	}
	for _, slot := range v.entry.Slots {
		if slot.Worker == "" && slot.Node != "" {
			f(slot.Node, slot.Requests)
		}
	}
}

// reclaimLocked makes room for those who may take it back from others: of every queue the first in turn, and who comes after
// it if it may not.
func (l *Ledger) reclaimLocked() {
	for _, c := range slices.Clone(l.collections) {
		if c.reclaim != nil && !c.complete() && !l.comesLocked(c.reclaim) {
			l.waiting.byPod[c.waiter].claimed = time.Time{}
			l.abandonLocked(c)
		}
	}
	var victims map[types.UID]*victim
	looked, claimed := 0, map[string]bool{} // queue -> has taken something back in this tick
	lowest := l.lowestLocked()
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

// comesLocked tells whether somebody still has to leave. Otherwise what they left has gone to another claim on the same node,
// which then needed less of what was to leave for it.
func (l *Ledger) comesLocked(r *reclaim) bool {
	return slices.ContainsFunc(r.pods, func(p *pod) bool { return l.pods[p.UID] == p && p.placed != "" })
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
	case !verdict.Passes() || w.shape.rehearsed || w.shape.verdict.Reason != gang.ClusterFull && w.shape.verdict.Reason != gang.Fragmented:
		return wish, false
	default:
		free := l.nodes.total
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
		if all := l.nodes.capacity.Of(name); lacking.Of(name) > 0 && all-l.nodes.total.Of(name) >= all/100*percent {
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

// lowestLocked is the lowest priority of what may be taken back.
func (l *Ledger) lowestLocked() int32 {
	lowest := int32(1<<31 - 1)
	for priority := range l.priorities {
		lowest = min(lowest, priority)
	}
	return lowest
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

// leaves tells whether something of it is on its way out already.
func (v *victim) leaves() bool {
	return v.entry != nil && v.entry.taker != "" || slices.ContainsFunc(v.pods, (*pod).leaves)
}

// leaves tells whether a pod has to go, or is going.
func (p *pod) leaves() bool { return p.taker != "" || p.Object.DeletionTimestamp != nil }

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

// victimsLocked is everything that may be taken back from somebody, rules of queues aside.
func (l *Ledger) victimsLocked() map[types.UID]*victim {
	all := map[types.UID]*victim{}
	add := func(v *victim) {
		v.Protected = slices.ContainsFunc(v.pods, func(p *pod) bool { return l.protectedLocked(p, v.pods) })
		all[v.ID] = v
	}
	of := func(key gang.Key, namespace string, kind quota.Kind, id types.UID, p *pod, amount resource.Vector) quota.Victim {
		return quota.Victim{
			ID: id, Kind: kind, Gang: key.String(), Queue: l.queueOfLocked(namespace),
			Priority: p.Priority, Since: p.Created, Amount: amount,
		}
	}
	for _, p := range l.pods {
		if p.placed == "" || p.Foreign || p.Kind == Leader || p.Kind == Worker && l.gangOfLocked(p) != nil {
			continue
		}
		kind, key := quota.Gang, gang.Key{Namespace: p.Namespace, Name: string(p.UID)}
		if p.Kind == Worker {
			kind, key = quota.Elastic, p.Gang // nobody knows how many of them its leader needs
		}
		add(&victim{Victim: of(key, p.Namespace, kind, p.UID, p, p.Requests), pods: []*pod{p}})
	}
	for _, e := range l.gangs {
		if e.Phase != gang.Running {
			continue
		}
		namespace, members := e.Key.Namespace, l.membersLocked(e)
		if _, open := e.Counts(); open > 0 && e.leader.Ready && l.now.Sub(e.progress) >= slotPatience {
			add(&victim{Victim: of(e.Key, namespace, quota.Slot, "slots of "+e.leader.UID, e.leader, e.open), entry: e})
		}
		for _, p := range e.expendable(members) {
			add(&victim{Victim: of(e.Key, namespace, quota.Elastic, p.UID, p, p.Requests), entry: e, pods: []*pod{p}})
		}
		whole := e.open
		for _, p := range members {
			whole = whole.Add(p.Requests)
		}
		if len(members) > 0 {
			add(&victim{Victim: of(e.Key, namespace, quota.Gang, "gang of "+e.leader.UID, e.leader, whole), entry: e, pods: members})
		}
	}
	return all
}

// membersLocked are the pods of a gang that have a node: workers by age, then their leader.
func (l *Ledger) membersLocked(e *entry) []*pod {
	var members []*pod
	for _, p := range l.apps[e.Key].workers {
		if p.placed != "" && l.gangOfLocked(p) == e {
			members = append(members, p)
		}
	}
	slices.SortFunc(members, func(a, b *pod) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.UID, b.UID))
	})
	if e.upfront == nil && e.leader.placed != "" {
		members = append(members, e.leader)
	}
	return members
}

// expendable are the youngest workers beyond those that the gang needs to go on, of each role.
func (e *entry) expendable(members []*pod) []*pod {
	var expendable []*pod
	staying := map[string]int{} // role -> workers
	for _, p := range members {
		if p.Kind == Worker && !p.leaves() {
			staying[p.Role]++
		}
	}
	for _, p := range slices.Backward(members) {
		if p.Kind != Worker || p.leaves() {
			continue
		}
		needed := 0
		if role := e.Gang.Definition.Role(p.Role); role != nil {
			needed = role.Minimum
		}
		if staying[p.Role] > needed {
			staying[p.Role]--
			expendable = append(expendable, p)
		}
	}
	return expendable
}

// protectedLocked tells whether a PodDisruptionBudget has no room for all of some pods that it selects, of which this is one.
func (l *Ledger) protectedLocked(p *pod, together []*pod) bool {
	for _, b := range l.budgets[p.Namespace] {
		if !b.Selector.Matches(labels.Set(p.Object.Labels)) {
			continue
		}
		selected := 0
		for _, other := range together {
			if b.Selector.Matches(labels.Set(other.Object.Labels)) {
				selected++
			}
		}
		if selected > b.Allowed {
			return true
		}
	}
	return false
}

func (l *Ledger) forgetBudgetLocked(namespace, name string) {
	rest := slices.DeleteFunc(l.budgets[namespace], func(b Budget) bool { return b.Name == name })
	if l.budgets[namespace] = rest; len(rest) == 0 {
		delete(l.budgets, namespace)
	}
}

// trial tries what a waiter would have if some had gone.
type trial struct {
	ledger *Ledger
	waiter *waiter
	wants  []want
	gang   placement.Gang
	view   *View
	all    map[types.UID]*victim
	// leaving is what comes free without anybody's doing: node -> amount.
	leaving map[int]resource.Vector
	// counts are how many pods of each want the nodes take as they are with that, if they take nothing else.
	counts []int
	choice quota.Choice
}

func (l *Ledger) trialLocked(w *waiter, all map[types.UID]*victim) *trial {
	t := &trial{ledger: l, waiter: w, wants: l.wantsLocked(w.uid()), view: l.viewForLocked(w.uid()), all: all, leaving: map[int]resource.Vector{}}
	t.gang.Strategy = l.strategyLocked(w.turn.gang.Namespace)
	for _, want := range t.wants {
		eligible := func(node int) bool { return want.eligible(t.view.Object(node)) }
		t.gang.Roles = append(t.gang.Roles, placement.Role{Member: placement.Member{Request: want.requests, Eligible: eligible}, Count: want.count})
	}
	for _, p := range l.leaving {
		if i, known := t.view.Index(p.placed); known && p.taker == "" {
			t.leaving[i] = t.leaving[i].Add(p.Requests)
		}
	}
	t.counts = make([]int, len(t.wants))
	for i := range t.view.Len() {
		free := t.view.Free(i).Add(t.leaving[i])
		for w := range t.wants {
			t.counts[w] += t.takes(w, i, free)
		}
	}
	return t
}

// takes is how many pods of a want a node takes that has so much free.
func (t *trial) takes(w, node int, free resource.Vector) int {
	if object := t.view.Object(node); object == nil || !t.wants[w].eligible(object) {
		return 0
	}
	return t.wants[w].requests.Count(free, t.wants[w].count)
}

// vacated is a View in which more is free on some nodes.
type vacated struct {
	*View
	free map[int]*resource.Vector
}

// Free is what is free with what has gone.
func (v vacated) Free(i int) *resource.Vector {
	if free := v.free[i]; free != nil {
		return free
	}
	return v.View.Free(i)
}

// without is the cluster when some have gone.
func (t *trial) without(gone []quota.Victim) vacated {
	v := vacated{t.view, map[int]*resource.Vector{}}
	add := func(i int, amount resource.Vector) {
		if v.free[i] == nil {
			before := *t.view.Free(i)
			v.free[i] = &before
		}
		*v.free[i] = v.free[i].Add(amount)
	}
	for i, amount := range t.leaving {
		add(i, amount)
	}
	for _, victim := range gone {
		t.all[victim.ID].eachRoom(func(node string, amount resource.Vector) {
			if i, known := t.view.Index(node); known {
				add(i, amount)
			}
		})
	}
	return v
}

// enough tells whether the waiter fits when some have gone: its queue, and the nodes.
func (t *trial) enough(gone []quota.Victim) bool {
	room := t.without(gone)
	for w := range t.wants {
		count := t.counts[w]
		for i, free := range room.free {
			count += t.takes(w, i, *free) - t.takes(w, i, t.view.Free(i).Add(t.leaving[i]))
		}
		if count < t.wants[w].count {
			return false
		}
	}
	return t.allowed(gone) && t.fits(room)
}

func (t *trial) fits(room vacated) bool {
	_, shortage := t.ledger.solver.Fit(room, t.gang)
	return shortage == nil
}

// allowed tells whether the queue would let the waiter start. What a gang holds is all charged to its own queue.
func (t *trial) allowed(gone []quota.Victim) bool {
	queues, asks := t.ledger.queues, t.waiter.asks
	for _, v := range gone {
		queues.Release(v.Queue, quota.Demand{Amount: v.Amount})
	}
	verdict := queues.Fits(asks.Queue, asks.Demand)
	for _, v := range gone {
		queues.Charge(v.Queue, quota.Demand{Amount: v.Amount})
	}
	return verdict.Passes()
}

// plan is where the waiter's pods go when the chosen ones have gone; a Role is an index into wants.
func (t *trial) plan() ([]placement.Slots, bool) {
	fit, shortage := t.ledger.solver.Fit(t.without(t.choice.Victims), t.gang)
	if shortage != nil {
		return nil, false
	}
	return fit.Plan(placement.NoNode)
}

// summary is what is taken from whom.
func (t *trial) summary() string {
	type part struct {
		amount resource.Vector
		kinds  [quota.Gang + 1]int
	}
	from := map[string]*part{} // queue -> what it gives
	for _, v := range t.choice.Victims {
		if from[v.Queue] == nil {
			from[v.Queue] = &part{}
		}
		from[v.Queue].amount = from[v.Queue].amount.Add(v.Amount)
		from[v.Queue].kinds[v.Kind]++
	}
	var parts []string
	for _, queue := range slices.Sorted(maps.Keys(from)) {
		p := from[queue]
		var kinds []string
		for kind, word := range []string{quota.Slot: "gangs whose slots nobody has claimed", quota.Elastic: "expendable workers", quota.Gang: "whole gangs"} {
			if p.kinds[kind] > 0 {
				kinds = append(kinds, fmt.Sprintf("%s: %d", word, p.kinds[kind]))
			}
		}
		parts = append(parts, fmt.Sprintf("%s from %s (%s)", p.amount, titleOf(queue), strings.Join(kinds, ", ")))
	}
	return strings.Join(parts, "; ")
}

// titleOf is a queue's name for people.
func titleOf(queue string) string {
	if queue == quota.Unassigned {
		return "namespaces without a queue"
	}
	return "queue " + queue
}

// why is what the user of a victim reads; of a pod of it, or of its slots if that is nil.
func (t *trial) why(v *victim, p *pod) string {
	what, taker := "its slots that nobody has claimed", t.waiter
	if p != nil {
		what = "this pod"
		if v.Kind == quota.Gang && v.entry != nil {
			what = "this pod, with its whole gang,"
		}
	}
	who := taker.turn.gang.String()
	if object := t.ledger.objectLocked(taker.uid()); object != nil {
		who = object.Namespace + "/" + object.Name
	}
	if v.Queue == taker.asks.Queue {
		return fmt.Sprintf("%s of %s makes place for %s, whose priority is %d; this one has %d", what, v.Amount, who, taker.asks.Priority, v.Priority)
	}
	return fmt.Sprintf("%s was borrowed (%s) by %s, and goes back to %s for %s, which is within its guarantee",
		what, v.Amount, titleOf(v.Queue), titleOf(taker.asks.Queue), who)
}
