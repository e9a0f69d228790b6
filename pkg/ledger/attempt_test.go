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
