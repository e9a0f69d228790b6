package waiting

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

const (
	// mostAtOnce bounds how many are tried at once.
	mostAtOnce = 16
	// attemptTimeout is how long a scheduling cycle may take until nobody waits for its end any more, because one that ends in an
	// error of another plugin reports nothing; and how long the scheduler may try nobody until those who were let through count
	// as missed, because they are not in its queue.
	attemptTimeout = 5 * time.Second
	// firstPause is how long a waiter pauses whose attempt has not reported; it doubles with every further one, up to longestPause.
	firstPause   = time.Second
	longestPause = 5 * time.Minute
	// longestPrecheckRest bounds how long those rest who are judged before their attempt.
	longestPrecheckRest = 2 * time.Second
)

// passes count how often everybody was tried who was due.
type passes struct {
	number uint64
	// over means that everybody was tried who was due in it: whatever happens next is of another pass, in which the first in turn goes first
	// again.
	over bool
	// released is the latest pass in which somebody was put in turn who had rested.
	released uint64
	// spent is how long those of this pass were judged who had failed before, and rest until when the next pass does not begin
	// because of those before it.
	spent time.Duration
	rest  time.Time
	// rehearsals is until when nobody is rehearsed again, and last when a rehearsal was in vain: namespace -> time.
	rehearsals time.Time
	last       map[string]time.Time
	// ofNamespace is until when nobody of a namespace is: namespace -> time.
	ofNamespace map[string]time.Time
	// timed is how many signatures are due again although nothing happens: namespace -> number, only those with some.
	timed map[string]int
}

// flight is those that are being tried.
type flight struct {
	waiters []*Waiter // in the order in which they were let through
	// window is how many are let through at once.
	window int
	// cycle is whose scheduling cycle has begun last, entered when that was; empty if that has reported.
	cycle   types.UID
	entered time.Time
	// number counts those that were let through, and those that have passed the Gate without.
	number uint64
}

// Next is who is to be tried, with so much free in all; nil means nobody at present. kept are those whose queues have been found
// to keep them. It goes on naming the same one until that has Began, or something else happens.
func (r *Room) Next(now time.Time, free resource.Vector) (next *Waiter, kept []*Waiter) {
	for {
		found, others := r.NextSoon(now, free)
		if kept = append(kept, others...); !r.Busy() {
			return found, kept
		}
	}
}

// NextSoon is Next for those who cannot wait for it: it names nobody when the Room is Busy then.
func (r *Room) NextSoon(now time.Time, free resource.Vector) (next *Waiter, kept []*Waiter) {
	r.Expire(now)
	r.work.left = false
	m := moment{r, now, free}
	if next, kept = m.next(); next == nil {
		r.work.done = 0
	}
	return next, kept
}

// next is NextSoon, of which it goes on with what is left to do.
func (m *moment) next() (next *Waiter, kept []*Waiter) {
	if m.flight.atOnce() >= m.flight.window {
		return nil, nil
	}
	for _, queue := range m.tree.Released() {
		if m.blocked[queue] != nil {
			m.work.release(queue)
		}
		m.stirred = true
	}
	if m.shelves.ringing(m.now) != nil || m.shelves.next() && m.passes.rested(m.now) {
		m.stirred = true
	}
	if !m.stirred {
		return nil, nil
	}
	if m.passes.over && !m.now.Before(m.passes.rest) {
		m.beginPass()
	}
	if !m.prepare() {
		return nil, nil
	}
	left := m.free
	for _, w := range m.flight.waiters {
		if !w.provided {
			left = left.Sub(w.Demand)
		}
	}
	for {
		for asks, any := m.tree.Next(); any; asks, any = m.tree.Next() {
			if m.work.over() {
				return nil, kept
			}
			w := m.waiters[asks.ID]
			d := demandOf(w)
			if v := m.tree.Fits(w.Asks.Queue, d); !v.Passes() {
				if v = m.tree.FitsAlone(w.Asks.Queue, d); v.Passes() {
					return nil, kept // it is decided when those that are being tried are
				}
				m.work.done++
				m.park(w.group, m.keptBy(v.Queue), v)
				kept = append(kept, w)
				continue
			}
			if m.look(w.signature) != inTurn {
				m.work.done++
				m.park(w.group, &w.signature.groups, quota.Verdict{})
				continue
			}
			if len(m.work.waking) > 0 {
				if !m.wakeAll() {
					return nil, kept
				}
				continue
			}
			if w.Failed() && len(m.flight.waiters) > 0 && w.Demand.Fits(m.free) && !w.Demand.Fits(left) {
				return nil, kept // likewise
			}
			return w, kept
		}
		if !m.nextPass() {
			m.stirred = false
			return nil, kept
		}
		if !m.prepare() {
			return nil, kept
		}
	}
}

// atOnce is how many are being tried, without those that have been missed before, and those that are yet to be tried again: they cost
// nobody a turn.
func (f *flight) atOnce() (n int) {
	for _, w := range f.waiters {
		if w.missed == 0 && w.deferred.IsZero() {
			n++
		}
	}
	return n
}

