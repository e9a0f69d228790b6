package waiting

import (
	"time"

	"retinue.dev/retinue/pkg/resource"
)

// mostMoved bounds how many signatures and groups are looked at or moved until Next names nobody and is asked again: some microseconds
// each, during which the owner of the Room keeps everybody else out.
const mostMoved = 200

// work is what has to be done before anybody can be named. Thousands may have become due at once, so it is done in parts: what is
// done is taken off these lists and not done again, so that even the smallest parts come to an end.
type work struct {
	// most is how much is done at once, and done how much of that Next has done since it has named nobody or something has happened.
	most, done int
	// left means that Next has ended for that reason only.
	left bool
	// released are the queues whose waiters are to be looked at because the queue may let them in now, each once in queued: queue ->
	// true. begun means that somebody has begun with the first, of whose waiters so many are unseen; it may be queued again.
	released []string
	queued   map[string]bool
	begun    bool
	unseen   int
	// waking are signatures in turn of which groups are passed over, and some that are not in turn any more.
	waking []*signature
}

// over tells whether as much has been done as may be at once; then Next has to end.
func (w *work) over() bool {
	w.left = w.done >= w.most
	return w.left
}

// stir takes that something has happened: there may be somebody to be named.
func (r *Room) stir() { r.stirred, r.work.done = true, 0 }

// Busy tells whether Next has named nobody because it had too much to do at once: it has to be asked again, and nobody is let
// through before.
func (r *Room) Busy() bool { return r.work.left }

// release notes that queues have released something that they may have kept somebody for.
func (w *work) release(queue string) {
	if !w.queued[queue] {
		w.queued[queue] = true
		w.released = append(w.released, queue)
	}
}

// prepare puts everybody in turn who may be tried, with so much free in all. It is false if there is more to be done.
func (r *Room) prepare(now time.Time, free resource.Vector) bool {
	return r.goThroughReleased() && r.ring(now, free) && r.openPass(now, free) && r.goThroughShort(now, free) && r.wakeAll()
}

// goThroughReleased ends the wait for queues that have released what they kept somebody for.
func (r *Room) goThroughReleased() bool {
	w := &r.work
	for len(w.released) > 0 {
		queue := w.released[0]
		kept := r.keptBy(queue)
		if !w.begun {
			delete(w.queued, queue)
			w.begun, w.unseen = true, len(*kept)
		}
		for w.unseen = min(w.unseen, len(*kept)); w.unseen > 0; w.unseen = min(w.unseen-1, len(*kept)) {
			if w.over() {
				return false
			}
			w.done++
			g := (*kept)[w.unseen-1]
			if first, any := g.First(); !any || !r.tree.Blocks(r.parked[g].verdict, first.Demand) {
				r.unpark(g)
			}
		}
		if len(*kept) == 0 {
			delete(r.blocked, queue)
		}
		w.released, w.begun = w.released[1:], false
	}
	w.released = nil
	return true
}

// ring looks at those whose time has come.
func (r *Room) ring(now time.Time, free resource.Vector) bool {
	for s := r.shelves.ringing(now); s != nil; s = r.shelves.ringing(now) {
		if r.work.over() {
			return false
		}
		r.work.done++
		if s.at == asleep {
			s.due, s.retry = true, time.Time{}
		}
		r.look(s, now, free)
	}
	return true
}

// openPass looks at those that have waited for this pass.
func (r *Room) openPass(now time.Time, free resource.Vector) bool {
	for former := r.shelves.former; len(*former) > 0; {
		if r.work.over() {
			return false
		}
		r.work.done++
		r.look((*former)[len(*former)-1], now, free)
	}
	return true
}

// goThroughShort looks at those that less was free for in all than they ask for.
func (r *Room) goThroughShort(now time.Time, free resource.Vector) bool {
	var enough []*signature
	for s := range r.shelves.shortOf(free.CPU) {
		if r.work.done+len(enough) >= r.work.most {
			break
		}
		if s.affordable(free, r.epochs.nodes) {
			enough = append(enough, s)
		}
	}
	for _, s := range enough {
		r.work.done++
		r.look(s, now, free)
	}
	return !r.work.over()
}

// wake lets the groups of a signature be put in turn.
func (r *Room) wake(s *signature) {
	if !s.wakes && len(s.groups) > 0 {
		s.wakes = true
		r.work.waking = append(r.work.waking, s)
	}
}

// wakeAll puts the groups of all signatures in turn that are.
func (r *Room) wakeAll() bool {
	for len(r.work.waking) > 0 {
		last := len(r.work.waking) - 1
		s := r.work.waking[last]
		for s.at == inTurn && len(s.groups) > 0 {
			if r.work.over() {
				return false
			}
			r.work.done++
			r.unpark(s.groups[len(s.groups)-1])
		}
		s.wakes, r.work.waking[last] = false, nil
		r.work.waking = r.work.waking[:last]
	}
	return true
}
