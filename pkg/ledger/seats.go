package ledger

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// Seats is where a worker of an admitted gang may take a slot.
type Seats struct {
	// Slots says what an open slot of the worker's role holds: node -> request of one slot.
	Slots map[string]resource.Vector
	// Pinned means that the worker should go to one of Slots and nowhere else.
	Pinned bool
	// Verdict is the Gate's: the leader may have ended since the worker passed it.
	Verdict gang.Verdict
}

// Seats finds open slots for a worker. At most limit nodes are named for a pinned worker, so that its scheduling cycle
// looks at a handful of nodes; one that roams learns all its slots.
func (l *Ledger) Seats(uid types.UID, limit int) Seats {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pods[uid]
	if p == nil || p.Kind != Worker {
		return Seats{}
	}
	e := l.gangOfLocked(p)
	if e == nil || !e.Phase.Admitted() {
		return Seats{Verdict: l.gateWorkerLocked(p)}
	}
	seats := Seats{Slots: map[string]resource.Vector{}}
	e.OpenSlots(p.Role, func(slot gang.Slot) bool {
		if slot.Node != "" {
			seats.Slots[slot.Node] = slot.Requests
		}
		return p.roams || len(seats.Slots) < limit
	})
	seats.Pinned = !p.roams && len(seats.Slots) > 0
	return seats
}

// Definition of a leader's gang, for planning; false when the gang is not waiting to be admitted.
func (l *Ledger) Definition(leader types.UID) (gang.Definition, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.gangs[leader]
	if e == nil || e.Phase != gang.Waiting || l.gangOfLocked(e.leader) != e {
		return gang.Definition{}, false
	}
	return e.Definition, true
}

// Reservation of a leader's gang, to be kept where a restarted scheduler finds it, with every slot open: workers that
// are there then claim theirs again. false when the gang is not admitted.
func (l *Ledger) Reservation(leader types.UID) (Reservation, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.gangs[leader]
	if e == nil || !e.Phase.Admitted() {
		return Reservation{}, false
	}
	slots := slices.Clone(e.Slots)
	for i := range slots {
		slots[i].Worker = ""
	}
	return Reservation{Definition: e.Gang.Definition, Slots: slots}, true
}

// Awaited is an open slot.
type Awaited struct {
	// Worker is a pod as the leader will create it; it must not be modified.
	Worker *v1.Pod
	Node   string
}

// Awaited lists the open slots of all gangs that have a node, for whoever wants to know which pods will be there, in an
// order that does not depend on the ledger's maps.
func (l *Ledger) Awaited() []Awaited {
	l.mu.Lock()
	defer l.mu.Unlock()
	var awaited []Awaited
	for _, e := range slices.SortedFunc(maps.Keys(l.admittedLocked()), func(a, b *entry) int { return turnOf(a.leader).compare(turnOf(b.leader)) }) {
		for _, slot := range e.Slots {
			if slot.Worker == "" && slot.Node != "" {
				awaited = append(awaited, Awaited{e.Gang.Definition.Roles[slot.Role].Pod, slot.Node})
			}
		}
	}
	return awaited
}
