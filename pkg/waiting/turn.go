package waiting

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
)

// Turn is the order of leaders, and of waiters where queues do not matter: higher priority, then older, then by name.
type Turn struct {
	Priority int32
	Created  time.Time
	Gang     gang.Key
	ID       types.UID
}

// Compare is negative if t goes first.
func (t Turn) Compare(other Turn) int {
	if order := cmp.Or(cmp.Compare(other.Priority, t.Priority), t.Created.Compare(other.Created)); order != 0 {
		return order
	}
	return cmp.Or(cmp.Compare(t.Gang.Namespace, other.Gang.Namespace), cmp.Compare(t.Gang.Name, other.Gang.Name), cmp.Compare(t.ID, other.ID))
}
