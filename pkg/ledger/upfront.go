package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/resource"
)

const (
	// defaultBarrier is how long pods that have a node wait for the rest of their gang when the gang does not say it.
	defaultBarrier = time.Minute
	// mostKinds bounds how many different pods an up-front gang may have: each is a role of its own.
	mostKinds = 500
	// longestRest bounds how long a gang rests whose pods have waited for one another in vain.
	longestRest = 15 * time.Minute
)

// upfront is what makes a gang one without a leader: a PodGroup, or the executors of a driver outside the cluster. All
// its slots are reserved when the first of its pods is placed, its pods claim them like any workers, and none is bound
// before all slots are claimed.
type upfront struct {
	group Group
	// first is the pod that is tried for all of them. It is nil when the gang does not wait, and while pods of an
	// admission that was called off still have nodes.
	first *pod
	// vain is how often in a row its pods have waited for one another in vain, and rested when it has rested for that.
	vain   int
	rested time.Time
	// since is when the first of its pods came.
	since time.Time
	// changed is when its pods or what is declared of it were last counted.
	changed time.Time
	// began is when all of its slots were claimed; zero if another scheduler has let it go. whole means that as many as start together
	// have been bound at one time, as far as anybody has looked.
	began time.Time
	whole bool
}

// upfronts are the gangs without a leader. While one is Reserved, none of its pods is bound; barred are those of whose pods some have
// a node and are not bound, or may still begin to wait for the others.
type upfronts struct {
	// groups are the declarations of up-front gangs.
	groups map[gang.Key]Group
	// shared counts the pods of other gangs that start with those of a key: key -> pods.
	shared map[gang.Key]int
	// barred are the up-front gangs whose pods wait for one another, or may still do so.
	barred map[*entry]struct{}
	// resting are the up-front gangs whose pods have waited for one another in vain, until they are tried again.
	resting map[*entry]struct{}
	// returning are the up-front gangs that have started before and have fewer pods now than start together.
	returning map[*entry]struct{}

	nodes     *inventory.Nodes
	members   *members
	outcome   *outcome
	victims   *victims
	slots     *slots
	waits     *waits
	lifecycle *lifecycle
	totals    *totals
}

// tries tells whether a pod is the one that is tried for its up-front gang, or one of those that are if kube-scheduler tries them in one
// cycle.
func (e *entry) tries(p *pod) bool {
	return e.upfront != nil && e.upfront.first != nil && (e.upfront.first == p || p.Joint && p.Upfront) && e.Phase == gang.Waiting
}

// barrier is how long pods wait for the others that have a node, or that start again.
func (g Group) barrier() time.Duration { return cmp.Or(g.Timeout, defaultBarrier) }

func (g Group) equal(other Group) bool {
	return g.Key == other.Key && g.Minimum == other.Minimum && g.Resources.Equal(other.Resources) && g.Timeout == other.Timeout &&
		g.Problem == other.Problem && g.Succeeded == other.Succeeded && g.Started == other.Started && g.Whole == other.Whole && g.Loose == other.Loose
}

// remains is what of a declaration is left to be done: what has to be free in all was for all of its pods.
func (g Group) remains() Group {
	if g.Succeeded > 0 {
		g.Minimum, g.Resources = max(g.Minimum-g.Succeeded, 1), resource.Vector{}
	}
	return g
}

func compareKeys(a, b gang.Key) int { return cmp.Compare(a.String(), b.String()) }

// assemble takes a pod into its up-front gang.
func (us *upfronts) assemble(a *app, p *pod) {
	a.upfront++
	a.together = max(a.together, p.Together)
	if p.bound {
		a.bound++
	}
	if len(a.leaders) == 0 || a.leaders[0].Phase != gang.Waiting {
		us.muster(p.Gang)
	} else { // there are enough already
		us.members.spread(a.leaders[0].leader.UID)
	}
}

// recount reads anew what the pods of an up-front gang say of its size, after one of them says something else.
func (a *app) recount(p *pod) {
	if a.together = max(a.together, p.Together); p.Together < a.together {
		a.together = 0
		for _, member := range a.workers {
			if member.Upfront {
				a.together = max(a.together, member.Together)
			}
		}
	}
}

