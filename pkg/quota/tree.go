package quota

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/heap"
	"retinue.dev/retinue/pkg/resource"
)

// Unassigned is the name of the queue of everything that belongs to no queue. It has no guarantee, no limit and weight 1,
// stands at the top, and cannot be configured. A queue that a Tree does not know is this one.
const Unassigned = ""

// Tree is all queues, what they use and who waits in them: it knows the order of those who wait, and not why. It is not safe for
// concurrent use. When a queue changes its owner builds a new one, which succeeds it.
type Tree struct {
	root *node
	// leaves are where gangs are charged and wait: queue -> the node for its own gangs.
	leaves map[string]*node
	// queues are the nodes as configured: queue -> itself with all below it.
	queues map[string]*node
	// all nodes but the root, parents before children.
	all      []*node
	specs    []Spec
	problems []Problem
	// pools are the nodes that count for queues; index 0 is the Rest. known tells that somebody said what they have.
	pools []Pool
	known bool
	// overcommitted are the Problems of the present capacity.
	overcommitted []Problem
	// stale: the capacity has changed and nothing that follows from it has been computed anew yet.
	stale bool

	groups  map[groupKey]*Group
	waiters map[types.UID]*waiter
	tried   map[types.UID]*waiter // those of them that are supposed to start
	// weighed: some turn depends on what an application holds, measured by the capacity.
	weighed bool
	// freed are the nodes that have released something since somebody asked.
	freed []*node
	// uneven are the leaves that are.
	uneven []*node
}

// node is a queue. One that has both queues below it and gangs of its own has a child for the latter, which bears its name
// and has its order, weight 1, and neither guarantee nor limit.
type node struct {
	Spec
	tree     *Tree
	parent   *node
	children []*node // by name
	path     []*node // from here to the top, without the root
	weight   int64
	state    State // the strictest of the path

	// wanted is what the queue is guaranteed as far as specs tell; guaranteed is what the cluster can keep of it.
	wanted, guaranteed Amounts
	// leaderLimit is what MaxLeaderShare comes to.
	leaderLimit Amounts

	books

	// pool is an index into those of the tree: the nodes that count for the queue.
	pool int

	// size is what the queue is measured by when it is divided among users, its guarantee, else
	// the least that limits it.
	size Amounts

	// freed tells whether the node is among those of the tree.
	freed bool

	line line // of its own gangs that wait; only in leaves
	turn turn // among its siblings
}

// New builds a tree without usage. No spec can make it fail: Problems says what counts instead of what was written.
func New(specs []Spec) *Tree {
	i := &inspector{}
	byName := i.unique(specs)
	parents := i.parents(byName)
	pools, poolOf := i.pools(byName, parents)
	t := &Tree{pools: pools, specs: slices.Clone(specs), leaves: map[string]*node{}, queues: map[string]*node{}, groups: map[groupKey]*Group{}, waiters: map[types.UID]*waiter{}, tried: map[types.UID]*waiter{}}
	t.root = &node{tree: t, weight: 1}

	children := map[string][]string{} // queue -> its queues, by name
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		children[parents[name]] = append(children[parents[name]], name)
	}
	var grow func(parent *node, names []string)
	grow = func(parent *node, names []string) {
		for _, name := range names {
			n := t.add(parent, byName[name])
			t.queues[name] = n
			if parent == t.root {
				n.pool = poolOf[name]
			}
			if _, declares := poolOf[name]; !declares {
				n.NodeSelector = nil
			}
			if len(children[name]) == 0 {
				t.leaves[name] = n
				continue
			}
			grow(n, children[name])
			t.leaves[name] = t.add(n, Spec{Name: name, Order: n.Order, State: Open, Users: Users{MinimumShare: n.Users.MinimumShare}})
		}
	}
	grow(t.root, children[""])
	t.leaves[Unassigned] = t.add(t.root, Spec{Name: Unassigned, Order: FIFO, State: Open})
	t.queues[Unassigned] = t.leaves[Unassigned]

	for _, top := range t.root.children {
		top.want(i)
	}
	t.problems = i.problems
	t.stale = true
	return t
}

func (t *Tree) add(parent *node, spec Spec) *node {
	n := &node{Spec: spec, tree: t, parent: parent, pool: parent.pool, weight: 1, state: spec.State, books: books{users: map[string]account{}}}
	n.turn.index = heap.Absent
	n.line.users = map[string]*lane{}
	if spec.Weight != nil {
		n.weight = *spec.Weight
	}
	n.path = append([]*node{n}, parent.path...)
	for _, above := range parent.path {
		n.state = stricter(n.state, above.state)
		n.Reclaim.Exempt = n.Reclaim.Exempt || above.Reclaim.Exempt
		n.Reclaim.Protect = max(n.Reclaim.Protect, above.Reclaim.Protect)
	}
	parent.children = append(parent.children, n)
	t.all = append(t.all, n)
	return n
}

