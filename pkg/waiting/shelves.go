package waiting

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"retinue.dev/retinue/pkg/quota"
)

// shelf is where a signature stands until it may be tried.
type shelf int

// standing is the shelf of a signature, and when it is to be looked at there.
type standing struct {
	at shelf
	// index on a shelf that has no order.
	index int
	// alarm is when it is to be looked at although nothing happens, and rung its place among alarms; absent means never.
	alarm time.Time
	rung  int
}

const (
	nowhere shelf = iota
	// inTurn: its waiters are in the order of the tree.
	inTurn
	// asleep: nothing has happened since it failed.
	asleep
	// short: it is due, and less is free in all than it asks for.
	short
	// resting: it is due, and its time has not come.
	resting
	// later: it is due, and was tried in this pass.
	later
)

// absent is the index of what is in no heap.
const absent = -1

// shelves are all signatures but those in turn.
type shelves struct {
	// asleep are those by the processors of their smallest pod, and short those by the processors of the whole demand: an event
	// looks at those only which it may concern.
	asleep, short row
	later         []*signature
	alarms        alarms
}

// put moves a signature to a shelf.
func (s *shelves) put(moved *signature, to shelf) {
	if moved.at == to {
		return
	}
	switch moved.at {
	case asleep:
		s.asleep.remove(moved, smallest(moved))
	case short:
		s.short.remove(moved, moved.demand.CPU)
	case later:
		last := len(s.later) - 1
		s.later[moved.index] = s.later[last]
		s.later[moved.index].index = moved.index
		s.later[last] = nil
		s.later = s.later[:last]
	}
	switch moved.at = to; to {
	case asleep:
		s.asleep.add(moved, smallest(moved))
	case short:
		s.short.add(moved, moved.demand.CPU)
	case later:
		moved.index = len(s.later)
		s.later = append(s.later, moved)
	}
}

// drop forgets a signature.
func (s *shelves) drop(gone *signature) {
	s.put(gone, nowhere)
	s.set(gone, time.Time{})
}

// smallest is the fewest processors, in thousandths, that a pod of a signature asks for.
func smallest(s *signature) int64 {
	least := s.pods[0].CPU
	for _, pod := range s.pods {
		least = min(least, pod.CPU)
	}
	return least
}

// sleepers are those of which some pod asks for no more processors than that, or all.
func (s *shelves) sleepers(cpu int64, all bool) []*signature {
	if all {
		return s.asleep.upTo(maxCPU)
	}
	return s.asleep.upTo(cpu)
}

// set lets a signature be looked at when its time has come; the zero time means never.
func (s *shelves) set(of *signature, at time.Time) {
	switch of.alarm = at; {
	case at.IsZero() && of.rung != absent:
		heap.Remove(&s.alarms, of.rung)
	case at.IsZero():
	case of.rung == absent:
		heap.Push(&s.alarms, of)
	default:
		heap.Fix(&s.alarms, of.rung)
	}
}

// ringing is a signature whose time has come; nil means that there is none.
func (s *shelves) ringing(now time.Time) *signature {
	if len(s.alarms) == 0 || now.Before(s.alarms[0].alarm) {
		return nil
	}
	return s.alarms[0]
}

const maxCPU = 1<<63 - 1

// row is signatures in the order of an amount.
type row []placed

type placed struct {
	amount int64
	*signature
}

func (p placed) compare(other placed) int {
	return cmp.Or(cmp.Compare(p.amount, other.amount), cmp.Compare(p.key, other.key))
}

func (r *row) add(s *signature, amount int64) {
	at, _ := slices.BinarySearchFunc(*r, placed{amount, s}, placed.compare)
	*r = slices.Insert(*r, at, placed{amount, s})
}

func (r *row) remove(s *signature, amount int64) {
	at, _ := slices.BinarySearchFunc(*r, placed{amount, s}, placed.compare)
	*r = slices.Delete(*r, at, at+1)
}

// upTo are those of at most an amount.
func (r row) upTo(amount int64) []*signature {
	var up []*signature
	for _, p := range r {
		if p.amount > amount {
			break
		}
		up = append(up, p.signature)
	}
	return up
}

// alarms is a heap.
type alarms []*signature

func (a alarms) Len() int { return len(a) }
func (a alarms) Less(i, j int) bool {
	return cmp.Or(a[i].alarm.Compare(a[j].alarm), cmp.Compare(a[i].key, a[j].key)) < 0
}
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].rung, a[j].rung = i, j
}
func (a *alarms) Push(x any) {
	x.(*signature).rung = len(*a)
	*a = append(*a, x.(*signature))
}
func (a *alarms) Pop() any {
	end := len(*a) - 1
	last := (*a)[end]
	(*a)[end] = nil
	*a = (*a)[:end]
	last.rung = absent
	return last
}

// list is groups that are passed over, in no order.
type list []*quota.Group

// place is where a group is passed over, and why.
type place struct {
	list  *list
	index int
	// verdict is that of its queue; zero if its signature keeps it.
	verdict quota.Verdict
}

// park lets Next pass over a group.
func (r *Room) park(g *quota.Group, on *list, verdict quota.Verdict) {
	r.unpark(g)
	r.parked[g] = &place{on, len(*on), verdict}
	*on = append(*on, g)
	r.tree.Park(g)
}

// unpark is the inverse of park; for a group that is not parked it does nothing.
func (r *Room) unpark(g *quota.Group) {
	p := r.parked[g]
	if p == nil {
		return
	}
	delete(r.parked, g)
	groups := *p.list
	last := len(groups) - 1
	groups[p.index] = groups[last]
	if last != p.index {
		r.parked[groups[p.index]].index = p.index
	}
	groups[last] = nil
	*p.list = groups[:last]
	r.tree.Wake(g)
}

// keptBy is the list of those whom a queue keeps.
func (r *Room) keptBy(queue string) *list {
	if r.blocked[queue] == nil {
		r.blocked[queue] = &list{}
	}
	return r.blocked[queue]
}

// release ends the wait for queues that have released what they kept somebody for.
func (r *Room) release(queues []string) {
	for _, queue := range queues {
		kept := r.blocked[queue]
		if kept == nil {
			continue
		}
		for at := len(*kept) - 1; at >= 0; at-- {
			g := (*kept)[at]
			if first, any := g.First(); !any || !r.tree.Blocks(r.parked[g].verdict, first.Demand) {
				r.unpark(g)
			}
		}
		if len(*kept) == 0 {
			delete(r.blocked, queue)
		}
	}
}
