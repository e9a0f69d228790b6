package waiting

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
)

// Failure is how an attempt has failed.
type Failure struct {
	// Epoch of the room by which it was judged.
	Epoch   uint64
	Verdict gang.Verdict
	// Alone means that something has refused the waiter of which its signature says nothing: it speaks for nobody else.
	Alone bool
	// Rehearsed means that the framework's filters were asked: another answer may come of things of which the Room does not hear.
	Rehearsed bool
	// Cut means that they were not asked everything: they are asked the rest as soon as it may be.
	Cut bool
	// Took is how long that, or an answer before the attempt, has kept others waiting; zero means next to nothing.
	Took time.Duration
}

// Failed takes the end of an attempt.
func (r *Room) Failed(w *Waiter, f Failure, now time.Time) {
	flew := w.Trying() && f.Epoch >= w.since
	r.ended(w)
	w.missed = 0
	if f.Verdict.OfQueue() || f.Verdict.Reason == gang.BehindOthers {
		return // the tree keeps it until the queue has room, or its turn comes
	}
	key := w.Request.Asks.Signature
	if f.Alone {
		key = w.own()
	}
	s := r.move(w, key)
	w.failed = true
	s.tried, s.verdict, s.failed, s.pass = max(s.tried, f.Epoch), f.Verdict, now, r.passes.number
	s.rehearsed, s.notBefore, s.retry = f.Rehearsed, time.Time{}, time.Time{}
	timed := ""
	if f.Rehearsed || f.Alone {
		timed = w.Turn.Gang.Namespace
	}
	if pause := r.passes.retryIn(s, timed); pause > 0 {
		s.retry = now.Add(pause)
	}
	switch {
	case f.Cut:
		RehearsedInPart(r, w.Turn.Gang.Namespace, f.Took, now)
		s.retry = now.Add(restFactor * f.Took)
	case f.Rehearsed:
		RehearsedInVain(r, w.Turn.Gang.Namespace, f.Took, now)
	case f.Took >= CostlyAnswer:
		s.notBefore = now.Add(min(restFactor*f.Took, longestNamespaceRest)) // and nobody else pays for it
		if w.Costly || w.Request.Rehearsed {
			Answered(r, w.Turn.Gang.Namespace, f.Took, now)
		}
	default:
		r.passes.spent += f.Took
	}
	switch {
	case f.Verdict.Permanent():
		s.due = s.tried < r.epochs.nodes
	case flew:
		s.due = s.gained > s.tried
	default:
		s.due = s.tried < r.epochs.room // what happened during the attempt was not looked at for it
	}
	if s.due {
		r.shelves.put(s, later)
		r.shelves.set(s, time.Time{})
	} else {
		r.shelves.put(s, asleep)
		r.shelves.set(s, s.retry)
	}
}

// Missed takes that nothing will be heard of an attempt: it has ended in an error, or was never made. Its waiter pauses, the
// longer the more often it happens. For who is not being tried it does nothing.
func (r *Room) Missed(id types.UID, now time.Time) {
	w := r.waiters[id]
	if w == nil || !w.Trying() {
		return
	}
	r.ended(w)
	pause := longestPause
	if w.missed < 10 {
		pause = min(firstPause<<w.missed, longestPause)
	}
	w.missed++
	s := r.move(w, w.own())
	s.notBefore, s.due, s.failed = now.Add(pause), true, now
	r.shelves.put(s, resting)
	r.shelves.set(s, s.notBefore)
}

// Started ends the wait of somebody who has its room; for what does not wait it does nothing.
func (r *Room) Started(id types.UID) {
	if w := r.waiters[id]; w != nil && w.Trying() {
		r.flight.window = min(2*r.flight.window, mostAtOnce)
		r.land(w)
	}
	r.Drop(id)
}

// ended is an attempt that has not let its waiter start.
func (r *Room) ended(w *Waiter) {
	if w.Trying() {
		r.recall(w)
		r.flight.window = max(r.flight.window/2, 1)
	}
	r.land(w)
}
