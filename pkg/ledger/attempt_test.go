package ledger

import (
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/inventory"
)

// ViewFor, Demand and Seats are the parts of an Attempt, of which the ledger does not hear.
func (l *Ledger) ViewFor(uid types.UID) *inventory.View {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.members.pods[uid]; p != nil {
		uid = l.members.waiterOf(p)
	}
	return l.waits.viewFor(uid)
}

func (l *Ledger) Demand(uid types.UID) (Demand, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gate.demand(uid)
}

func (l *Ledger) Seats(uid types.UID, limit int) Seats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gate.seats(uid, limit)
}

// judged is an event as it comes of an attempt that has seen what the gang asks for now, unless the event says otherwise.
func judged(l *Ledger, event Event) Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e := event.(type) {
	case Admitted:
		if known := l.members.gangs[e.Leader]; known != nil && e.Edition == 0 {
			e.Edition = known.edition
		}
		return e
	case Refused:
		if p := l.members.pods[e.UID]; p != nil && e.Edition == 0 {
			e.Edition = l.members.editionOf(p)
		}
		return e
	}
	return event
}
