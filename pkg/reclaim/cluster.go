package reclaim

import (
	"math/bits"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// Cluster is all that a plan depends on, at one moment. Nobody else has it.
type Cluster struct {
	Now  time.Time
	View *inventory.View
	// Queues are a tree of their own.
	Queues *quota.Tree
	// Namespaces tells which queue a namespace belongs to: namespace -> queue.
	Namespaces map[string]string
	Holders    []*Holder
	Budgets    map[string][]Budget // namespace -> those in it
	// Leaving is what comes free on nodes without anybody's doing: node -> amount.
	Leaving map[string]resource.Vector
	// Coming is what becomes of queues when everything has come true that is on its way: who has to go has gone, and those for
	// whom they go have started.
	Coming []quota.Change
	// Collections are what is kept for others who wait, the lowest priority first.
	Collections []Collection
	// Taken is what requests of a queue have taken from others and have not got yet: queue -> amount.
	Taken map[string]resource.Vector
	// Lowest is the lowest priority of what may be taken back, or of those for whom something is kept.
	Lowest int32

	// byQueue are the victims of a queue's own gangs, once somebody has asked, by their Number in victims.
	byQueue map[string][]quota.Victim
	victims []*Victim
}

// Collection is what is kept for somebody who waits and has not started: others of its queue that go before it may take that over.
type Collection struct {
	Owner    types.UID
	Queue    string
	Priority int32
	// Promised is what its queue keeps for it as well; Promises is false if it keeps nothing.
	Promised quota.Demand
	Promises bool
	// Room is what is kept, and what others leave for it: node -> amount.
	Room map[string]resource.Vector
}

// mostOvertaken bounds how many collections are looked at for one waiter.
const mostOvertaken = 8

// overtakable are the collections that a waiter may take over.
func (c *Cluster) overtakable(w *Waiter) []*Collection {
	var overtakable []*Collection
	for i := range c.Collections {
		if o := &c.Collections[i]; o.Queue == w.Asks.Queue && o.Priority < w.Asks.Priority && len(overtakable) < mostOvertaken {
			overtakable = append(overtakable, o)
		}
	}
	return overtakable
}

// released is what becomes of queues when its owner is not promised anything any more: it is supposed to have started.
func (o *Collection) released() []quota.Change {
	if !o.Promises {
		return nil
	}
	return []quota.Change{{Queue: o.Queue, Demand: o.Promised, Charged: -1}}
}

// Waiter is a gang, or a pod by itself, that waits.
type Waiter struct {
	Asks quota.Waiter
	// NeverPreempts means that it takes no place of lower priorities.
	NeverPreempts bool
	// Since when it waits.
	Since time.Time
	// LacksRoom means that it lacks nothing but room, as far as the last attempt has shown.
	LacksRoom bool
	// Kept is what is kept for it already.
	Kept resource.Vector
}

// preempts tells whether a waiter may take the place of somebody of a lower priority.
func (c *Cluster) preempts(w *Waiter) bool { return !w.NeverPreempts && w.Asks.Priority > c.Lowest }

// Request is what a waiter lacks that others may have to give; false if it lacks something else, or nobody has to, whatever
// runs.
func (c *Cluster) Request(w *Waiter) (quota.Request, bool) { return c.request(w, nil) }

// request is what it lacks besides what it takes over: node -> amount.
func (c *Cluster) request(w *Waiter, overtaken map[string]resource.Vector) (quota.Request, bool) {
	spec, _ := c.Queues.Spec(w.Asks.Queue)
	r := quota.Request{
		Queue: w.Asks.Queue, Now: c.Now, Demand: w.Asks.Demand.Amount, Priority: w.Asks.Priority,
		Preempts: c.preempts(w), Early: c.Now.Sub(w.Since) < spec.Reclaim.After, Taken: c.Taken[w.Asks.Queue],
	}
	overtakes := len(c.overtakable(w)) > 0 // for that nobody has to leave who need not leave otherwise
	if !overtakes && !r.Preempts && (r.Early || !spec.Reclaim.Enabled) {
		return r, false
	}
	verdict := c.Queues.Fits(w.Asks.Queue, w.Asks.Demand)
	switch {
	case verdict.Reason == quota.QueueLimit:
		r.Within, r.Lacking = verdict.Queue, c.beyond(verdict.Queue, r.Demand)
	case verdict.Yields() && r.Preempts:
		r.Within, r.Counted, r.Lacking, r.InPieces = verdict.Queue, verdict, bitOf(&r.Demand), true
	case !verdict.Passes() || !w.LacksRoom:
		return r, false
	default:
		free := c.View.Total().Add(w.Kept)
		for _, room := range []map[string]resource.Vector{c.Leaving, overtaken} {
			for _, amount := range room {
				free = free.Add(amount)
			}
		}
		if r.Lacking = r.Demand.Missing(free); r.Lacking.IsZero() {
			r.Lacking, r.InPieces = pieceOf(w, spec), true
		}
	}
	if !overtakes && spec.Reclaim.Enabled && !r.Preempts && !c.utilized(quota.PoolOf(c.Queues, w.Asks.Queue), r.Lacking, spec.Reclaim.Utilization) {
		return r, false
	}
	return r, !r.Lacking.IsZero() && (overtakes || !c.hopeless(r))
}

// beyond is how much of a demand is more than the limit of a queue leaves.
func (c *Cluster) beyond(queue string, demand resource.Vector) resource.Vector {
	usage, _ := c.Queues.Usage(queue)
	var over []resource.Amount
	for _, limit := range usage.Limit {
		if asked := demand.Of(limit.Name); asked > 0 {
			over = append(over, resource.Amount{Name: limit.Name, Value: max(usage.Used.Of(limit.Name)+asked-limit.Value, 0)})
		}
	}
	return resource.OfAmounts(over)
}

// pieceOf is a bit of everything of which a waiter may lack some for which enough is free in all, but not in one piece. What its queue
// is not guaranteed it cannot take back.
func pieceOf(w *Waiter, spec quota.Spec) resource.Vector {
	var bits []resource.Amount
	for name := range w.Asks.Demand.Amount.List() {
		if _, guaranteed := spec.Guaranteed.Of(name); guaranteed || !spec.Reclaim.Enabled {
			bits = append(bits, resource.Amount{Name: name, Value: 1})
		}
	}
	return resource.OfAmounts(bits)
}

// bitOf is a bit of everything that is asked for.
func bitOf(demand *resource.Vector) resource.Vector {
	var bits []resource.Amount
	for name := range demand.List() {
		bits = append(bits, resource.Amount{Name: name, Value: 1})
	}
	return resource.OfAmounts(bits)
}

// utilized tells whether so many percent of what the nodes of a pool offer that take new pods are in use, of some resource that is
// lacking.
func (c *Cluster) utilized(pool int, lacking resource.Vector, percent int64) bool {
	capacity, idle := c.View.Capacity(pool), c.View.Idle(pool)
	for name := range lacking.List() {
		if all := capacity.Of(name); lacking.Of(name) > 0 && reaches(all-idle.Of(name), all, percent) {
			return true
		}
	}
	return percent == 0
}

// reaches tells whether an amount is so many percent of all, however few units or how many there are.
func reaches(used, all, percent int64) bool {
	if used < 0 || all < 0 || percent < 0 {
		return false
	}
	usedHigh, usedLow := bits.Mul64(uint64(used), 100)
	high, low := bits.Mul64(uint64(all), uint64(percent))
	return usedHigh > high || usedHigh == high && usedLow >= low
}

// hopeless tells whether nothing would be given whatever runs.
func (c *Cluster) hopeless(r quota.Request) bool {
	if r.Preempts {
		return false
	}
	defer c.Queues.Simulate(c.Coming)()
	return c.Queues.SelectVictims(r, nil, nil).Obstacle != quota.NotEnough
}

// candidates are what may be taken back for a request, as far as queues may give anything. A queue takes back what it is guaranteed
// where that counts: other queues give nothing that is all in other pools.
func (c *Cluster) candidates(r quota.Request) []quota.Victim {
	if c.byQueue == nil {
		c.list()
	}
	var giving [][]quota.Victim
	pool := quota.PoolOf(c.Queues, r.Queue)
	elsewhere := func(v quota.Victim) bool { return !c.victims[v.Number].reaches(c.View, pool) }
	for queue, victims := range c.byQueue {
		if !c.Queues.MayGive(r, queue) {
			continue
		}
		if queue != r.Queue && r.Within == "" && len(quota.Pools(c.Queues)) > 1 {
			victims = slices.DeleteFunc(slices.Clone(victims), elsewhere)
		}
		giving = append(giving, victims)
	}
	return slices.Concat(giving...)
}

// list lists what may be taken back from anybody.
func (c *Cluster) list() {
	c.byQueue = map[string][]quota.Victim{}
	left := map[string]*int{} // namespace -> how often its budgets may still be asked about a pod
	for _, h := range c.Holders {
		if h == nil {
			continue
		}
		queue, budgets := c.Namespaces[h.Key.Namespace], c.Budgets[h.Key.Namespace]
		if left[h.Key.Namespace] == nil {
			left[h.Key.Namespace] = ptr.To(budgetsAsked)
		}
		for i := range h.victims {
			v := &h.victims[i]
			if v.leaves || v.tooEarly(c.Now) {
				continue
			}
			candidate := v.Victim
			candidate.Queue, candidate.Protected, candidate.Number = queue, v.protected(budgets, left[h.Key.Namespace]), len(c.victims)
			c.byQueue[queue] = append(c.byQueue[queue], candidate)
			c.victims = append(c.victims, v)
		}
	}
}
