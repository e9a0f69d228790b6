package ledger

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/reclaim"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/waiting"
)

// WhatIf is a pod by itself that others of its queue and of lower priorities may have to leave for, though room is not all that it
// lacks: who asks the framework's filters learns from it who may go, and says in the end who does. It lives for one scheduling cycle.
type WhatIf struct {
	ledger *Ledger
	uid    types.UID
	queue  string
	pod    Pod
	guards reclaim.Guards
}

// Leaver is what goes from a node as one when one of its pods has to.
type Leaver struct {
	victim *reclaim.Victim
	quota.Victim
	// Pods of it that are on the node, and what comes free there.
	Pods []types.UID
	Here resource.Vector
	// Leaves means that those pods go already, whoever sees to it.
	Leaves bool
	// Whole means that it is a gang, of which Count pods go on all nodes.
	Whole bool
	Count int
}

// WhatIf is nil if nobody has to go for a pod, whoever there is, or somebody goes already. rests means that it may be asked again later:
// rehearsals and such questions have cost so much time that they rest now, or those of the pod's namespace do.
func (l *Ledger) WhatIf(now time.Time, uid types.UID) (asked *WhatIf, rests bool) {
	for !l.refreshHolders() {
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.members.pods[uid]
	if p == nil || p.Kind != Lone || p.placed != "" || p.NeverPreempts || !l.members.synced || p.Priority <= l.victims.priorities.Lowest() || l.waits.reclaims(uid) {
		return nil, false
	}
	if spec, _ := l.accounts.queues.Spec(l.accounts.queueOf(p.Namespace)); spec.Reclaim.DryRun {
		return nil, false
	}
	if now.Before(waiting.Rests(l.waiting, p.Namespace)) {
		return nil, true
	}
	return &WhatIf{ledger: l, uid: uid, queue: l.accounts.queueOf(p.Namespace), pod: p.Pod, guards: reclaim.Guards{Budgets: l.victims.budgets}}, false
}

// On is who may leave a node, of those to whom some of its pods belong: who should rather stay comes first. What a PodDisruptionBudget
// protects is that most of all, then whole gangs, higher priorities, and who has been there for longer.
func (w *WhatIf) On(node string, pods []types.UID) []Leaver {
	l := w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	var leavers []Leaver
	going := Leaver{Leaves: true}
	at := map[types.UID]int{} // victim -> index
	for _, uid := range pods {
		if p := l.members.pods[uid]; p != nil && p.placed == node && p.leaves() {
			if going.Pods = append(going.Pods, uid); p.goes(l.outcome.now) { // else what it leaves is somebody's
				going.Here = going.Here.Add(p.Requests)
			}
			continue
		}
		v := l.victims.takenWith(uid)
		if v == nil || v.Leaves() || v.Priority >= w.pod.Priority || l.accounts.queueOf(v.Holder.Key.Namespace) != w.queue {
			continue
		}
		i, known := at[v.ID]
		if !known {
			i = len(leavers)
			at[v.ID] = i
			leavers = append(leavers, Leaver{victim: v, Victim: v.Victim, Whole: v.Kind == quota.Gang && v.Holder.Gang, Count: len(v.Pods)})
			leavers[i].Protected = w.guards.Protect(v)
			if leavers[i].Whole {
				for _, slot := range v.Holder.Open {
					if slot.Node == node {
						leavers[i].Here = leavers[i].Here.Add(slot.Requests)
					}
				}
			}
		}
		leavers[i].Pods = append(leavers[i].Pods, uid)
		leavers[i].Here = leavers[i].Here.Add(l.members.pods[uid].Requests)
	}
	slices.SortFunc(leavers, func(a, b Leaver) int { return b.compare(a) })
	if len(going.Pods) > 0 {
		leavers = append(leavers, going)
	}
	return leavers
}

// takenWith is what goes when a pod has to; nil for a pod that never does, or of which too little is known.
func (vs *victims) takenWith(uid types.UID) *reclaim.Victim {
	p := vs.members.pods[uid]
	if p == nil || p.placed == "" {
		return nil
	}
	id := uid
	if e := vs.members.gangOf(p); e != nil {
		id = e.leader.UID
	}
	if h := vs.holders.Of(id); h != nil {
		return h.Taken(uid)
	}
	return nil
}

// compare is negative if a goes rather than b.
func (a Leaver) compare(b Leaver) int {
	protects := func(l Leaver) int {
		if l.Protected {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(protects(a), protects(b)), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Priority, b.Priority), b.Since.Compare(a.Since), cmp.Compare(a.ID, b.ID))
}

// Ended takes that the question has been asked in vain, and how long it has kept others waiting.
func (w *WhatIf) Ended(now time.Time, took time.Duration) {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	waiting.RehearsedInVain(w.ledger.waiting, w.pod.Namespace, took, now)
}

// Take lets some of those On a node go for the pod, if that still holds, and keeps the room for it.
func (w *WhatIf) Take(now time.Time, took time.Duration, epoch uint64, node string, leavers []Leaver) []Effect {
	l := w.ledger
	return l.hold(now, func() {
		waiting.Answered(l.waiting, w.pod.Namespace, took, now)
		p := l.members.pods[w.uid]
		if p == nil || p.Kind != Lone || p.placed != "" || l.waits.reclaims(w.uid) {
			return
		}
		w.take(p, epoch, node, leavers)
		l.settleLocked()
	})
}

// take is Take for a pod that waits, while the lock is held.
func (w *WhatIf) take(p *pod, epoch uint64, node string, leavers []Leaver) {
	l, now := w.ledger, w.ledger.outcome.now
	waited := l.waiting.Of(w.uid) != nil
	waiter := l.waits.parkAlone(p)
	request := quota.Request{Queue: waiter.Asks.Queue, Now: now, Demand: waiter.Asks.Demand.Amount, Priority: p.Priority, Preempts: true}
	victims := make([]*reclaim.Victim, len(leavers))
	for i := range leavers {
		victims[i] = leavers[i].victim
	}
	plan := reclaim.Preempt(request, p.Namespace+"/"+p.Object.Name, node, victims, w.guards.Protect)
	if !l.reclaims.valid(waiter, &plan) {
		if !waited {
			l.waits.endWait(w.uid)
		}
		return
	}
	spec, _ := l.accounts.queues.Spec(request.Queue)
	l.waiting.Failed(waiter, waiting.Failure{Epoch: epoch, Verdict: othersLeave, Alone: true}, now)
	l.reclaims.take(waiter, &plan, spec.Reclaim.Grace)
	l.collections.of(w.uid).preemption.rules = true
}

// othersLeave is why a pod waits that lacks something else than room until others have gone.
var othersLeave = gang.Verdict{Reason: gang.Constraints, Message: "others have to leave first"}

// keepsOn tells whether others leave for a pod that was refused for something else than room, which is not to be wondered at until they
// have gone, and the scheduler's snapshot shows it.
func (ws *waits) keepsOn(tried *pod) bool {
	c, w := ws.collections.of(tried.UID), ws.waiting.Of(tried.UID)
	if c == nil || w == nil || c.preemption == nil || !c.preemption.rules {
		return false
	}
	if ws.ready(c) {
		return tried.defers(ws.waiting, c, ws.outcome.now)
	}
	if !c.preemption.comes() {
		return false
	}
	ws.waiting.Failed(w, waiting.Failure{Epoch: ws.waiting.Epoch(), Verdict: othersLeave, Alone: true}, ws.outcome.now)
	return true
}
