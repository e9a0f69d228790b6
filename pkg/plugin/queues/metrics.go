package queues

import (
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin/metric"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

const (
	// MostQueues bounds how many queues have series, and MostResources for how many extended resources: those that nodes have.
	MostQueues, MostResources = 1000, 16
	// nobodys is how metrics call the queue of those that belong to none. No Queue can have that name.
	nobodys = "(none)"
)

// Each of a queue is with all below it. parent is the queue above, empty at the top, so that a sum over parent="" counts nothing twice.
var (
	ofQueue    = []string{"queue", "parent"}
	ofResource = []string{"queue", "parent", "resource", "unit"}

	allocatable     = metric.NewRead("nodes_allocatable", "What nodes that take new pods offer in all.", "resource", "unit")
	queueGuaranteed = metric.NewRead("queue_guaranteed", "What a queue can always have, as far as the cluster can keep it.", ofResource...)
	queueLimit      = metric.NewRead("queue_limit", "What a queue never exceeds. A resource without a limit has no series.", ofResource...)
	queueAllocated  = metric.NewRead("queue_allocated", "What a queue is charged for: its pods that have a node, and its open slots.", ofResource...)
	queueHeld       = metric.NewRead("queue_held", "The part of what is allocated that open slots keep: room on nodes for workers that do not exist yet.", ofResource...)
	queueLeaders    = metric.NewRead("queue_leaders_allocated", "The part of what is allocated that leaders hold while their workers come: Spark drivers.", ofResource...)
	queuePending    = metric.NewRead("queue_pending", "What gangs and pods ask for that wait.", ofResource...)
	queueBorrowed   = metric.NewRead("queue_borrowed", "What a queue uses beyond its guarantee.", ofResource...)
	queueLent       = metric.NewRead("queue_lent", "What other queues have of what a queue is guaranteed and does not use, at most: nobody records whose idle guarantee a borrower has.", ofResource...)
	queueFairShare  = metric.NewRead("queue_fair_share", "What a queue would hold now if everything could be divided at will.", ofResource...)
	queueGangs      = metric.NewRead("queue_gangs", "Gangs by state. Pods by themselves are none.", append(slices.Clone(ofQueue), "state")...)
	queueWaiting    = metric.NewRead("queue_waiting", "Gangs, pods by themselves and workers beyond the start of their gang that wait, by reason. A reason for which nobody waits has no series.", append(slices.Clone(ofQueue), "reason")...)
	queueOldest     = metric.NewRead("queue_oldest_wait_seconds", "For how long the one who waits longest does; 0 when nobody waits.", ofQueue...)
	queueSlots      = metric.NewRead("queue_slots_unclaimed", "Open slots: workers of the start that have room and do not exist yet.", ofQueue...)
	queueState      = metric.NewRead("queue_state", "1 for the state of a queue, 0 for every other.", append(slices.Clone(ofQueue), "state")...)
	queueUsers      = metric.NewRead("queue_users", "Users who hold something in a queue.", ofQueue...)
	queueProblems   = metric.NewRead("queue_problems", "What of a Queue does not count as it is written; its condition Valid says why.", ofQueue...)
	unmeasured      = metric.NewRead("queues_unmeasured", "Queues that have no series, because there are more than 1000.")
	partial         = metric.NewRead("gangs_partial", "Gangs of which some pods are bound and others that start together have no room. It has to be 0 but for moments.")
	reclaimedPods   = metric.NewRead("reclaimed_pods_total", "Pods that were evicted so that somebody else could have their room, by their own queue.", "queue")
	reclaimedWork   = metric.NewRead("reclaimed_core_seconds_total", "Work thrown away: for how long evicted pods had run, times the cores that they asked for.", "queue")
	predictions     = metric.NewRead("predictions_total", "First real workers of a role, by how they were beside what was predicted of them: Right, Smaller, Larger, or for other nodes (Elsewhere).", "result")
	releasedSlots   = metric.NewRead("slots_released_total", "Slots that were given up before a worker claimed them, by cause.", "cause")
	repairs         = metric.NewRead("ledger_repairs_total", "What the ledger had to put right because nodes, or pods that were bound, were not as they should be.", "repair")

	waitSeconds = metric.NewHistogramVec("gang_wait_seconds", "For how long gangs and pods by themselves have waited for room that are bound by now, since their creation.",
		[]float64{1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600}, "queue")
	bindSeconds = metric.NewHistogram("gang_bind_seconds",
		"How long it took from when a gang or a pod by itself had room until the API server said that its leader, or all that start together, are bound.",
		[]float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60})
)

