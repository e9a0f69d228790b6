package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/resource"
)

// Seats is where a pod that does not start a gang may go: a worker of an admitted gang takes a slot.
type Seats struct {
	// Slots says what an open slot of the worker's role holds: node -> request of one slot.
	Slots map[string]resource.Vector
	// Pinned means that the worker should go to one of Slots and nowhere else.
	Pinned bool
	// Later means that the pod is one of an up-front gang that has started, beyond those that start together.
	Later bool
	// Verdict is the Gate's: the leader may have ended since the worker passed it, and a queue may have let others in since a
	// pod that claims no slot did.
	Verdict gang.Verdict
}

// seats finds open slots for a worker. At most limit nodes are named for a pinned worker, so that its scheduling cycle
// looks at a handful of nodes; one that roams learns all its slots.
func (g *gate) seats(uid types.UID, limit int) Seats {
	p := g.members.pods[uid]
	if p == nil {
		return Seats{}
	}
	if p.Kind == Worker {
		if verdict := g.worker(p); !verdict.Passes() {
			return Seats{Verdict: verdict}
		}
	}
	if !g.accounts.claims(p) {
		e := g.members.gangOf(p)
		return Seats{Verdict: g.waits.allows(p), Later: p.Upfront && e != nil && e.upfront != nil && e.Phase == gang.Running}
	}
	e := g.members.gangOf(p)
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
	// Pods are what the Definition asks of nodes, the leader included.
	Pods inventory.Demand
	// Verdict is the queue's: it may have let others in since the pod passed the Gate.
	Verdict gang.Verdict
	// Kept is what the View does not show as free, because it is kept for others who wait.
	Kept Kept
}

// Attempt is what one attempt to place a pod goes by.
type Attempt struct {
	// View as the pod may use it.
	View *inventory.View
	// Demand of the gang that the pod is tried for. Gang is false when there is none: the pod is alone, or a worker of a gang
	// that has been admitted, or not the one to be tried.
	Demand Demand
	Gang   bool
	// Edition is given back with whatever comes of the attempt: what the gang asks for may change meanwhile. Zero when the pod is not
	// tried for a gang.
	Edition uint64
	// Seats of a pod that does not start a gang, unless it leads one.
	Seats Seats
}

// Kept is room that is kept for those who wait until they have all they need.
type Kept struct {
	Amount resource.Vector
	// First of them, and Others is how many there are besides; the zero name means that there are none.
	First  types.NamespacedName
	Others int
}

// Text says how much of a resource is kept, and for whom; empty if nothing of it is. Who that is is not named, unless names says so: a failure
// is told to all that ask for the same, in whatever namespace.
func (k Kept) Text(name v1.ResourceName, names bool) string {
	amount := k.Amount.Of(name)
	if k.First.Name == "" || amount <= 0 {
		return ""
	}
	who := "another"
	if names {
		who = k.First.String()
	}
	if k.Others > 0 {
		who += fmt.Sprintf(" and %d more", k.Others)
	}
	return fmt.Sprintf("; %s %s more is free and kept for %s, until all that is needed there is free", name, resource.Quantity(name, amount), who)
}

// keptFor is what is kept for others than a pod, for which there is a collection of its own, or nil.
func (ws *waits) keptFor(own *collection) Kept {
	kept := Kept{Amount: ws.collections.total}
	if own != nil {
		for _, amount := range own.amounts() {
			kept.Amount = kept.Amount.Sub(amount)
		}
	}
	for _, c := range ws.collections.list[:min(len(ws.collections.list), 2)] { // one of them may be its own
		if first := ws.members.object(c.waiter); c != own && kept.First.Name == "" {
			kept.First = types.NamespacedName{Namespace: first.Namespace, Name: first.Name}
		}
	}
	if kept.Others = len(ws.collections.list) - 1; own != nil {
		kept.Others--
	}
	return kept
}

