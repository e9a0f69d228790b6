package ledger

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
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
		l.recruitLocked(e)
	case gang.Invalid:
		l.dismissLocked(e)
		l.disbandLocked(l.apps[e.Key])
	}
	switch {
	case e.leader.bound && e.Phase == gang.Waiting:
		l.resumeLocked(e)
	case e.Phase == gang.Invalid:
		l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.InvalidGang, Message: e.Problem}})
	default:
		l.effects = append(l.effects, Activate{e.leader.Object})
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
		l.endWaitLocked(e.leader.UID)
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
	if l.probe == tried.UID {
		l.probe = ""
	}
	switch {
	case tried.Kind == Worker && e != nil && !p.roams:
		p.roams = true
		l.effects = append(l.effects, Activate{p.Object})
		return
	case r.Verdict.Passes():
		// Refused for something else than room: whatever refused it wakes it.
		l.endWaitLocked(tried.UID)
		return
	}
	var w *waiter
	if tried.Kind == Leader && e != nil {
		w = l.parkLocked(e)
		// Through the Gate again, which keeps it there.
		l.effects = append(l.effects, Activate{p.Object})
	} else {
		w = l.parkAloneLocked(p)
	}
	w.told = r.Verdict.Reason // the scheduler tells of an attempt that has failed
	if r.Verdict.OfQueue() {
		l.waiting.idle = false // the tree keeps it until the queue has room
		if !l.reclaimsLocked(w.uid()) {
			l.disappointLocked(w)
		} // else somebody else was let in meanwhile, and it has what it waits for when those have gone who have to go for it
		return
	}
	w.failed = true
	l.waiting.fail(w.shape, r, l.now)
	l.disappointLocked(w)
	if w.shape.due(l.since) {
		// Something happened during the attempt.
		l.waiting.idle = false
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

// shapeOf is equal for gangs that ask for exactly the same.
func shapeOf(e *entry) string {
	shape := fmt.Sprintf("gang %s %s", e.leader.Shape, e.leader.Requests)
	for _, role := range e.Gang.Definition.Roles {
		shape += fmt.Sprintf(" + %d × %s %s", role.Count, role.Shape, role.Requests)
	}
	if e.upfront != nil && !e.upfront.group.Resources.IsZero() {
		shape += fmt.Sprintf(" of %s", e.upfront.group.Resources)
	}
	return shape
}

func turnOf(p *pod) turn {
	return turn{priority: p.Priority, created: p.Created, gang: p.Gang, uid: p.UID}
}
