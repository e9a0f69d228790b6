package placement

import "slices"

// choicesPerSearch bounds the memory of one search: a choice is 8 bytes.
const choicesPerSearch = 1 << 18

// search is the memory of the exact search over layouts of several roles.
//
// It goes over the nodes once and keeps, for every combination of "so many workers of each role but one are seated",
// the most workers of that one role that can be seated beside them. The role left out of the combinations is the most
// numerous one: ten workers of one role and a thousand of another make eleven combinations. A node offers patterns:
// the combinations of workers it can hold that are not worse than another in every role.
type search struct {
	stepsLeft int  // what this Fit may still spend on layouts that are not found at first sight
	gaveUp    bool // a bound ended a search in this Fit: "does not fit" is then not proven
	tried     []int32

	main     int       // the role left out of the combinations
	others   []int     // the roles in the combinations
	strides  []int     // index in others -> weight of one worker in the number of a combination
	most     []int32   // combination -> workers of the main role, -1 when it cannot be reached
	next     []int32   // the same with one node more
	choices  []choice  // node in scope * combinations + combination -> how it was reached
	patterns []int32   // pattern * (len(others)+1) + index in others -> workers; at the end those of the main role
	pattern  []int32   // the pattern in the making
	rows     [][]int64 // index in others -> free while the pattern is made
	missing  []int     // role -> workers without a seat while the found layout is read back
	digits   []int32   // workers of each of others in the combination being looked at
}

type choice struct{ from, pattern int32 }

// searchLayout finds a layout of all workers beside a leader on the node, if there is one and the bounds allow to
// finish. It gives the same answer each time it is asked within the Fit's bound.
func (s *Solver) searchLayout(sc *scope, leader int) bool {
	q := &s.search
	if !s.freeSuffices(sc, leader) {
		return false
	}
	combinations := s.loadSearch()
	if combinations == 0 || combinations > choicesPerSearch/len(sc.nodes) {
		q.gaveUp = true
		return false
	}
	q.most, q.next = grow(q.most, combinations), grow(q.next, combinations)
	q.choices = grow(q.choices, len(sc.nodes)*combinations)
	for i := range q.most {
		q.most[i] = -1
	}
	q.most[0] = 0
	all, want := combinations-1, int32(s.gang.Roles[q.main].Count)
	steps := 0
	for i, node := range sc.nodes {
		s.loadPatterns(int(node), leader)
		if steps = s.offerNode(i*combinations, want, steps); steps > stepsPerFit {
			q.stepsLeft, q.gaveUp = q.stepsLeft-steps, true
			return false
		}
		if q.most[all] == want {
			q.stepsLeft -= steps
			s.seatFound(sc, leader, i, combinations)
			return true
		}
	}
	q.stepsLeft -= steps
	return false
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

// loadSearch chooses the main role and numbers the combinations of the others. 0 means that they are too many.
func (s *Solver) loadSearch() (combinations int) {
	q := &s.search
	q.main = slices.MaxFunc(s.active, func(a, b int) int { return s.gang.Roles[a].Count - s.gang.Roles[b].Count })
	q.others, q.strides = q.others[:0], q.strides[:0]
	combinations = 1
	for _, r := range s.active {
		if r == q.main {
			continue
		}
		q.others, q.strides = append(q.others, r), append(q.strides, combinations)
		if s.gang.Roles[r].Count >= choicesPerSearch {
			return 0
		}
		if combinations *= s.gang.Roles[r].Count + 1; combinations > choicesPerSearch {
			return 0
		}
	}
	q.pattern = grow(q.pattern, len(q.others))
	q.digits = grow(q.digits, len(q.others))
	q.rows = growAll(q.rows, len(q.others)+1, s.width)
	return combinations
}

// loadPatterns lists what the node can hold.
func (s *Solver) loadPatterns(node, leader int) {
	q := &s.search
	q.patterns = q.patterns[:0]
	copy(q.rows[0], s.freeOf(node))
	if node == leader {
		s.leader.take(q.rows[0], 1)
	}
	s.addPatterns(node, 0)
}

// addPatterns extends the pattern in the making by every possible number of workers of others[i] and those after it.
func (s *Solver) addPatterns(node, i int) {
	q := &s.search
	row := q.rows[i]
	if i == len(q.others) {
		n := s.requests[q.main].count(row, int(s.room[q.main][node]))
		if !s.dominated(node, row, n) {
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
		s.addPatterns(node, i+1)
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

// offerNode adds a node's patterns to every combination reached so far, and adds the steps that took. It stops when
// they are too many.
func (s *Solver) offerNode(base int, want int32, steps int) int {
	q := &s.search
	for i := range q.next {
		q.next[i] = -1
	}
	clear(q.digits)
	width := len(q.others) + 1
	steps += len(q.next)
	for from, seated := range q.most {
		if from > 0 {
			s.nextCombination()
		}
		if seated < 0 {
			continue
		}
		if steps += len(q.patterns) / width; steps > stepsPerFit {
			return steps
		}
		for p := 0; p*width < len(q.patterns); p++ {
			pattern := q.patterns[p*width : (p+1)*width]
			to := 0
			for i, r := range q.others {
				to += int(min(q.digits[i]+pattern[i], int32(s.gang.Roles[r].Count))) * q.strides[i]
			}
			if n := min(seated+pattern[width-1], want); n > q.next[to] {
				q.next[to] = n
				q.choices[base+to] = choice{int32(from), int32(p)}
			}
		}
	}
	q.most, q.next = q.next, q.most
	return steps
}

// nextCombination counts q.digits up by one.
func (s *Solver) nextCombination() {
	q := &s.search
	for i, r := range q.others {
		if q.digits[i]++; int(q.digits[i]) <= s.gang.Roles[r].Count {
			return
		}
		q.digits[i] = 0
	}
}

// seatFound walks the choices back from the last node looked at and seats everybody; surplus of a pattern is dropped.
func (s *Solver) seatFound(sc *scope, leader, last, combinations int) {
	q := &s.search
	s.work.empty()
	s.work.seatLeader(leader)
	width := len(q.others) + 1
	q.missing = grow(q.missing, len(s.gang.Roles))
	for _, r := range s.active {
		q.missing[r] = s.gang.Roles[r].Count
	}
	combination := int32(combinations - 1)
	for i := last; i >= 0; i-- {
		chosen := q.choices[i*combinations+int(combination)]
		node := int(sc.nodes[i])
		s.loadPatterns(node, leader)
		pattern := q.patterns[int(chosen.pattern)*width : (int(chosen.pattern)+1)*width]
		for j, r := range q.others {
			s.seatMissing(r, node, int(pattern[j]))
		}
		s.seatMissing(q.main, node, int(pattern[width-1]))
		combination = chosen.from
	}
}

func (s *Solver) seatMissing(r, node, n int) {
	if n = min(n, s.search.missing[r]); n > 0 {
		s.work.seat(r, node, n)
		s.search.missing[r] -= n
	}
}