// rested tells whether a pass may begin that had to rest.
func (p *passes) rested(now time.Time) bool { return !p.rest.IsZero() && !now.Before(p.rest) }

// nextPass ends a pass in which nobody is left, and begins another if somebody waits for it and it may begin.
func (m *moment) nextPass() bool {
	if m.flight.atOnce() > 0 {
		return false // those that are being tried belong to this one
	}
	if m.passes.spent > 0 {
		m.passes.rest, m.passes.spent = m.now.Add(min(restFactor*m.passes.spent, longestPrecheckRest)), 0
	}
	if m.passes.over = true; !m.shelves.next() || m.now.Before(m.passes.rest) {
		return false
	}
	m.beginPass()
	return true
}

func (m *moment) beginPass() {
	m.passes.number++
	m.passes.over, m.passes.rest = false, time.Time{}
	m.shelves.turnOver()
}

// Began lets a waiter through. It tells whether the scheduler has to be told.
func (r *Room) Began(w *Waiter, now time.Time) bool {
	if w.Trying() {
		return false
	}
	told := w.through
	r.passes.over = false // although the next may have rested enough
	w.began, w.since, w.pass, w.through = now, r.epochs.room, r.passes.number, true
	if !told {
		r.flight.number++
		w.place, w.number = r.flight.number, 0
	}
	r.flight.waiters = append(r.flight.waiters, w)
	r.tree.Try(w.ID())
	return !told
}

// Passed counts a pod that passes the Gate, for a waiter if it is one's, and returns its number. Those that were let through have that of their
// turn, in whatever order they come: the scheduler activates several at once in none.
func (r *Room) Passed(id types.UID) uint64 {
	w := r.waiters[id]
	if w != nil && w.Trying() {
		w.number = w.place
		return w.number
	}
	r.flight.number++
	if w != nil {
		w.number = r.flight.number
	}
	return r.flight.number
}

// Entered takes that the scheduling cycle of a pod begins, and of a waiter if the pod is one's. As cycles follow one another, the one
// before it has ended. number is that of the pod if those that have passed the Gate are tried in this order, else zero: who passed
// it before and has not been tried is not in the scheduler's queue.
func (r *Room) Entered(id types.UID, number uint64, now time.Time) {
	former := r.flight.cycle
	r.flight.cycle, r.flight.entered = id, now
	for _, w := range slices.Clone(r.flight.waiters) {
		switch {
		case w.ID() == id:
			w.deferred, w.provided = time.Time{}, false
		case w.deferred.IsZero() && (w.ID() == former || w.number > 0 && w.number < number):
			r.Missed(w.ID(), now)
		}
	}
}

// Deferred takes that an attempt was made too early to tell anything of its waiter: the scheduler did not know yet what the owner of
// the Room does. It stays open until the scheduler brings the waiter back, at most until the given time; then its turn comes
// again. Until then nobody is let through who would take its room, unless that is provided: kept for it. It is false if
// the waiter is not being tried.
func (r *Room) Deferred(w *Waiter, until time.Time, provided bool) bool {
	if !w.Trying() {
		return false
	}
	w.deferred, w.provided, w.missed, w.number = until, provided, 0, 0
	r.flight.reports(w.ID())
	r.stir()
	return true
}

// reports takes the end of a scheduling cycle, if that of a waiter has begun last: whoever is let through after it has yet to be tried.
func (f *flight) reports(id types.UID) {
	if f.cycle == id {
		f.cycle = ""
	}
}

// Expire misses those who are tried while the scheduler has nothing to do, or who have not come to the Gate, where another plugin may keep
// them from; and it ends the attempts that were open for long enough.
func (r *Room) Expire(now time.Time) {
	for _, w := range slices.Clone(r.flight.waiters) {
		if !w.deferred.IsZero() {
			if !now.Before(w.deferred) {
				r.land(w)
			}
			continue
		}
		if now.Sub(w.began) >= attemptTimeout && (w.number == 0 || now.Sub(r.flight.entered) >= attemptTimeout) {
			r.Missed(w.ID(), now)
		}
	}
}

// land ends an attempt: the waiter waits again.
func (r *Room) land(w *Waiter) {
	w.through, w.deferred, w.provided = false, time.Time{}, false
	r.flight.reports(w.ID())
	if w.Trying() {
		w.began = time.Time{}
		r.flight.waiters = slices.DeleteFunc(r.flight.waiters, func(other *Waiter) bool { return other == w })
		r.tree.Return(w.ID())
		r.stir()
	}
}

// recall takes back those that were let through after a waiter whose attempt has failed: it was supposed to start. Whoever's turn
// it is without it as well is let through again at once.
func (r *Room) recall(after *Waiter) {
	at := slices.Index(r.flight.waiters, after)
	if at < 0 {
		return
	}
	for _, w := range slices.Clone(r.flight.waiters[at+1:]) {
		if w.ID() != r.flight.cycle {
			r.land(w)
			w.through = true
		}
	}
}
