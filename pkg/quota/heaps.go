package quota

import "container/heap"

// absent is the index of what is in no heap.
const absent = -1

// put adds an item to a heap, or moves one that is there to where it belongs now.
func put(h heap.Interface, item any, index int) {
	if index == absent {
		heap.Push(h, item)
	} else {
		heap.Fix(h, index)
	}
}

type (
	waiterHeap []*waiter
	groupHeap  []*Group
	laneHeap   []*lane
	nodeHeap   []*node
)

func (h waiterHeap) Len() int           { return len(h) }
func (h waiterHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h waiterHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *waiterHeap) Push(x any) {
	x.(*waiter).index = len(*h)
	*h = append(*h, x.(*waiter))
}
func (h *waiterHeap) Pop() any {
	last := pop((*[]*waiter)(h))
	last.index = absent
	return last
}

func (h groupHeap) Len() int           { return len(h) }
func (h groupHeap) Less(i, j int) bool { return h[i].waiters[0].before(h[j].waiters[0]) }
func (h groupHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *groupHeap) Push(x any) {
	x.(*Group).index = len(*h)
	*h = append(*h, x.(*Group))
}
func (h *groupHeap) Pop() any {
	last := pop((*[]*Group)(h))
	last.index = absent
	return last
}

func (h laneHeap) Len() int           { return len(h) }
func (h laneHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h laneHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *laneHeap) Push(x any) {
	x.(*lane).index = len(*h)
	*h = append(*h, x.(*lane))
}
func (h *laneHeap) Pop() any {
	last := pop((*[]*lane)(h))
	last.index = absent
	return last
}

func (h nodeHeap) Len() int           { return len(h) }
func (h nodeHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h nodeHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].turn.index, h[j].turn.index = i, j
}
func (h *nodeHeap) Push(x any) {
	x.(*node).turn.index = len(*h)
	*h = append(*h, x.(*node))
}
func (h *nodeHeap) Pop() any {
	last := pop((*[]*node)(h))
	last.turn.index = absent
	return last
}

func pop[T any](items *[]*T) *T {
	end := len(*items) - 1
	last := (*items)[end]
	(*items)[end] = nil
	*items = (*items)[:end]
	return last
}
