package quota

import (
	"retinue.dev/retinue/pkg/resource"
)

// Keeps tells whether what belongs to a queue stays where it is when one tree succeeds another: both have it, or neither, and then
// it is in Unassigned.
func Keeps(former, t *Tree, queue string) bool {
	return former.queues[queue] == nil == (t.queues[queue] == nil)
}

// Succeed lets a new tree take over what another is charged and who waits in it, everybody in the queue of the same name, and what
// the nodes of every pool have that both know. Whatever belongs to another queue from now on, or to one that it does not Keep, is taken off the
// former before, and added to the new one afterwards. The former is not used any more. It costs as much as there are
// queues, users and groups, whatever runs and waits in them.
func Succeed(former, t *Tree) {
	t.groups, t.waiters, t.tried, t.weighed = former.groups, former.waiters, former.tried, former.weighed
	t.known, t.stale = former.known, true
	capacities := map[string]resource.Vector{} // selector -> what its nodes have
	for _, pool := range former.pools {
		capacities[pool.text()] = pool.capacity
	}
	for p := range t.pools {
		t.pools[p].capacity = capacities[t.pools[p].text()]
	}
	for name, n := range t.leaves {
		if predecessor := former.leaves[name]; predecessor != nil {
			n.books, n.line = predecessor.books, predecessor.line
			n.line.uneven = false
			predecessor.line.successor = n
			for _, l := range n.line.users {
				l.share, l.below = ratio{}, false // as far as the order asks for them, they are measured again
			}
		}
		for _, above := range n.path[1:] {
			above.include(&n.books)
		}
	}
	for _, g := range t.groups {
		predecessor := g.leaf
		g.leaf = predecessor.line.successor
		if g.leaf.Order != predecessor.Order {
			for _, w := range g.waiters {
				g.leaf.weigh(w)
			}
			waitersInTurn.Init(g.waiters)
		}
	}
	t.settle()
	for _, n := range t.leaves {
		t.refresh(n)
		n.unevenIfMinimum()
	}
}

// include adds what is charged to a queue below, and what is promised there.
func (b *books) include(below *books) {
	b.used, b.leaders, b.promised = b.used.Add(below.used), b.leaders.Add(below.leaders), b.promised.Add(below.promised)
	b.gangs, b.leading, b.gangsPromised = b.gangs+below.gangs, b.leading+below.leading, b.gangsPromised+below.gangsPromised
	for user, holds := range below.users {
		a := b.users[user]
		b.users[user] = account{a.used.Add(holds.used), a.gangs + holds.gangs}
	}
}
