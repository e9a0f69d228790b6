package placement

import "cmp"

// seating is who sits where. On no node sits more than is free there, however the workers came to their seats.
type seating struct {
	problem

	work       layout      // the layout in the making
	spare      layout      // seats beside it that a leader may push workers to
	left       []int64     // node*width+column -> what work leaves free, of the nodes with members of the gang
	capacity   []int32     // node -> workers of the role being placed that it takes now
	levels     []int64     // scratch of pack and spread
	best       []candidate // scratch of pack and spread
	row        []int64     // scratch: one row of free
	sequence   []int       // scratch: roles in another order than active
	visits     int         // looks at one node for one role, since the load
	hasty      bool        // one order is tried, and nothing is searched
	spareSeats []int       // role -> seats in spare
}

// prepare takes everybody off.
func (s *seating) prepare() {
	roles := len(s.gang.Roles)
	s.visits = s.nodes * len(s.active)
	s.row = grow(s.row, s.width)
	s.left = grow(s.left, s.nodes*s.width)
	s.capacity = grow(s.capacity, s.nodes)
	s.work.prepare(roles, s.nodes)
	s.spare.prepare(roles, s.nodes)
}

// arrange seats the leader, then role after role in the given order, each as the strategy wants it. It stops at the
// first role that has not enough room and says which and how many it could seat; r is -1 when everybody has a seat.
func (s *seating) arrange(sc *scope, leader int, order []int) (r, placed int) {
	s.work.empty()
	s.seatLeader(leader)
	for _, r := range order {
		want := s.gang.Roles[r].Count
		s.measure(sc, r)
		if placed := s.place(sc, r, want); placed < want {
			return r, placed
		}
	}
	return -1, 0
}

// place seats up to want workers of a role by s.capacity and tells how many.
func (s *seating) place(sc *scope, r, want int) int {
	if s.gang.Strategy == Spread {
		return s.spread(sc, r, want)
	}
	// A node that the gang uses anyhow costs nothing.
	placed := s.pack(sc, r, want, true)
	return placed + s.pack(sc, r, want-placed, false)
}

// measure fills s.capacity for the nodes of the scope: what they take of the role beside what the layout has there.
func (s *seating) measure(sc *scope, r int) {
	s.visits += len(sc.nodes)
	for _, node := range sc.nodes {
		n := s.room[r][node]
		if n > 0 && s.work.members[node] > 0 {
			n = int32(s.requests[r].count(s.rest(int(node)), int(n)))
		}
		s.capacity[node] = n
	}
}

// rest is what the layout, and what is spared beside it, leaves free on a node. It is valid until the next call, and not to be written.
func (s *seating) rest(node int) []int64 {
	s.visits++
	free := s.freeOf(node)
	if s.work.members[node] > 0 {
		free = s.leftOn(node)
	}
	if s.spare.members[node] == 0 {
		return free
	}
	s.visits += len(s.active)
	copy(s.row, free)
	for _, r := range s.active {
		if n := s.spare.workers[r][node]; n > 0 {
			s.requests[r].take(s.row, int(n))
		}
	}
	return s.row
}

// leftOn is the row of a node in left.
func (s *seating) leftOn(node int) []int64 { return s.left[node*s.width : (node+1)*s.width] }

// seat puts n workers of role r on a node, or takes −n off it.
func (s *seating) seat(r, node, n int) {
	s.requests[r].take(s.ownLeft(node), n)
	s.work.seat(r, node, n)
}

// seatLeader puts the leader on a node; NoNode leaves it out.
func (s *seating) seatLeader(node int) {
	if node != NoNode {
		s.leader.take(s.ownLeft(node), 1)
	}
	s.work.seatLeader(node)
}

// ownLeft is the row of a node on which somebody is about to be seated.
func (s *seating) ownLeft(node int) []int64 {
	row := s.leftOn(node)
	if s.work.members[node] == 0 {
		copy(row, s.freeOf(node))
	}
	return row
}

