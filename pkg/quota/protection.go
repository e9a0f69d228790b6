package quota

import (
	"slices"
	"time"
)

// workToPredict bounds how many victims are gone through, in all, to find out when a request will get what it lacks: with more of them
// the answer is less exact.
const workToPredict = 20_000

// Protection is how long those are protected whom a request could take otherwise.
type Protection struct {
	// Next is when the first of them may be taken. Until is when as many may as would do, or somewhat later where there are very many.
	Next, Until time.Time
}

// String is a sentence for users. Every time is in UTC, as those of conditions and Events are.
func (p Protection) String() string {
	minute := p.Until.UTC().Add(time.Minute - 1).Truncate(time.Minute)
	return "what others have borrowed is protected until " + minute.Format("15:04 MST on 2006-01-02")
}

// protectedUntil is until when the queue of a gang protects it; zero means that it does not. Nobody is protected from a higher priority of
// his own queue.
func (s *selection) protectedUntil(leaf *node, v Victim) time.Time {
	if v.Kind != Gang || leaf == s.own || leaf.Reclaim.Protect == 0 {
		return time.Time{}
	}
	return v.Started.Add(leaf.Reclaim.Protect)
}

// protects tells whether a gang has not run for long enough to be taken.
func (s *selection) protects(leaf *node, v Victim) bool {
	return s.protectedUntil(leaf, v).After(s.now)
}

// laterOn is why there is not enough: for good, or because some of those who would do are protected.
func (s *selection) laterOn(victims []Victim) Choice {
	var ends []time.Time // of protections, the first first
	for _, v := range victims {
		if leaf := s.tree.leaf(v.Queue); s.protects(leaf, v) && s.mayGive(leaf, v) {
			ends = append(ends, s.protectedUntil(leaf, v))
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	ends = slices.CompactFunc(ends, time.Time.Equal)
	if len(ends) == 0 || !s.sufficesAt(ends[len(ends)-1], victims) {
		return Choice{Obstacle: NotEnough}
	}
	low, high := 0, len(ends)-1 // by when the last of them has ended there is enough
	for work := len(victims); low < high && work <= workToPredict; work += len(victims) {
		if at := (low + high) / 2; s.sufficesAt(ends[at], victims) {
			high = at
		} else {
			low = at + 1
		}
	}
	return Choice{Obstacle: TooYoung, Protection: Protection{Next: ends[0], Until: ends[high]}}
}

// sufficesAt tells whether there will be enough if everything else is then as it is now.
func (s *selection) sufficesAt(now time.Time, victims []Victim) bool {
	s.now = now
	return s.takeAny(victims)
}