// Attempt takes that the scheduling cycle of a pod begins. At most limit nodes are named for a pinned worker. A pod that waits
// and whose turn it is not any more is told so.
func (l *Ledger) Attempt(now time.Time, uid types.UID, limit int) (attempt Attempt, effects []Effect) {
	effects = l.hold(now, func() {
		attempt = l.gate.enter(uid, limit)
		l.settleLocked()
	})
	return attempt, effects
}

// enter begins an Attempt.
func (g *gate) enter(uid types.UID, limit int) Attempt {
	p := g.members.pods[uid]
	if p == nil {
		return Attempt{View: g.waits.viewFor(uid)}
	}
	waiter := g.members.waiterOf(p)
	g.waiting.Entered(waiter, p.number, g.outcome.now)
	g.waits.callNext(waiter)
	attempt := g.attempt(p, waiter, limit)
	inTurn := attempt.Gang || g.accounts.queued() && !g.accounts.claims(p) // others pass the Gate out of turn
	if w := g.waiting.Of(waiter); w != nil && !w.Trying() && inTurn {
		later := g.waits.verdict(w)
		if later.Reason != gang.BehindOthers { // its own reason is told again when this one is not true any more
			later = gang.Verdict{Reason: gang.BehindOthers, Detail: g.waits.whyLater(w)}
		}
		attempt.Demand.Verdict, attempt.Seats.Verdict = later, later
	}
	return attempt
}

// Precheck is what an attempt of a gang would go by whose pod was let through and not tried yet, and why its user was told that it
// waits; that is empty for every other pod, for one that lacks something else than room, and for a gang that asks for something else by now
// than when its user was told.
func (l *Ledger) Precheck(uid types.UID) (attempt Attempt, told gang.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.members.pods[uid]
	if p == nil {
		return Attempt{}, ""
	}
	waiter := l.members.waiterOf(p)
	w := l.waiting.Of(waiter)
	if w == nil || !w.Trying() || !w.Told.Trait().OfRoom {
		return Attempt{}, ""
	}
	if attempt = l.gate.attempt(p, waiter, 0); !attempt.Gang || !attempt.Demand.Verdict.Passes() {
		return Attempt{}, ""
	}
	return attempt, w.Told
}

func (g *gate) attempt(p *pod, waiter types.UID, limit int) Attempt {
	attempt := Attempt{View: g.waits.viewFor(waiter), Edition: g.members.editionOf(p)}
	own := g.waits.collections.of(waiter)
	if own != nil {
		own.tried = g.waits.ready(own)
	}
	if attempt.Demand, attempt.Gang = g.demand(p.UID); !attempt.Gang && p.Kind != Leader {
		attempt.Seats = g.seats(p.UID, limit)
	}
	if attempt.Gang && len(g.waits.collections.list) > 0 {
		attempt.Demand.Kept = g.waits.keptFor(own)
	}
	return attempt
}

// demand is the Demand of an Attempt; false when there is none.
func (g *gate) demand(uid types.UID) (Demand, bool) {
	p := g.members.pods[uid]
	if p == nil {
		return Demand{}, false
	}
	e := g.members.gangOf(p)
	if e == nil || e.Phase != gang.Waiting || p != e.leader && !e.tries(p) {
		return Demand{}, false
	}
	demand := Demand{
		Definition: e.Definition, Leader: e.leader.UID, Pods: g.waits.asks(e.leader.UID),
		Verdict: verdictOf(g.waits.fits(e.leader.UID, g.accounts.queueOf(e.Key.Namespace), demandOnQueue(e))),
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
	e := l.members.gangs[leader]
	if e == nil || e.upfront != nil || !e.Phase.Admitted() {
		return Reservation{}, false
	}
	return Reservation{Definition: e.Gang.Definition, Slots: Runs(e.Slots)}, true
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
	for _, e := range slices.SortedFunc(maps.Keys(l.members.admitted()), func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) }) {
		for _, slot := range e.Slots {
			if slot.Worker == "" && slot.Node != "" {
				awaited = append(awaited, Awaited{e.Gang.Definition.Roles[slot.Role].Pod, slot.Node})
			}
		}
	}
	return awaited
}