func stricter(a, b State) State {
	rank := func(s State) int { return slices.Index([]State{Open, Draining, Stopped}, s) }
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// want computes what a queue is guaranteed from below to above: what its spec names, else what its queues need in all,
// and never more than its limit. Where its queues want more than that, each gets the same part of what it wants.
func (n *node) want(i *inspector) {
	n.wanted = n.Guaranteed
	if len(n.children) == 0 {
		return
	}
	for _, child := range n.children {
		child.want(i)
	}
	needs := n.needs()
	for _, need := range needs {
		if _, named := n.Guaranteed.Of(need.Name); !named {
			n.wanted = append(slices.Clone(n.wanted), lower(Amounts{need}, n.Limit)...)
		}
	}
	slices.SortFunc(n.wanted, byName)
	for _, child := range n.children {
		parts := divide(child.wanted, n.wanted, needs)
		for j, want := range child.wanted {
			if parts[j] != want {
				i.report(child.Name, "guaranteed."+string(want.Name), quantity(want.Name, want.Value),
					"the queues of %s are guaranteed %s in all, and %s has %s; counts as %s, the same part as of its siblings", n.Name,
					quantity(want.Name, needs.or0(want.Name)), n.Name, quantity(want.Name, n.wanted.or0(want.Name)), quantity(want.Name, parts[j].Value))
			}
		}
		child.wanted = parts
	}
}

// divide is the part of a child that wants something, of what is there for all children, who need so much: what it wants
// where there is enough, else the same part of it as everybody gets.
func divide(wants, there, needs Amounts) Amounts {
	parts := slices.Clone(wants)
	for j, want := range wants {
		if has, need := there.or0(want.Name), needs.or0(want.Name); need > has {
			parts[j].Value = share(want.Value, has, need)
		}
	}
	return parts
}

// needs is what the children want in all.
func (n *node) needs() Amounts { return needsOf(n.children) }

// needsOf is what some queues want in all.
func needsOf(queues []*node) (needs Amounts) {
	for _, n := range queues {
		needs = plus(needs, n.wanted)
	}
	return needs
}

// plus adds amounts to a sum that nobody else has; both are sorted by name.
func plus(sum, more Amounts) Amounts {
	for _, amount := range more {
		if j, named := slices.BinarySearchFunc(sum, amount, byName); named {
			sum[j].Value = min(sum[j].Value, math.MaxInt64-amount.Value) + amount.Value
		} else {
			sum = slices.Insert(sum, j, amount)
		}
	}
	return sum
}

func byName(a, b resource.Amount) int { return cmp.Compare(a.Name, b.Name) }

// settle computes what follows from a new capacity, when it is first needed: nodes come one by one, thousands of them.
func (t *Tree) settle() {
	if !t.stale {
		return
	}
	t.stale = false
	t.overcommitted = nil
	t.root.guaranteed = t.dividePools()
	for _, n := range t.all {
		needs := n.needs()
		for _, child := range n.children {
			child.guaranteed = divide(child.wanted, n.guaranteed, needs)
		}
		n.measure()
	}
	t.reorder()
}

// measure computes what follows from the least that limits a queue: its limit, one above it, or the nodes of its pool.
func (n *node) measure() {
	var most Amounts
	for _, above := range n.path {
		most = least(most, above.Limit)
	}
	if n.tree.known {
		capacity := n.capacity()
		for name := range capacity.List() {
			most = least(most, Amounts{{Name: name, Value: capacity.Of(name)}})
		}
	}
	n.size = slices.Clone(most)
	for j, amount := range most {
		if guaranteed := n.guaranteed.or0(amount.Name); guaranteed > 0 {
			n.size[j].Value = guaranteed
		}
	}
	n.leaderLimit = nil
	if n.MaxLeaderShare != nil {
		for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourcePods} {
			if capacity := n.capacity(); n.tree.known && capacity.Of(name) == 0 {
				most = least(most, Amounts{{Name: name}}) // a pool of no nodes has nothing for leaders to share
			}
		}
		n.leaderLimit = most
		for j, amount := range most {
			most[j].Value = percent(amount.Value, *n.MaxLeaderShare)
		}
	}
}

// least are the smaller amounts of both, where an absent one limits nothing.
func least(a, b Amounts) Amounts {
	smaller := lower(a, b)
	for _, amount := range b {
		if j, named := slices.BinarySearchFunc(smaller, amount, byName); !named {
			smaller = slices.Insert(smaller, j, amount)
		}
	}
	return smaller
}

// Problems are what is wrong with the specs, and with guarantees that the cluster cannot keep, by queue and field.
func (t *Tree) Problems() []Problem {
	t.settle()
	problems := slices.Concat(t.problems, t.overcommitted)
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.Queue, b.Queue), strings.Compare(a.Field, b.Field))
	})
	return problems
}

// Spec is what counts of what an administrator has said about a queue: without what Problems speaks of, and with the
// strictest state, the exemption and the longest protection of those above it. false means that there is no such queue.
func (t *Tree) Spec(queue string) (Spec, bool) {
	n := t.queues[queue]
	if n == nil {
		return Spec{}, false
	}
	spec := n.Spec
	spec.Parent, spec.State = n.parent.Name, n.state
	return spec, true
}

// Names are all queues, sorted, Unassigned among them.
func (t *Tree) Names() []string { return slices.Sorted(maps.Keys(t.queues)) }

// leaf is where the gangs of a queue are charged and wait.
func (t *Tree) leaf(queue string) *node {
	if n := t.leaves[queue]; n != nil {
		return n
	}
	return t.leaves[Unassigned]
}
