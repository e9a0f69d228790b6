package ledger

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
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

// Capacity is what the nodes count for queues in all.
func Capacity(l *Ledger) resource.Vector {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sum resource.Vector
	for _, capacity := range l.nodes.Capacities() {
		sum = sum.Add(capacity)
	}
	return sum
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
	// Pool of a queue that selects nodes of its own; nil for any other.
	Pool *PoolStanding
	// Reasons are why those who wait in it and below it do: reason -> gangs and pods.
	Reasons map[gang.Reason]int
	// First are the first of those who wait in the queue itself, mostNamed at most.
	First []QueueWaiter
	// Parent is the queue above; empty at the top. State is the strictest of the queue and all above it.
	Parent string
	State  quota.State
	// Lent is what others beside the queue may have of what it is guaranteed and does not use: at most that, as nobody records whose idle
	// guarantee a borrower has.
	Lent resource.Vector
	// Asked is what those ask for who wait in it and below it, and Oldest since when the first of them does; zero when nobody waits.
	Asked  resource.Vector
	Oldest time.Time
	// Crew are its gangs, and those below it.
	Crew Crew
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

// PoolStanding is what nodes count for the queues of a pool.
type PoolStanding struct {
	// Nodes that are in it and take new pods, and Capacity what they offer in all.
	Nodes    int
	Capacity resource.Vector
}

// Shares are what every queue, with all below it, would hold if everything could be divided at will.
func (l *Ledger) Shares() map[string]resource.Vector {
	wanted := map[string]resource.Vector{}
	at := l.standing(func(w *waiting.Waiter) {
		wanted[w.Asks.Queue] = wanted[w.Asks.Queue].Add(w.Asks.Demand.Amount)
	})
	queues := at.queues.Tree()
	for _, name := range queues.Names() {
		usage, _ := queues.Usage(name)
		wanted[name] = wanted[name].Add(usage.Own)
	}
	ideal := quota.New(at.specs)
	ideal.SetCapacity(at.capacities...)
	return ideal.Shares(wanted)
}

// standing is how the queues stand at one moment. What follows from it takes milliseconds where there are many, and needs no lock.
type standing struct {
	queues *quota.Frozen
	specs  []quota.Spec
	// capacities of the pools; index as in quota.Pools.
	capacities []resource.Vector
	// pools are those that queues declare, and overlaps which of them select nodes that count elsewhere: queue -> its pool.
	pools    map[string]*PoolStanding
	overlaps []quota.Problem
}

// standing is how the queues stand now. Everybody who waits is counted.
func (l *Ledger) standing(count func(*waiting.Waiter)) standing {
	l.inParts(count)
	l.mu.Lock()
	defer l.mu.Unlock()
	pools, overlaps := poolsOf(l.accounts.queues, l.nodes)
	return standing{quota.FreezeCharged(l.accounts.queues), l.accounts.layout.Specs, slices.Clone(l.nodes.Capacities()), pools, overlaps}
}

// Queues are all queues, by name, and what is wrong with what was said of them. The Unassigned one is among them.
func (l *Ledger) Queues() ([]QueueStanding, []quota.Problem) {
	waiters := map[string][]QueueWaiter{} // queue -> who waits in the queue itself
	at := l.standing(func(w *waiting.Waiter) {
		object := l.members.object(w.ID())
		waiters[w.Asks.Queue] = append(waiters[w.Asks.Queue], QueueWaiter{Namespace: object.Namespace, Name: object.Name, Reason: l.waits.reason(w), asks: &w.Asks})
	})
	crews := map[string]*Crew{} // queue -> the gangs of the queue itself
	gangsInParts(l, func(e *entry) {
		queue := l.accounts.queueOf(e.Key.Namespace)
		if crews[queue] == nil {
			crews[queue] = &Crew{}
		}
		crews[queue].count(l, e)
	})
	queues := at.queues.Tree()
	unassign(queues, waiters, func(to, from []QueueWaiter) []QueueWaiter { return append(to, from...) })
	unassign(queues, crews, func(to, from *Crew) *Crew {
		if to == nil {
			return from
		}
		to.add(*from)
		return to
	})
	reasons := reasonsBelow(queues, waiters)
	var standings []QueueStanding
	for _, name := range queues.Names() {
		first := waiters[name]
		slices.SortFunc(first, func(a, b QueueWaiter) int { return a.asks.Compare(b.asks) })
		usage, _ := queues.Usage(name)
		spec, _ := queues.Spec(name)
		standing := QueueStanding{Name: name, Usage: usage, Pool: at.pools[name], Reasons: reasons[name], First: first[:min(len(first), mostNamed)], Parent: spec.Parent, State: spec.State}
		for _, w := range first {
			standing.Asked = standing.Asked.Add(w.asks.Demand.Amount)
			standing.waitsSince(w.asks.Since)
		}
		if crew := crews[name]; crew != nil {
			standing.Crew = *crew
		}
		standings = append(standings, standing)
	}
	gather(queues, standings)
	return standings, append(queues.Problems(), at.overlaps...)
}

// unassign moves what is in queues that do not exist to the one of those that belong to none.
func unassign[T any](queues *quota.Tree, found map[string]T, move func(to, from T) T) {
	for name, it := range found {
		if _, known := queues.Spec(name); !known {
			found[quota.Unassigned] = move(found[quota.Unassigned], it)
			delete(found, name)
		}
	}
}

// waitsSince takes that somebody waits since then.
func (q *QueueStanding) waitsSince(since time.Time) {
	if !since.IsZero() && (q.Oldest.IsZero() || since.Before(q.Oldest)) {
		q.Oldest = since
	}
}

// gather adds to every queue what waits and runs below it, and finds out what each lends.
func gather(queues *quota.Tree, standings []QueueStanding) {
	at := make(map[string]int, len(standings)) // queue -> index
	for i := range standings {
		at[standings[i].Name] = i
	}
	own := slices.Clone(standings)
	for i := range own {
		for name := own[i].Parent; name != ""; name = standings[at[name]].Parent {
			above := &standings[at[name]]
			above.Asked = above.Asked.Add(own[i].Asked)
			above.waitsSince(own[i].Oldest)
			above.Crew.add(own[i].Crew)
		}
	}
	type family struct {
		parent string
		pool   int
	}
	borrowed := map[family]resource.Vector{} // those that stand beside each other -> the sum
	for i := range standings {
		f := family{standings[i].Parent, quota.PoolOf(queues, standings[i].Name)}
		borrowed[f] = borrowed[f].Add(standings[i].Borrowed)
	}
	for i := range standings {
		q := &standings[i]
		idle := resource.Vector{}.Max(q.Guaranteed.Vector().Sub(q.Used))
		q.Lent = idle.Sub(idle.Missing(borrowed[family{q.Parent, quota.PoolOf(queues, q.Name)}]))
	}
}

// reasonsBelow counts why those wait who do in a queue and below it: queue -> reason -> waiters.
func reasonsBelow(queues *quota.Tree, waiters map[string][]QueueWaiter) map[string]map[gang.Reason]int {
	reasons := map[string]map[gang.Reason]int{}
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
	return reasons
}

// poolsOf are the pools of the queues that declare them, and which of them select nodes that count elsewhere.
func poolsOf(queues *quota.Tree, table *inventory.Nodes) (standings map[string]*PoolStanding, overlaps []quota.Problem) {
	standings = map[string]*PoolStanding{}
	pools := quota.Pools(queues)
	for p, pool := range pools {
		nodes, elsewhere, where := table.PoolSize(p)
		for _, queue := range pool.Queues {
			standings[queue] = &PoolStanding{nodes, table.Capacities()[p]}
			if elsewhere > 0 {
				overlaps = append(overlaps, quota.Problem{Queue: queue, Field: "nodeSelector", Value: pool.Selector.String(),
					Message: fmt.Sprintf("%d of the nodes that it selects do not count for it, because a queue that comes before it by name, such as %s, selects them as well",
						elsewhere, pools[where].Queues[0])})
			}
		}
	}
	return standings, overlaps
}

// Called is how logs call the gang of a pod: by its leader, or where it has none, by its group. false means that the pod is of none that is known.
// first means that the pod is its leader, or the one that is tried for all.
func Called(l *Ledger, uid types.UID) (name types.NamespacedName, first, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.members.pods[uid]
	if p == nil {
		return types.NamespacedName{}, false, false
	}
	e := l.members.gangOf(p)
	switch {
	case e == nil:
		return types.NamespacedName{}, false, false
	case e.upfront == nil:
		return types.NamespacedName{Namespace: e.Key.Namespace, Name: e.leader.Object.Name}, p == e.leader, true
	default:
		return types.NamespacedName{Namespace: e.Key.Namespace, Name: path.Base(e.Key.Name)}, p.Object == e.leader.Object, true
	}
}
