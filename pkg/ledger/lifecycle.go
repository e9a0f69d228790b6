package ledger

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/waiting"
)

// lifecycle is the way of a pod, and of the gang that it leads, from the first sight to the end: what a pod has on its node, in its
// gang and with its queue is given back when it ends, whatever happened between.
type lifecycle struct {
	nodes    *inventory.Nodes
	members  *members
	outcome  *outcome
	victims  *victims
	accounts *accounts
	slots    *slots
	waits    *waits
	waiting  *waiting.Room
	upfronts *upfronts
	scaleUps *scaleUps
	totals   *totals
}

// see takes a pod's new state. One that is being deleted before it has a node will never run, whoever holds up its
// deletion: it has ended.
func (lc *lifecycle) see(seen Pod) {
	if seen.doomed() && (lc.members.pods[seen.UID] == nil || lc.members.pods[seen.UID].placed == "") {
		lc.lose(seen.UID)
		return
	}
	shown := seen.Part
	lc.members.selectors.assignRole(&seen)
	p := lc.members.pods[seen.UID]
	if p == nil {
		p = &pod{Pod: seen, shown: shown}
		lc.members.pods[seen.UID] = p
		lc.members.selectors.addPod(p)
		lc.join(p)
	} else {
		p.shown = shown
		lc.update(p, seen)
	}
	if e := lc.members.gangOf(p); e != nil && p.Kind == Worker {
		lc.slots.measure(e, p)
	}
	if seen.Node != "" {
		lc.place(p, seen.Node, true)
	}
	if e := lc.members.gangs[p.UID]; e != nil && e.Phase.Admitted() {
		p.Reservation = nil // it has been resumed, or was admitted here
	}
	if seen.Object.DeletionTimestamp != nil && p.placed != "" {
		lc.victims.leaving[seen.UID] = p
	}
}

// update takes the new state of a pod seen before.
func (lc *lifecycle) update(p *pod, seen Pod) {
	defer lc.accounts.chargeAgain(p, p.User)
	if seen.Reservation == nil {
		seen.Reservation = p.Reservation
	}
	if more, stays := seen.Requests.Sub(p.Requests), permanent(&seen).Sub(permanent(&p.Pod)); p.placed != "" && !(more.IsZero() && stays.IsZero()) {
		lc.nodes.Use(p.placed, more)
		lc.nodes.Stay(p.placed, stays)
	}
	if !maps.Equal(p.Labels, seen.Labels) {
		lc.members.selectors.removePod(p)
		defer lc.members.selectors.addPod(p)
	}
	if p.Part != seen.Part {
		// Somebody changed its labels, or a gang was defined or has ended.
		lc.leave(p)
		p.Pod, p.roams = seen, false
		lc.join(p)
		lc.work(p)
		lc.outcome.revise(p)
		return
	}
	mended := p.Upfront && (p.Together != seen.Together || p.Problem != seen.Problem)
	ready, ranked, held := seen.Ready != p.Ready, seen.Rank != p.Rank, seen.Held != p.Held
	p.Pod = seen
	e := lc.members.gangs[p.UID]
	if e != nil && ready {
		e.progress = lc.outcome.now
		lc.restore(e)
	}
	if ranked && lc.waiting.Of(p.UID) != nil {
		lc.outcome.revise(p) // it waits elsewhere now
	}
	if held && e != nil && e.Phase == gang.Waiting {
		lc.hold(e)
	}
	if mended {
		lc.members.apps[p.Gang].recount(p)
		lc.upfronts.muster(p.Gang)
		lc.outcome.revise(p)
	}
}

// join brings a pod to its gang.
func (lc *lifecycle) join(p *pod) {
	lc.upfronts.share(p, 1)
	if p.Kind == Lone {
		return
	}
	a := lc.members.apps[p.Gang]
	if a == nil {
		a = &app{workers: map[types.UID]*pod{}}
		lc.members.apps[p.Gang] = a
	}
	if p.Kind == Worker {
		a.workers[p.UID] = p
		if p.Upfront {
			lc.upfronts.assemble(a, p)
		}
		return
	}
	e := &entry{Gang: gang.New(p.Gang, p.UID), leader: p}
	lc.members.gangs[p.UID] = e
	a.leaders = append(a.leaders, e)
	switch owner := a.leaders[0]; {
	case owner == e:
		lc.accounts.chargeWorkers(a)
		lc.form(e)
	case owner.upfront != nil:
		lc.endGang(owner) // there is a leader after all
	default:
		lc.contest(a, e)
	}
}

