package quota

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/heap"
)

// First is the first of its queue, user and signature, with what its turn depends on at that moment.
type First struct {
	Waiter
	held, share ratio // of the application, and of the user
	below       bool  // the user holds less than the queue's minimum for each
}

// Groups are all groups, in no order.
func Groups(t *Tree) []*Group { return slices.Collect(maps.Values(t.groups)) }

// Firsts are the first of every one of some groups, parked ones included, of those that somebody asks for. A group that is Gone has
// none. With all groups it takes as long as there are, so whoever keeps others waiting asks for some after the other.
func (t *Tree) Firsts(groups []*Group, wanted func(Waiter) bool) iter.Seq[First] {
	return func(yield func(First) bool) {
		t.settle()
		t.even()
		for _, g := range groups {
			if first := g.firstOf(wanted); first != nil && !yield(first.asFirst()) {
				return
			}
		}
	}
}

// FirstOf is somebody who waits as if it were the first of its group; false for one that does not wait or is being tried.
func FirstOf(t *Tree, id types.UID) (First, bool) {
	t.settle()
	t.even()
	w := t.waiters[id]
	if w == nil || w.index == heap.Absent {
		return First{}, false
	}
	return w.asFirst(), true
}

// asFirst is a waiter as the first of its group.
func (w *waiter) asFirst() First {
	return First{Waiter: w.Waiter, held: w.held, share: w.group.lane.share, below: w.group.lane.below}
}

// Before tells whether one of a queue goes before another.
func (f *First) Before(other *First) bool { return f.compare(other) < 0 }

// firstOf is the first of those in a group that somebody asks for; nil if there is none. As a rule it looks at few others.
func (g *Group) firstOf(wanted func(Waiter) bool) (first *waiter) {
	earlier := func(w *waiter) bool { return first == nil || w.before(first) }
	for w := range heap.While(g.waiters, earlier) {
		if wanted(w.Waiter) {
			first = w
		}
	}
	return first
}

// compare puts the Firsts of one queue in turn. That is a total order.
func (f *First) compare(other *First) int {
	a, b := waiter{Waiter: f.Waiter, held: f.held}, waiter{Waiter: other.Waiter, held: other.held}
	return cmp.Or(f.compareRank(&other.Waiter), compareBool(other.below, f.below), f.share.compare(other.share), a.compareAge(&b))
}

// InTurn goes through Firsts of a tree, or of one that it is a Frozen of: always to the first of the queue that would be
// next. Between queues the order is that of what their firsts ask for, which is not transitive: of three, each may go before the
// next and the last before the first. Taking the queues by name makes it the same every time all the same.
func InTurn(t *Tree, firsts []First) iter.Seq[Waiter] {
	return func(yield func(Waiter) bool) {
		t.settle()
		lines := map[*node][]First{}
		for _, f := range firsts {
			leaf := t.leaf(f.Queue)
			lines[leaf] = append(lines[leaf], f)
		}
		for _, line := range lines {
			slices.SortFunc(line, func(a, b First) int { return a.compare(&b) })
		}
		leaves := slices.SortedFunc(maps.Keys(lines), func(a, b *node) int { return cmp.Compare(a.Name, b.Name) })
		for len(leaves) > 0 {
			next := 0
			for i := range leaves {
				if goesBefore(leaves[i], leaves[next], &lines[leaves[i]][0], &lines[leaves[next]][0]) {
					next = i
				}
			}
			leaf := leaves[next]
			if !yield(lines[leaf][0].Waiter) {
				return
			}
			if lines[leaf] = lines[leaf][1:]; len(lines[leaf]) == 0 {
				leaves = slices.Delete(leaves, next, next+1)
			}
		}
	}
}

// goesBefore compares two leaves at the level where they part, by what their firsts ask for.
func goesBefore(a, b *node, first, other *First) bool {
	if a == b {
		return false
	}
	n, m := siblings(a, b)
	return cmp.Or(n.keyFor(n.used, first.Demand.Amount).compare(m.keyFor(m.used, other.Demand.Amount)), cmp.Compare(n.Name, m.Name)) < 0
}
