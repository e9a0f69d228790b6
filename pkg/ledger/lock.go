package ledger

import "sync"

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
