package ledger

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/resource"
)

// slots are the slots of all gangs. What nodes hold is what open slots and collections have there, and degraded are those gangs, and only
// those, an open slot of which has no node.
type slots struct {
	// degraded gangs have slots without a home -> whether their users have been told.
	degraded map[*entry]bool
	// unsettled gangs have slots that the event has opened or resized.
	unsettled map[*entry]struct{}

	nodes    *inventory.Nodes
	members  *members
	outcome  *outcome
	victims  *victims
	accounts *accounts
	totals   *totals
}

// hold changes what is held on nodes.
func (sl *slots) hold(changes []gang.Change) {
	for _, change := range changes {
		if change.Node != "" {
			sl.nodes.Hold(change.Node, change.Amount)
		}
	}
}

// step lets an event happen to a gang and keeps the sums of nodes and queues in step.
func (sl *slots) step(e *entry, event gang.Event) {
	sl.victims.holders.Touch(e.leader.UID)
	switch event.(type) {
	case gang.Defined, gang.Measured:
		sl.members.renew(e)
	}
	changes := e.Step(event)
	sl.hold(changes)
	sl.accounts.chargeGang(e, changes)
}

// repair moves open slots off nodes that cannot keep them: nodes that are gone, that the role may not use any
// more, or on which others have taken the room. The gangs admitted last move first. All gangs are looked at only when
// some node is in trouble; else those whose own slots the event has opened or resized.
func (sl *slots) repair() {
	suspects := sl.unsettled
	touched := sets.New[string]()
	for _, i := range sl.nodes.Touched() {
		n := sl.nodes.At(i)
		if n.Held.IsZero() {
			continue
		}
		touched.Insert(n.Name)
		if sl.nodes.Changed() || n.Object == nil || !n.Keeps(n.Held) {
			suspects = nil
		}
	}
	if suspects == nil {
		suspects = sl.members.admitted()
	}
	if len(touched) == 0 {
		suspects = nil
	}
	for _, e := range slices.SortedFunc(maps.Keys(suspects), func(a, b *entry) int { return turnOf(b.leader).Compare(turnOf(a.leader)) }) {
		for s := range e.Slots {
			slot := &e.Slots[s]
			if slot.Worker != "" || !touched.Has(slot.Node) {
				continue
			}
			if n := sl.nodes.Of(slot.Node); !n.Keeps(slot.Requests) || !e.eligible(slot.Role, n.Object) {
				sl.moveSlot(e, s)
			}
		}
	}
	for e := range sl.unsettled {
		if e.homeless() {
			sl.degraded[e] = sl.degraded[e]
		}
	}
}

// moveSlot finds another node for an open slot. Where there is none, the slot is homeless and its gang degraded
// until room comes back.
func (sl *slots) moveSlot(e *entry, slot int) {
	sl.step(e, gang.SlotMoved{Slot: slot})
	sl.outcome.save(e)
	if home := sl.home(e, slot, sl.nodes.All()); home != "" {
		sl.step(e, gang.SlotMoved{Slot: slot, Node: home})
		sl.totals.Repairs[SlotMoved]++
		return
	}
	sl.totals.Repairs[SlotHomeless]++
	sl.degraded[e] = sl.degraded[e]
}

// home is the first of the given nodes that could hold an open slot; empty means none.
func (sl *slots) home(e *entry, slot int, among iter.Seq[int]) string {
	for i := range among {
		node := sl.nodes.At(i)
		if e.Slots[slot].Requests.Fits(node.Free) && e.eligible(e.Slots[slot].Role, node.Object) {
			return node.Name
		}
	}
	return ""
}

// precedence is for how long nobody collects while a gang has slots without a home that some node could hold.
const precedence = 10 * time.Minute

// precede tells whether room that comes back is for slots without a home before it is collected for anybody who waits: not for those that
// no node could ever hold, and not for ever.
func (sl *slots) precede() bool {
	for e, looked := range sl.degraded {
		if !looked || e.hopeful && sl.outcome.now.Sub(e.hopefulSince) < precedence {
			return true
		}
	}
	return false
}

// couldHold tells whether some node could hold an open slot if all its pods ended that ever do.
func (sl *slots) couldHold(e *entry, slot int) bool {
	for i := range sl.nodes.All() {
		node := sl.nodes.At(i)
		if node.Object != nil && e.Slots[slot].Requests.Fits(node.Empty) && e.eligible(e.Slots[slot].Role, node.Object) {
			return true
		}
	}
	return false
}

