package ledger

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// Seats is where a pod that does not start a gang may go: a worker of an admitted gang takes a slot.
type Seats struct {
	// Slots says what an open slot of the worker's role holds: node -> request of one slot.
	Slots map[string]resource.Vector
	// Pinned means that the worker should go to one of Slots and nowhere else.
	Pinned bool
	// Verdict is the Gate's: the leader may have ended since the worker passed it, and a queue may have let others in since a
	// pod that claims no slot did.
	Verdict gang.Verdict
}

// Seats finds open slots for a worker. At most limit nodes are named for a pinned worker, so that its scheduling cycle
// looks at a handful of nodes; one that roams learns all its slots.
func (l *Ledger) Seats(uid types.UID, limit int) Seats {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pods[uid]
	if p == nil {
		return Seats{}
	}
	if p.Kind == Worker {
		if verdict := l.gateWorkerLocked(p); !verdict.Passes() {
			return Seats{Verdict: verdict}
		}
	}
	if !l.claimsLocked(p) {
		return Seats{Verdict: l.allowsLocked(p)}
	}
	e := l.gangOfLocked(p)
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

// Demand is what has to find room as one when a pod is tried.
type Demand struct {
	gang.Definition
	// Leader stands for the gang in Admitted: the tried pod itself, unless the gang is an up-front one.
	Leader types.UID
	// Upfront tells that the gang has no leader: the tried pod is one of the Definition's workers.
	Upfront bool
	// Role of the tried pod in an up-front gang.
	Role string
	// Resources have to be free in all, whatever the Definition asks for. Zero means nothing.
	Resources resource.Vector
	// Strategy of the gang's queue.
	Strategy placement.Strategy
	// Verdict is the queue's: it may have let others in since the pod passed the Gate.
	Verdict gang.Verdict
}

// Probed tells whether a pod is the one that is tried again at present, for itself or for its gang.
func (l *Ledger) Probed(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pods[uid]
	if p == nil {
		return false
	}
	if e := l.gangOfLocked(p); e != nil && e.tries(p) {
		uid = e.leader.UID
	}
	return l.probe == uid
}

// Demand of the gang that a pod is tried for; false when there is none: the pod is alone, or a worker of a gang that
// has been admitted, or not the one to be tried.
func (l *Ledger) Demand(uid types.UID) (Demand, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pods[uid]
	if p == nil {
		return Demand{}, false
	}
	e := l.gangOfLocked(p)
	if e == nil || e.Phase != gang.Waiting || p != e.leader && !e.tries(p) {
		return Demand{}, false
	}
	demand := Demand{
		Definition: e.Definition, Leader: e.leader.UID, Strategy: l.strategyLocked(e.Key.Namespace),
		Verdict: verdictOf(l.fitsLocked(e.leader.UID, l.queueOfLocked(e.Key.Namespace), demandOnQueue(e))),
	}
	if e.upfront != nil {
		demand.Upfront, demand.Role, demand.Resources = true, p.Role, e.upfront.group.Resources
	}
	return demand, true
}

// Reservation of a leader's gang, to be kept where a restarted scheduler finds it, with every slot open: workers that
// are there then claim theirs again. false when the gang is not admitted.
func (l *Ledger) Reservation(leader types.UID) (Reservation, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.gangs[leader]
	if e == nil || e.upfront != nil || !e.Phase.Admitted() {
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
