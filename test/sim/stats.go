package sim

import (
	"fmt"
	"strings"
	"time"
)

// Stats count what a seed has tried.
type Stats struct {
	Events         int // entries of the agenda
	Apps           int // applications submitted
	Gangs          int // drivers of gangs with executors that were bound by Retinue
	Crews          int // gangs without a driver of which one was bound by Retinue
	Executors      int // executors bound by Retinue
	Cycles         int // scheduling cycles
	Refusals       int // cycles that found no place
	Bindings       int // binding cycles that succeeded
	FailedBindings int
	Rejected       int // pods that a kubelet had no room for
	Restarts       int // schedulers killed
	Errors         int // lines in the log of a scheduler
	Ignored        int // broken invariants that were to be ignored
	Evictions      int // pods that were taken back
	Drained        int // bought nodes from which pods had to go
	Daemons        int // daemons for which others had to go
	Heirs          int // pods that took over what others left for a lower priority
	Recluses       int // pods for whose anti-affinity others had to go
	Arrivals       int // pairs of pods of one second of which it was looked which goes first
	Passes         int // times at which somebody who fits and is allowed was passed by within the pass that it has
	ScaleUps       int // gangs for which nodes were asked for
	Bought         int // nodes that were bought
	Rests          int // times at which the world came to rest and was looked at
	Faults         [numberOfFaults]int
}

// Add sums up.
func (s *Stats) Add(other Stats) {
	s.Events += other.Events
	s.Apps += other.Apps
	s.Gangs += other.Gangs
	s.Crews += other.Crews
	s.Executors += other.Executors
	s.Cycles += other.Cycles
	s.Refusals += other.Refusals
	s.Bindings += other.Bindings
	s.FailedBindings += other.FailedBindings
	s.Rejected += other.Rejected
	s.Restarts += other.Restarts
	s.Errors += other.Errors
	s.Ignored += other.Ignored
	s.Evictions += other.Evictions
	s.Daemons += other.Daemons
	s.Drained += other.Drained
	s.Heirs += other.Heirs
	s.Recluses += other.Recluses
	s.Arrivals += other.Arrivals
	s.ScaleUps += other.ScaleUps
	s.Bought += other.Bought
	s.Rests += other.Rests
	s.Passes += other.Passes
	for f := range s.Faults {
		s.Faults[f] += other.Faults[f]
	}
}

// Report says what was tried, for people.
func (s Stats) Report(seeds uint64, violations int, took time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "seeds       %d in %s, %.0f events a second\n", seeds, took.Round(time.Millisecond), float64(s.Events)/took.Seconds())
	fmt.Fprintf(&b, "events      %d\n", s.Events)
	fmt.Fprintf(&b, "submitted   %d applications\n", s.Apps)
	fmt.Fprintf(&b, "started     %d gangs with a driver, %d without, %d executors\n", s.Gangs, s.Crews, s.Executors)
	fmt.Fprintf(&b, "cycles      %d, of which %d found no place; %d bindings, %d failed\n", s.Cycles, s.Refusals, s.Bindings, s.FailedBindings)
	fmt.Fprintf(&b, "restarts    %d\n", s.Restarts)
	fmt.Fprintf(&b, "evictions   %d, for %d daemons %d that keep away from somebody and %d of which another took over what they left\n", s.Evictions, s.Daemons, s.Recluses, s.Heirs)
	fmt.Fprintf(&b, "arrivals    %d pairs of one second\n", s.Arrivals)
	fmt.Fprintf(&b, "passes      %d times somebody waited for the end of one\n", s.Passes)
	fmt.Fprintf(&b, "bought      %d nodes, asked for by %d gangs and by pods that lack one; %d were drained\n", s.Bought, s.ScaleUps, s.Drained)
	fmt.Fprintf(&b, "rests       %d\n", s.Rests)
	fmt.Fprintf(&b, "rejected    %d pods by kubelets\n", s.Rejected)
	fmt.Fprintf(&b, "logged      %d errors\n", s.Errors)
	fmt.Fprintf(&b, "faults     ")
	for f := range numberOfFaults {
		fmt.Fprintf(&b, " %s %d", f, s.Faults[f])
	}
	fmt.Fprintf(&b, "\nignored     %d\n", s.Ignored)
	fmt.Fprintf(&b, "violations  %d\n", violations)
	return b.String()
}
