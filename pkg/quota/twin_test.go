package quota

import (
	"cmp"
	"math/big"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/resource"
)

// naive is the slow and obvious twin of a Tree: it remembers what happened and computes every answer from the beginning,
// in fractions of any size. Only the shape of the tree and what its guarantees come to are the Tree's own.
type naive struct {
	tree    *Tree
	charges []charge
	// capacities are what the nodes of every pool have: selector -> amount; empty is the Rest.
	capacities map[string]resource.Vector
	waiters    []Waiter
	parked     map[types.UID]Verdict
	tried      map[types.UID]bool // count as if they had started
}

type charge struct {
	queue  string
	demand Demand
}

func newNaive(tree *Tree) *naive {
	return &naive{tree: tree, parked: map[types.UID]Verdict{}, tried: map[types.UID]bool{}}
}

// capacity of the nodes that count for a queue: those that the one at the top of it selects.
func (m *naive) capacity(n *node) resource.Vector {
	if top := n.path[len(n.path)-1]; top.NodeSelector != nil {
		return m.capacities[metav1.FormatLabelSelector(top.NodeSelector)]
	}
	return m.capacities[""]
}

// measure tells the tree what its pools have.
func (m *naive) measure(capacities map[string]resource.Vector) {
	m.capacities = capacities
	var inOrder []resource.Vector
	for _, pool := range Pools(m.tree) {
		inOrder = append(inOrder, capacities[pool.text()])
	}
	m.tree.SetCapacity(inOrder...)
}

// holds tells whether a queue is this one or below it.
func (m *naive) holds(n *node, queue string) bool {
	return n == m.tree.root || slices.Contains(m.tree.leaf(queue).path, n)
}

func (m *naive) sum(n *node, user *string) (total Demand, leading int64) {
	charges := slices.Clone(m.charges)
	for _, w := range m.waiters {
		if m.tried[w.ID] {
			charges = append(charges, charge{w.Queue, w.Demand})
		}
	}
	for _, c := range charges {
		if m.holds(n, c.queue) && (user == nil || *user == c.demand.User) {
			total.Amount = total.Amount.Add(c.demand.Amount)
			total.Leader = total.Leader.Add(c.demand.Leader)
			total.Gangs += c.demand.Gangs
			if !c.demand.Leader.IsZero() {
				leading += c.demand.Gangs
			}
		}
	}
	return total, leading
}

// supposed is what those who are tried would hold of a queue.
func (m *naive) supposed(n *node) (total resource.Vector) {
	for _, w := range m.waiters {
		if m.tried[w.ID] && m.holds(n, w.Queue) {
			total = total.Add(w.Demand.Amount)
		}
	}
	return total
}

// fits states every rule once, without an order among them: whether something may start, and nothing more.
func (m *naive) fits(queue string, d Demand) bool {
	within := func(limits Amounts, sum resource.Vector, asked resource.Vector) bool {
		for _, limit := range limits {
			if asked.Of(limit.Name) > 0 && sum.Of(limit.Name)+asked.Of(limit.Name) > limit.Value {
				return false
			}
		}
		return true
	}
	for n := m.tree.leaf(queue); n != m.tree.root; n = n.parent {
		all, leading := m.sum(n, nil)
		mine, _ := m.sum(n, &d.User)
		switch {
		case n.State == Stopped, n.State == Draining && d.Gangs > 0,
			n.MaxRunningGangs != nil && d.Gangs > 0 && all.Gangs+d.Gangs > *n.MaxRunningGangs,
			n.Users.MaxRunningGangs != nil && d.Gangs > 0 && mine.Gangs+d.Gangs > *n.Users.MaxRunningGangs,
			leading > 0 && !within(n.leaderLimit, all.Leader, d.Leader),
			!within(n.Limit, all.Amount, d.Amount),
			!within(n.Users.Limit, mine.Amount, d.Amount):
			return false
		}
	}
	return true
}

func (m *naive) awake(n *node) []Waiter {
	var awake []Waiter
	for _, w := range m.waiters {
		if _, parked := m.parked[w.ID]; !parked && !m.tried[w.ID] && m.holds(n, w.Queue) {
			awake = append(awake, w)
		}
	}
	return awake
}

func (m *naive) next() (Waiter, bool) {
	if len(m.awake(m.tree.root)) == 0 {
		return Waiter{}, false
	}
	return m.first(m.tree.root), true
}

