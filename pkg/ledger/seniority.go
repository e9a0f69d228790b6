package ledger

import (
	"time"

	"retinue.dev/retinue/pkg/waiting"
)

// mostSizes bounds how many sizes are remembered.
const mostSizes = 10_000

// size is what somebody asks for, and of which queue.
type size struct{ queue, signature string }

func sizeOf(w *waiting.Waiter) size { return size{w.Asks.Queue, w.Asks.Signature} }

// seniority is since when room was asked for in one size. Submitters delete a driver that has waited for some minutes and create another:
// that one is new, but it is not new that somebody waits for room of this size. Nobody writes seniority into a pod, nor does it tell
// who goes first among those who wait: it tells for how long room of that size has been wanting. A size for which nobody waits
// any more is forgotten, and one of which somebody starts begins anew.
type seniority map[size]*wanting

// wanting is of one size.
type wanting struct {
	// since when somebody waited, and seen when that was so last.
	since, seen time.Time
	// passed is when room was last collected for it in vain; zero means never.
	passed time.Time
}

// see takes that somebody waits for want of room.
func (s seniority) see(w *waiting.Waiter, now time.Time) {
	of := s[sizeOf(w)]
	if of == nil {
		if len(s) >= mostSizes {
			return
		}
		of = &wanting{since: w.Turn.Created}
		s[sizeOf(w)] = of
	}
	if w.Turn.Created.Before(of.since) {
		of.since = w.Turn.Created
	}
	if w.Passed.After(of.passed) {
		of.passed = w.Passed
	}
	of.seen = now
}

// of is since when somebody has waited for what a waiter asks for, and when room was last collected for it in vain: before it came,
// that was for another like it.
func (s seniority) of(w *waiting.Waiter) (since, passed time.Time) {
	since, passed = w.Turn.Created, w.Passed
	if of := s[sizeOf(w)]; of != nil {
		since = of.since
		if w.Turn.Created.After(of.passed) {
			passed = of.passed
		}
	}
	return since, passed
}

// served forgets a size of which somebody starts.
func (s seniority) served(w *waiting.Waiter) { delete(s, sizeOf(w)) }

// forget forgets those sizes for which nobody has waited for so long.
func (s seniority) forget(now time.Time, after time.Duration) {
	for size, of := range s {
		if now.Sub(of.seen) >= after {
			delete(s, size)
		}
	}
}
