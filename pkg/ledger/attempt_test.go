package ledger

import (
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/inventory"
)

// ViewFor, Demand and Seats are the parts of an Attempt, of which the ledger does not hear.
func (l *Ledger) ViewFor(uid types.UID) *inventory.View {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.pods[uid]; p != nil {
		uid = l.waiterOfLocked(p)
	}
	return l.viewForLocked(uid)
}

func (l *Ledger) Demand(uid types.UID) (Demand, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.demandLocked(uid)
}

func (l *Ledger) Seats(uid types.UID, limit int) Seats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seatsLocked(uid, limit)
}
