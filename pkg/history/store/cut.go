package store

import (
	"cmp"
	"maps"
	"math"
	"math/bits"
	"slices"
)

// Hour and Day in milliseconds.
const (
	Hour = int64(3_600_000)
	Day  = 24 * Hour
)

// Cell is what the sums are kept by. Hour is the start of an hour or a day.
type Cell struct {
	Hour                   int64
	Namespace, Queue, User string // empty for what nodes offer
	Class, Resource        string
}

func (c Cell) compare(o Cell) int {
	return cmp.Or(cmp.Compare(c.Hour, o.Hour), cmp.Compare(c.Namespace, o.Namespace), cmp.Compare(c.Queue, o.Queue),
		cmp.Compare(c.User, o.User), cmp.Compare(c.Class, o.Class), cmp.Compare(c.Resource, o.Resource))
}

// Sum is resource-seconds in the units of Amount: millicore-seconds, MiB-seconds, piece-seconds.
type Sum struct {
	Used     int64 // by pods
	Lost     int64 // the part of it that was taken away from its user
	Capacity int64 // offered by nodes
}

func (s Sum) plus(o Sum, sign int64) Sum {
	return Sum{s.Used + sign*o.Used, s.Lost + sign*o.Lost, s.Capacity + sign*o.Capacity}
}

// cells are sums by Cell.
type cells map[Cell]Sum

// sorted is the order in which cells are written, so that two who write never wait for each other in a circle.
func (c cells) sorted() []Cell { return slices.SortedFunc(maps.Keys(c), Cell.compare) }

// days are the same sums by day.
func (c cells) days() cells {
	days := cells{}
	for cell, sum := range c {
		cell.Hour = floor(cell.Hour, Day)
		days[cell] = days[cell].plus(sum, 1)
	}
	return days
}

// floor of a time to a multiple of step.
func floor(at, step int64) int64 {
	if rest := at % step; rest < 0 {
		return at - rest - step
	} else {
		return at - rest
	}
}

// product is how much of something that amounts to value is used in so many milliseconds, in resource-seconds, rounded half up.
// Negative times are none.
func product(value, milliseconds int64) int64 {
	if milliseconds <= 0 || value <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(value), uint64(milliseconds))
	low, over := bits.Add64(low, 500, 0)
	high += over
	if high >= 1000 {
		return math.MaxInt64
	}
	seconds, _ := bits.Div64(high, low, 1000)
	return int64(min(seconds, math.MaxInt64))
}

// pieces calls f for every segment with its amounts and from when to when it lasted; the span lasts until the time given if it has
// not ended. The segments touch, and none begins before the span or after its successor.
func (s *Span) pieces(until int64, f func(amounts []Amount, from, to int64)) {
	if s.Start.Rank == 0 {
		return
	}
	end := until
	if ended, ok := s.Ended(); ok {
		end = ended
	}
	begins := make([]int64, len(s.Segments))
	next := end
	for i := len(s.Segments) - 1; i >= 0; i-- {
		next = min(next, s.Segments[i].Since)
		begins[i] = max(next, s.Start.At)
	}
	for i, segment := range s.Segments {
		from, to := begins[i], end
		if i == 0 {
			from = s.Start.At
		}
		if i+1 < len(begins) {
			to = begins[i+1]
		}
		if from < to {
			f(segment.Amounts, from, to)
		}
	}
}

// cut adds to the cells what the span used between two times, times sign. Rounding is of what was used since the segment began, so
// the parts add up to the whole to the last unit, wherever it is cut.
func (s *Span) cut(into cells, identity Identity, from, until, sign int64) {
	s.pieces(until, func(amounts []Amount, begin, end int64) {
		cell := Cell{Class: s.Class}
		if s.Kind == Pod {
			cell.Namespace, cell.Queue, cell.User = s.Namespace, s.Queue, identity.User
		}
		for at, last := max(begin, from), min(end, until); at < last; {
			cell.Hour = floor(at, Hour)
			next := min(cell.Hour+Hour, last)
			for _, amount := range amounts {
				used := product(amount.Value, next-begin) - product(amount.Value, at-begin)
				if used == 0 {
					continue
				}
				cell.Resource = amount.Resource
				sum := Sum{Used: used}
				switch {
				case s.Kind == Node:
					sum = Sum{Capacity: used}
				case s.Lost:
					sum.Lost = used
				}
				if sum = into[cell].plus(sum, sign); sum == (Sum{}) {
					delete(into, cell)
				} else {
					into[cell] = sum
				}
			}
			at = next
		}
	})
}

// Used is what the span has used from its start to its end, or to a time: resource -> resource-seconds.
func (s *Span) Used(until int64) map[string]int64 {
	used := map[string]int64{}
	s.pieces(until, func(amounts []Amount, from, to int64) {
		for _, amount := range amounts {
			used[amount.Resource] = saturated(used[amount.Resource], product(amount.Value, to-from))
		}
	})
	return used
}

// saturated is the sum of two numbers that are not negative.
func saturated(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
