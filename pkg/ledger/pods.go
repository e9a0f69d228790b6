package ledger

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/waiting"
)

// part is what a pod is in a gang.
type part struct {
	kind   Kind
	gang   gang.Key
	leader types.UID
	role   string
	// upfront as in Pod.
	upfront bool
}

func (p *Pod) part() part { return part{p.Kind, p.Gang, p.Leader, p.Role, p.Upfront} }

func (p *Pod) play(a part) {
	p.Kind, p.Gang, p.Leader, p.Role, p.Upfront = a.kind, a.gang, a.leader, a.role, a.upfront
}

// seePodLocked takes a pod's new state. One that is being deleted before it has a node will never run, whoever holds up its
// deletion: it has ended.
func (l *Ledger) seePodLocked(seen Pod) {
	if seen.doomed() && (l.pods[seen.UID] == nil || l.pods[seen.UID].placed == "") {
		l.losePodLocked(seen.UID)
		return
	}
	shown := seen.part()
	l.selectors.assignRole(&seen)
	p := l.pods[seen.UID]
	if p == nil {
		p = &pod{Pod: seen, shown: shown}
		l.pods[seen.UID] = p
		l.selectors.addPod(p)
		l.joinLocked(p)
	} else {
		p.shown = shown
		l.updateLocked(p, seen)
	}
	if e := l.gangOfLocked(p); e != nil && p.Kind == Worker {
		l.measureLocked(e, p)
	}
	if seen.Node != "" {
		l.placeLocked(p, seen.Node, true)
	}
	if seen.Object.DeletionTimestamp != nil && p.placed != "" {
		l.victims.leaving[seen.UID] = p
	}
}

// doomed tells whether a pod is being deleted and has no node.
func (p *Pod) doomed() bool { return p.Object.DeletionTimestamp != nil && p.Node == "" }

// updateLocked takes the new state of a pod seen before.
func (l *Ledger) updateLocked(p *pod, seen Pod) {
	defer l.chargeAgainLocked(p, p.User)
	if more, stays := seen.Requests.Sub(p.Requests), permanent(&seen).Sub(permanent(&p.Pod)); p.placed != "" && !(more.IsZero() && stays.IsZero()) {
		l.nodes.Use(p.placed, more)
		l.nodes.Stay(p.placed, stays)
	}
	if !maps.Equal(p.Labels, seen.Labels) {
		l.selectors.removePod(p)
		defer l.selectors.addPod(p)
	}
	if p.part() != seen.part() {
		// Somebody changed its labels, or a gang was defined or has ended.
		l.leaveLocked(p)
		p.Pod, p.roams = seen, false
		l.joinLocked(p)
		l.workLocked(p)
		l.reviseLocked(p)
		return
	}
	mended := p.Upfront && (p.Together != seen.Together || p.Problem != seen.Problem)
	ready, ranked := seen.Ready && !p.Ready, seen.Rank != p.Rank
	p.Pod = seen
	e := l.gangs[p.UID]
	if e != nil && ready {
		e.progress = l.now
	}
	if ranked && l.waiting.Of(p.UID) != nil {
		l.reviseLocked(p) // it waits elsewhere now
	}
	if mended {
		l.apps[p.Gang].recount(p)
		l.musterLocked(p.Gang)
		l.reviseLocked(p)
	}
}

// joinLocked brings a pod to its gang.
func (l *Ledger) joinLocked(p *pod) {
	if p.Kind == Lone {
		return
	}
	a := l.apps[p.Gang]
	if a == nil {
		a = &app{workers: map[types.UID]*pod{}}
		l.apps[p.Gang] = a
	}
	if p.Kind == Worker {
		a.workers[p.UID] = p
		if p.Upfront {
			l.assembleLocked(a, p)
		}
		return
	}
	e := &entry{Gang: gang.New(p.Gang, p.UID), leader: p}
	l.gangs[p.UID] = e
	a.leaders = append(a.leaders, e)
	switch owner := a.leaders[0]; {
	case owner == e:
		l.chargeWorkersLocked(a)
		l.formLocked(e)
	case owner.upfront != nil:
		l.endGangLocked(owner) // there is a leader after all
	default:
		l.contestLocked(a, e)
	}
}

