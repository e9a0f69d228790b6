package ledger

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// repairLocked moves open slots off nodes that cannot keep them: nodes that are gone, that the role may not use any
// more, or on which others have taken the room. The gangs admitted last move first. All gangs are looked at only when
// some node is in trouble; else those whose own slots the event has opened or resized.
func (l *Ledger) repairLocked() {
	l.collections.check()
	suspects := l.unsettled
	touched := sets.New[string]()
	for _, i := range l.nodes.Touched() {
		n := l.nodes.At(i)
		if n.Held.IsZero() {
			continue
		}
		touched.Insert(n.Name)
		if l.nodes.Changed() || n.Object == nil || !n.Keeps(n.Held) {
			suspects = nil
		}
	}
	if suspects == nil {
		suspects = l.admittedLocked()
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
			if n := l.nodes.Of(slot.Node); !n.Keeps(slot.Requests) || !e.eligible(slot.Role, n.Object) {
				l.moveSlotLocked(e, s)
			}
		}
	}
	for e := range l.unsettled {
		if e.homeless() {
			l.degraded[e] = l.degraded[e]
		}
	}
}

// admittedLocked is the gangs that may hold slots.
func (l *Ledger) admittedLocked() map[*entry]struct{} {
	admitted := map[*entry]struct{}{}
	for _, e := range l.gangs {
		if e.Phase.Admitted() && len(e.Slots) > 0 {
			admitted[e] = struct{}{}
		}
	}
	return admitted
}

// moveSlotLocked finds another node for an open slot. Where there is none, the slot is homeless and its gang degraded
// until room comes back.
func (l *Ledger) moveSlotLocked(e *entry, slot int) {
	l.stepLocked(e, gang.SlotMoved{Slot: slot})
	l.saveLocked(e)
	if home := l.homeLocked(e, slot, l.nodes.All()); home != "" {
		l.stepLocked(e, gang.SlotMoved{Slot: slot, Node: home})
		return
	}
	l.degraded[e] = l.degraded[e]
}

// homeLocked is the first of the given nodes that could hold an open slot; empty means none.
func (l *Ledger) homeLocked(e *entry, slot int, among iter.Seq[int]) string {
	for i := range among {
		node := l.nodes.At(i)
		if e.Slots[slot].Requests.Fits(node.Free) && e.eligible(e.Slots[slot].Role, node.Object) {
			return node.Name
		}
	}
	return ""
}

// rehomeLocked seeks room for the homeless slots of degraded gangs, the first in turn first, and tells the users of
// those that stay degraded, once. No node had room for them before, so only what the event has touched is looked at,
// unless the slots themselves have changed.
func (l *Ledger) rehomeLocked() {
	if len(l.degraded) == 0 {
		return
	}
	touched := slices.Values(l.nodes.Touched())
	for _, e := range slices.SortedFunc(maps.Keys(l.degraded), func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) }) {
		among := touched
		if _, changed := l.unsettled[e]; changed {
			among = l.nodes.All()
		}
		left := resource.Vector{}
		nowhere := map[int]bool{} // role -> one of its slots found no home; all of them ask for the same
		for s := range e.Slots {
			slot := &e.Slots[s]
			if slot.Node != "" || slot.Worker != "" || nowhere[slot.Role] {
				continue
			}
			if home := l.homeLocked(e, s, among); home != "" {
				l.stepLocked(e, gang.SlotMoved{Slot: s, Node: home})
				l.saveLocked(e)
				l.unsettled[e] = struct{}{}
			} else {
				left, nowhere[slot.Role] = slot.Requests, true
			}
		}
		switch {
		case left.IsZero():
			delete(l.degraded, e)
		case !l.degraded[e]:
			l.degraded[e] = true
			if e.surprise != "" {
				l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.Degraded,
					Message: fmt.Sprintf("executors need %s, which the prediction did not have: no node has room for one of %s now; it is sought again when room comes back", e.surprise, left)}})
				continue
			}
			l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.Degraded,
				Message: fmt.Sprintf("room that was kept for a worker of %s is gone, and no other node has it now; it is sought again when room comes back", left)}})
		}
	}
}

