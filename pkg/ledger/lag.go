package ledger

import (
	"time"

	"retinue.dev/retinue/pkg/waiting"
)

const (
	// snapshotPause is after how long an attempt is repeated that the scheduler's snapshot has refused because it was behind, if
	// kube-scheduler does not do so by itself: it does when its cache has heard of what the ledger knows, within milliseconds as a rule.
	snapshotPause = time.Second
	// keptPatience is for how long that may go on for a waiter for which everything has been collected. A snapshot that never
	// shows it, because kube-scheduler counts something that the ledger does not, must not keep room from everybody.
	keptPatience = 10 * time.Second
	// lagMemory is for how long after that nobody has patience with the same pod again, if nothing is kept for it.
	lagMemory = time.Minute
)

// lag is attempts that were refused because the scheduler's snapshot did not show yet what the ledger knows.
type lag struct {
	// since is when the first was refused; zero means that none was.
	since time.Time
}

// meet takes note of such an attempt. It is false when that has gone on for too long.
func (l *lag) meet(now time.Time, patience time.Duration) bool {
	if l.since.IsZero() {
		l.since = now
	}
	return now.Sub(l.since) < patience
}

// defers takes an attempt that was refused because the scheduler's snapshot was behind. Nobody has refused what is free for the waiter,
// or kept for it in a collection: so nothing is concluded, and until it is tried again nobody of less right gets its room. It is false
// when that has gone on for too long.
func (p *pod) defers(room *waiting.Room, c *collection, now time.Time) bool {
	kept := c != nil && c.complete()
	if kept {
		if !c.lag.meet(now, keptPatience) {
			return false
		}
	} else {
		if now.Sub(p.lag.since) >= lagMemory {
			p.lag = lag{}
		}
		if !p.lag.meet(now, snapshotPause) {
			return false
		}
	}
	if w := room.Of(p.UID); w != nil {
		room.Deferred(w, now.Add(snapshotPause), kept)
	}
	return true
}