// published is what the scheduler serves of the present reading.
var published = &collector{}

func init() { legacyregistry.CustomMustRegister(published) }

// collector serves what was published last.
type collector struct {
	metrics.BaseStableCollector

	mu     sync.Mutex // guards everything below
	values []metrics.Metric
	// waited are the queues of which there are histograms.
	waited map[string]bool
}

// DescribeWithStability says which metrics there may be.
func (c *collector) DescribeWithStability(descriptions chan<- *metrics.Desc) {
	for _, read := range []metric.Read{
		allocatable, queueGuaranteed, queueLimit, queueAllocated, queueHeld, queueLeaders, queuePending, queueBorrowed, queueLent, queueFairShare, queueGangs, queueWaiting,
		queueOldest, queueSlots, queueState, queueUsers, queueProblems, unmeasured, partial, reclaimedPods, reclaimedWork, predictions, releasedSlots, repairs,
	} {
		descriptions <- read.Desc
	}
}

// CollectWithStability serves them.
func (c *collector) CollectWithStability(values chan<- metrics.Metric) {
	c.mu.Lock()
	served := c.values
	c.mu.Unlock()
	for _, value := range served {
		values <- value
	}
}

// publish serves how everything stands from now on.
func (c *collector) publish(l *ledger.Ledger, standings []ledger.QueueStanding, shares map[string]resource.Vector, problems []quota.Problem, now time.Time) {
	f := &figures{capacity: ledger.Capacity(l), now: now, wrong: map[string]int{}}
	f.resources = resourcesOf(f.capacity)
	for _, problem := range problems {
		f.wrong[quota.Written(problem.Queue)]++
	}
	f.amounts(allocatable, f.capacity)
	left, torn, measured := 0, 0, map[string]bool{}
	for i := range standings {
		q := &standings[i]
		if q.Parent == "" {
			torn += q.Crew.Partial
		}
		switch {
		case quota.Written(q.Name) != q.Name: // it is counted in the one that it was made by: namespaces come and go
		case len(measured) == MostQueues:
			left++
		default:
			measured[q.Name] = true
			f.queue(q, shares[q.Name])
		}
	}
	f.add(unmeasured, float64(left))
	f.add(partial, float64(torn))
	totals, begun := ledger.TotalsOf(l)
	f.totals(totals, measured)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values = f.values
	c.observe(begun, measured)
}

// observe takes what has started, and forgets the histograms of queues that are gone.
func (c *collector) observe(begun []ledger.Begun, measured map[string]bool) {
	for queue := range c.waited {
		if !measured[queue] {
			waitSeconds.Delete(map[string]string{"queue": nameOf(queue)})
			delete(c.waited, queue)
		}
	}
	for _, b := range begun {
		bindSeconds.Observe(b.Bound.Seconds())
		if measured[b.Queue] {
			if c.waited == nil {
				c.waited = map[string]bool{}
			}
			c.waited[b.Queue] = true
			waitSeconds.WithLabelValues(nameOf(b.Queue)).Observe(b.Waited.Seconds())
		}
	}
}

// figures are the values of one reading.
type figures struct {
	values    []metrics.Metric
	capacity  resource.Vector
	resources []v1.ResourceName
	wrong     map[string]int // queue -> its problems
	now       time.Time
}

func (f *figures) add(read metric.Read, value float64, labels ...string) {
	f.values = append(f.values, read.Value(value, labels...))
}

