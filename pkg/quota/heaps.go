package quota

import "retinue.dev/retinue/pkg/heap"

// Who waits stands in heaps within heaps: waiters in groups, groups in lanes, lanes in lines, and queues in the one above.
var (
	waitersInTurn = heap.Order[*waiter]{Before: (*waiter).before, Place: func(w *waiter) *int { return &w.index }}
	groupsInTurn  = heap.Order[*Group]{
		Before: func(g, other *Group) bool { return g.waiters[0].before(other.waiters[0]) },
		Place:  func(g *Group) *int { return &g.index },
	}
	lanesInTurn = heap.Order[*lane]{Before: (*lane).before, Place: func(l *lane) *int { return &l.index }}
	nodesInTurn = heap.Order[*node]{Before: (*node).before, Place: func(n *node) *int { return &n.turn.index }}
)
