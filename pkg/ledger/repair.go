package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// repairLocked moves open slots off nodes that cannot keep them: nodes that are gone, that the role may not use any
// more, or on which others have taken the room. The gangs admitted last move first. It looks at gangs only when some
// node is in trouble.
func (l *Ledger) repairLocked() {
	troubled := sets.New[string]()
	for i := range l.suspects {
		if n := l.nodes.table.at(i); !n.held.IsZero() && (l.nodeChanged || n.object == nil || overbooked(n)) {
			troubled.Insert(n.name)
		}
	}
	clear(l.suspects)
	if len(troubled) == 0 {
		return
	}
	for _, e := range l.admittedLocked() {
		for s := range e.Slots {
			slot := &e.Slots[s]
			if slot.Worker != "" || !troubled.Has(slot.Node) {
				continue
			}
			if n := l.nodes.table.at(l.nodes.lookup(slot.Node)); overbooked(n) || !e.eligibility(slot.Role)(n.object) {
				l.moveSlotLocked(e, s)
			}
		}
	}
}

// admittedLocked lists the gangs that may hold slots, those whose turn was last first.
func (l *Ledger) admittedLocked() []*entry {
	var admitted []*entry
	for _, e := range l.gangs {
		if e.Phase.Admitted() && len(e.Slots) > 0 {
			admitted = append(admitted, e)
		}
	}
	slices.SortFunc(admitted, func(a, b *entry) int { return turnOf(b.leader).compare(turnOf(a.leader)) })
	return admitted
}

// moveSlotLocked finds another node for an open slot. Where there is none, the slot is homeless and its gang degraded
// until room comes back.
func (l *Ledger) moveSlotLocked(e *entry, slot int) {
	l.stepLocked(e, gang.SlotMoved{Slot: slot})
	l.saveLocked(e)
	if home := l.homeLocked(e, slot); home != "" {
		l.stepLocked(e, gang.SlotMoved{Slot: slot, Node: home})
		return
	}
	if !l.degraded[e] {
		l.degraded[e] = true
		l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.Degraded,
			Message: fmt.Sprintf("room that was kept for a worker of %s is gone, and no other node has it now; it is sought again when room comes back", e.Slots[slot].Requests)}})
	}
}

// homeLocked is the first node that could hold an open slot; empty means none.
func (l *Ledger) homeLocked(e *entry, slot int) string {
	eligible := e.eligibility(e.Slots[slot].Role)
	for i := range l.nodes.table.length {
		node := l.nodes.table.at(i)
		if e.Slots[slot].Requests.Fits(node.free) && eligible(node.object) {
			return node.name
		}
	}
	return ""
}

// rehomeLocked seeks room for the homeless slots of degraded gangs, the first in turn first.
func (l *Ledger) rehomeLocked() {
	degraded := slices.SortedFunc(maps.Keys(l.degraded), func(a, b *entry) int { return turnOf(a.leader).compare(turnOf(b.leader)) })
	for _, e := range degraded {
		whole := true
		for s := range e.Slots {
			if e.Slots[s].Node != "" || e.Slots[s].Worker != "" {
				continue
			}
			if home := l.homeLocked(e, s); home != "" {
				l.stepLocked(e, gang.SlotMoved{Slot: s, Node: home})
				l.saveLocked(e)
			} else {
				whole = false
			}
		}
		if whole {
			delete(l.degraded, e)
		}
	}
}

// eligibility is which nodes a worker of the role may use, resources aside.
func (e *entry) eligibility(role int) func(*v1.Node) bool {
	return placement.Eligibility(e.Gang.Definition.Roles[role].Pod)
}

// saveLocked asks for the gang's reservation to be written down again, once an event.
func (l *Ledger) saveLocked(e *entry) {
	written := Save{e.leader.Object}
	if !slices.Contains(l.effects, Effect(written)) {
		l.effects = append(l.effects, written)
	}
}

// overbooked tells whether more is taken of a node than it has.
func overbooked(n *node) bool { return !resource.Vector{}.Sub(n.free).Fits(resource.Vector{}) }

// measureLocked compares the first real worker of a role with what was predicted, and corrects the open slots.
func (l *Ledger) measureLocked(e *entry, p *pod) {
	role := e.Gang.Definition.Role(p.Role)
	if role == nil {
		return
	}
	predicted := role.Requests
	l.stepLocked(e, gang.Measured{Role: p.Role, Requests: p.Requests})
	corrected := e.Gang.Definition.Role(p.Role).Requests
	if corrected.Equal(predicted) {
		return
	}
	for _, slot := range e.Slots {
		if slot.Worker == "" && slot.Node != "" {
			l.suspects[l.nodes.lookup(slot.Node)] = struct{}{}
		}
	}
	// Smaller slots may find a home where larger ones did not.
	l.degraded[e], l.resized = true, true
	l.saveLocked(e)
	l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.PredictionCorrected,
		Message: fmt.Sprintf("the first %s asks for %s, predicted was %s: the other slots follow", p.Role, corrected, predicted)}})
}

// tickLocked releases slots that nobody has claimed for too long.
func (l *Ledger) tickLocked(unclaimed time.Duration) {
	for _, e := range l.admittedLocked() {
		claimed, open := e.Counts()
		if open == 0 || e.Phase != gang.Running || !e.leader.Ready || l.now.Sub(e.progress) < unclaimed {
			continue
		}
		l.stepLocked(e, gang.Released{})
		delete(l.degraded, e)
		l.saveLocked(e)
		l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.SlotsReleased,
			Message: fmt.Sprintf("%d of %d slots were not claimed within %s: their room is free for others", open, claimed+open, unclaimed)}})
	}
}