// contest gives the key to a leader if its owner holds nothing and has less right to it: a leader that runs goes
// before one that waits, and of those that wait the oldest goes first, in whatever order they were seen.
func (lc *lifecycle) contest(a *app, e *entry) {
	owner := a.leaders[0]
	if owner == e || owner.leader.placed != "" || e.leader.compare(owner.leader) > 0 {
		return
	}
	lc.waits.endWait(owner.leader.UID)
	lc.members.selectors.remove(owner)
	lc.unassignRoles(a)
	owner.Gang = gang.New(owner.Key, owner.leader.UID)
	a.leaders = slices.DeleteFunc(a.leaders, func(other *entry) bool { return other == e })
	a.leaders = slices.Insert(a.leaders, 0, e)
	lc.accounts.chargeWorkers(a)
	lc.form(e)
}

// form starts a gang that owns its key: from the reservation its leader carries, or by asking for a definition.
func (lc *lifecycle) form(e *entry) {
	switch {
	case e.leader.Node == "" || e.leader.Reservation == nil:
		lc.outcome.effects = append(lc.outcome.effects, Define{e.leader.Object})
	case e.leader.placed != "": // else it is resumed when it has taken its own place
		lc.resume(e)
	}
}

// restore lets a gang that has lost its slots because its leader was not ready wait for its workers again, now that the leader is
// ready, as soon as its queue has room for them: it may not have, since others have used it meanwhile. Nodes that have room are sought
// with the event.
func (lc *lifecycle) restore(e *entry) {
	if !e.released || e.unconfirmed != nil || !e.leader.Ready || e.Phase != gang.Running {
		return
	}
	demand := quota.Demand{User: e.leader.User, Amount: e.Missing()}
	if !lc.waits.fits(e.leader.UID, lc.accounts.queueOf(e.Key.Namespace), demand).Passes() {
		return
	}
	e.released = false
	lc.slots.step(e, gang.Restored{})
	lc.slots.unsettled[e] = struct{}{}
	lc.outcome.save(e)
}

// restoreAll restores the gangs whose leaders have become ready while their queues had no room, the first in turn first.
func (lc *lifecycle) restoreAll() {
	var ready []*entry
	for _, e := range lc.members.gangs {
		if e.released && e.leader.Ready {
			ready = append(ready, e)
		}
	}
	slices.SortFunc(ready, func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) })
	for _, e := range ready {
		lc.restore(e)
	}
}

// hold takes that the user of a gang that waits keeps it from starting, or does not any more. An attempt that is under way counts for
// nothing.
func (lc *lifecycle) hold(e *entry) {
	lc.members.renew(e)
	lc.waits.endWait(e.leader.UID)
	lc.outcome.revise(e.leader)
}

// lose forgets a pod that has ended.
func (lc *lifecycle) lose(uid types.UID) {
	p := lc.members.pods[uid]
	if p == nil {
		return
	}
	delete(lc.members.pods, uid)
	delete(lc.victims.leaving, uid)
	lc.members.selectors.removePod(p)
	if p.placed != "" {
		if p.called && p.preemptor != "" {
			lc.totals.lose(quota.Written(lc.accounts.queueOf(p.Namespace)), p, lc.outcome.now)
		}
		p.use(lc.nodes, -1)
		p.placed = ""
		lc.accounts.chargePod(p)
	}
	lc.leave(p)
}

// leave takes a pod out of its gang, and out of its wait.
func (lc *lifecycle) leave(p *pod) {
	lc.upfronts.share(p, -1)
	lc.waits.endWait(p.UID)
	switch p.Kind {
	case Worker:
		if e := lc.members.gangOf(p); e != nil {
			slots := len(e.Slots)
			lc.slots.step(e, gang.WorkerGone{Worker: p.UID})
			lc.slots.unsettled[e] = struct{}{}
			e.progress = lc.outcome.now
			if len(e.Slots) != slots {
				lc.outcome.save(e)
			}
		}
		delete(lc.members.apps[p.Gang].workers, p.UID)
		if p.Upfront {
			lc.upfronts.desert(lc.members.apps[p.Gang], p)
		}
	case Leader:
		lc.endGang(lc.members.gangs[p.UID])
	}
	if a := lc.members.apps[p.Gang]; a != nil && len(a.leaders) == 0 && len(a.workers) == 0 {
		delete(lc.members.apps, p.Gang)
	}
}