// rehome seeks room for the homeless slots of degraded gangs, the first in turn first, and tells the users of
// those that stay degraded, once. No node had room for them before, so only what the event has touched is looked at,
// unless the slots themselves have changed.
func (sl *slots) rehome() {
	if len(sl.degraded) == 0 {
		return
	}
	touched := slices.Values(sl.nodes.Touched())
	for _, e := range slices.SortedFunc(maps.Keys(sl.degraded), func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) }) {
		among := touched
		if _, changed := sl.unsettled[e]; changed {
			among = sl.nodes.All()
		}
		left, looks, hopeful := resource.Vector{}, !sl.degraded[e] || sl.nodes.Changed(), e.hopeful
		if looks {
			e.hopeful = false
		}
		nowhere := map[int]bool{} // role -> one of its slots found no home; all of them ask for the same
		for s := range e.Slots {
			slot := &e.Slots[s]
			if slot.Node != "" || slot.Worker != "" || nowhere[slot.Role] {
				continue
			}
			if home := sl.home(e, s, among); home != "" {
				sl.step(e, gang.SlotMoved{Slot: s, Node: home})
				sl.outcome.save(e)
				sl.unsettled[e] = struct{}{}
			} else {
				left, nowhere[slot.Role] = slot.Requests, true
				e.hopeful = e.hopeful || looks && sl.couldHold(e, s)
			}
		}
		if e.hopeful && !hopeful {
			e.hopefulSince = sl.outcome.now
		}
		switch {
		case left.IsZero():
			delete(sl.degraded, e)
		case !sl.degraded[e]:
			sl.degraded[e], e.hopefulSince = true, sl.outcome.now
			sl.outcome.effects = append(sl.outcome.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.Degraded,
				Message: fmt.Sprintf("room that was kept for a worker of %s is gone, and no other node has it now; it is sought again when room comes back", left)}})
		}
	}
}

const (
	// missingFor is how long nothing may come of slots whose leader is ready until their workers are missing: Spark asks for a few at a
	// time, once a second.
	missingFor = 30 * time.Second
	// missingPerSweep bounds for how many gangs that is told at once.
	missingPerSweep = 100
)

// miss tells whose workers have not come. The API server may refuse them, and says that to nobody but their leader.
func (sl *slots) miss(admitted map[*entry]struct{}) {
	var missing []*entry
	for e := range admitted {
		_, open := e.Counts()
		if open > 0 && e.upfront == nil && e.Phase == gang.Running && e.leader.Ready && e.unconfirmed == nil && sl.outcome.now.Sub(e.progress) >= missingFor && !e.missed.Equal(e.progress) {
			missing = append(missing, e)
		}
	}
	slices.SortFunc(missing, func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) })
	for _, e := range missing[:min(len(missing), missingPerSweep)] {
		claimed, open := e.Counts()
		e.missed = e.progress
		missing := Missing{Leader: e.leader.Object, Open: open, All: claimed + open, Since: missingFor}
		for _, role := range e.Gang.Definition.Roles {
			if role.Count = e.Open(role.Name); role.Count > 0 {
				missing.Roles = append(missing.Roles, role)
			}
		}
		sl.outcome.effects = append(sl.outcome.effects, missing)
	}
}

// release releases slots that nobody has claimed for too long, and tells whose are late.
func (sl *slots) release(tick Tick) {
	var due []*entry
	admitted := sl.members.admitted()
	sl.miss(admitted)
	for e := range admitted {
		patience := tick.Unclaimed
		if !e.leader.Ready && e.unconfirmed == nil {
			patience = tick.Unready
		}
		if _, open := e.Counts(); open > 0 && e.Phase == gang.Running && patience > 0 && sl.outcome.now.Sub(e.progress) >= patience {
			due = append(due, e)
		}
	}
	slices.SortFunc(due, func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) })
	for _, e := range due {
		claimed, open := e.Counts()
		sl.step(e, gang.Released{})
		delete(sl.degraded, e)
		if e.unconfirmed != nil {
			e.unconfirmed.left = nil
		}
		sl.outcome.save(e)
		cause := Unclaimed
		message := fmt.Sprintf("%d of %d slots were not claimed within %s: their room is free for others; if their workers were never created, the API server may refuse them, which the leader's log says",
			open, claimed+open, tick.Unclaimed)
		if !e.leader.Ready && e.unconfirmed == nil {
			e.released, cause = true, LeaderUnready
			message = fmt.Sprintf("the leader has not been ready for %s: the room of %d of %d slots is free for others until it is", tick.Unready, open, claimed+open)
		}
		sl.totals.Released[cause] += open
		sl.outcome.effects = append(sl.outcome.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.SlotsReleased, Message: message}})
	}
}

// call sends workers that wait through the Gate again when their own gang has slots that the event has opened:
// to everybody else that room is as taken as before, so no epoch begins. As many are called as there are slots, the
// oldest first.
func (sl *slots) call() {
	for _, e := range slices.SortedFunc(maps.Keys(sl.unsettled), func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) }) {
		if _, open := e.Counts(); open == 0 || sl.members.apps[e.Key] == nil {
			continue
		}
		waiting := map[types.UID]*pod{}
		for uid, p := range sl.members.apps[e.Key].workers {
			if p.placed == "" && sl.members.gangOf(p) == e {
				waiting[uid] = p
			}
		}
		called := map[string]int{} // role -> workers
		for _, p := range sorted(waiting) {
			if called[p.Role] < e.Open(p.Role) {
				called[p.Role]++
				p.roams = false
				sl.outcome.revise(p)
			}
		}
	}
}
