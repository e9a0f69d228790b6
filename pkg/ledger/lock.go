package ledger

import (
	"sync"
	"time"
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

// hold carries out something while the lock is held. Where many have become due at once, whose turn it is takes longer than the lock
// may be held: then it is given back and taken again, until all of that is done. Whoever comes in between finds those in turn who
// are by then, and nobody else is let through before all are.
func (l *Ledger) hold(now time.Time, f func()) []Effect {
	effects, busy := l.holdOnce(now, f)
	for busy {
		var more []Effect
		more, busy = l.holdOnce(now, func() { l.waits.callNext("") })
		effects = append(effects, more...)
	}
	return effects
}

// holdOnce carries out something while the lock is held, and returns what has to be done about it, and whether there is more to do.
func (l *Ledger) holdOnce(now time.Time, f func()) (effects []Effect, busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outcome.now = now
	f()
	effects, l.outcome.effects = l.outcome.effects, nil
	return effects, l.waiting.Busy()
}
