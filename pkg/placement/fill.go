package placement

import "cmp"

// arrange seats the leader, then role after role in the given order, each as the strategy wants it. It stops at the
// first role that has not enough room and says which and how many it could seat; r is -1 when everybody has a seat.
func (s *Solver) arrange(sc *scope, leader int, order []int) (r, placed int) {
	s.work.empty()
	s.work.seatLeader(leader)
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
func (s *Solver) place(sc *scope, r, want int) int {
	if s.gang.Strategy == Spread {
		return s.spread(sc, r, want)
	}
	// A node that the gang uses anyhow costs nothing.
	placed := s.pack(sc, r, want, true)
	return placed + s.pack(sc, r, want-placed, false)
}

// measure fills s.capacity for the nodes of the scope: what they take of the role beside what the layout has there.
func (s *Solver) measure(sc *scope, r int) {
	for _, node := range sc.nodes {
		n := s.room[r][node]
		if n > 0 && s.work.members[node] > 0 {
			n = int32(s.requests[r].count(s.rest(int(node)), int(n)))
		}
		s.capacity[node] = n
	}
}

// rest is what the layout leaves free on a node. It is valid until the next call.
func (s *Solver) rest(node int) []int64 {
	copy(s.row, s.freeOf(node))
	if node == s.work.leader {
		s.leader.take(s.row, 1)
	}
	for _, r := range s.active {
		if n := s.work.workers[r][node] + s.spare.workers[r][node]; n > 0 {
			s.requests[r].take(s.row, int(n))
		}
	}
	return s.row
}

// pack seats up to want workers of a role on the fewest nodes, either those with members of the gang or the others.
// Taking the largest capacities first is the least number of nodes; among equal ones the tightest are taken, and the
// last node is the smallest that holds the remainder, so that large holes stay whole for others.
func (s *Solver) pack(sc *scope, r, want int, occupied bool) int {
	if want <= 0 {
		return 0
	}
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
			s.work.seat(r, int(node), n)
			s.capacity[node] = 0
		case partial > 0:
			s.offer(partial, candidate{0, s.slack(r, int(node), n), node})
		}
	}
	for _, c := range s.best {
		s.work.seat(r, int(c.node), level)
		s.capacity[c.node] = 0
	}
	placed := above + partial*level
	if level == 0 {
		return placed
	}
	s.work.seat(r, s.tightest(sc, r, want-placed, occupied), want-placed)
	return want
}

// histogram counts the nodes by capacity, capped at want.
func (s *Solver) histogram(sc *scope, want int, occupied bool) (histogram []int64, largest int) {
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
func (s *Solver) tightest(sc *scope, r, n int, occupied bool) int {
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
func (s *Solver) slack(r, node, n int) float64 {
	free := s.freeOf(node)
	if s.work.members[node] > 0 {
		free = s.rest(node)
	}
	slack := 0.0
	for _, ask := range s.requests[r] {
		slack += float64(free[ask.column]-int64(n)*ask.amount) / float64(ask.amount)
	}
	return slack
}

// spread seats up to want workers of a role so that the gang's pods are as evenly many on the nodes as room allows:
// every node is filled up to a common level, as far as it goes, and the last workers go where most room is left.
func (s *Solver) spread(sc *scope, r, want int) int {
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
			s.work.seat(r, int(node), n)
		}
	}
	for _, c := range s.best {
		s.work.seat(r, int(c.node), 1)
	}
	return total + len(s.best)
}

// level is the highest number of members per node that want workers suffice for on every node, as far as it has
// capacity, and how many workers that takes.
func (s *Solver) level(sc *scope, want int) (level, total int) {
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
func (s *Solver) offer(n int, c candidate) {
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