// contestLocked gives the key to a leader if its owner holds nothing and has less right to it: a leader that runs goes
// before one that waits, and of those that wait the oldest goes first, in whatever order they were seen.
func (l *Ledger) contestLocked(a *app, e *entry) {
	owner := a.leaders[0]
	if owner == e || owner.leader.placed != "" || e.leader.compare(owner.leader) > 0 {
		return
	}
	l.endWaitLocked(owner.leader.UID)
	l.selectors.remove(owner)
	l.unassignRolesLocked(a)
	owner.Gang = gang.New(owner.Key, owner.leader.UID)
	a.leaders = slices.DeleteFunc(a.leaders, func(other *entry) bool { return other == e })
	a.leaders = slices.Insert(a.leaders, 0, e)
	l.chargeWorkersLocked(a)
	l.formLocked(e)
}

// compare orders leaders of one key by their right to it.
func (p *pod) compare(other *pod) int {
	switch {
	case p.Node != "" && other.Node == "":
		return -1
	case p.Node == "" && other.Node != "":
		return 1
	default:
		return cmp.Or(p.Created.Compare(other.Created), cmp.Compare(p.UID, other.UID))
	}
}

// formLocked starts a gang that owns its key: from the reservation its leader carries, or by asking for a definition.
func (l *Ledger) formLocked(e *entry) {
	if e.leader.Node == "" || e.leader.Reservation == nil {
		l.effects = append(l.effects, Define{e.leader.Object})
		return
	}
	l.resumeLocked(e)
}

// resumeLocked admits a gang whose leader is bound already: with the reservation that the leader carries, or, when it
// was bound by another scheduler, without slots as soon as the gang is defined.
func (l *Ledger) resumeLocked(e *entry) {
	var slots []gang.Slot
	if carried := e.leader.Reservation; carried != nil {
		l.stepLocked(e, gang.Defined{Definition: carried.Definition})
		e.eligibility = nil
		l.assignRolesLocked(e)
		slots = slices.Clone(carried.Slots)
	}
	if e.Phase != gang.Waiting {
		return
	}
	l.stepLocked(e, gang.Admitted{Slots: slots})
	l.stepLocked(e, gang.Seated{})
	l.unsettled[e] = struct{}{}
	l.gatherLocked(e)
}

// gatherLocked lets workers claim slots that were there before their gang was admitted.
func (l *Ledger) gatherLocked(e *entry) {
	e.progress = l.now
	for _, p := range sorted(l.apps[e.Key].workers) {
		if l.gangOfLocked(p) != e {
			continue
		}
		l.measureLocked(e, p)
		if p.placed != "" {
			l.stepLocked(e, gang.WorkerPlaced{Worker: p.UID, Role: p.Role, Node: p.placed, Requests: p.Requests})
			l.chargePodLocked(p)
		}
		l.reviseLocked(p)
	}
}

// losePodLocked forgets a pod that has ended.
func (l *Ledger) losePodLocked(uid types.UID) {
	p := l.pods[uid]
	if p == nil {
		return
	}
	delete(l.pods, uid)
	delete(l.victims.leaving, uid)
	l.selectors.removePod(p)
	if p.placed != "" {
		p.use(l.nodes, -1)
		p.placed = ""
		l.chargePodLocked(p)
	}
	l.leaveLocked(p)
}

// leaveLocked takes a pod out of its gang, and out of its wait.
func (l *Ledger) leaveLocked(p *pod) {
	l.endWaitLocked(p.UID)
	switch p.Kind {
	case Worker:
		if e := l.gangOfLocked(p); e != nil {
			slots := len(e.Slots)
			l.stepLocked(e, gang.WorkerGone{Worker: p.UID})
			l.unsettled[e] = struct{}{}
			e.progress = l.now
			if len(e.Slots) != slots {
				l.saveLocked(e)
			}
		}
		delete(l.apps[p.Gang].workers, p.UID)
		if p.Upfront {
			l.desertLocked(l.apps[p.Gang], p)
		}
	case Leader:
		l.endGangLocked(l.gangs[p.UID])
	}
	if a := l.apps[p.Gang]; a != nil && len(a.leaders) == 0 && len(a.workers) == 0 {
		delete(l.apps, p.Gang)
	}
}

