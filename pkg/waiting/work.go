package waiting

import (
	"time"

	"retinue.dev/retinue/pkg/resource"
)

// mostMoved bounds how many signatures and groups are looked at or moved until NextSoon names nobody and is asked again: some microseconds
// each, during which the owner of the Room keeps everybody else out.
const mostMoved = 200

// work is what has to be done before anybody can be named. Thousands may have become due at once, so it is done in parts: what is
// done is taken off these lists and not done again, so that even the smallest parts come to an end.
type work struct {
	// most is how much is done at once, and done how much of that was done since it has named nobody or something has happened.
	most, done int
	// left means that NextSoon has ended for that reason only.
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

// over tells whether as much has been done as may be at once; then NextSoon has to end.
func (w *work) over() bool {
	w.left = w.done >= w.most
	return w.left
}

// MoveAtOnce bounds how many signatures and groups are looked at or moved at once. It is for tests, in which few wait.
func MoveAtOnce(r *Room, most int) { r.work.most = most }

// stir takes that something has happened: there may be somebody to be named.
func (r *Room) stir() { r.stirred, r.work.done = true, 0 }

// Busy tells whether NextSoon has named nobody because it had too much to do at once: it has to be asked again, and nobody is let
// through before.
func (r *Room) Busy() bool { return r.work.left }

// release notes that queues have released something that they may have kept somebody for.
func (w *work) release(queue string) {
	if !w.queued[queue] {
		w.queued[queue] = true
		w.released = append(w.released, queue)
	}
}

// moment is when somebody is asked for, and what is free in all then.
type moment struct {
	*Room
	now  time.Time
	free resource.Vector
}

// prepare puts everybody in turn who may be tried. It is false if there is more to be done.
func (m *moment) prepare() bool {
	return m.goThroughReleased() && m.ring() && m.openPass() && m.goThroughShort() && m.releaseReady() && m.wakeAll()
}

// goThroughReleased ends the wait for queues that have released what they kept somebody for.
func (m *moment) goThroughReleased() bool {
	w := &m.work
	for len(w.released) > 0 {
		queue := w.released[0]
		kept := m.keptBy(queue)
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
			if first, any := g.First(); !any || !m.tree.Blocks(m.parked[g].verdict, first.Demand) {
				m.unpark(g)
			}
		}
		if len(*kept) == 0 {
			delete(m.blocked, queue)
		}
		w.released, w.begun = w.released[1:], false
	}
	w.released = nil
	return true
}

// ring looks at those whose time has come.
func (m *moment) ring() bool {
	for s := m.shelves.ringing(m.now); s != nil; s = m.shelves.ringing(m.now) {
		if m.work.over() {
			return false
		}
		m.work.done++
		if s.at == asleep {
			s.due, s.retry = true, time.Time{}
		}
		m.look(s)
	}
	return true
}

// openPass looks at those that have waited for this pass.
func (m *moment) openPass() bool {
	for former := m.shelves.former; len(*former) > 0; {
		if m.work.over() {
			return false
		}
		m.work.done++
		m.look((*former)[len(*former)-1])
	}
	return true
}

// goThroughShort looks at those that less was free for in all than they ask for.
func (m *moment) goThroughShort() bool {
	var enough []*signature
	for s := range m.shelves.shortOf(m.free.CPU) {
		if m.work.done+len(enough) >= m.work.most {
			break
		}
		if s.affordable(m.free, m.epochs.nodes) {
			enough = append(enough, s)
		}
	}
	for _, s := range enough {
		m.work.done++
		m.look(s)
	}
	return !m.work.over()
}

// wakeAll puts the groups of all signatures in turn that are.
func (m *moment) wakeAll() bool {
	for len(m.work.waking) > 0 {
		last := len(m.work.waking) - 1
		s := m.work.waking[last]
		for s.at == inTurn && len(s.groups) > 0 {
			if m.work.over() {
				return false
			}
			m.work.done++
			m.unpark(s.groups[len(s.groups)-1])
		}
		s.wakes, m.work.waking[last] = false, nil
		m.work.waking = m.work.waking[:last]
	}
	return true
}

// wake lets the groups of a signature be put in turn.
func (w *work) wake(s *signature) {
	if !s.wakes && len(s.groups) > 0 {
		s.wakes = true
		w.waking = append(w.waking, s)
	}
}
