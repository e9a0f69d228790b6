package quota

import "k8s.io/apimachinery/pkg/types"

// parking is a Tree with the simplest owner: it knows why it has parked whom.
type parking struct {
	*Tree
	reasons map[*Group]Verdict // the zero Verdict means for want of room
}

func parkingOf(tree *Tree) *parking { return &parking{Tree: tree, reasons: map[*Group]Verdict{}} }

// park passes over a waiter, and all that are as it is.
func (p *parking) park(id types.UID, v Verdict) {
	g := p.waiters[id].group
	p.reasons[g] = v
	p.Park(g)
}

// parked is the verdict a waiter was parked with; false means that it is not.
func (p *parking) parked(id types.UID) (Verdict, bool) {
	w := p.waiters[id]
	if w == nil || !w.group.parked {
		return Verdict{}, false
	}
	return p.reasons[w.group], true
}

// wake wakes everybody who was parked for want of room.
func (p *parking) wake() {
	for g, v := range p.reasons {
		if v.Passes() {
			delete(p.reasons, g)
			p.Wake(g)
		}
	}
}

// wakeFreed wakes whom a queue kept that has released something since, as far as it would let them start now.
func (p *parking) wakeFreed() {
	freed := map[string]bool{}
	for _, queue := range p.Released() {
		freed[queue] = true
	}
	for g, v := range p.reasons {
		if first, any := g.First(); freed[v.Queue] && !v.Passes() && any && !p.Blocks(v, first.Demand) {
			delete(p.reasons, g)
			p.Wake(g)
		}
	}
}