// share counts a pod among those of other gangs that start with those of a key, or not any more if sign is −1.
func (us *upfronts) share(p *pod, sign int) {
	if p.Shared == (gang.Key{}) {
		return
	}
	if us.shared[p.Shared] += sign; us.shared[p.Shared] == 0 {
		delete(us.shared, p.Shared)
	}
	us.muster(p.Shared)
}

// desert takes a pod that has ended out of its up-front gang.
func (us *upfronts) desert(a *app, p *pod) {
	a.upfront--
	if p.bound {
		a.bound--
	}
	if a.upfront == 0 {
		a.together = 0
	}
	if len(a.leaders) == 0 || a.leaders[0].upfront == nil {
		return
	}
	switch e := a.leaders[0]; {
	case a.upfront == 0 || e.preemptor != "" && e.Phase == gang.Running && !a.runs():
		us.lifecycle.endGang(e) // which is taken back with all its slots; pods that wait may be the next
	case e.Phase == gang.Reserved:
		us.callOff(e, gang.Verdict{Reason: gang.GangIncomplete, Message: fmt.Sprintf("pod %s of the gang has ended before it started", p.Object.Name)})
	default:
		us.muster(p.Gang)
	}
}

// runs tells whether some worker has a node.
func (a *app) runs() bool {
	for _, p := range a.workers {
		if p.placed != "" {
			return true
		}
	}
	return false
}

// muster counts the pods of an up-front gang anew: it is defined as soon as there are as many as start together.
// For any other gang, and for one that is admitted, it does nothing.
func (us *upfronts) muster(key gang.Key) {
	a := us.members.apps[key]
	if a == nil || a.upfront == 0 || len(a.leaders) > 0 && a.leaders[0].upfront == nil {
		return
	}
	if us.groups[key].Loose || us.shared[key] > 0 {
		if len(a.leaders) > 0 {
			us.lifecycle.endGang(a.leaders[0])
		}
		return
	}
	if len(a.leaders) == 0 {
		leader := &pod{Pod: Pod{UID: types.UID("group:" + key.String()), Namespace: key.Namespace, Part: Part{Kind: Leader, Gang: key}}}
		a.leaders = []*entry{{Gang: gang.New(key, leader.UID), leader: leader, upfront: &upfront{since: us.outcome.now}}}
		us.members.gangs[leader.UID] = a.leaders[0]
		for uid := range a.workers {
			us.victims.holders.Touch(uid) // they are not by themselves any more
		}
	}
	e := a.leaders[0]
	if e.Phase.Admitted() || !us.members.synced {
		return
	}
	e.upfront.changed = us.outcome.now
	us.members.unheard[e] = struct{}{}
	group, declared := us.groups[key]
	if !declared && a.together > 0 {
		group, declared = Group{Key: key, Minimum: a.together}, true
	}
	group = group.remains()
	if a.upfront < group.Minimum && group.Started && group.Problem == "" {
		us.returning[e] = struct{}{}
		if us.outcome.now.Sub(e.upfront.since) >= group.barrier() {
			group.Minimum, group.Resources = a.upfront, resource.Vector{} // the others have ended for good
		}
	}
	e.upfront.group = group
	switch {
	case a.bound > 0 && group.Problem == "":
		us.resumeGroup(a, e)
	case !declared || group.Problem != "" || a.upfront < group.Minimum:
		us.undefine(e, group.Problem)
	default:
		us.lineUp(a, e)
	}
}

// undefine makes a gang that holds nothing one of which too little is known, or something wrong.
func (us *upfronts) undefine(e *entry, problem string) {
	us.waits.endWait(e.leader.UID)
	if e.Phase != gang.Forming {
		e.Gang = gang.New(e.Key, e.leader.UID)
	}
	e.upfront.first, e.eligibility = nil, nil
	if problem != "" {
		us.slots.step(e, gang.Refuted{Problem: problem})
	}
}

// lineUp defines a gang by those of its pods that start together, and chooses the one that is tried for all.
func (us *upfronts) lineUp(a *app, e *entry) {
	members := us.enrol(a, e)
	if kinds := len(e.Definition.Roles); kinds > mostKinds {
		us.undefine(e, fmt.Sprintf("its pods are of %d kinds, more than %d: they differ in what they ask for, or in where they may go", kinds, mostKinds))
		return
	}
	if len(us.members.barredPods(e)) > 0 {
		return // until the last of them has been taken back
	}
	first := members[0]
	e.upfront.first, first.heard = first, ""
	e.standFor(first)
	us.outcome.revise(first)
}

