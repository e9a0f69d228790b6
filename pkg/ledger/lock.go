package ledger

import (
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
}

func (l *lock) Lock() {
	l.Mutex.Lock()
	if l.watch != nil {
		l.watch(true)
	}
}

func (l *lock) Unlock() {
	if l.watch != nil {
		l.watch(false)
	}
	l.Mutex.Unlock()
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

// MoveAtOnce bounds how many of those who wait are gone through while the lock is held. It is for tests, in which few wait.
func MoveAtOnce(l *Ledger, most int) { waiting.MoveAtOnce(l.waiting, most) }