// pack seats up to want workers of a role on the fewest nodes, either those with members of the gang or the others.
// Taking the largest capacities first is the least number of nodes; among equal ones the tightest are taken, and the
// last node is the smallest that holds the remainder, so that large holes stay whole for others.
func (s *seating) pack(sc *scope, r, want int, occupied bool) int {
	if want <= 0 {
		return 0
	}
	s.visits += 4 * len(sc.nodes)
	histogram, largest := s.histogram(sc, want, occupied)
	// Everything above level is taken whole; at level only some are.
	above, level := 0, largest
	for ; level > 0; level-- {
		next := above + int(histogram[level])*level
		if next >= want {
			break
		}
		above = next
	}
	partial := 0 // nodes at level that are filled whole
	if level > 0 {
		partial = (want-above+level-1)/level - 1
	}
	s.best = s.best[:0]
	for _, node := range sc.nodes {
		switch n := min(int(s.capacity[node]), want); {
		case n == 0 || n < level || (s.work.members[node] > 0) != occupied:
		case n > level:
			s.seat(r, int(node), n)
			s.capacity[node] = 0
		case partial > 0:
			s.offer(partial, candidate{0, s.slack(r, int(node), n), node})
		}
	}
	for _, c := range s.best {
		s.seat(r, int(c.node), level)
		s.capacity[c.node] = 0
	}
	placed := above + partial*level
	if level == 0 {
		return placed
	}
	s.seat(r, s.tightest(sc, r, want-placed, occupied), want-placed)
	return want
}

// histogram counts the nodes by capacity, capped at want.
func (s *seating) histogram(sc *scope, want int, occupied bool) (histogram []int64, largest int) {
	for _, node := range sc.nodes {
		if (s.work.members[node] > 0) == occupied {
			largest = max(largest, min(int(s.capacity[node]), want))
		}
	}
	s.levels = grow(s.levels, largest+1)
	clear(s.levels)
	if largest > 0 {
		for _, node := range sc.nodes {
			if (s.work.members[node] > 0) == occupied {
				s.levels[min(int(s.capacity[node]), want)]++
			}
		}
	}
	return s.levels, largest
}

// tightest is the node with the smallest capacity that holds n workers, and of equal ones the one they leave least of.
// There is one.
func (s *seating) tightest(sc *scope, r, n int, occupied bool) int {
	found, smallest, least := NoNode, 0, 0.0
	for _, node := range sc.nodes {
		capacity := int(s.capacity[node])
		if capacity < n || (s.work.members[node] > 0) != occupied || found != NoNode && capacity > smallest {
			continue
		}
		if slack := s.slack(r, int(node), n); found == NoNode || capacity < smallest || slack < least {
			found, smallest, least = int(node), capacity, slack
		}
	}
	return found
}

// slack is how much a node has left beside n more workers, measured in workers and summed over the resources they ask.
func (s *seating) slack(r, node, n int) float64 {
	free := s.rest(node)
	slack := 0.0
	for _, ask := range s.requests[r] {
		slack += float64(free[ask.column]-int64(n)*ask.amount) / float64(ask.amount)
	}
	return slack
}

// spread seats up to want workers of a role so that the gang's pods are as evenly many on the nodes as room allows:
// every node is filled up to a common level, as far as it goes, and the last workers go where most room is left.
func (s *seating) spread(sc *scope, r, want int) int {
	s.visits += 3 * len(sc.nodes)
	level, total := s.level(sc, want)
	s.best = s.best[:0]
	rest := want - total
	for _, node := range sc.nodes {
		capacity, members := int(s.capacity[node]), int(s.work.members[node])
		n := min(capacity, max(level-members, 0))
		if rest > 0 && n < capacity && members <= level {
			left := -float64(capacity - n)
			if len(s.best) < rest || left <= s.best[0].first {
				s.offer(rest, candidate{left, -s.slack(r, int(node), n), node})
			}
		}
		if n > 0 {
			s.seat(r, int(node), n)
		}
	}
	for _, c := range s.best {
		s.seat(r, int(c.node), 1)
	}
	return total + len(s.best)
}

// level is the highest number of members per node that want workers suffice for on every node, as far as it has
// capacity, and how many workers that takes.
func (s *seating) level(sc *scope, want int) (level, total int) {
	highest := 0
	for _, node := range sc.nodes {
		highest = max(highest, int(s.work.members[node])+min(int(s.capacity[node]), want))
	}
	// levels[i] is how many nodes take a worker as their member number i+1, kept as differences.
	s.levels = grow(s.levels, highest+1)
	clear(s.levels)
	for _, node := range sc.nodes {
		members := s.work.members[node]
		s.levels[members]++
		s.levels[int(members)+min(int(s.capacity[node]), want)]--
	}
	taking := 0
	for level = range highest {
		taking += int(s.levels[level])
		if total+taking > want {
			return level, total
		}
		total += taking
	}
	return highest, total
}

// candidate is a node on offer: the smaller first, then second, then the node's number, the better.
type candidate struct {
	first, second float64
	node          int32
}

