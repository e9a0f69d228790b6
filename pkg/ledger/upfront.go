package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
)

const (
	// defaultBarrier is how long pods that have a node wait for the rest of their gang when the gang does not say it.
	defaultBarrier = time.Minute
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
	// told tells whether the user of one of its pods knows that others are missing.
	told bool
}

// tries tells whether a pod is the one that is tried for its up-front gang.
func (e *entry) tries(p *pod) bool {
	return e.upfront != nil && e.upfront.first == p && e.Phase == gang.Waiting
}

// barrier is how long pods that have a node wait for the others.
func (u *upfront) barrier() time.Duration { return cmp.Or(u.group.Timeout, defaultBarrier) }

func (g Group) equal(other Group) bool {
	return g.Key == other.Key && g.Minimum == other.Minimum && g.Resources.Equal(other.Resources) && g.Timeout == other.Timeout && g.Problem == other.Problem
}

func compareKeys(a, b gang.Key) int { return cmp.Compare(a.String(), b.String()) }

// assembleLocked takes a pod into its up-front gang.
func (l *Ledger) assembleLocked(a *app, p *pod) {
	a.upfront++
	a.together = max(a.together, p.Together)
	if p.bound {
		a.bound++
	}
	if len(a.leaders) == 0 || a.leaders[0].Phase != gang.Waiting {
		l.musterLocked(p.Gang)
	} // else there are enough already
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

// desertLocked takes a pod that has ended out of its up-front gang.
func (l *Ledger) desertLocked(a *app, p *pod) {
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
	case a.upfront == 0:
		l.endGangLocked(e)
	case e.Phase == gang.Reserved:
		l.callOffLocked(e, gang.Verdict{Reason: gang.GangIncomplete, Message: fmt.Sprintf("pod %s of the gang has ended before it started", p.Object.Name)})
	default:
		l.musterLocked(p.Gang)
	}
}

// musterLocked counts the pods of an up-front gang anew: it is defined as soon as there are as many as start together.
// For any other gang, and for one that is admitted, it does nothing.
func (l *Ledger) musterLocked(key gang.Key) {
	a := l.apps[key]
	if a == nil || a.upfront == 0 || len(a.leaders) > 0 && a.leaders[0].upfront == nil {
		return
	}
	if len(a.leaders) == 0 {
		leader := &pod{Pod: Pod{UID: types.UID("group:" + key.String()), Namespace: key.Namespace, Kind: Leader, Gang: key}}
		a.leaders = []*entry{{Gang: gang.New(key, leader.UID), leader: leader, upfront: &upfront{}}}
		l.gangs[leader.UID] = a.leaders[0]
		for uid := range a.workers {
			l.victims.holders.Touch(uid) // they are not by themselves any more
		}
	}
	e := a.leaders[0]
	if e.Phase.Admitted() || !l.synced {
		return
	}
	group, declared := l.groups[key]
	if !declared && a.together > 0 {
		group, declared = Group{Key: key, Minimum: a.together}, true
	}
	e.upfront.group = group
	switch {
	case a.bound > 0 && group.Problem == "":
		l.resumeGroupLocked(a, e)
	case !declared || group.Problem != "" || a.upfront < group.Minimum:
		l.undefineLocked(e, group.Problem)
	default:
		l.lineUpLocked(a, e)
	}
}

// undefineLocked makes a gang that holds nothing one of which too little is known, or something wrong.
func (l *Ledger) undefineLocked(e *entry, problem string) {
	l.endWaitLocked(e.leader.UID)
	if e.Phase != gang.Forming {
		e.Gang = gang.New(e.Key, e.leader.UID)
	}
	e.upfront.first, e.eligibility = nil, nil
	if problem != "" {
		l.stepLocked(e, gang.Refuted{Problem: problem})
	}
}

// lineUpLocked defines a gang by those of its pods that start together, and chooses the one that is tried for all.
func (l *Ledger) lineUpLocked(a *app, e *entry) {
	members := l.enrolLocked(a, e)
	if len(l.barredPodsLocked(e)) > 0 {
		return // until the last of them has been taken back
	}
	first := members[0]
	e.upfront.first, e.upfront.told = first, false
	e.standFor(first)
	l.reviseLocked(first)
}

// standFor makes the leader of an up-front gang stand for one of its pods.
func (e *entry) standFor(p *pod) {
	e.leader.Object, e.leader.Priority, e.leader.Created = p.Object, p.Priority, p.Created
	e.leader.User, e.leader.Rank, e.leader.NeverPreempts, e.leader.Foreign = p.User, p.Rank, p.NeverPreempts, p.Foreign
}

