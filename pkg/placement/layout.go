package placement

import "slices"

// layout says how many workers of each role sit on each node.
type layout struct {
	leader  int       // node of the leader, NoNode for none
	workers [][]int32 // role -> node -> workers
	members []int32   // node -> workers of all roles and the leader
	touched []int32   // the nodes with members, in the order in which they were first used
}

// prepare makes room for a layout of so many roles and nodes, and empties it.
func (l *layout) prepare(roles, nodes int) {
	l.empty()
	l.workers = growClear(l.workers[:cap(l.workers)], roles, nodes)
	if cap(l.members) < nodes {
		l.members = make([]int32, nodes, nodes+nodes/4)
	}
	l.members = l.members[:nodes]
}

// empty takes everybody off their nodes. It costs as much as nodes are in use.
func (l *layout) empty() {
	for _, node := range l.touched {
		l.members[:cap(l.members)][node] = 0
		for _, workers := range l.workers[:cap(l.workers)] {
			if int(node) < cap(workers) {
				workers[:cap(workers)][node] = 0
			}
		}
	}
	l.touched = l.touched[:0]
	l.leader = NoNode
}

// seatLeader puts the leader on a node; NoNode leaves it out.
func (l *layout) seatLeader(node int) {
	if l.leader = node; node != NoNode {
		l.touch(node, 1)
	}
}

// seat puts n workers of role r on a node, which is not checked.
func (l *layout) seat(r, node, n int) {
	l.workers[r][node] += int32(n)
	l.touch(node, n)
}

func (l *layout) touch(node, n int) {
	if l.members[node] == 0 && n > 0 {
		l.touched = append(l.touched, int32(node))
	}
	l.members[node] += int32(n)
}

// slots lists the layout by role and node. It is a slice of its own, free to keep.
func (l *layout) slots(roles []int) []Slots {
	slices.Sort(l.touched)
	list := make([]Slots, 0, len(l.touched))
	for _, r := range roles {
		for _, node := range l.touched {
			if n := l.workers[r][node]; n > 0 {
				list = append(list, Slots{Role: r, Node: int(node), Count: int(n)})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Slots) int { return a.Role - b.Role })
	return list
}

// growClear keeps every element that is given back zero, as a layout wants it: what was used is cleared by empty.
func growClear(rows [][]int32, count, n int) [][]int32 {
	for len(rows) < count {
		rows = append(rows, nil)
	}
	for i := range count {
		if cap(rows[i]) < n {
			rows[i] = make([]int32, n, n+n/4)
		}
		rows[i] = rows[i][:n]
	}
	return rows[:count]
}
