package waiting

import "math"

// counts is how many there are of each priority.
type counts map[int32]int

func (c counts) add(priority int32) { c[priority]++ }

func (c counts) remove(priority int32) {
	if c[priority]--; c[priority] == 0 {
		delete(c, priority)
	}
}

// highest is the highest priority of which there is one; of nothing the lowest that there can be.
func (c counts) highest() int32 {
	highest := int32(math.MinInt32)
	for priority := range c {
		highest = max(highest, priority)
	}
	return highest
}
