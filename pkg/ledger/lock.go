package ledger

import (
	"maps"
	"slices"
	"sync"
	"time"

	"retinue.dev/retinue/pkg/waiting"
)

// lock is the ledger's mutex. What is done while it is held keeps everybody else from the ledger, so that a benchmark watches for
// how long it is.
type lock struct {
	sync.Mutex
	// watch is called when the lock was taken and before it is given back; nil but in the benchmark.
	watch func(held bool)
	// clock is the time, since when the lock was taken, and told is told for how long it was held, after it was given back. Both functions
	// are nil where nobody asks.
	clock func() time.Time
	since time.Time
	told  func(held time.Duration)
}

func (l *lock) Lock() {
	l.Mutex.Lock()
	if l.watch != nil {
		l.watch(true)
	}
	if l.told != nil {
		l.since = l.clock()
	}
}

func (l *lock) Unlock() {
	if l.watch != nil {
		l.watch(false)
	}
	if l.told == nil {
		l.Mutex.Unlock()
		return
	}
	told, held := l.told, l.clock().Sub(l.since)
	l.Mutex.Unlock()
	told(held)
}

// WatchLock lets a function know, after each time, for how long the ledger's lock was held. It has to be called before anybody else has the ledger.
func WatchLock(l *Ledger, clock func() time.Time, told func(held time.Duration)) {
	l.mu.clock, l.mu.told = clock, told
}

// hold carries out something while the lock is held, and returns what has to be done about it. Where many have become due at once, whose
// turn it is takes longer than the lock may be held: then it is given back and taken again, until all of that is done. Whoever comes
// in between finds those in turn who are by then, and nobody else is let through before all are.
func (l *Ledger) hold(now time.Time, f func()) (effects []Effect) {
	once := func(f func()) (busy bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.outcome.now = now
		f()
		effects, l.outcome.effects = append(effects, l.outcome.effects...), nil
		return l.waiting.Busy()
	}
	for busy := once(f); busy; {
		busy = once(func() { l.waits.callNext("") })
	}
	return effects
}

// shownAtOnce bounds how many of those who wait are gone through while the lock is held: some microseconds each.
const shownAtOnce = 500

// inParts shows everybody who waits to a function while the lock is held, some at a time. Who comes or goes meanwhile is shown or
// not.
func (l *Ledger) inParts(show func(*waiting.Waiter)) {
	l.mu.Lock()
	all := slices.AppendSeq(make([]*waiting.Waiter, 0, l.waiting.Len()), l.waiting.All())
	l.mu.Unlock()
	for some := range slices.Chunk(all, shownAtOnce) {
		func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, w := range some {
				if l.waiting.Of(w.ID()) == w {
					show(w)
				}
			}
		}()
	}
}

// gangsInParts shows every gang to a function as inParts shows those who wait.
func gangsInParts(l *Ledger, show func(*entry)) {
	l.mu.Lock()
	all := slices.AppendSeq(make([]*entry, 0, len(l.members.gangs)), maps.Values(l.members.gangs))
	l.mu.Unlock()
	for some := range slices.Chunk(all, shownAtOnce) {
		func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, e := range some {
				if l.members.gangs[e.leader.UID] == e {
					show(e)
				}
			}
		}()
	}
}

// MoveAtOnce bounds how many of those who wait are gone through while the lock is held. It is for tests, in which few wait.
func MoveAtOnce(l *Ledger, most int) { waiting.MoveAtOnce(l.waiting, most) }
