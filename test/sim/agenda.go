package sim

import (
	"container/heap"
	"time"
)

// entry is something that will happen.
type entry struct {
	at time.Time
	// serial orders what happens at the same time: first come, first served.
	serial uint64
	do     func()
	// idle marks what goes on for ever and means nothing by itself: quiet lasts until something else happens.
	idle bool
}

// agenda is everything that will happen, the next on top.
type agenda struct {
	entries entries
	serial  uint64
	// busy is how many entries are not idle.
	busy int
}

func (a *agenda) add(e *entry) {
	a.serial++
	e.serial = a.serial
	if !e.idle {
		a.busy++
	}
	heap.Push(&a.entries, e)
}

// next is the entry that happens first; nil means that nothing will happen.
func (a *agenda) next() *entry {
	if len(a.entries) == 0 {
		return nil
	}
	return a.entries[0]
}

func (a *agenda) pop() *entry {
	e := heap.Pop(&a.entries).(*entry)
	if !e.idle {
		a.busy--
	}
	return e
}

type entries []*entry

func (e entries) Len() int { return len(e) }
func (e entries) Less(i, j int) bool {
	if e[i].at.Equal(e[j].at) {
		return e[i].serial < e[j].serial
	}
	return e[i].at.Before(e[j].at)
}
func (e entries) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *entries) Push(x any)   { *e = append(*e, x.(*entry)) }
func (e *entries) Pop() any {
	last := len(*e) - 1
	popped := (*e)[last]
	(*e)[last] = nil
	*e = (*e)[:last]
	return popped
}