func (c candidate) compare(d candidate) int {
	return cmp.Or(cmp.Compare(c.first, d.first), cmp.Compare(c.second, d.second), cmp.Compare(c.node, d.node))
}

// offer keeps the best n of all candidates offered since s.best was emptied. s.best is a heap with the worst on top.
func (s *seating) offer(n int, c candidate) {
	if len(s.best) < n {
		s.best = append(s.best, c)
		for i := len(s.best) - 1; i > 0; {
			parent := (i - 1) / 2
			if s.best[i].compare(s.best[parent]) <= 0 {
				break
			}
			s.best[i], s.best[parent] = s.best[parent], s.best[i]
			i = parent
		}
		return
	}
	if c.compare(s.best[0]) >= 0 {
		return
	}
	s.best[0] = c
	for i := 0; ; {
		worst := i
		for child := 2*i + 1; child <= 2*i+2 && child < n; child++ {
			if s.best[child].compare(s.best[worst]) > 0 {
				worst = child
			}
		}
		if worst == i {
			return
		}
		s.best[i], s.best[worst] = s.best[worst], s.best[i]
		i = worst
	}
}

// visitsPerArranging bounds what other orders than that of size may cost, in looks at one node for one role, over all scopes; a second
// one is always tried. With few roles on few nodes these are all orders, with many roles on many nodes one would be seconds.
const visitsPerArranging = 20_000

// arrangeAny tries the roles largest first, then other roles before the rest, as many as may be tried.
func (s *seating) arrangeAny(sc *scope, leader int) bool {
	if r, _ := s.arrange(sc, leader, s.active); r < 0 {
		return true
	}
	if s.hasty {
		return false
	}
	orders := max(2, visitsPerArranging/len(s.scopes)/max(1, len(sc.nodes)*len(s.active)))
	for i := 1; i < min(orders, len(s.active)); i++ {
		s.sequence = append(append(append(s.sequence[:0], s.active[i]), s.active[:i]...), s.active[i+1:]...)
		if r, _ := s.arrange(sc, leader, s.sequence); r < 0 {
			return true
		}
	}
	return false
}

// addSpare finds seats beside the layout for the workers that a leader may push off one node: at most as many per
// node as the layout has on any, and twice that in all, so that enough remain whichever node the leader takes. It stops where looking
// costs more than it is worth: what is spared on a node is counted role by role.
func (s *seating) addSpare(sc *scope) {
	s.spare.empty()
	s.spareSeats = grow(s.spareSeats, len(s.gang.Roles))
	clear(s.spareSeats)
	s.visits += 2 * len(sc.nodes) * len(s.active)
	enough := s.visits + 4*len(sc.nodes)*len(s.active)
	for _, r := range s.active {
		most := 0
		for _, node := range s.work.touched {
			most = max(most, int(s.work.workers[r][node]))
		}
		for _, node := range sc.nodes {
			if s.spareSeats[r] >= 2*most || s.visits > enough {
				break
			}
			if limit := min(most, int(s.room[r][node])); limit > 0 {
				n := s.requests[r].count(s.rest(int(node)), limit)
				s.spare.seat(r, int(node), n)
				s.spareSeats[r] += n
			}
		}
	}
}

// canMove tells whether the leader has room on the node when the workers in its way take spare seats elsewhere.
func (s *seating) canMove(node int) bool {
	s.visits += len(s.active)
	row := s.besideLeader(node)
	for _, r := range s.active {
		here := int(s.work.workers[r][node])
		stay := s.requests[r].count(row, here)
		s.requests[r].take(row, stay)
		if here-stay > s.spareSeats[r]-int(s.spare.workers[r][node]) {
			return false
		}
	}
	return true
}

// move does what canMove found possible.
func (s *seating) move(leader int) {
	row := s.besideLeader(leader)
	s.seatLeader(leader)
	for _, r := range s.active {
		here := int(s.work.workers[r][leader])
		stay := s.requests[r].count(row, here)
		s.requests[r].take(row, stay)
		s.seat(r, leader, stay-here)
		for _, node := range s.spare.touched {
			if n := min(here-stay, int(s.spare.workers[r][node])); n > 0 && int(node) != leader {
				s.seat(r, int(node), n)
				here -= n
			}
		}
	}
}

func (s *seating) besideLeader(node int) []int64 {
	copy(s.row, s.freeOf(node))
	s.leader.take(s.row, 1)
	return s.row
}
