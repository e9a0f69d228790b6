package quota

import (
	"cmp"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/heap"
)

// Precedence is why the first of two waiters goes before the second.
type Precedence struct {
	// Named has the numbers that decide, with the queues and users of both. Empty means that it does not go first, or that one of them
	// does not wait.
	Named string
	// Own names and counts only what belongs to the second.
	Own string
}

// Explain says why the first of two waiters goes before the second, with the numbers that decide.
func (t *Tree) Explain(first, second types.UID) Precedence {
	t.settle()
	t.even()
	a, b := t.waiters[first], t.waiters[second]
	if a == nil || b == nil || a == b {
		return Precedence{}
	}
	if a.index == heap.Absent { // it goes first as it was when it was its turn
		t.account(a.Queue, a.Demand, -1)
		defer t.account(a.Queue, a.Demand, 1)
	}
	if a.group.leaf == b.group.leaf {
		return explainWaiters(a, b)
	}
	n, m := siblings(a.group.leaf, b.group.leaf)
	return explainQueues(n, m, a, b)
}

// siblings are the two queues on the ways of two leaves to the root that have the same parent.
func siblings(a, b *node) (*node, *node) {
	i, j := len(a.path)-1, len(b.path)-1
	for a.path[i] == b.path[j] {
		i, j = i-1, j-1
	}
	return a.path[i], b.path[j]
}

func explainQueues(n, m *node, a, b *waiter) Precedence {
	k, l := n.keyFor(n.used, a.Demand.Amount), m.keyFor(m.used, b.Demand.Amount)
	if order := cmp.Or(k.compare(l), a.Since.Compare(b.Since), cmp.Compare(n.Name, m.Name)); order > 0 {
		return Precedence{}
	}
	switch {
	case k.phase != l.phase && k.phase == belowGuarantee:
		return Precedence{
			fmt.Sprintf("queue %s is below its guarantee (%s), queue %s is not", n.title(), n.fulfilled(a), m.title()),
			fmt.Sprintf("another queue is below its guarantee, queue %s is not", m.title()),
		}
	case k.phase != l.phase:
		return Precedence{
			fmt.Sprintf("queue %s has weight 0 and goes after queue %s", m.title(), n.title()),
			fmt.Sprintf("queue %s has weight 0 and goes after another queue", m.title()),
		}
	case k.priority != l.priority:
		return Precedence{
			fmt.Sprintf("both queues are below their guarantees, and %s has priority %d, %s has %d", n.title(), k.priority, m.title(), l.priority),
			fmt.Sprintf("queue %s and another are below their guarantees, and the other has a higher priority than %d", m.title(), l.priority),
		}
	case k.ratio.compare(l.ratio) == 0:
		return Precedence{
			fmt.Sprintf("queues %s and %s have the same part of what is theirs, and the one of %s waits longer", n.title(), m.title(), n.title()),
			fmt.Sprintf("queue %s and another have the same part of what is theirs, and the one of the other waits longer", m.title()),
		}
	case k.phase == belowGuarantee:
		return Precedence{
			fmt.Sprintf("queue %s has less of its guarantee (%s) than queue %s (%s)", n.title(), n.fulfilled(a), m.title(), m.fulfilled(b)),
			fmt.Sprintf("another queue has less of its guarantee than queue %s (%s)", m.title(), m.fulfilled(b)),
		}
	default:
		return Precedence{
			fmt.Sprintf("queue %s borrows less (%s) than queue %s (%s)", n.title(), n.borrows(), m.title(), m.borrows()),
			fmt.Sprintf("another queue borrows less than queue %s (%s)", m.title(), m.borrows()),
		}
	}
}

func explainWaiters(a, b *waiter) Precedence {
	same := func(text string) Precedence { return Precedence{text, text} }
	la, lb := a.group.lane, b.group.lane
	switch {
	case la != lb && cmp.Or(a.compareRank(&b.Waiter), compareBool(lb.below, la.below), la.share.compare(lb.share), a.compareAge(b)) > 0,
		la == lb && !a.before(b):
		return Precedence{}
	case a.Priority != b.Priority:
		return same(fmt.Sprintf("priority %d goes before %d", a.Priority, b.Priority))
	case a.Elastic != b.Elastic:
		return same("a gang that starts goes before workers that one which runs asks for in addition")
	case a.Rank != b.Rank:
		return same(fmt.Sprintf("its user ranks it %d, and %d the other", a.Rank, b.Rank))
	case la.below != lb.below:
		return Precedence{
			fmt.Sprintf("user %s holds less of queue %s than each user's minimum, user %s does not", la.user, a.Queue, lb.user),
			fmt.Sprintf("another user holds less of queue %s than each user's minimum, user %s does not", a.Queue, lb.user),
		}
	case la.share.compare(lb.share) != 0:
		return Precedence{
			fmt.Sprintf("user %s holds less of queue %s than user %s", la.user, a.Queue, lb.user),
			fmt.Sprintf("another user holds less of queue %s than user %s", a.Queue, lb.user),
		}
	case a.held.compare(b.held) != 0:
		return same("its application holds less")
	case !a.Since.Equal(b.Since):
		return same("it waits longer")
	default:
		return same("both wait as long, and its name comes first")
	}
}

// title is a queue's name for people.
func (n *node) title() string {
	switch {
	case n.Name == Unassigned:
		return "none"
	case n.parent != nil && n.parent.Name == n.Name:
		return n.Name + " itself"
	default:
		return n.Name
	}
}

func (n *node) fulfilled(w *waiter) string {
	name, _, _ := fulfilment(n.used, n.guaranteed, w.Demand.Amount)
	return fmt.Sprintf("%s %s of %s", name, quantity(name, n.used.Of(name)), quantity(name, n.guaranteed.or0(name)))
}

func (n *node) borrows() string {
	name, most := dominant(n.used, n.guaranteed, n.capacity(), n.weight)
	if name == "" {
		return "nothing"
	}
	return fmt.Sprintf("%s %s of %s by weight %d", name, quantity(name, int64(most.num)), quantity(name, n.capacity().Of(name)), n.weight)
}
