package placement

// exactSearch goes over the nodes once and keeps, for every combination of "so many workers of each role but the main
// one are seated", the most workers of the main role that can be seated beside them. Ten workers of one role and a
// thousand of another make eleven combinations.
type exactSearch struct {
	strides []int    // index in others -> weight of one worker in the number of a combination
	most    []int32  // combination -> workers of the main role, -1 when it cannot be reached
	next    []int32  // the same with one node more
	choices []choice // node in scope * combinations + combination -> how it was reached
	digits  []int32  // index in others -> workers of the combination being looked at
}

type choice struct{ from, pattern int32 }

// result of the exact search.
type result int

const (
	undecided result = iota // it would have exceeded a bound
	exists
	impossible
)

// searchExactly chooses patterns that seat everybody, or proves that there are none.
func (q *search) searchExactly(sc *scope) result {
	x := &q.exact
	combinations := q.combinations(choicesPerSearch / len(sc.nodes))
	if combinations == 0 {
		return undecided
	}
	x.most, x.next = grow(x.most, combinations), grow(x.next, combinations)
	x.choices = grow(x.choices, len(sc.nodes)*combinations)
	for i := range x.most {
		x.most[i] = -1
	}
	x.most[0] = 0
	all, want := combinations-1, int32(q.gang.Roles[q.main].Count)
	for i := range sc.nodes {
		if q.combine(i, i*combinations, want); q.steps > stepsPerSearch {
			return undecided
		}
		if x.most[all] == want {
			q.choose(i, combinations)
			return exists
		}
	}
	return impossible
}

// combinations numbers the combinations of the roles but the main one; 0 means that they are more than limit.
func (q *search) combinations(limit int) int {
	x := &q.exact
	x.strides = x.strides[:0]
	x.digits = grow(x.digits, len(q.others))
	n := 1
	for _, r := range q.others {
		x.strides = append(x.strides, n)
		if q.gang.Roles[r].Count >= limit {
			return 0
		}
		if n *= q.gang.Roles[r].Count + 1; n > limit {
			return 0
		}
	}
	return n
}

// combine adds the patterns of a node to every combination reached so far. It stops at the bound.
func (q *search) combine(node, base int, want int32) {
	x := &q.exact
	for i := range x.next {
		x.next[i] = -1
	}
	clear(x.digits)
	patterns := q.spans[node]
	q.steps += len(x.next)
	for from, seated := range x.most {
		if from > 0 {
			q.nextCombination()
		}
		if seated < 0 {
			continue
		}
		if q.steps += int(patterns.to - patterns.from); q.steps > stepsPerSearch {
			return
		}
		for p := patterns.from; p < patterns.to; p++ {
			workers := q.workersIn(p)
			to := 0
			for i, r := range q.others {
				to += int(min(x.digits[i]+workers[i], int32(q.gang.Roles[r].Count))) * x.strides[i]
			}
			if n := min(seated+workers[len(q.others)], want); n > x.next[to] {
				x.next[to] = n
				x.choices[base+to] = choice{int32(from), p}
			}
		}
	}
	x.most, x.next = x.next, x.most
}

// nextCombination counts the digits up by one.
func (q *search) nextCombination() {
	x := &q.exact
	for i, r := range q.others {
		if x.digits[i]++; int(x.digits[i]) <= q.gang.Roles[r].Count {
			return
		}
		x.digits[i] = 0
	}
}

// choose walks the choices back from the last node looked at.
func (q *search) choose(last, combinations int) {
	for i := range q.chosen {
		q.chosen[i] = -1
	}
	combination := int32(combinations - 1)
	for i := last; i >= 0; i-- {
		chosen := q.exact.choices[i*combinations+int(combination)]
		q.chosen[i] = chosen.pattern
		combination = chosen.from
	}
}
