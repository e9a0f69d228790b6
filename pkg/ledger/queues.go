package ledger

import (
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
)

// QueueStanding is how a queue stands, for its status and for checks.
type QueueStanding struct {
	Name string
	quota.Usage
	// Reasons are why those who wait in it and below it do: reason -> gangs and pods.
	Reasons map[gang.Reason]int
}

// Queues are all queues, by name, and what is wrong with what was said of them. The Unassigned one is among them.
func (l *Ledger) Queues() ([]QueueStanding, []quota.Problem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return nil, nil
}

// Leaves tells whether a pod still has to go for which an Evict was asked.
func (l *Ledger) Leaves(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return false
}
