package ledger

import "math"

// tally counts by priority: priority -> how many there are; those of which there is none have no entry.
type tally map[int32]int

func (t tally) add(priority int32) { t[priority]++ }

func (t tally) remove(priority int32) {
	if t[priority]--; t[priority] == 0 {
		delete(t, priority)
	}
}

// lowest is the lowest priority; of nothing the highest that there can be.
func (t tally) lowest() int32 {
	lowest := int32(math.MaxInt32)
	for priority := range t {
		lowest = min(lowest, priority)
	}
	return lowest
}

// highest is the highest priority; of nothing the lowest that there can be.
func (t tally) highest() int32 {
	highest := int32(math.MinInt32)
	for priority := range t {
		highest = max(highest, priority)
	}
	return highest
}