// enrolLocked defines a gang by those of its pods that start together: those that have a node, and then the first in
// turn.
func (l *Ledger) enrolLocked(a *app, e *entry) []*pod {
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
	for _, p := range members {
		role := definition.Role(p.Role)
		if role == nil {
			definition.Roles = append(definition.Roles, gang.Role{Name: p.Role, Requests: p.Requests, Signature: p.Signature, Pod: p.Object})
			role = &definition.Roles[len(definition.Roles)-1]
		}
		role.Count++
		if a.together > 0 {
			role.Minimum++ // Spark replaces executors that it loses; what replaces other pods is not known
		}
	}
	slices.SortFunc(definition.Roles, func(a, b gang.Role) int { return cmp.Compare(a.Name, b.Name) })
	l.undefineLocked(e, "")
	l.stepLocked(e, gang.Defined{Definition: definition})
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

// resumeGroupLocked admits a gang some of whose pods are bound: a scheduler before this one has let it go. Each slot is
// where its pod is or was going to; those that find no room there seek it before anybody else gets any.
func (l *Ledger) resumeGroupLocked(a *app, e *entry) {
	members := l.enrolLocked(a, e)
	var slots []gang.Slot
	for _, p := range members {
		home := cmp.Or(p.placed, p.Nominated)
		if !l.nodes.Exists(home) {
			home = ""
		}
		role := slices.IndexFunc(e.Gang.Definition.Roles, func(role gang.Role) bool { return role.Name == p.Role })
		slots = append(slots, gang.Slot{Role: role, Node: home, Requests: p.Requests})
	}
	e.standFor(members[0])
	l.stepLocked(e, gang.Admitted{Slots: slots})
	l.unsettled[e] = struct{}{}
	l.gatherLocked(e)
	l.goLocked(e)
}

// unbarLocked lets the pods of an up-front gang go once all its slots are claimed.
func (l *Ledger) unbarLocked(e *entry) {
	if e.upfront == nil || e.Phase != gang.Reserved {
		return
	}
	if claimed, open := e.Counts(); open == 0 {
		nodes := map[string]struct{}{}
		for _, slot := range e.Slots {
			nodes[slot.Node] = struct{}{}
		}
		l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.GangAdmitted,
			Message: fmt.Sprintf("%d pods that start together have room on %d nodes", claimed, len(nodes))}})
		l.goLocked(e)
	}
}

func (l *Ledger) goLocked(e *entry) {
	l.stepLocked(e, gang.Seated{})
	e.leader.bound, e.leader.Ready = true, true
	e.upfront.first, e.upfront.vain = nil, 0
	l.barred[e] = struct{}{}
	l.allowLocked(e)
}

// allowLocked lets every pod of the gang go that has a node and is not bound yet. It is repeated with every tick until
// all are bound: a pod may begin to wait only after it was allowed to go.
func (l *Ledger) allowLocked(e *entry) {
	if barred := l.barredPodsLocked(e); len(barred) > 0 {
		l.effects = append(l.effects, Allow{barred})
	} else {
		delete(l.barred, e)
	}
}

// barredPodsLocked are the pods of the gang that have a node and are not bound.
func (l *Ledger) barredPodsLocked(e *entry) []types.UID {
	var barred []types.UID
	for uid, p := range l.apps[e.Key].workers {
		if p.Upfront && p.placed != "" && !p.bound {
			barred = append(barred, uid)
		}
	}
	slices.Sort(barred)
	return barred
}

// strandedLocked gives everything back if a pod of an up-front gang did not keep its node before all had one. When the
// last of them has been taken back, the gang may be tried again.
func (l *Ledger) strandedLocked(e *entry) {
	switch {
	case e.upfront == nil || e.upfront.first != nil && e.Phase == gang.Waiting:
	case e.Phase == gang.Reserved:
		l.callOffLocked(e, gang.Verdict{Reason: gang.GangIncomplete, Message: "one of its pods did not keep its node"})
	case len(l.barredPodsLocked(e)) == 0:
		l.musterLocked(e.Key)
	}
}

// callOffLocked takes back an admission before the gang has started. Its pods that wait for one another are rejected,
// again with every tick until all have been taken back: a pod may begin to wait only after it was rejected.
func (l *Ledger) callOffLocked(e *entry, verdict gang.Verdict) {
	l.stepLocked(e, gang.Unseated{})
	delete(l.degraded, e)
	for _, p := range l.apps[e.Key].workers {
		p.roams = false
	}
	l.rejectLocked(e, verdict)
	l.musterLocked(e.Key)
}

