package quota

import "math"

// Priorities counts by priority: priority -> how many there are; those of which there is none have no entry.
type Priorities map[int32]int

// Add counts one more.
func (p Priorities) Add(priority int32) { p[priority]++ }

// Remove is the inverse of Add.
func (p Priorities) Remove(priority int32) {
	if p[priority]--; p[priority] == 0 {
		delete(p, priority)
	}
}

// Lowest is the lowest priority; of nothing the highest that there can be.
func (p Priorities) Lowest() int32 {
	lowest := int32(math.MaxInt32)
	for priority := range p {
		lowest = min(lowest, priority)
	}
	return lowest
}

// Highest is the highest priority; of nothing the lowest that there can be.
func (p Priorities) Highest() int32 {
	highest := int32(math.MinInt32)
	for priority := range p {
		highest = max(highest, priority)
	}
	return highest
}
