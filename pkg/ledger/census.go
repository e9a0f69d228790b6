package ledger

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/waiting"
)

// Standing is how one gang stands, for people and checks.
type Standing struct {
	Key    gang.Key
	Leader types.UID
	Phase  gang.Phase
	// Definition is zero while the gang is forming.
	Definition gang.Definition
	Slots      []gang.Slot
	// Live is how many of its workers have a node.
	Live int
}

// Gangs lists all gangs, by key and leader.
func (l *Ledger) Gangs() []Standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	var standings []Standing
	for uid, e := range l.members.gangs {
		standings = append(standings, Standing{e.Key, uid, e.Phase, e.Gang.Definition, slices.Clone(e.Slots), e.Live()})
	}
	slices.SortFunc(standings, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.Key.String(), b.Key.String()), cmp.Compare(a.Leader, b.Leader))
	})
	return standings
}

// Census counts what the ledger remembers besides nodes.
type Census struct {
	Pods, Gangs, Apps, Waiting, Degraded int
	// Synced tells whether gangs may be admitted.
	Synced bool
}

// Census counts what the ledger remembers besides nodes; all counts are zero when nothing runs and nothing waits.
func (l *Ledger) Census() Census {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Census{len(l.members.pods), len(l.members.gangs), len(l.members.apps), l.waiting.Len(), len(l.slots.degraded), l.members.synced}
}

// PassOf is in which pass those are tried who wait.
func PassOf(l *Ledger) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting.Pass()
}

// Collected is what is kept for waiters for which room is collected: node -> sum; nil when there are none.
func (l *Ledger) Collected() map[string]resource.Vector {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.collections.list) == 0 {
		return nil
	}
	collected := map[string]resource.Vector{}
	for _, c := range l.collections.list {
		for node, amount := range c.amounts() {
			collected[node] = collected[node].Add(amount)
		}
	}
	return collected
}

// QueueStanding is how a queue stands, for its status and for checks.
type QueueStanding struct {
	Name string
	quota.Usage
	// Reasons are why those who wait in it and below it do: reason -> gangs and pods.
	Reasons map[gang.Reason]int
	// First are the first of those who wait in the queue itself, mostNamed at most.
	First []QueueWaiter
}

// mostNamed is how many of those who wait in a queue are named at most.
const mostNamed = 100

// QueueWaiter is who waits in a queue.
type QueueWaiter struct {
	// Namespace and Name are of the pod that is tried.
	Namespace, Name string
	Reason          gang.Reason
	asks            *quota.Waiter // which does not change, but for its Queue
}

// compare orders the waiters of one queue as it would call them if it had given nobody anything yet.
func (w QueueWaiter) compare(other QueueWaiter) int {
	elastic := func(w QueueWaiter) int {
		if w.asks.Elastic {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(other.asks.Priority, w.asks.Priority), cmp.Compare(elastic(w), elastic(other)), cmp.Compare(other.asks.Rank, w.asks.Rank),
		w.asks.Since.Compare(other.asks.Since), cmp.Compare(w.asks.ID, other.asks.ID),
	)
}

// Shares are what every queue, with all below it, would hold if everything could be divided at will.
func (l *Ledger) Shares() map[string]resource.Vector {
	wanted := map[string]resource.Vector{}
	frozen, specs, capacity := l.standing(func(w *waiting.Waiter) {
		wanted[w.Asks.Queue] = wanted[w.Asks.Queue].Add(w.Asks.Demand.Amount)
	})
	tree := frozen.Tree()
	for _, name := range tree.Names() {
		usage, _ := tree.Usage(name)
		wanted[name] = wanted[name].Add(usage.Own)
	}
	ideal := quota.New(specs)
	ideal.SetCapacity(capacity)
	return ideal.Shares(wanted)
}

// standing is how the queues stand, what is said of them, and what nodes have, at a moment at which everybody is counted who waits. What
// follows from that takes milliseconds where there are many queues, and needs no lock.
func (l *Ledger) standing(count func(*waiting.Waiter)) (queues *quota.Frozen, specs []quota.Spec, capacity resource.Vector) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.waiting.All() {
		count(w)
	}
	frozen := quota.FreezeCharged(l.accounts.queues)
	return frozen, l.accounts.layout.Specs, l.nodes.Capacity()
}

// Queues are all queues, by name, and what is wrong with what was said of them. The Unassigned one is among them.
func (l *Ledger) Queues() ([]QueueStanding, []quota.Problem) {
	waiters := map[string][]QueueWaiter{} // queue -> who waits in the queue itself
	frozen, _, _ := l.standing(func(w *waiting.Waiter) {
		object := l.members.object(w.ID())
		waiters[w.Asks.Queue] = append(waiters[w.Asks.Queue], QueueWaiter{Namespace: object.Namespace, Name: object.Name, Reason: l.waits.reason(w), asks: &w.Asks})
	})
	queues := frozen.Tree()
	reasons := map[string]map[gang.Reason]int{} // queue -> reason -> waiters
	for queue, own := range waiters {
		counts := map[gang.Reason]int{}
		for _, w := range own {
			counts[w.Reason]++
		}
		for name := queue; ; {
			if reasons[name] == nil {
				reasons[name] = map[gang.Reason]int{}
			}
			for reason, number := range counts {
				reasons[name][reason] += number
			}
			spec, _ := queues.Spec(name)
			if name = spec.Parent; name == "" {
				break
			}
		}
	}
	var standings []QueueStanding
	for _, name := range queues.Names() {
		first := waiters[name]
		slices.SortFunc(first, QueueWaiter.compare)
		usage, _ := queues.Usage(name)
		standings = append(standings, QueueStanding{Name: name, Usage: usage, Reasons: reasons[name], First: first[:min(len(first), mostNamed)]})
	}
	return standings, queues.Problems()
}