// endGang gives back what a gang holds; the next leader that claims the key, if any, owns it from now on.
func (lc *lifecycle) endGang(e *entry) {
	lc.slots.step(e, gang.Ended{})
	lc.members.selectors.remove(e)
	lc.waits.endWait(e.leader.UID)
	delete(lc.members.gangs, e.leader.UID)
	delete(lc.slots.degraded, e)
	delete(lc.upfronts.barred, e)
	delete(lc.upfronts.resting, e)
	delete(lc.upfronts.returning, e)
	delete(lc.members.unheard, e)
	a := lc.members.apps[e.Key]
	owned := a.leaders[0] == e
	a.leaders = slices.DeleteFunc(a.leaders, func(other *entry) bool { return other == e })
	if !owned {
		return
	}
	lc.unassignRoles(a)
	slices.SortFunc(a.leaders, func(a, b *entry) int { return a.leader.compare(b.leader) })
	for _, p := range sorted(a.workers) {
		lc.accounts.chargePod(p)
		lc.outcome.revise(p)
	}
	if len(a.leaders) > 0 {
		lc.form(a.leaders[0])
	} else {
		lc.upfronts.muster(e.Key)
	}
}

// place counts a pod on a node, assumed or bound.
func (lc *lifecycle) place(p *pod, node string, bound bool) {
	if p.placed != "" && p.placed != node {
		// Another scheduler was faster and put the pod elsewhere.
		lc.unplace(p)
	}
	first := p.placed == ""
	if first {
		p.placed, p.started = node, lc.outcome.now
		if at := boundAt(p.Object); !at.IsZero() && at.Before(lc.outcome.now) {
			p.started = at // before this process
		}
		p.use(lc.nodes, 1)
		lc.accounts.chargePod(p)
		lc.waits.started(p.UID)
	}
	confirmed := bound && !p.bound
	p.bound = p.bound || bound
	p.roams = false
	if confirmed && p.Upfront {
		lc.members.apps[p.Gang].bound++
	}
	if confirmed && !first && p.Kind == Lone && !p.Foreign {
		lc.begun(p.Namespace, p.Created, p.started)
	}
	if p.Kind == Leader && bound {
		lc.contest(lc.members.apps[p.Gang], lc.members.gangs[p.UID])
	}

	e := lc.members.gangOf(p)
	switch {
	case e == nil:
	case p.Kind == Leader && bound && e.Phase == gang.Reserved:
		lc.slots.step(e, gang.Seated{})
		lc.begun(p.Namespace, p.Created, p.started)
	case p.Kind == Leader && bound && e.Phase != gang.Running:
		lc.resume(e)
	case p.Kind == Worker && first:
		lc.slots.step(e, gang.WorkerPlaced{Worker: p.UID, Role: p.Role, Node: node, Requests: p.Requests})
		e.progress = lc.outcome.now
		lc.upfronts.unbar(e)
		if bound && e.preemptor != "" {
			lc.waits.follow(e, p)
		}
	}
	if confirmed && p.Upfront {
		if e != nil && e.upfront != nil && !e.upfront.whole && e.whole(lc.members.apps[p.Gang]) && !e.upfront.began.IsZero() {
			lc.begun(p.Namespace, e.leader.Created, e.upfront.began)
		}
		lc.upfronts.muster(p.Gang)
	}
}

// begun counts a gang, or a pod by itself, that has been bound, and since when it had room.
func (lc *lifecycle) begun(namespace string, created, room time.Time) {
	lc.totals.start(quota.Written(lc.accounts.queueOf(namespace)), created, room, lc.outcome.now)
}

// unplace is the inverse of lifecycle.place.
func (lc *lifecycle) unplace(p *pod) {
	if p.placed == "" {
		return
	}
	p.use(lc.nodes, -1)
	if p.bound && p.Upfront {
		lc.members.apps[p.Gang].bound--
	}
	p.placed, p.bound, p.called = "", false, false
	if p.preemptor != "" { // it has gone from there, and may be scheduled again
		p.preemptor = ""
		lc.outcome.revise(p)
	}
	delete(lc.victims.leaving, p.UID)
	lc.accounts.chargePod(p)
	e := lc.members.gangOf(p)
	switch {
	case e == nil:
	case p.Kind == Leader:
		lc.slots.step(e, gang.Unseated{})
		delete(lc.slots.degraded, e)
	case p.Kind == Worker:
		lc.slots.step(e, gang.WorkerUnplaced{Worker: p.UID})
		lc.slots.unsettled[e] = struct{}{}
		lc.upfronts.stranded(e)
	}
}

