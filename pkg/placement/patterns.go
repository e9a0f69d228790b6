package placement

import "slices"

// Bounds of one search. What they leave undecided is not offered as a fit.
const (
	stepsPerSearch    = 1 << 20 // a step is a few nanoseconds
	patternsPerSearch = 1 << 17
	choicesPerSearch  = 1 << 18 // a choice is 8 bytes of memory
)

// search is the memory of the searches for a layout of several roles. They choose one pattern for every node: a
// combination of workers that it can hold and that is not worse than another one in every role.
type search struct {
	stepsLeft int     // what this Fit may still spend on layouts that are not found at first sight
	gaveUp    bool    // a bound ended a search in this Fit: "does not fit" is then not proven
	tried     []int32 // the nodes for which a layout beside the leader was looked for, whatever came of it

	steps    int       // taken by the search under way
	main     int       // the role with the most workers; a pattern has as many of it as go in beside the others
	others   []int     // the other roles
	patterns []int32   // pattern*(len(others)+1) + index in others -> workers; at the end those of the main role
	spans    []span    // node in scope -> its patterns; nodes that are alike share them
	chosen   []int32   // node in scope -> the pattern it was given
	pattern  []int32   // the pattern in the making
	rows     [][]int64 // index in others -> free while the pattern is made
	missing  []int     // role -> workers without a seat

	exact exactSearch
	bids  bids
}

// span is the patterns from..to-1.
type span struct{ from, to int32 }

// searchLayout finds a layout of all workers beside a leader on the node, if there is one and the bounds allow to find
// it. It gives the same answer each time it is asked.
func (s *Solver) searchLayout(sc *scope, leader int) bool {
	if !s.freeSuffices(sc, leader) {
		return false
	}
	q := &s.search
	q.steps = 0
	found := false
	if !s.loadPatterns(sc, leader) {
		q.gaveUp = true
	} else if result := s.searchExactly(sc); result != undecided {
		found = result == exists
	} else if found = s.searchByBids(sc); !found {
		q.gaveUp = true
	}
	q.stepsLeft -= q.steps
	if found {
		s.seatChosen(sc, leader)
	}
	return found
}

// freeSuffices compares sums: what all workers and the leader ask with what the scope has.
func (s *Solver) freeSuffices(sc *scope, leader int) bool {
	for column := range s.width {
		var asked, free int64
		for _, r := range s.active {
			asked += s.requests[r].in(column) * int64(s.gang.Roles[r].Count)
		}
		for _, node := range sc.nodes {
			f := s.freeOf(int(node))[column]
			if int(node) == leader {
				f -= s.leader.in(column)
			}
			if free += max(f, 0); free >= asked {
				break
			}
		}
		if free < asked {
			return false
		}
	}
	return true
}

// loadPatterns lists what every node of the scope can hold; false means that this is too much to list.
func (s *Solver) loadPatterns(sc *scope, leader int) bool {
	q := &s.search
	q.main = slices.MaxFunc(s.active, func(a, b int) int { return s.gang.Roles[a].Count - s.gang.Roles[b].Count })
	q.others = q.others[:0]
	for _, r := range s.active {
		if r != q.main {
			q.others = append(q.others, r)
		}
	}
	q.pattern = grow(q.pattern, len(q.others))
	q.rows = growAll(q.rows, len(q.others)+1, s.width)
	q.missing = grow(q.missing, len(s.gang.Roles))
	q.chosen = grow(q.chosen, len(sc.nodes))
	q.spans = grow(q.spans, len(sc.nodes))
	q.patterns = q.patterns[:0]
	width := len(q.others) + 1
	for i, node := range sc.nodes {
		if i > 0 && int(node) != leader && int(sc.nodes[i-1]) != leader && s.alike(int(node), int(sc.nodes[i-1])) {
			q.spans[i] = q.spans[i-1]
			continue
		}
		copy(q.rows[0], s.freeOf(int(node)))
		if int(node) == leader {
			s.leader.take(q.rows[0], 1)
		}
		from := len(q.patterns) / width
		s.addPatterns(int(node), 0)
		q.spans[i] = span{int32(from), int32(len(q.patterns) / width)}
		if q.steps > stepsPerSearch || len(q.patterns)/width > patternsPerSearch {
			return false
		}
	}
	return true
}

// addPatterns extends the pattern in the making by every possible number of workers of others[i] and those after it.
func (s *Solver) addPatterns(node, i int) {
	q := &s.search
	row := q.rows[i]
	if i == len(q.others) {
		n := s.requests[q.main].count(row, int(s.room[q.main][node]))
		if q.steps++; !s.dominated(node, row, n) {
			q.patterns = append(append(q.patterns, q.pattern...), int32(n))
		}
		return
	}
	r := q.others[i]
	most := s.requests[r].count(row, int(s.room[r][node]))
	for n := range most + 1 {
		copy(q.rows[i+1], row)
		s.requests[r].take(q.rows[i+1], n)
		q.pattern[i] = int32(n)
		if s.addPatterns(node, i+1); q.steps > stepsPerSearch {
			return
		}
	}
}

// dominated tells whether one more worker of some role goes in without costing a worker of the main role.
func (s *Solver) dominated(node int, row []int64, n int) bool {
	q := &s.search
	for i, r := range q.others {
		if q.pattern[i] >= s.room[r][node] || !s.requests[r].fits(row) {
			continue
		}
		s.requests[r].take(row, 1)
		same := s.requests[q.main].count(row, n) == n
		s.requests[r].take(row, -1)
		if same {
			return true
		}
	}
	return false
}

// workersIn lists a pattern: the workers of the others, at the end those of the main role.
func (q *search) workersIn(pattern int32) []int32 {
	width := len(q.others) + 1
	return q.patterns[int(pattern)*width : (int(pattern)+1)*width]
}

// resetMissing starts counting at everybody.
func (s *Solver) resetMissing() {
	for _, r := range s.active {
		s.search.missing[r] = s.gang.Roles[r].Count
	}
}

// seatChosen makes a layout of the chosen patterns; what is more than the roles need stays free.
func (s *Solver) seatChosen(sc *scope, leader int) {
	q := &s.search
	s.work.empty()
	s.work.seatLeader(leader)
	s.resetMissing()
	for i, pattern := range q.chosen {
		if pattern < 0 {
			continue
		}
		workers := q.workersIn(pattern)
		for j, r := range q.others {
			s.seatMissing(r, int(sc.nodes[i]), int(workers[j]))
		}
		s.seatMissing(q.main, int(sc.nodes[i]), int(workers[len(q.others)]))
	}
}

func (s *Solver) seatMissing(r, node, n int) {
	if n = min(n, s.search.missing[r]); n > 0 {
		s.work.seat(r, node, n)
		s.search.missing[r] -= n
	}
}
