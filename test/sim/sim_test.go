package sim

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	oneSeed   = flag.Uint64("sim.seed", 0, "play only this seed and print its trace; 0 means that -sim.seeds are played")
	seeds     = flag.Uint64("sim.seeds", 400, "how many seeds to play; a tenth of them with -short")
	firstSeed = flag.Uint64("sim.first", 1, "the first seed to play")
	workers   = flag.Int("sim.workers", 2, "how many seeds to play at a time")
	most      = flag.Int("sim.violations", 1, "stop after so many seeds with violations")
	spared    = flag.String("sim.without", "", "faults that do not happen, separated by commas")
	only      = flag.String("sim.tricks", "", "what strangers try, separated by commas; everything if empty")
	ignore    = flag.String("sim.ignore", "", "invariants that may be broken, separated by commas")
	budget    = flag.Duration("sim.time", 0, "start no seed after this time; 0 means no limit")
	report    = flag.Bool("sim.report", false, "print what was tried")
)

func optionsOf(t *testing.T) Options {
	options := Options{Without: map[Fault]bool{}, Tricks: map[string]bool{}, Ignore: map[string]bool{}}
	for _, name := range split(*spared) {
		f, err := FaultNamed(name)
		require.NoError(t, err)
		options.Without[f] = true
	}
	for _, name := range split(*only) {
		options.Tricks[name] = true
	}
	for _, name := range split(*ignore) {
		options.Ignore[name] = true
	}
	return options
}

func split(list string) []string {
	return slices.DeleteFunc(strings.Split(list, ","), func(name string) bool { return name == "" })
}

// play plays a seed in a bubble of its own.
func play(t *testing.T, seed uint64, options Options) (result Result) {
	synctest.Test(t, func(*testing.T) { result = Run(seed, options, synctest.Wait) })
	return result
}

func TestTheInvariantsHoldWhateverHappens(t *testing.T) {
	options := optionsOf(t)
	if *oneSeed != 0 {
		options.Trace = func(line string) { fmt.Fprintln(os.Stderr, line) }
		result := play(t, *oneSeed, options)
		require.Empty(t, result.Violation, result.Invariant)
		return
	}
	var (
		next    atomic.Uint64
		mu      sync.Mutex // guards everything below
		total   Stats
		played  uint64
		broken  []Result
		started = time.Now()
		running sync.WaitGroup
	)
	next.Store(*firstSeed)
	last := *firstSeed + *seeds
	if testing.Short() {
		last = *firstSeed + *seeds/10
	}
	for range *workers {
		running.Go(func() {
			for {
				seed := next.Add(1) - 1
				mu.Lock()
				enough := len(broken) >= *most
				mu.Unlock()
				if seed >= last || enough || *budget > 0 && time.Since(started) > *budget {
					return
				}
				result := play(t, seed, options)
				mu.Lock()
				played++
				total.Add(result.Stats)
				if result.Violation != "" {
					broken = append(broken, result)
				}
				mu.Unlock()
			}
		})
	}
	running.Wait()
	if *report {
		fmt.Fprint(os.Stderr, total.Report(played, len(broken), time.Since(started)))
	}
	slices.SortFunc(broken, func(a, b Result) int { return cmp.Compare(a.Seed, b.Seed) })
	for _, result := range broken {
		t.Errorf("seed %d: %s: %s", result.Seed, result.Invariant, result.Violation)
	}
	if len(broken) > 0 {
		t.Logf("the end of seed %d:\n%s", broken[0].Seed, strings.Join(broken[0].Tail, "\n"))
	}
}

func TestASeedReplaysExactly(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 4, 5, 28, 49} {
		first, again := play(t, seed, Options{}), play(t, seed, Options{})
		require.Equal(t, first.Sum, again.Sum, "seed %d", seed)
	}
}