// define takes the answer to Define.
func (lc *lifecycle) define(leader types.UID, event gang.Event) {
	e := lc.members.gangs[leader]
	if e == nil || lc.members.gangOf(e.leader) != e {
		return
	}
	if e.unconfirmed != nil {
		lc.confirm(e, event)
		return
	}
	lc.slots.step(e, event)
	e.eligibility = nil
	lc.waits.endWait(leader)
	switch e.Phase {
	case gang.Waiting:
		lc.assignRoles(e)
	case gang.Invalid:
		lc.members.selectors.remove(e)
		lc.unassignRoles(lc.members.apps[e.Key])
	}
	switch {
	case e.leader.bound && e.Phase == gang.Waiting:
		lc.resume(e)
	case e.Phase == gang.Invalid:
		lc.outcome.effects = append(lc.outcome.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.InvalidGang, Message: e.Problem}})
	default:
		lc.outcome.effects = append(lc.outcome.effects, Activate{e.leader.Object})
	}
}

// admit reserves everything or nothing.
func (lc *lifecycle) admit(a Admitted) error {
	e := lc.members.gangs[a.Leader]
	if e != nil && (e.Definition.Rehearsed || a.Took >= waiting.CostlyAnswer) { // whatever comes of it
		waiting.Answered(lc.waiting, e.Key.Namespace, a.Took, lc.outcome.now)
	}
	if e == nil || lc.members.gangOf(e.leader) != e || e.Phase != gang.Waiting || e.leader.placed != "" || e.leader.Held || e.edition != a.Edition {
		return ErrNotWaiting
	}
	if !lc.waits.fits(e.leader.UID, lc.accounts.queueOf(e.Key.Namespace), demandOnQueue(e)).Passes() {
		return ErrOverQuota
	}
	if e.upfront == nil {
		lc.place(e.leader, a.Node, false)
	} else {
		lc.waits.started(e.leader.UID)
	}
	lc.slots.step(e, gang.Admitted{Slots: slices.Clone(a.Slots)})
	if lc.roomGone(e, a) {
		if e.upfront == nil {
			lc.unplace(e.leader)
		} else {
			lc.slots.step(e, gang.Unseated{})
		}
		return ErrRoomGone
	}
	lc.gather(e)
	if e.upfront == nil && len(e.Slots) < len(a.Slots) {
		// A worker that was there already has shown that they are larger than predicted, and there is no room for all of them.
		lc.unplace(e.leader)
		return ErrRoomGone
	}
	if e.upfront != nil {
		lc.upfronts.barred[e] = struct{}{}
		lc.upfronts.unbar(e)
	}
	return nil
}

// roomGone tells whether a node of an admission holds more than it has with it, or may not hold its workers any more: it was cordoned since
// it was chosen, say. The whole gang is tried again then; with slots that have to move at once it could start with fewer than it needs.
func (lc *lifecycle) roomGone(e *entry, a Admitted) bool {
	if e.upfront == nil {
		asked := e.leader.Requests
		if node := lc.nodes.Of(a.Node); !asked.Fits(node.Free.Add(asked)) {
			return true
		}
	}
	for i, slot := range a.Slots {
		node := lc.nodes.Of(slot.Node)
		if node.Object == nil || !slot.Requests.Fits(node.Free.Add(slot.Requests)) {
			return true
		}
		asked := i > 0 && a.Slots[i-1].Role == slot.Role && a.Slots[i-1].Node == slot.Node
		if !asked && !e.eligible(slot.Role, node.Object) {
			return true
		}
	}
	return false
}

// tries tells whether somebody who waits is being tried.
func (lc *lifecycle) tries(uid types.UID) bool {
	w := lc.waiting.Of(uid)
	return w != nil && w.Trying()
}