func (l *Ledger) rejectLocked(e *entry, verdict gang.Verdict) {
	if barred := l.barredPodsLocked(e); len(barred) > 0 {
		l.effects = append(l.effects, Reject{barred, verdict})
	} else {
		delete(l.barred, e)
	}
}

// tickBarriersLocked calls off what has waited too long, repeats what may have been missed, and lets those that have
// rested be tried again.
func (l *Ledger) tickBarriersLocked() {
	byTurn := func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) }
	for _, e := range slices.SortedFunc(maps.Keys(l.barred), byTurn) {
		switch {
		case e.Phase == gang.Running:
			l.allowLocked(e)
		case e.Phase != gang.Reserved:
			l.rejectLocked(e, gang.Verdict{Reason: gang.GangIncomplete, Message: "its gang was called off"})
		case l.now.Sub(e.progress) >= e.upfront.barrier():
			l.restLocked(e)
		}
	}
	for _, e := range slices.SortedFunc(maps.Keys(l.resting), byTurn) {
		if l.now.Before(e.upfront.rested) {
			continue
		}
		delete(l.resting, e)
		if e.upfront.first != nil {
			l.reviseLocked(e.upfront.first)
		}
	}
}

// restLocked calls a gang off whose pods have waited for one another in vain, and keeps it from trying again at once.
func (l *Ledger) restLocked(e *entry) {
	claimed, open := e.Counts()
	verdict := gang.Verdict{Reason: gang.GangTimeout,
		Message: fmt.Sprintf("%d of %d pods that start together found no node within %s although room was kept for them", open, claimed+open, e.upfront.barrier())}
	e.upfront.vain++
	e.upfront.rested = l.now.Add(min(e.upfront.barrier()<<min(e.upfront.vain, 8), longestRest))
	l.resting[e] = struct{}{}
	l.effects = append(l.effects, Tell{e.leader.Object, verdict})
	l.callOffLocked(e, verdict)
}

// gateMemberLocked lets only one pod of an up-front gang through, which is tried for all of them.
func (l *Ledger) gateMemberLocked(e *entry, p *pod) gang.Verdict {
	_, rests := l.resting[e]
	switch u := e.upfront; {
	case p.Problem != "":
		return gang.Verdict{Reason: gang.InvalidGang, Message: p.Problem}
	case p.Leader != "" && l.pods[p.Leader] == nil:
		return leaderGone(p)
	case e.Phase == gang.Invalid:
		return gang.Verdict{Reason: gang.InvalidGang, Message: e.Problem}
	case e.Phase == gang.Forming:
		verdict := gang.Verdict{Reason: gang.GangIncomplete, Message: fmt.Sprintf("%s does not exist", p.Gang)}
		if u.group.Minimum > 0 {
			verdict.Message = fmt.Sprintf("%d of %d pods that start together are there", l.apps[e.Key].upfront, u.group.Minimum)
		}
		if !u.told {
			u.told = true
			l.effects = append(l.effects, Tell{p.Object, verdict})
		}
		return verdict
	case rests:
		return gang.Verdict{Reason: gang.GangTimeout,
			Message: fmt.Sprintf("its pods have waited for one another in vain %d times; the next attempt is in %s", u.vain, u.rested.Sub(l.now).Round(time.Second))}
	case u.first == p:
		return l.gateWaitingLocked(e)
	}
	if w := l.waiting.Of(e.leader.UID); w != nil {
		return l.verdictLocked(w)
	}
	return gang.Verdict{Reason: gang.BehindOthers, Message: "its gang is tried as a whole, with another of its pods"}
}

// Barrier tells whether a pod that has a node must wait for the rest of its gang before it is bound; an Allow or Reject
// ends the wait. A verdict that does not pass means that the gang has been called off.
func (l *Ledger) Barrier(uid types.UID) (waits bool, verdict gang.Verdict) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pods[uid]
	if p == nil {
		return false, gang.Verdict{}
	}
	e := l.gangOfLocked(p)
	switch {
	case e == nil || e.upfront == nil || e.Phase == gang.Running:
		return false, gang.Verdict{}
	case e.Phase == gang.Reserved:
		return true, gang.Verdict{}
	default:
		return false, gang.Verdict{Reason: gang.GangIncomplete, Message: "its gang was called off"}
	}
}
