package waiting

import (
	"cmp"
	"slices"
	"time"

	"retinue.dev/retinue/pkg/heap"
	"retinue.dev/retinue/pkg/quota"
)

// shelf is where a signature stands until it may be tried.
type shelf int

// standing is the shelf of a signature, and when it is to be looked at there.
type standing struct {
	at shelf
	// amount is by what the shelf is ordered if it is asleep or short, and index its place there, or on a shelf that has no order.
	amount int64
	index  int
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

// shelves are all signatures but those in turn.
type shelves struct {
	// asleep are those by the processors of their smallest pod, and short those by the processors of the whole demand: an event
	// looks at those only which it may concern.
	asleep, short []*signature
	later         []*signature
	alarms        []*signature
}

var (
	byAmount = heap.Order[*signature]{
		Before: func(s, other *signature) bool {
			return cmp.Or(cmp.Compare(s.amount, other.amount), cmp.Compare(s.key, other.key)) < 0
		},
		Place: func(s *signature) *int { return &s.index },
	}
	byAlarm = heap.Order[*signature]{
		Before: func(s, other *signature) bool {
			return cmp.Or(s.alarm.Compare(other.alarm), cmp.Compare(s.key, other.key)) < 0
		},
		Place: func(s *signature) *int { return &s.rung },
	}
)

// put moves a signature to a shelf.
func (s *shelves) put(moved *signature, to shelf) {
	if moved.at == to {
		return
	}
	switch moved.at {
	case asleep:
		byAmount.Remove(&s.asleep, moved)
	case short:
		byAmount.Remove(&s.short, moved)
	case later:
		last := len(s.later) - 1
		s.later[moved.index] = s.later[last]
		s.later[moved.index].index = moved.index
		s.later[last] = nil
		s.later = s.later[:last]
	}
	moved.at, moved.index = to, heap.Absent
	switch to {
	case asleep:
		moved.amount = smallest(moved)
		byAmount.Put(&s.asleep, moved)
	case short:
		moved.amount = moved.demand.CPU
		byAmount.Put(&s.short, moved)
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
		return slices.Clone(s.asleep)
	}
	return upTo(s.asleep, cpu)
}

// upTo are those of at most an amount, of signatures that are ordered by it.
func upTo(ordered []*signature, amount int64) []*signature {
	return slices.Collect(heap.While(ordered, func(s *signature) bool { return s.amount <= amount }))
}

// set lets a signature be looked at when its time has come; the zero time means never.
func (s *shelves) set(of *signature, at time.Time) {
	if of.alarm = at; at.IsZero() {
		byAlarm.Remove(&s.alarms, of)
	} else {
		byAlarm.Put(&s.alarms, of)
	}
}

// ringing is a signature whose time has come; nil means that there is none.
func (s *shelves) ringing(now time.Time) *signature {
	if len(s.alarms) == 0 || now.Before(s.alarms[0].alarm) {
		return nil
	}
	return s.alarms[0]
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
