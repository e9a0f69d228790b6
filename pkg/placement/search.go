package placement

import "slices"

// Bounds of one search. What they leave undecided is not offered as a fit.
const (
	stepsPerSearch    = 1 << 20 // a step is a few nanoseconds
	patternsPerSearch = 1 << 17
	choicesPerSearch  = 1 << 18 // a choice is 8 bytes of memory
)

// search is the search for a layout of several roles that is not found role after role. It chooses one pattern for every node: a
// combination of workers that it can hold and that is not worse than another one in every role. Within its bounds it finds a layout
// whenever there is one, and asked again it finds the same; where it gave up, it says so.
type search struct {
	seating

	stepsLeft int     // what this Fit may still spend on layouts that are not found at first sight
	gaveUp    bool    // a bound ended a search in this Fit: "does not fit" is then not proven
	tried     []int32 // the nodes for which a layout beside the leader was looked for, whatever came of it

	steps    int       // taken by the search under way
	searched int       // steps taken by all searches since the load
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
func (q *search) searchLayout(sc *scope, leader int) bool {
	if !q.freeSuffices(sc, leader) {
		return false
	}
	q.steps = 0
	found := false
	if !q.loadPatterns(sc, leader) {
		q.gaveUp = true
	} else if result := q.searchExactly(sc); result != undecided {
		found = result == exists
	} else if found = q.searchByBids(sc); !found {
		q.gaveUp = true
	}
	q.stepsLeft -= q.steps
	q.searched += q.steps
	if found {
		q.seatChosen(sc, leader)
	}
	return found
}

// loadPatterns lists what every node of the scope can hold; false means that this is too much to list.
func (q *search) loadPatterns(sc *scope, leader int) bool {
	q.main = slices.MaxFunc(q.active, func(a, b int) int { return q.gang.Roles[a].Count - q.gang.Roles[b].Count })
	q.others = q.others[:0]
	for _, r := range q.active {
		if r != q.main {
			q.others = append(q.others, r)
		}
	}
	q.pattern = grow(q.pattern, len(q.others))
	q.rows = growAll(q.rows, len(q.others)+1, q.width)
	q.missing = grow(q.missing, len(q.gang.Roles))
	q.chosen = grow(q.chosen, len(sc.nodes))
	q.spans = grow(q.spans, len(sc.nodes))
	q.patterns = q.patterns[:0]
	width := len(q.others) + 1
	for i, node := range sc.nodes {
		if i > 0 && int(node) != leader && int(sc.nodes[i-1]) != leader && q.alike(int(node), int(sc.nodes[i-1])) {
			q.spans[i] = q.spans[i-1]
			continue
		}
		copy(q.rows[0], q.freeOf(int(node)))
		if int(node) == leader {
			q.leader.take(q.rows[0], 1)
		}
		from := len(q.patterns) / width
		q.addPatterns(int(node), 0)
		q.spans[i] = span{int32(from), int32(len(q.patterns) / width)}
		if q.steps > stepsPerSearch || len(q.patterns)/width > patternsPerSearch {
			return false
		}
	}
	return true
}

// addPatterns extends the pattern in the making by every possible number of workers of others[i] and those after it.
func (q *search) addPatterns(node, i int) {
	row := q.rows[i]
	if i == len(q.others) {
		n := q.requests[q.main].count(row, int(q.room[q.main][node]))
		if q.steps++; !q.dominated(node, row, n) {
			q.patterns = append(append(q.patterns, q.pattern...), int32(n))
		}
		return
	}
	r := q.others[i]
	most := q.requests[r].count(row, int(q.room[r][node]))
	for n := range most + 1 {
		copy(q.rows[i+1], row)
		q.requests[r].take(q.rows[i+1], n)
		q.pattern[i] = int32(n)
		if q.addPatterns(node, i+1); q.steps > stepsPerSearch {
			return
		}
	}
}

// dominated tells whether one more worker of some role goes in without costing a worker of the main role.
func (q *search) dominated(node int, row []int64, n int) bool {
	for i, r := range q.others {
		if q.pattern[i] >= q.room[r][node] || !q.requests[r].fits(row) {
			continue
		}
		q.requests[r].take(row, 1)
		same := q.requests[q.main].count(row, n) == n
		q.requests[r].take(row, -1)
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
func (q *search) resetMissing() {
	for _, r := range q.active {
		q.missing[r] = q.gang.Roles[r].Count
	}
}

// seatChosen makes a layout of the chosen patterns; what is more than the roles need stays free.
func (q *search) seatChosen(sc *scope, leader int) {
	q.work.empty()
	q.seatLeader(leader)
	q.resetMissing()
	for i, pattern := range q.chosen {
		if pattern < 0 {
			continue
		}
		workers := q.workersIn(pattern)
		for j, r := range q.others {
			q.seatMissing(r, int(sc.nodes[i]), int(workers[j]))
		}
		q.seatMissing(q.main, int(sc.nodes[i]), int(workers[len(q.others)]))
	}
}

func (q *search) seatMissing(r, node, n int) {
	if n = min(n, q.missing[r]); n > 0 {
		q.seat(r, node, n)
		q.missing[r] -= n
	}
}

// affordable tells whether this Fit may search on, and notes it when not.
func (q *search) affordable() bool {
	if q.stepsLeft > 0 && !q.hasty {
		return true
	}
	q.gaveUp = true
	return false
}

// looks is everything since the load, in looks at one node for one role; a step of a search is one.
func (q *search) looks() int { return q.visits + q.searched }

// layWorkers finds a layout of all workers beside a leader on a node: role after role, else by search. It gives the
// same layout each time it is asked.
func (q *search) layWorkers(sc *scope, leader int) bool {
	return q.arrangeAny(sc, leader) || q.searchLayout(sc, leader)
}
