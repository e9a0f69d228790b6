package inventory

import (
	"math/bits"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"retinue.dev/retinue/pkg/resource"
)

// pools are sums over the nodes of each pool that take new pods. A node is in the first pool that selects it, and in the first of all,
// which selects nothing, if none does. Index is the pool in all of them.
type pools struct {
	selectors []labels.Selector // the first is nil
	// capacities are what the nodes offer, and idle what of it is free.
	capacities, idle []resource.Vector
	// nodes are how many there are.
	nodes []int
	// elsewhere are how many nodes a pool selects that are in another: pool -> that one -> nodes.
	elsewhere [][]int
	// shared means that a View holds capacities and idle; they are copied before the next change.
	shared bool
}

func newPools(selectors []labels.Selector) pools {
	if len(selectors) == 0 {
		selectors = []labels.Selector{nil}
	}
	p := pools{
		selectors: selectors, capacities: make([]resource.Vector, len(selectors)), idle: make([]resource.Vector, len(selectors)),
		nodes: make([]int, len(selectors)), elsewhere: make([][]int, len(selectors)),
	}
	for i := range p.elsewhere {
		p.elsewhere[i] = make([]int, len(selectors))
	}
	return p
}

// of is the pool that a node is in, and all that select it.
func (p *pools) of(node *v1.Node) (pool int, selected uint64) {
	for i := 1; i < len(p.selectors); i++ {
		if p.selectors[i].Matches(labels.Set(node.Labels)) {
			selected |= 1 << i
		}
	}
	if selected != 0 {
		pool = bits.TrailingZeros64(selected)
	}
	return pool, selected
}

// count adds a node of which so much is free, or takes it off if sign is −1.
func (p *pools) count(node *Node, free resource.Vector, sign int) {
	if p.shared {
		p.capacities, p.idle, p.shared = slices.Clone(p.capacities), slices.Clone(p.idle), false
	}
	in := node.Pool
	p.capacities[in], p.idle[in] = resource.Signed(p.capacities[in], node.Allocatable, sign), resource.Signed(p.idle[in], free, sign)
	p.nodes[in] += sign
	for others := node.selected &^ (1 << in); others != 0; others &= others - 1 {
		p.elsewhere[bits.TrailingZeros64(others)][in] += sign
	}
}

func (p *pools) equal(other *pools) bool {
	same := func(a, b resource.Vector) bool { return a.Equal(b) }
	return slices.EqualFunc(p.capacities, other.capacities, same) && slices.EqualFunc(p.idle, other.idle, same) && slices.Equal(p.nodes, other.nodes) &&
		slices.EqualFunc(p.elsewhere, other.elsewhere, slices.Equal[[]int])
}

// Divide makes pools of the nodes: of those that a selector selects, each in the first that does, and before them one of those that
// none selects. selectors are of all pools, of which the first is nil and of which there are at most 64. It costs as much as there are nodes, unless the selectors are
// those that there were.
func (n *Nodes) Divide(selectors []labels.Selector) {
	same := func(a, b labels.Selector) bool {
		return a == nil && b == nil || a != nil && b != nil && a.String() == b.String()
	}
	if slices.EqualFunc(n.pools.selectors, selectors, same) {
		return
	}
	n.pools = newPools(selectors)
	for i := range n.All() {
		node := n.table.at(i)
		if node.Object == nil {
			continue
		}
		if pool, selected := n.pools.of(node.Object); pool != node.Pool || selected != node.selected {
			node = n.table.edit(i)
			node.Pool, node.selected = pool, selected
		}
		if takesPods(node.Object) {
			n.pools.count(node, node.Free.Max(resource.Vector{}), 1)
		}
	}
}

// Capacities are the sums of what the nodes of each pool offer that take new pods; index is the pool. They must not be modified, and
// change with the table.
func (n *Nodes) Capacities() []resource.Vector { return n.pools.capacities }

// Capacity is the sum of what all nodes offer that take new pods.
func (n *Nodes) Capacity() (all resource.Vector) {
	for _, capacity := range n.pools.capacities {
		all = all.Add(capacity)
	}
	return all
}

// PoolSize is how many nodes of a pool take new pods, and how many it selects that are in other pools, and in which of them first.
func (n *Nodes) PoolSize(pool int) (nodes, elsewhere, where int) {
	for other, count := range n.pools.elsewhere[pool] {
		if count > 0 && elsewhere == 0 {
			where = other
		}
		elsewhere += count
	}
	return n.pools.nodes[pool], elsewhere, where
}
