package autoscaler

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/scaleup"
)

// Lease is the lock of the leader election.
type Lease struct {
	types.NamespacedName
	// Holder is this process, when it has the lock.
	Holder string
}

// board is where it is written which mode was chosen, and why, for who may read no log and no metric: the Lease, which the scheduler may
// change anyway. leader election keeps what it does not know of a Lease, and where both write at the same time it tries again.
type board struct {
	client kubernetes.Interface
	clock  clock.PassiveClock
	// lease is what this process holds or waits for; nil, of the function as well, where there is no leader election.
	lease func() *Lease

	text    string // what it is to say; empty: nothing yet
	written string
	tried   time.Time
}

// update writes what has changed, at most once in a findPeriod, whatever happens.
func (b *board) update(ctx context.Context) error {
	now := b.clock.Now()
	if b.written == b.text || b.lease == nil || !b.tried.IsZero() && now.Sub(b.tried) < findPeriod {
		return nil
	}
	lease := b.lease()
	if lease == nil {
		return nil
	}
	b.tried = now
	leases := b.client.CoordinationV1().Leases(lease.Namespace)
	locked, err := leases.Get(ctx, lease.Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read Lease %s: %w", lease.NamespacedName, err)
	}
	if holder := locked.Spec.HolderIdentity; holder == nil || *holder != lease.Holder {
		return nil // who holds it says what it does
	}
	if locked.Annotations[scaleup.ChoiceAnnotation] != b.text {
		if locked.Annotations == nil {
			locked.Annotations = map[string]string{}
		}
		locked.Annotations[scaleup.ChoiceAnnotation] = b.text
		if _, err := leases.Update(ctx, locked, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("write Lease %s: %w", lease.NamespacedName, err)
		}
	}
	b.written = b.text
	return nil
}