// queue adds how one queue stands.
func (f *figures) queue(q *ledger.QueueStanding, share resource.Vector) {
	labels := []string{nameOf(q.Name), q.Parent}
	with := func(label string) []string { return append(slices.Clone(labels), label) }
	for _, amounts := range []struct {
		read metric.Read
		quota.Amounts
	}{{queueGuaranteed, q.Guaranteed}, {queueLimit, q.Limit}} {
		for _, name := range f.resources {
			if value, there := amounts.Of(name); there {
				f.amount(amounts.read, name, value, labels...)
			}
		}
	}
	f.amounts(queueAllocated, q.Used, labels...)
	f.amounts(queueHeld, q.Crew.Held, labels...)
	f.amounts(queueLeaders, q.Leaders, labels...)
	f.amounts(queuePending, q.Asked, labels...)
	f.amounts(queueBorrowed, q.Borrowed, labels...)
	f.amounts(queueLent, q.Lent, labels...)
	f.amounts(queueFairShare, share, labels...)
	for _, state := range ledger.States {
		f.add(queueGangs, float64(q.Crew.States[state]), with(string(state))...)
	}
	for reason, number := range q.Reasons {
		f.add(queueWaiting, float64(number), with(string(reason))...)
	}
	oldest := 0.0
	if !q.Oldest.IsZero() {
		oldest = max(f.now.Sub(q.Oldest), 0).Seconds()
	}
	f.add(queueOldest, oldest, labels...)
	f.add(queueSlots, float64(q.Crew.Open), labels...)
	for _, state := range []quota.State{quota.Open, quota.Draining, quota.Stopped} {
		is := 0.0
		if q.State == state || q.State == "" && state == quota.Open {
			is = 1
		}
		f.add(queueState, is, with(string(state))...)
	}
	f.add(queueUsers, float64(len(q.Users)), labels...)
	f.add(queueProblems, float64(f.wrong[q.Name]), labels...)
}

// totals adds what has happened so far. What has never happened is 0, so that the first time is an increase.
func (f *figures) totals(t ledger.Totals, measured map[string]bool) {
	for queue := range measured {
		lost := t.Reclaimed[queue]
		f.add(reclaimedPods, float64(lost.Pods), nameOf(queue))
		f.add(reclaimedWork, lost.CoreSeconds, nameOf(queue))
	}
	for _, result := range []ledger.Prediction{ledger.Right, ledger.Smaller, ledger.Larger, ledger.Elsewhere} {
		f.add(predictions, float64(t.Predictions[result]), string(result))
	}
	for _, cause := range []ledger.Cause{ledger.Unclaimed, ledger.LeaderUnready, ledger.NoRoom, ledger.TakenBack} {
		f.add(releasedSlots, float64(t.Released[cause]), string(cause))
	}
	for _, repair := range []ledger.Repair{ledger.SlotMoved, ledger.SlotHomeless, ledger.GangCompleted} {
		f.add(repairs, float64(t.Repairs[repair]), string(repair))
	}
}

// amounts adds an amount of every resource.
func (f *figures) amounts(read metric.Read, amounts resource.Vector, labels ...string) {
	for _, name := range f.resources {
		f.amount(read, name, amounts.Of(name), labels...)
	}
}

func (f *figures) amount(read metric.Read, name v1.ResourceName, value int64, labels ...string) {
	unit, amount := "integer", float64(value)
	switch {
	case name == v1.ResourceCPU:
		unit, amount = "core", amount/1000
	case name == v1.ResourceMemory || name == v1.ResourceEphemeralStorage || strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix):
		unit = "byte"
	}
	f.add(read, amount, append(slices.Clone(labels), string(name), unit)...)
}

// resourcesOf are those of which there are series: only nodes say which, as anybody may ask for a resource of any name.
func resourcesOf(capacity resource.Vector) []v1.ResourceName {
	names := []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage, v1.ResourcePods}
	for _, amount := range capacity.Extended[:min(len(capacity.Extended), MostResources)] {
		names = append(names, amount.Name)
	}
	return names
}

// nameOf is how metrics call a queue.
func nameOf(queue string) string {
	if queue == quota.Unassigned {
		return nobodys
	}
	return queue
}