// homeless tells whether an open slot of the gang has no node.
func (e *entry) homeless() bool {
	for s := range e.Slots {
		if e.Slots[s].Node == "" && e.Slots[s].Worker == "" {
			return true
		}
	}
	return false
}

// eligible tells whether a worker of the role may use the node, resources aside; nil is a node that is not there.
func (e *entry) eligible(role int, node *v1.Node) bool {
	if e.eligibility == nil {
		for _, role := range e.Gang.Definition.Roles {
			e.eligibility = append(e.eligibility, placement.Eligibility(role.Pod))
		}
	}
	return e.eligibility[role](node)
}

// saveLocked asks for the reservation of a leader's gang to be written down again, once an event.
func (l *Ledger) saveLocked(e *entry) {
	if e.upfront != nil {
		return // where its pods are says it all
	}
	written := Save{e.leader.Object}
	if !slices.Contains(l.effects, Effect(written)) {
		l.effects = append(l.effects, written)
	}
}

// measureLocked compares the first real worker of a role with what was predicted, and corrects the open slots.
func (l *Ledger) measureLocked(e *entry, p *pod) {
	role := e.Gang.Definition.Role(p.Role)
	if role == nil || e.Observed(p.Role) || !e.Phase.Admitted() {
		return
	}
	predicted := role.Requests
	observed, rules := spark.Observed(role.Pod, p.Object)
	l.stepLocked(e, gang.Measured{Role: p.Role, Requests: p.Requests, Pod: observed})
	corrected := e.Gang.Definition.Role(p.Role).Requests
	if e.surprise = spark.Unpredicted(predicted, corrected); observed != nil {
		if e.surprise == "" {
			e.surprise = rules
		}
		// All that have no place are given one at the end of the event.
		for _, slot := range e.misplaced(p.Role, l.nodes) {
			l.stepLocked(e, gang.SlotMoved{Slot: slot})
		}
		l.unsettled[e] = struct{}{}
		l.saveLocked(e)
		l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.PredictionCorrected,
			Message: fmt.Sprintf("the first %s has %s than predicted: the other slots are planned anew", p.Role, rules)}})
	}
	if corrected.Equal(predicted) {
		return
	}
	// Larger slots may have to move; smaller ones may find a home where larger ones did not.
	l.unsettled[e] = struct{}{}
	l.saveLocked(e)
	l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.PredictionCorrected,
		Message: fmt.Sprintf("the first %s asks for %s, predicted was %s: the other slots follow", p.Role, corrected, predicted)}})
}

// misplaced are the open slots of a role, as indices, on nodes that its workers may not use once more is known of them.
func (e *entry) misplaced(role string, nodes *inventory.Nodes) []int {
	var misplaced []int
	e.eligibility = nil
	for s := range e.Slots {
		slot := &e.Slots[s]
		if slot.Worker != "" || slot.Node == "" || e.Definition.Roles[slot.Role].Name != role {
			continue
		}
		if n := nodes.Of(slot.Node); n == nil || !e.eligible(slot.Role, n.Object) {
			misplaced = append(misplaced, s)
		}
	}
	return misplaced
}

// tickLocked does what has become due.
func (l *Ledger) tickLocked(tick Tick) {
	l.tickBarriersLocked()
	if tick.Unclaimed > 0 {
		l.releaseLocked(tick.Unclaimed)
	}
	if tick.Collect > 0 {
		l.tickCollectionLocked(tick.Collect)
		l.sweepTellsLocked()
	}
}

// releaseLocked releases slots that nobody has claimed for too long.
func (l *Ledger) releaseLocked(unclaimed time.Duration) {
	var due []*entry
	for _, e := range l.gangs {
		if _, open := e.Counts(); open > 0 && e.Phase == gang.Running && e.leader.Ready && l.now.Sub(e.progress) >= unclaimed {
			due = append(due, e)
		}
	}
	slices.SortFunc(due, func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) })
	for _, e := range due {
		claimed, open := e.Counts()
		l.stepLocked(e, gang.Released{})
		delete(l.degraded, e)
		l.saveLocked(e)
		l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.SlotsReleased,
			Message: fmt.Sprintf("%d of %d slots were not claimed within %s: their room is free for others", open, claimed+open, unclaimed)}})
	}
}
