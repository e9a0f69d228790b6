package waiting

import (
	"fmt"
	"time"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
)

// Reason is the reason of Why, without its numbers.
func (r *Room) Reason(w *Waiter) gang.Reason {
	if v, kept := r.KeptBy(w); kept {
		return gang.Reason(v.Reason)
	}
	s := w.signature
	switch {
	case s.failed.IsZero() || s.verdict.Passes():
		return gang.BehindOthers
	case w.failed || s.waiters == 1 || s.verdict.Permanent():
		return s.verdict.Reason
	default:
		return gang.BehindOthers
	}
}

// Why is why a waiter waits, but for two cases of which the Room does not know enough: where its queue keeps it, KeptBy has the
// numbers, and where it is behind others of another signature, the message is empty.
func (r *Room) Why(w *Waiter, now time.Time) gang.Verdict {
	s, reason := w.signature, r.Reason(w)
	switch {
	case reason != gang.BehindOthers:
		return s.verdict
	case s.failed.IsZero():
		return gang.Verdict{Reason: reason}
	case s.verdict.Passes():
		message := "its last attempt has not reported an end"
		if pause := s.notBefore.Sub(now); pause > 0 {
			message += fmt.Sprintf("; the next is in %s", pause.Round(time.Second))
		}
		return gang.Verdict{Reason: reason, Message: message}
	default:
		return gang.Verdict{Reason: reason, Message: fmt.Sprintf("behind %d that wait for the same; the first: %s", s.waiters-1, s.verdict)}
	}
}

// KeptBy is the verdict of the queue that keeps a waiter; false means that none does, as far as it was looked.
func (r *Room) KeptBy(w *Waiter) (quota.Verdict, bool) {
	if p := r.parked[w.group]; p != nil && !w.Trying() && !p.verdict.Passes() {
		return p.verdict, true
	}
	return quota.Verdict{}, false
}

// Trying are those that are being tried, in the order in which they were let through.
func (r *Room) Trying() []*Waiter { return r.flight.waiters }
