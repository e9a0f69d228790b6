package quota

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/resource"
)

// Amounts are amounts of some resources, in the units of resource.Vector. A resource that is not listed is absent, which
// is something else than zero: a limit of zero GPUs allows none, without a limit there may be any number.
type Amounts []resource.Amount

// Of is the amount of a resource, and whether there is one.
func (a Amounts) Of(name v1.ResourceName) (int64, bool) {
	for _, amount := range a {
		if amount.Name == name {
			return amount.Value, true
		}
	}
	return 0, false
}

// Vector is the amounts as they are; what is absent is zero.
func (a Amounts) Vector() resource.Vector { return resource.OfAmounts(a) }

// or0 is the amount of a resource, zero if it is absent: what is not guaranteed is guaranteed to be zero.
func (a Amounts) or0(name v1.ResourceName) int64 {
	value, _ := a.Of(name)
	return value
}

// Order is how the gangs of one queue take turns, after their priority.
type Order string

const (
	// FIFO: the one that waits longest is next.
	FIFO Order = "FIFO"
	// Fair: the gang of the user who holds least of the queue is next.
	Fair Order = "Fair"
)

// State is what a queue still lets in. The strictest one on the way to the root counts.
type State string

const (
	// Open: gangs start.
	Open State = "Open"
	// Draining: no gang starts; those that run go on, and grow.
	Draining State = "Draining"
	// Stopped: no gang starts and none grows; those that run go on.
	Stopped State = "Stopped"
)

// Spec is what an administrator says about one queue.
type Spec struct {
	// Name is unique and not empty.
	Name string
	// Parent is another queue's name; empty means the queue stands at the top.
	Parent string
	// NodeSelector makes the nodes with these labels a Pool: they count for the queue and all below it, and for no other that does not
	// say the same. Only a queue at the top has one; nil means the Rest.
	NodeSelector *metav1.LabelSelector
	// Guaranteed is what the queue gets before others borrow. A resource that is absent is not guaranteed.
	Guaranteed Amounts
	// Limit is what the queue, with all below it, never exceeds. A resource that is absent is not limited.
	Limit Amounts
	// LimitIs says where the limit comes from when nobody has written it, such as "the sum of …"; empty means that somebody has.
	LimitIs string
	// Weight is the queue's part of the surplus among its siblings; zero lets it have what no sibling wants; nil means 1.
	Weight *int64
	// MaxRunningGangs is how many gangs of the queue and all below it run at most; nil means any number.
	MaxRunningGangs *int64
	// MaxLeaderShare is the percentage, of what the queue may use at most, that its leaders may hold, so that they leave
	// room for their workers; one leader always passes. From 1 to 100; nil means all of it.
	MaxLeaderShare *int64
	// Order of the queue's own gangs; empty means FIFO.
	Order Order
	// Priority is compared among siblings that are below their guarantees: higher goes first.
	Priority int32
	// State is what the queue still lets in; empty means Open.
	State State
	Users Users
	// Reclaim is how the queue gets back what it has lent, and what is never taken from it.
	Reclaim Reclaim
}

// Users are what a queue gives to each of its users.
type Users struct {
	// MinimumShare keeps one user from filling a FIFO queue, and users from splitting it into useless pieces: whoever
	// holds less than this percentage of it, or less than an equal part among all who want something, goes before those
	// who hold more. From 1 to 100; nil means that users are not told apart.
	MinimumShare *int64
	// Limit is what one user never exceeds in the queue and all below it. A resource that is absent is not limited.
	Limit Amounts
	// MaxRunningGangs is how many gangs of one user run at most in the queue and all below it; nil means any number.
	MaxRunningGangs *int64
}

// Reclaim is how lent resources come back.
type Reclaim struct {
	// Enabled: the queue takes back up to its guarantee what others have borrowed of it. Otherwise it waits until they end.
	Enabled bool
	// After is how long a gang within the guarantee waits before anything is taken for it. Zero means not at all.
	After time.Duration
	// Grace is how long a pod that has to go may take to end; nil means what the pod itself says.
	Grace *time.Duration
	// Budget is the percentage of its guarantee that the queue takes back in one round; the first gang always passes,
	// however large. From 1 to 100; nil means all of it.
	Budget *int64
	// DeadZone is the percentage of its guarantee by which the queue may exceed it before anything is taken from it.
	// Zero means that everything beyond the guarantee may be.
	DeadZone int64
	// Utilization is the percentage of the queue's pool that has to be in use, of what a gang lacks, before anything is taken for
	// it: below it nodes are about to be added, or a gang has to do with less awkward pieces. From 0 to 100.
	Utilization int64
	// Exempt: nothing is ever taken from the queue or one below it. What it borrows comes back when its gangs end.
	Exempt bool
	// DryRun: what would be taken for the queue is said and not done.
	DryRun bool
	// Protect is how long a gang, or a pod by itself, of the queue or one below it runs before it is taken as a whole for another queue.
	// Zero means that it may be at once.
	Protect time.Duration
}

// Problem is something about a queue that cannot be taken at its word.
type Problem struct {
	Queue string
	// Field is the path below the queue's spec, such as guaranteed.cpu.
	Field string
	// Value is what stands there.
	Value string
	// Message says what is wrong and what happens meanwhile.
	Message string
}

// String names queue, field and value before the message.
func (p Problem) String() string {
	return fmt.Sprintf("queue %s: %s: %s: %s", p.Queue, p.Field, p.Value, p.Message)
}