// refuse makes a pod wait that did not fit.
func (lc *lifecycle) refuse(r Refused) {
	p := lc.members.pods[r.UID]
	if p == nil || p.placed != "" {
		return
	}
	if p.Kind == Leader && p.Held || !r.Verdict.Passes() && r.Edition != lc.members.editionOf(p) {
		lc.outdate(p, r)
		return
	}
	e := lc.members.gangOf(p)
	if e != nil && r.Edition > 0 && e.Definition.Rehearsed && r.Verdict.Passes() { // the rehearsal has succeeded, and something else has not
		waiting.Answered(lc.waiting, e.Key.Namespace, r.Took, lc.outcome.now)
	}
	tried := p // who waits now that the attempt has failed
	if e != nil && e.tries(p) {
		tried = e.leader
	}
	tried.picky, tried.only = r.Only != nil, r.Only
	switch {
	case tried.Kind == Worker && e != nil && !p.roams:
		p.roams = true
		lc.outcome.effects = append(lc.outcome.effects, Activate{p.Object})
		return
	case r.Behind && tried.defers(lc.waiting, lc.waits.collections.of(tried.UID), lc.outcome.now):
		if r.Rehearsed {
			waiting.Answered(lc.waiting, tried.Namespace, r.Took, lc.outcome.now)
		}
		return
	case r.Verdict.Passes() && lc.waits.keepsOn(tried):
		return
	case r.Behind && r.Verdict.Passes():
		// What is kept for it goes to others. Nobody wakes it when the snapshot has caught up at last.
		switch waits := lc.waiting.Of(tried.UID) != nil; {
		case lc.tries(tried.UID):
			lc.waits.endCollectionOf(tried.UID)
			lc.waiting.Missed(tried.UID, lc.outcome.now)
		case waits || tried.Kind == Leader:
			lc.waits.endWait(tried.UID)
		default:
			lc.waiting.Failed(lc.waits.parkAlone(tried), waiting.Failure{Epoch: r.Epoch, Verdict: notSeen, Alone: true}, lc.outcome.now)
		}
		return
	case r.Verdict.Passes():
		// Refused for something else than room: whatever refused it wakes it.
		lc.waits.endWait(tried.UID)
		return
	}
	var w *waiting.Waiter
	if tried.Kind == Leader && e != nil {
		w = lc.waits.park(e)
		// Through the Gate again, which keeps it there.
		lc.outcome.effects = append(lc.outcome.effects, Activate{p.Object})
	} else {
		w = lc.waits.parkAlone(p)
	}
	lc.members.spread(w.ID())
	if r.Verdict.Reason == gang.BehindOthers { // nothing was tried
		w.TurnedAway()
	} else {
		w.Hears(r.Verdict.Reason, true) // kube-scheduler tells of an attempt that has failed
	}
	lc.waiting.Failed(w, waiting.Failure{Epoch: r.Epoch, Verdict: r.Verdict, Alone: r.Alone || r.Behind, Rehearsed: r.Rehearsed, Cut: r.Cut, Took: r.Took}, lc.outcome.now)
	if r.Cut {
		return // what it lacks, if anything, is not known yet
	}
	lc.scaleUps.lacks(w, r)
	switch {
	case r.Verdict.Reason == gang.BehindOthers: // nothing was tried
	case r.Verdict.OfQueue() && lc.waits.reclaims(w.ID()):
		// Somebody else was let in meanwhile, and it has what it waits for when those have gone who have to go for it.
	default:
		if c := lc.waits.collections.of(w.ID()); r.Rehearsed && e != nil && c != nil && c.preemption != nil && c.complete() && c.tried {
			e.inVain.again(lc.outcome.now)
		}
		lc.waits.disappoint(w)
	}
}

// notSeen is why a pod waits for a while that the scheduler's snapshot refuses and the ledger does not.
var notSeen = gang.Verdict{Reason: gang.Constraints, Message: "kube-scheduler's cache does not show what the ledger knows"}

// outdate takes that an attempt has failed for something that its pod does not stand for any more: all that is left of it is what it has
// cost. The pod passes the Gate again.
func (lc *lifecycle) outdate(p *pod, r Refused) {
	switch {
	case r.Rehearsed:
		waiting.RehearsedInVain(lc.waiting, p.Namespace, r.Took, lc.outcome.now)
	case r.Took >= waiting.CostlyAnswer:
		waiting.Answered(lc.waiting, p.Namespace, r.Took, lc.outcome.now)
	}
	lc.waits.endWait(lc.members.waiterOf(p))
	lc.outcome.revise(p)
}

// assignRoles finds out what the pods are that a gang selects which has just been defined.
func (lc *lifecycle) assignRoles(e *entry) {
	candidates := lc.members.selectors.register(e)
	maps.Copy(candidates, lc.members.apps[e.Key].workers)
	for _, p := range sorted(candidates) {
		lc.reconsider(p)
	}
}

// reconsider finds out anew what a pod is in which gang.
func (lc *lifecycle) reconsider(p *pod) {
	seen := p.Pod
	seen.Part = p.shown
	lc.members.selectors.assignRole(&seen)
	if seen.Part != p.Part {
		lc.update(p, seen)
	}
}

// unassignRoles reconsiders the workers of an application that are workers only because a role, which may be gone,
// selected them.
func (lc *lifecycle) unassignRoles(a *app) {
	for _, p := range sorted(a.workers) {
		if p.Part != p.shown {
			lc.reconsider(p)
		}
	}
}

// work lets a placed pod that was found to be a worker take its place in the gang.
func (lc *lifecycle) work(p *pod) {
	if e := lc.members.gangOf(p); e != nil && p.Kind == Worker && p.placed != "" {
		lc.slots.measure(e, p)
		lc.slots.step(e, gang.WorkerPlaced{Worker: p.UID, Role: p.Role, Node: p.placed, Requests: p.Requests})
	}
}