// standFor makes the leader of an up-front gang stand for one of its pods.
func (e *entry) standFor(p *pod) {
	e.leader.Object, e.leader.Precedence, e.leader.User, e.leader.Foreign = p.Object, p.Precedence, p.User, p.Foreign
}

// enrol defines a gang by those of its pods that start together: those that have a node, and then the first in
// turn.
func (us *upfronts) enrol(a *app, e *entry) []*pod {
	var members []*pod
	for _, p := range a.workers {
		if p.Upfront {
			members = append(members, p)
		}
	}
	slices.SortFunc(members, func(a, b *pod) int {
		return cmp.Or(-cmp.Compare(a.standing(), b.standing()), turnOf(a).Compare(turnOf(b)))
	})
	members = members[:min(len(members), max(e.upfront.group.Minimum, 1))]
	definition := gang.Definition{Source: "pods"}
	known := map[string]int{} // role -> index
	for _, p := range members {
		at, found := known[p.Role]
		if !found {
			at = len(definition.Roles)
			known[p.Role] = at
			definition.Roles = append(definition.Roles, gang.Role{Name: p.Role, Requests: p.Requests, Signature: p.Signature, Pod: p.Object})
		}
		role := &definition.Roles[at]
		definition.Rehearsed = definition.Rehearsed || p.Rehearsed
		role.Count++
		if a.together > 0 {
			role.Minimum++ // Spark replaces executors that it loses; what replaces other pods is not known
		}
	}
	slices.SortFunc(definition.Roles, func(a, b gang.Role) int { return cmp.Compare(a.Name, b.Name) })
	us.undefine(e, "")
	us.slots.step(e, gang.Defined{Definition: definition})
	return members
}

// standing is 2 for a bound pod, 1 for one that is assumed on a node, 0 for one without.
func (p *pod) standing() int {
	switch {
	case p.bound:
		return 2
	case p.placed != "":
		return 1
	default:
		return 0
	}
}

// resumeGroup admits a gang some of whose pods are bound: a scheduler before this one has let it go. Each slot is
// where its pod is or was going to; those that find no room there seek it before anybody else gets any.
func (us *upfronts) resumeGroup(a *app, e *entry) {
	members := us.enrol(a, e)
	if a.bound < len(members) && !e.upfront.group.Started {
		us.totals.Repairs[GangCompleted]++
	}
	var slots []gang.Slot
	for _, p := range members {
		home := cmp.Or(p.placed, p.Nominated)
		if !us.nodes.Exists(home) {
			home = ""
		}
		role := slices.IndexFunc(e.Gang.Definition.Roles, func(role gang.Role) bool { return role.Name == p.Role })
		slots = append(slots, gang.Slot{Role: role, Node: home, Requests: p.Requests})
	}
	e.standFor(members[0])
	us.slots.step(e, gang.Admitted{Slots: slots})
	us.slots.unsettled[e] = struct{}{}
	us.lifecycle.gather(e)
	us.start(e)
}

// unbar lets the pods of an up-front gang go once all its slots are claimed.
func (us *upfronts) unbar(e *entry) {
	if e.upfront == nil || e.Phase != gang.Reserved {
		return
	}
	if claimed, open := e.Counts(); open == 0 {
		nodes := map[string]struct{}{}
		for _, slot := range e.Slots {
			nodes[slot.Node] = struct{}{}
		}
		message := fmt.Sprintf("%d pods that start together have room on %s", claimed, gang.Counted(len(nodes), "node"))
		if claimed == 1 {
			message = "its pod has room"
		}
		us.outcome.effects = append(us.outcome.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.GangAdmitted, Message: message}})
		e.upfront.began = us.outcome.now
		us.start(e)
	}
}

func (us *upfronts) start(e *entry) {
	us.slots.step(e, gang.Seated{})
	e.leader.bound, e.leader.Ready = true, true
	e.upfront.first, e.upfront.vain = nil, 0
	us.barred[e] = struct{}{}
	us.allow(e)
}

