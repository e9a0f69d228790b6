package placement

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/resource"
)

// The nodes are copied into rows of numbers, one column per resource, so that the inner loops neither search for a
// name nor allocate. The first columns are fixed; the others are the extended resources that the gang asks for.
const (
	columnCPU = iota
	columnMemory
	columnStorage
	columnPods
	columnExtended
)

// columns is which extended resource is in which column: index+columnExtended is the column.
type columns []v1.ResourceName

// width is the number of columns.
func (c columns) width() int { return columnExtended + len(c) }

// add makes columns for what a request asks for.
func (c columns) add(v *resource.Vector) columns {
	for _, amount := range v.Extended {
		if amount.Value > 0 && !slices.Contains(c, amount.Name) {
			c = append(c, amount.Name)
		}
	}
	return c
}

// name is the resource of a column.
func (c columns) name(column int) v1.ResourceName {
	switch column {
	case columnCPU:
		return v1.ResourceCPU
	case columnMemory:
		return v1.ResourceMemory
	case columnStorage:
		return v1.ResourceEphemeralStorage
	case columnPods:
		return v1.ResourcePods
	default:
		return c[column-columnExtended]
	}
}

// fill writes a Vector into a row.
func (c columns) fill(row []int64, v *resource.Vector) {
	row[columnCPU], row[columnMemory], row[columnStorage], row[columnPods] = v.CPU, v.Memory, v.EphemeralStorage, v.Pods
	for i, name := range c {
		row[columnExtended+i] = v.Of(name)
	}
}

// request is what one member asks for. A resource that it does not ask for is not in it, and never checked.
type request []ask

type ask struct {
	column int
	amount int64 // positive
}

// of lists what a Vector asks for, in the memory of an earlier request.
func (c columns) of(v *resource.Vector, memory request) request {
	memory = memory[:0]
	for column := range c.width() {
		if amount := v.Of(c.name(column)); amount > 0 {
			memory = append(memory, ask{column, amount})
		}
	}
	return memory
}

// in is the amount asked for of the resource in a column.
func (q request) in(column int) int64 {
	for _, ask := range q {
		if ask.column == column {
			return ask.amount
		}
	}
	return 0
}

// fits tells whether the row holds the request once.
func (q request) fits(row []int64) bool {
	for _, ask := range q {
		if row[ask.column] < ask.amount {
			return false
		}
	}
	return true
}

// count is how many copies of the request the row holds, at most limit.
func (q request) count(row []int64, limit int) int {
	for _, ask := range q {
		if limit = resource.Copies(ask.amount, row[ask.column], limit); limit == 0 {
			return 0
		}
	}
	return limit
}

// take takes n copies of the request out of the row.
func (q request) take(row []int64, n int) {
	for _, ask := range q {
		row[ask.column] -= int64(n) * ask.amount
	}
}