// endGangLocked gives back what a gang holds; the next leader that claims the key, if any, owns it from now on.
func (l *Ledger) endGangLocked(e *entry) {
	l.stepLocked(e, gang.Ended{})
	l.selectors.remove(e)
	l.endWaitLocked(e.leader.UID)
	delete(l.gangs, e.leader.UID)
	delete(l.degraded, e)
	delete(l.barred, e)
	delete(l.resting, e)
	a := l.apps[e.Key]
	owned := a.leaders[0] == e
	a.leaders = slices.DeleteFunc(a.leaders, func(other *entry) bool { return other == e })
	if !owned {
		return
	}
	l.unassignRolesLocked(a)
	slices.SortFunc(a.leaders, func(a, b *entry) int { return a.leader.compare(b.leader) })
	for _, p := range sorted(a.workers) {
		l.chargePodLocked(p)
		l.reviseLocked(p)
	}
	if len(a.leaders) > 0 {
		l.formLocked(a.leaders[0])
	} else {
		l.musterLocked(e.Key)
	}
}

// reviseLocked sends a pod that has no node yet through the Gate again: what it was told there is not true any more.
func (l *Ledger) reviseLocked(p *pod) {
	if p.placed == "" {
		l.effects = append(l.effects, Activate{Pod: p.Object})
	}
}

// placeLocked counts a pod on a node, assumed or bound.
func (l *Ledger) placeLocked(p *pod, node string, bound bool) {
	if p.placed != "" && p.placed != node {
		// Another scheduler was faster and put the pod elsewhere.
		l.unplaceLocked(p)
	}
	first := p.placed == ""
	if first {
		p.placed = node
		p.use(l.nodes, 1)
		l.chargePodLocked(p)
		l.waiting.Started(p.UID)
		l.endCollectionOfLocked(p.UID)
	}
	confirmed := bound && !p.bound
	p.bound = p.bound || bound
	p.roams = false
	if confirmed && p.Upfront {
		l.apps[p.Gang].bound++
	}
	if p.Kind == Leader && bound {
		l.contestLocked(l.apps[p.Gang], l.gangs[p.UID])
	}

	e := l.gangOfLocked(p)
	switch {
	case e == nil:
	case p.Kind == Leader && bound && e.Phase == gang.Reserved:
		l.stepLocked(e, gang.Seated{})
	case p.Kind == Leader && bound && e.Phase != gang.Running:
		l.resumeLocked(e)
	case p.Kind == Worker && first:
		l.stepLocked(e, gang.WorkerPlaced{Worker: p.UID, Role: p.Role, Node: node, Requests: p.Requests})
		e.progress = l.now
		l.unbarLocked(e)
	}
	if confirmed && p.Upfront {
		l.musterLocked(p.Gang)
	}
}

// use counts a pod on its node, or takes it off if sign is −1.
func (p *pod) use(nodes *inventory.Nodes, sign int) {
	nodes.Use(p.placed, p.Requests.Scale(sign))
	if stays := permanent(&p.Pod); !stays.IsZero() {
		nodes.Stay(p.placed, stays.Scale(sign))
	}
}

// permanent is what of a pod's requests never leaves its node: all or nothing.
func permanent(p *Pod) resource.Vector {
	if inventory.Permanent(p.Object) {
		return p.Requests
	}
	return resource.Vector{}
}

// unplaceLocked is the inverse of placeLocked.
func (l *Ledger) unplaceLocked(p *pod) {
	if p.placed == "" {
		return
	}
	p.use(l.nodes, -1)
	if p.bound && p.Upfront {
		l.apps[p.Gang].bound--
	}
	p.placed, p.bound = "", false
	l.chargePodLocked(p)
	e := l.gangOfLocked(p)
	switch {
	case e == nil:
	case p.Kind == Leader:
		l.stepLocked(e, gang.Unseated{})
		delete(l.degraded, e)
	case p.Kind == Worker:
		l.stepLocked(e, gang.WorkerUnplaced{Worker: p.UID})
		l.unsettled[e] = struct{}{}
		l.strandedLocked(e)
	}
}

// gangOfLocked is the gang a pod belongs to; nil for lone pods, for workers without a leader, and for leaders and
// workers of a leader that does not own its key.
func (l *Ledger) gangOfLocked(p *pod) *entry {
	if p.Kind == Lone {
		return nil
	}
	a := l.apps[p.Gang]
	if a == nil || len(a.leaders) == 0 {
		return nil
	}
	owner := a.leaders[0]
	if p.Kind == Worker && p.Leader != "" && p.Leader != owner.leader.UID && owner.upfront == nil || p.Kind == Leader && p != owner.leader {
		return nil
	}
	return owner
}

// loseNodeLocked takes a node out; its slots move elsewhere when the event settles.
func (l *Ledger) loseNodeLocked(name string) {
	l.nodes.Remove(name)
	l.waiting.Changed(waiting.Sums, resource.Vector{}) // without an overbooked node more may be free in all
}