// first of a queue that has somebody awake.
func (m *naive) first(n *node) Waiter {
	if len(n.children) == 0 {
		return slices.MinFunc(m.awake(n), func(a, b Waiter) int { return m.compareWaiters(n, a, b) })
	}
	var busy []*node
	for _, child := range n.children {
		if len(m.awake(child)) > 0 {
			busy = append(busy, child)
		}
	}
	return m.first(slices.MinFunc(busy, m.compareQueues))
}

func (m *naive) compareQueues(a, b *node) int {
	phaseA, priorityA, ratioA := m.key(a)
	phaseB, priorityB, ratioB := m.key(b)
	return cmp.Or(cmp.Compare(phaseA, phaseB), cmp.Compare(priorityB, priorityA), ratioA.Cmp(ratioB),
		m.first(a).Since.Compare(m.first(b).Since), cmp.Compare(a.Name, b.Name))
}

func (m *naive) key(n *node) (phase int, priority int32, most *big.Rat) {
	sum, _ := m.sum(n, nil)
	most = new(big.Rat)
	below, guaranteed := true, false
	for _, name := range resourceNames {
		if g, named := n.guaranteed.Of(name); named && g > 0 && m.first(n).Demand.Amount.Of(name) > 0 {
			guaranteed = true
			below = below && sum.Amount.Of(name) < g
			most = larger(most, big.NewRat(sum.Amount.Of(name), g))
		}
	}
	if guaranteed && below {
		return 0, n.Priority, most
	}
	weight := int64(1)
	if n.Weight != nil {
		weight = *n.Weight
	}
	phase = 1
	if weight == 0 {
		phase = 2
	}
	return phase, 0, m.dominant(n, sum.Amount, n.guaranteed, max(weight, 1))
}

func (m *naive) dominant(n *node, used resource.Vector, guaranteed Amounts, weight int64) *big.Rat {
	most := new(big.Rat)
	for _, name := range resourceNames {
		g, _ := guaranteed.Of(name)
		beyond := big.NewRat(max(used.Of(name)-g, 0), max(m.capacity(n).Of(name), 1))
		most = larger(most, beyond.Quo(beyond, big.NewRat(weight, 1)))
	}
	return most
}

func larger(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) >= 0 {
		return a
	}
	return b
}

func (m *naive) compareWaiters(leaf *node, a, b Waiter) int {
	rank := cmp.Or(cmp.Compare(b.Priority, a.Priority), compareBool(a.Elastic, b.Elastic), cmp.Compare(b.Rank, a.Rank))
	age := cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	switch {
	case leaf.Order == Fair:
		mineA, _ := m.sum(leaf, &a.Demand.User)
		mineB, _ := m.sum(leaf, &b.Demand.User)
		return cmp.Or(rank, m.dominant(leaf, mineA.Amount, nil, 1).Cmp(m.dominant(leaf, mineB.Amount, nil, 1)),
			m.dominant(leaf, a.Held, nil, 1).Cmp(m.dominant(leaf, b.Held, nil, 1)), age)
	case leaf.Users.MinimumShare != nil:
		return cmp.Or(rank, compareBool(m.below(leaf, b.Demand.User), m.below(leaf, a.Demand.User)), age)
	default:
		return cmp.Or(rank, age)
	}
}

// below tells whether a user holds less than the queue's minimum for each.
func (m *naive) below(leaf *node, user string) bool {
	all, _ := m.sum(leaf, nil)
	mine, _ := m.sum(leaf, &user)
	users := map[string]bool{}
	for _, w := range m.waiters {
		if m.tree.leaf(w.Queue) == leaf {
			users[w.Demand.User] = true
		}
	}
	minimum := larger(big.NewRat(*leaf.Users.MinimumShare, 100), big.NewRat(1, max(int64(len(users)), 1)))
	for _, name := range resourceNames {
		size, measured := m.size(leaf, name)
		if measured && big.NewRat(mine.Amount.Of(name), max(size, all.Amount.Of(name), 1)).Cmp(minimum) >= 0 {
			return false
		}
	}
	return true
}

// size of a queue: its guarantee, else the least limit of it, of those above it, and the nodes that count for it.
func (m *naive) size(n *node, name v1.ResourceName) (size int64, measured bool) {
	if capacity := m.capacity(n).Of(name); m.tree.known && capacity > 0 {
		size, measured = capacity, true
	}
	for _, above := range n.path {
		if limit, limited := above.Limit.Of(name); limited && (!measured || limit < size) {
			size, measured = limit, true
		}
	}
	if g := n.guaranteed.or0(name); measured && g > 0 {
		size = g
	}
	return size, measured
}
