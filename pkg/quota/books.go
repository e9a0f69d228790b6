package quota

import (
	"maps"
	"slices"

	"retinue.dev/retinue/pkg/heap"
	"retinue.dev/retinue/pkg/resource"
)

// books are what is charged to a queue and everything below it, and what is promised there.
type books struct {
	used, leaders  resource.Vector
	gangs, leading int64
	users          map[string]account // user -> the same for one user
	// shared means that a Snapshot holds users; the map is copied before it is changed.
	shared bool

	// promised is what those will hold for whom others leave, and gangsPromised how many gangs they are.
	promised      resource.Vector
	gangsPromised int64
}

// account is what a user holds of a queue.
type account struct {
	used  resource.Vector
	gangs int64
}

// account adds a demand to what is charged, or takes it off if sign is −1.
func (b *books) account(d Demand, sign int64) {
	if b.shared {
		b.users, b.shared = maps.Clone(b.users), false
	}
	a := b.users[d.User]
	a.used, a.gangs = resource.Signed(a.used, d.Amount, sign), a.gangs+sign*d.Gangs
	if a.gangs == 0 && a.used.IsZero() {
		delete(b.users, d.User)
	} else {
		b.users[d.User] = a
	}
	b.used, b.leaders, b.gangs = resource.Signed(b.used, d.Amount, sign), resource.Signed(b.leaders, d.Leader, sign), b.gangs+sign*d.Gangs
	if !d.Leader.IsZero() {
		b.leading += sign * d.Gangs
	}
}

// promise adds a demand to what is promised, or takes it off if sign is −1.
func (b *books) promise(d Demand, sign int64) {
	b.promised, b.gangsPromised = resource.Signed(b.promised, d.Amount, sign), b.gangsPromised+sign*d.Gangs
}

// snapshot is a copy that nobody who changes these books changes.
func (b *books) snapshot() books {
	b.shared = true
	return *b
}

// Change is what would become of what a queue is charged, or has promised.
type Change struct {
	Queue  string
	Demand Demand
	// Charged and Promised say what becomes of the Demand there: 1 adds it, −1 takes it off, 0 leaves it as it is.
	Charged, Promised int64
}

// Simulate supposes some changes until undo is called, which has to come before anything else changes: Fits, Allows and
// SelectVictims answer as if they had come true. Nobody's turn changes by it.
func (t *Tree) Simulate(changes []Change) (undo func()) {
	t.settle()
	suppose := func(sign int64) {
		for i := range changes {
			c := &changes[i]
			for _, n := range t.leaf(c.Queue).path {
				if c.Charged != 0 {
					n.account(c.Demand, c.Charged*sign)
				}
				if c.Promised != 0 {
					n.promise(c.Demand, c.Promised*sign)
				}
			}
		}
	}
	suppose(1)
	return func() { suppose(-1) }
}

// Frozen is what queues are, hold and may at one moment. Making it takes little time; making a Tree of it takes more, and does not
// need what it was made of to stay as it is.
type Frozen struct {
	of *Tree
	// root and all are what changes of every node; index as in the tree.
	root          frozen
	all           []frozen
	pools         []Pool
	known         bool
	overcommitted []Problem
}

// frozen is what changes of a node.
type frozen struct {
	guaranteed, leaderLimit, size Amounts
	books                         books
	waiting                       int
}

func (n *node) freeze() frozen {
	return frozen{n.guaranteed, n.leaderLimit, n.size, n.snapshot(), n.line.waiting}
}

// Freeze remembers the present moment of a tree.
func Freeze(t *Tree) *Frozen {
	t.settle()
	f := &Frozen{of: t, root: t.root.freeze(), all: make([]frozen, len(t.all)), pools: slices.Clone(t.pools), known: t.known, overcommitted: t.overcommitted}
	for i, n := range t.all {
		f.all[i] = n.freeze()
	}
	return f
}

// FreezeCharged is Freeze without what is only supposed.
func FreezeCharged(t *Tree) *Frozen {
	t.settle()
	suppose(t, -1)
	defer suppose(t, 1)
	return Freeze(t)
}

// Tree is a tree of that moment, and knows of those who wait only how many they are. Neither it nor the one that it is of reaches
// the other, and that one may change meanwhile: of its nodes only what never changes is read.
func (f *Frozen) Tree() *Tree {
	t := f.of
	s := &Tree{
		leaves: make(map[string]*node, len(t.leaves)), queues: make(map[string]*node, len(t.queues)), all: make([]*node, 0, len(t.all)),
		specs: t.specs, problems: t.problems, pools: f.pools, known: f.known, overcommitted: f.overcommitted,
	}
	copies := make(map[*node]*node, len(t.all)+1)
	take := func(n *node, at *frozen) *node {
		c := &node{
			Spec: n.Spec, tree: s, parent: copies[n.parent], pool: n.pool, weight: n.weight, state: n.state, wanted: n.wanted,
			guaranteed: at.guaranteed, leaderLimit: at.leaderLimit, size: at.size, books: at.books,
		}
		c.turn.index, c.line.waiting = heap.Absent, at.waiting
		copies[n] = c
		return c
	}
	s.root = take(t.root, &f.root)
	for i, n := range t.all {
		c := take(n, &f.all[i])
		c.path = append([]*node{c}, c.parent.path...)
		c.parent.children = append(c.parent.children, c)
		s.all = append(s.all, c)
	}
	for name, n := range t.leaves {
		s.leaves[name] = copies[n]
	}
	for name, n := range t.queues {
		s.queues[name] = copies[n]
	}
	return s
}
