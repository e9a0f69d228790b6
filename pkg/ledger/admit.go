package ledger

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/waiting"
)

// defineLocked takes the answer to Define.
func (l *Ledger) defineLocked(leader types.UID, event gang.Event) {
	e := l.gangs[leader]
	if e == nil || l.gangOfLocked(e.leader) != e {
		return
	}
	l.stepLocked(e, event)
	e.eligibility = nil
	l.endWaitLocked(leader)
	switch e.Phase {
	case gang.Waiting:
		l.assignRolesLocked(e)
	case gang.Invalid:
		l.selectors.remove(e)
		l.unassignRolesLocked(l.apps[e.Key])
	}
	switch {
	case e.leader.bound && e.Phase == gang.Waiting:
		l.resumeLocked(e)
	case e.Phase == gang.Invalid:
		l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.InvalidGang, Message: e.Problem}})
	default:
		l.effects = append(l.effects, Activate{Pod: e.leader.Object})
	}
}

// admitLocked reserves everything or nothing.
func (l *Ledger) admitLocked(a Admitted) error {
	e := l.gangs[a.Leader]
	if e == nil || l.gangOfLocked(e.leader) != e || e.Phase != gang.Waiting || e.leader.placed != "" {
		return ErrNotWaiting
	}
	if !l.fitsLocked(e.leader.UID, l.queueOfLocked(e.Key.Namespace), demandOnQueue(e)).Passes() {
		return ErrOverQuota
	}
	if e.upfront == nil {
		l.placeLocked(e.leader, a.Node, false)
	} else {
		l.waiting.Started(e.leader.UID)
		l.endCollectionOfLocked(e.leader.UID)
	}
	l.stepLocked(e, gang.Admitted{Slots: slices.Clone(a.Slots)})
	if l.overbookedLocked(e, a) {
		if e.upfront == nil {
			l.unplaceLocked(e.leader)
		} else {
			l.stepLocked(e, gang.Unseated{})
		}
		return ErrRoomGone
	}
	l.gatherLocked(e)
	if e.upfront != nil {
		l.barred[e] = struct{}{}
		l.unbarLocked(e)
	}
	return nil
}

// overbookedLocked tells whether a node that an admission touched holds more than it has.
func (l *Ledger) overbookedLocked(e *entry, a Admitted) bool {
	if e.upfront == nil {
		asked := e.leader.Requests
		if node := l.nodes.Of(a.Node); !asked.Fits(node.Free.Add(asked)) {
			return true
		}
	}
	for _, slot := range a.Slots {
		node := l.nodes.Of(slot.Node)
		if node.Object == nil || !slot.Requests.Fits(node.Free.Add(slot.Requests)) {
			return true
		}
	}
	return false
}

// refuseLocked makes a pod wait that did not fit.
func (l *Ledger) refuseLocked(r Refused) {
	p := l.pods[r.UID]
	if p == nil || p.placed != "" {
		return
	}
	e := l.gangOfLocked(p)
	tried := p // who waits now that the attempt has failed
	if e != nil && e.tries(p) {
		tried = e.leader
	}
	switch {
	case tried.Kind == Worker && e != nil && !p.roams:
		p.roams = true
		l.effects = append(l.effects, Activate{Pod: p.Object})
		return
	case r.Verdict.Passes():
		// Refused for something else than room: whatever refused it wakes it.
		l.endWaitLocked(tried.UID)
		return
	}
	var w *waiting.Waiter
	if tried.Kind == Leader && e != nil {
		w = l.parkLocked(e)
		// Through the Gate again, which keeps it there.
		l.effects = append(l.effects, Activate{Pod: p.Object})
	} else {
		w = l.parkAloneLocked(p)
	}
	w.Hears(r.Verdict.Reason) // the scheduler tells of an attempt that has failed, and of one that was not made
	l.waiting.Failed(w, waiting.Failure{Epoch: r.Epoch, Verdict: r.Verdict, Alone: r.Alone, Rehearsed: r.Rehearsed, Took: r.Took}, l.now)
	switch {
	case r.Verdict.Reason == gang.BehindOthers: // nothing was tried
	case r.Verdict.OfQueue() && l.reclaimsLocked(w.ID()):
		// Somebody else was let in meanwhile, and it has what it waits for when those have gone who have to go for it.
	default:
		l.disappointLocked(w)
	}
}

// startOf is what the pods of a gang ask for in all at its start.
func startOf(e *entry) resource.Vector {
	start := e.leader.Requests
	for _, role := range e.Gang.Definition.Roles {
		start = start.Add(role.Requests.Scale(role.Count))
	}
	return start
}

// demandOf is what has to be free in all for a gang to start.
func demandOf(e *entry) resource.Vector {
	if e.upfront != nil {
		return startOf(e).Max(e.upfront.group.Resources)
	}
	return startOf(e)
}

// signatureOf is equal for gangs that ask for exactly the same.
func signatureOf(e *entry) string {
	signature := fmt.Sprintf("gang %s %s", e.leader.Signature, e.leader.Requests)
	for _, role := range e.Gang.Definition.Roles {
		signature += fmt.Sprintf(" + %d × %s %s", role.Count, role.Signature, role.Requests)
	}
	if e.upfront != nil && !e.upfront.group.Resources.IsZero() {
		signature += fmt.Sprintf(" of %s", e.upfront.group.Resources)
	}
	return signature
}

// sizesOf are what the pods of a gang ask for, each size once.
func sizesOf(e *entry) []resource.Vector {
	var sizes []resource.Vector
	add := func(size resource.Vector) {
		if !slices.ContainsFunc(sizes, size.Equal) {
			sizes = append(sizes, size)
		}
	}
	if e.upfront == nil {
		add(e.leader.Requests)
	}
	for _, role := range e.Gang.Definition.Roles {
		if role.Count > 0 {
			add(role.Requests)
		}
	}
	return sizes
}

func turnOf(p *pod) waiting.Turn {
	return waiting.Turn{Priority: p.Priority, Created: p.Created, Gang: p.Gang, ID: p.UID}
}
