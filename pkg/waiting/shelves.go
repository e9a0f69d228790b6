package waiting

import (
	"cmp"
	"iter"
	"time"

	"retinue.dev/retinue/pkg/heap"
	"retinue.dev/retinue/pkg/quota"
)

// shelf is where a signature stands until it may be tried.
type shelf int

// standing is the shelf of a signature, and when it is to be looked at there.
type standing struct {
	at shelf
	// order is by what the shelf is ordered if it is asleep, short or ready; pile is where it lies if it waits for a later pass. index is where it
	// stands there.
	order int64
	pile  *pile
	index int
	// alarm is when it is to be looked at although nothing happens, and rung its place among alarms; absent means never.
	alarm time.Time
	rung  int
	// wakes means that it is among those whose groups are yet to be put in turn.
	wakes bool
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
	// ready: it has rested after others, and whoever has not been tried for longest goes first.
	ready
	// later: it is due, and was tried in this pass, or in the last and nobody has looked at it in this one.
	later
)

// shelves are all signatures but those in turn.
type shelves struct {
	// asleep are those by the processors of their smallest pod, and short those by the processors of the whole demand: an event
	// looks at those only which it may concern.
	asleep, short []*signature
	// later are those that wait for the next pass, and former those that have waited for this one and are yet to be looked at.
	later, former *pile
	alarms        []*signature
	// ready are those that have rested, by when their namespaces have been rehearsed, and then by when they have failed.
	ready []*signature
}

// pile is signatures in no order.
type pile []*signature

var (
	byAmount = heap.Order[*signature]{
		Before: func(s, other *signature) bool {
			return cmp.Or(cmp.Compare(s.order, other.order), cmp.Compare(s.key, other.key)) < 0
		},
		Place: func(s *signature) *int { return &s.index },
	}
	byRest = heap.Order[*signature]{
		Before: func(s, other *signature) bool {
			return cmp.Or(compareRests(s, other), cmp.Compare(s.key, other.key)) < 0
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

// compareRests compares for how long two that have rested have had no time for rehearsals.
func compareRests(s, other *signature) int {
	return cmp.Or(cmp.Compare(s.order, other.order), s.failed.Compare(other.failed))
}

// put moves a signature to a shelf.
func (s *shelves) put(moved *signature, to shelf) {
	if moved.at == to && (to != later || moved.pile == s.later) {
		return
	}
	switch moved.at {
	case asleep:
		byAmount.Remove(&s.asleep, moved)
	case short:
		byAmount.Remove(&s.short, moved)
	case later:
		moved.pile.remove(moved)
	case ready:
		byRest.Remove(&s.ready, moved)
	}
	moved.at, moved.index = to, heap.Absent
	switch to {
	case asleep:
		moved.order = smallest(moved)
		byAmount.Put(&s.asleep, moved)
	case short:
		moved.order = moved.demand.CPU
		byAmount.Put(&s.short, moved)
	case later:
		s.later.add(moved)
	case ready:
		byRest.Put(&s.ready, moved)
	}
}

// next tells whether somebody waits for the next pass.
func (s *shelves) next() bool { return len(*s.later) > 0 || len(s.ready) > 0 }

func (p *pile) add(s *signature) {
	s.pile, s.index = p, len(*p)
	*p = append(*p, s)
}

func (p *pile) remove(s *signature) {
	last := len(*p) - 1
	(*p)[s.index] = (*p)[last]
	(*p)[s.index].index = s.index
	(*p)[last] = nil
	*p = (*p)[:last]
}

// turnOver begins a pass: those who have waited for it are those of the former.
func (s *shelves) turnOver() { s.later, s.former = s.former, s.later }

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
func (s *shelves) sleepers(cpu int64, all bool) iter.Seq[*signature] {
	return heap.While(s.asleep, func(s *signature) bool { return all || s.order <= cpu })
}

// shortOf are those that lacked some room and ask for no more processors in all than that.
func (s *shelves) shortOf(cpu int64) iter.Seq[*signature] {
	return heap.While(s.short, func(s *signature) bool { return s.order <= cpu })
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