// allow lets every pod of the gang go that has a node and is not bound yet. It is repeated with every tick until
// all are bound: a pod may begin to wait only after it was allowed to go.
func (us *upfronts) allow(e *entry) {
	if barred := us.members.barredPods(e); len(barred) > 0 {
		us.outcome.effects = append(us.outcome.effects, Allow{barred})
	} else {
		delete(us.barred, e)
	}
}

// stranded gives everything back if a pod of an up-front gang did not keep its node before all had one. When the
// last of them has been taken back, the gang may be tried again.
func (us *upfronts) stranded(e *entry) {
	switch {
	case e.upfront == nil || e.upfront.first != nil && e.Phase == gang.Waiting:
	case e.Phase == gang.Reserved:
		us.callOff(e, gang.Verdict{Reason: gang.GangIncomplete, Message: "one of its pods did not keep its node"})
	case len(us.members.barredPods(e)) == 0:
		us.muster(e.Key)
	}
}

// callOff takes back an admission before the gang has started. Its pods that wait for one another are rejected,
// again with every tick until all have been taken back: a pod may begin to wait only after it was rejected.
func (us *upfronts) callOff(e *entry, verdict gang.Verdict) {
	us.slots.step(e, gang.Unseated{})
	delete(us.slots.degraded, e)
	for _, p := range us.members.apps[e.Key].workers {
		p.roams = false
	}
	us.reject(e, verdict)
	us.muster(e.Key)
}

func (us *upfronts) reject(e *entry, verdict gang.Verdict) {
	if barred := us.members.barredPods(e); len(barred) > 0 {
		us.outcome.effects = append(us.outcome.effects, Reject{barred, verdict})
	} else {
		delete(us.barred, e)
	}
}

// tickBarriers calls off what has waited too long, repeats what may have been missed, and lets those that have
// rested, or have waited for others of their gang that will not come again, be tried.
func (us *upfronts) tickBarriers() {
	byTurn := func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) }
	for _, e := range slices.SortedFunc(maps.Keys(us.barred), byTurn) {
		switch {
		case e.Phase == gang.Running:
			us.allow(e)
		case e.Phase != gang.Reserved:
			us.reject(e, gang.Verdict{Reason: gang.GangIncomplete, Message: "its gang was called off"})
		case us.outcome.now.Sub(e.progress) >= e.upfront.group.barrier():
			us.rest(e)
		}
	}
	for _, e := range slices.SortedFunc(maps.Keys(us.resting), byTurn) {
		if us.outcome.now.Before(e.upfront.rested) {
			continue
		}
		delete(us.resting, e)
		if e.upfront.first != nil {
			us.outcome.revise(e.upfront.first)
		}
	}
	for _, e := range slices.SortedFunc(maps.Keys(us.returning), byTurn) {
		switch {
		case e.Phase != gang.Forming:
			delete(us.returning, e)
		case us.outcome.now.Sub(e.upfront.since) >= e.upfront.group.barrier():
			us.muster(e.Key)
		}
	}
}

// rest calls a gang off whose pods have waited for one another in vain, and keeps it from trying again at once.
func (us *upfronts) rest(e *entry) {
	claimed, open := e.Counts()
	verdict := gang.Verdict{Reason: gang.GangTimeout,
		Message: fmt.Sprintf("%d of %d pods that start together found no node within %s although room was kept for them", open, claimed+open, e.upfront.group.barrier())}
	e.upfront.vain++
	e.upfront.rested = us.outcome.now.Add(min(e.upfront.group.barrier()<<min(e.upfront.vain, 8), longestRest))
	us.resting[e] = struct{}{}
	us.members.unheard[e] = struct{}{}
	us.outcome.effects = append(us.outcome.effects, Tell{e.leader.Object, verdict})
	us.callOff(e, verdict)
}

// Barrier tells whether a pod that has a node must wait for the rest of its gang before it is bound; an Allow or Reject
// ends the wait. A verdict that does not pass means that the gang has been called off.
func (l *Ledger) Barrier(uid types.UID) (waits bool, verdict gang.Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.members.pods[uid]
	if p == nil {
		return false, gang.Verdict{}
	}
	e := l.members.gangOf(p)
	switch {
	case e == nil || e.upfront == nil || e.Phase == gang.Running:
		return false, gang.Verdict{}
	case e.Phase == gang.Reserved:
		return true, gang.Verdict{}
	default:
		return false, gang.Verdict{Reason: gang.GangIncomplete, Message: "its gang was called off"}
	}
}
