// Package heap is binary heaps whose items know where they stand, so that any of them can be moved or taken out.
//
// A heap is a slice, whose first item goes before all others. It is changed through its Order only.
package heap

import "iter"

// Absent is the place of an item that is in no heap.
const Absent = -1

// Order is how the items of a heap are ordered, and where each keeps its place.
type Order[T any] struct {
	// Before tells whether an item goes before another.
	Before func(a, b T) bool
	// Place is where an item keeps its index in the heap. It has to be Absent before the item is put there.
	Place func(T) *int
}

// Put adds an item, or moves one that is there to where it belongs now: in O(log n).
func (o *Order[T]) Put(items *[]T, item T) {
	at := *o.Place(item)
	if at == Absent {
		at = len(*items)
		*items = append(*items, item)
		*o.Place(item) = at
	}
	o.settle(*items, at)
}

// Remove takes an item out, in O(log n); for one that is not there it does nothing.
func (o *Order[T]) Remove(items *[]T, item T) {
	at := *o.Place(item)
	if at == Absent {
		return
	}
	*o.Place(item) = Absent
	var none T
	end := len(*items) - 1
	last := (*items)[end]
	(*items)[end] = none
	if *items = (*items)[:end]; at < end {
		(*items)[at], *o.Place(last) = last, at
		o.settle(*items, at)
	}
}

// Init orders a heap whose items may all have changed, in O(n).
func (o *Order[T]) Init(items []T) {
	for at := len(items)/2 - 1; at >= 0; at-- {
		o.down(items, at)
	}
}

// While goes through the items for which something holds that, if it holds of an item, holds of all before it. They come in no
// order, and those for which it does not hold cost nothing but a look at the edge. The heap must not change meanwhile.
func While[T any](items []T, holds func(T) bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		var visit func(at int) bool
		visit = func(at int) bool {
			if at >= len(items) || !holds(items[at]) {
				return true
			}
			return yield(items[at]) && visit(2*at+1) && visit(2*at+2)
		}
		visit(0)
	}
}

// settle moves the item at an index to where it belongs.
func (o *Order[T]) settle(items []T, at int) {
	item := items[at]
	for at > 0 {
		parent := (at - 1) / 2
		if !o.Before(item, items[parent]) {
			break
		}
		items[at] = items[parent]
		*o.Place(items[at]) = at
		at = parent
	}
	items[at] = item
	*o.Place(item) = at
	o.down(items, at)
}

// down moves the item at an index behind those below it that go before it.
func (o *Order[T]) down(items []T, at int) {
	item := items[at]
	for {
		child := 2*at + 1
		if child >= len(items) {
			break
		}
		if other := child + 1; other < len(items) && o.Before(items[other], items[child]) {
			child = other
		}
		if !o.Before(items[child], item) {
			break
		}
		items[at] = items[child]
		*o.Place(items[at]) = at
		at = child
	}
	items[at] = item
	*o.Place(item) = at
}
