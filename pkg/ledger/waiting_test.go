package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

func drawTurn(t *rapid.T, uid types.UID) turn {
	return turn{
		priority: rapid.Int32Range(0, 2).Draw(t, "priority"),
		created:  start.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "age")) * time.Second),
		gang:     gang.Key{Namespace: rapid.SampledFrom([]string{"n", "m"}).Draw(t, "namespace"), Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")},
		uid:      uid,
	}
}

// TestTurnsAreAnOrder: of any two waiters one goes first, whoever asks, and priority counts before age.
//
// Seen failing when the order ended with the gang's name.
func TestTurnsAreAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawTurn(t, "1"), drawTurn(t, "2"), drawTurn(t, "3")
		require.Zero(t, a.compare(a))
		require.NotZero(t, a.compare(b))
		require.Equal(t, a.compare(b), -b.compare(a))
		if a.compare(b) < 0 && b.compare(c) < 0 {
			require.Negative(t, a.compare(c))
		}
		switch {
		case a.priority != b.priority:
			require.Equal(t, a.priority > b.priority, a.compare(b) < 0)
		case !a.created.Equal(b.created):
			require.Equal(t, a.created.Before(b.created), a.compare(b) < 0)
		}
	})
}

// TestNextIsTheFirstOfThoseThatMayBeTried, compared with looking at every waiter.
//
// Seen failing when a shape's stalls did not count, when a permanent verdict was forgotten with the next room, when
// removing a waiter from the middle of a shape disturbed its order, and when a demand larger than what is free was let
// through.
func TestNextIsTheFirstOfThoseThatMayBeTried(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := waiting{shapes: map[string]*shape{}, byPod: map[types.UID]*waiter{}}
		for i := range rapid.IntRange(1, 40).Draw(t, "events") {
			uid := types.UID(fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "pod")))
			known := w.byPod[uid]
			switch rapid.SampledFrom([]string{"add", "add", "remove", "fail", "stall"}).Draw(t, "event") {
			case "add":
				size := rapid.Int64Range(1, 4).Draw(t, "shape")
				added := w.add(uid, fmt.Sprint(size), cores(size), drawTurn(t, uid))
				require.Same(t, w.byPod[uid], added)
				require.True(t, known == nil || known == added, "who waits keeps its place")
			case "remove":
				w.remove(uid)
				require.NotContains(t, w.byPod, uid)
			case "fail":
				if known != nil {
					tried := known.shape.tried
					reason := rapid.SampledFrom([]gang.Reason{gang.ClusterFull, gang.NeverFitsNode}).Draw(t, "reason")
					epoch := rapid.Uint64Range(0, 5).Draw(t, "epoch")
					w.fail(known.shape, Refused{Epoch: epoch, Verdict: gang.Verdict{Reason: reason}, Rehearsed: rapid.Bool().Draw(t, "rehearsed"), Company: rapid.Bool().Draw(t, "company")}, start)
					require.Equal(t, max(tried, epoch), known.shape.tried)
					require.Zero(t, known.shape.stalls)
				}
			case "stall":
				w.stall(uid)
			}
			epoch := rapid.Uint64Range(0, 6)
			since := epochs{epoch.Draw(t, "room"), epoch.Draw(t, "nodes"), epoch.Draw(t, "company")}
			free := cores(rapid.Int64Range(0, 5).Draw(t, "free"))
			free.Pods = 100
			w.idle = false
			require.Same(t, naiveNext(&w, since, free), w.next(start, since, free), "after %d events", i+1)
			members, rehearsed := 0, 0
			require.Len(t, w.order, len(w.shapes))
			for i, s := range w.order {
				require.Equal(t, i, s.index)
				require.Same(t, s, w.shapes[s.key])
			}
			for key, s := range w.shapes {
				require.NotEmpty(t, s.queue, "shape %s", key)
				members += len(s.queue)
				if s.rehearsed {
					rehearsed++
				}
			}
			require.Equal(t, rehearsed, w.rehearsed)
			require.Len(t, w.byPod, members)
		}
	})
}

func naiveNext(w *waiting, since epochs, free resource.Vector) *waiter {
	var first *waiter
	for _, candidate := range w.byPod {
		epoch := since.room
		if candidate.shape.company {
			epoch = max(epoch, since.company)
		}
		if candidate.shape.verdict.Permanent() {
			epoch = since.nodes
		}
		if candidate.shape.tried >= epoch || !candidate.shape.demand.Fits(free) {
			continue
		}
		if first == nil || candidate.shape.stalls < first.shape.stalls ||
			candidate.shape.stalls == first.shape.stalls && candidate.turn.compare(first.turn) < 0 {
			first = candidate
		}
	}
	return first
}

func TestWhoFoundNobodyDoesNotLookAgain(t *testing.T) {
	w := waiting{shapes: map[string]*shape{}, byPod: map[types.UID]*waiter{}}
	require.Nil(t, w.next(start, epochs{room: 1}, cores(9)))
	w.add("1", "a", cores(1), turn{})
	require.Nil(t, w.next(start, epochs{room: 1}, cores(9)), "nothing has happened that it was told of")
	w.idle = false
	require.Equal(t, types.UID("1"), w.next(start, epochs{room: 1}, cores(9)).uid)
	w.stall("nobody")
	w.remove("nobody")
}
