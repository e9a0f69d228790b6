package ledger

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
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
// Seen failing when a shape's stalls did not count, when a permanent verdict was forgotten with the next room, when a
// shape that was parked for want of room was not woken, and when a demand larger than what is free was let through.
func TestNextIsTheFirstOfThoseThatMayBeTried(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := New("", placement.Pack)
		l.now = start
		w := &l.waiting
		for i := range rapid.IntRange(1, 40).Draw(t, "events") {
			uid := types.UID(fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "pod")))
			known := w.byPod[uid]
			switch rapid.SampledFrom([]string{"add", "add", "remove", "fail", "stall"}).Draw(t, "event") {
			case "add":
				size := rapid.Int64Range(1, 4).Draw(t, "shape")
				added := l.wait(uid, size, drawTurn(t, uid))
				require.Same(t, w.byPod[uid], added)
				same := known != nil && equalDemands(known.asks.Demand, added.asks.Demand)
				require.True(t, known == nil || known == added == same, "who waits keeps its place unless it asks for something else")
			case "remove":
				l.endWaitLocked(uid)
				require.NotContains(t, w.byPod, uid)
			case "fail":
				if known != nil {
					tried := known.shape.tried
					reason := rapid.SampledFrom([]gang.Reason{gang.ClusterFull, gang.Constraints, gang.NeverFitsNode}).Draw(t, "reason")
					epoch := rapid.Uint64Range(0, 5).Draw(t, "epoch")
					w.fail(known.shape, Refused{Epoch: epoch, Verdict: gang.Verdict{Reason: reason}, Rehearsed: rapid.Bool().Draw(t, "rehearsed"), Company: rapid.Bool().Draw(t, "company")}, start)
					require.Equal(t, max(tried, epoch), known.shape.tried)
					require.Zero(t, known.shape.stalls)
				}
			case "stall":
				w.stall(uid)
			}
			epoch := rapid.Uint64Range(0, 6)
			l.since = epochs{epoch.Draw(t, "room"), epoch.Draw(t, "nodes"), epoch.Draw(t, "company")}
			l.offer(rapid.Int64Range(0, 5).Draw(t, "free"))
			w.idle = false
			require.Same(t, naiveNext(l), l.nextLocked(), "after %d events", i+1)
			members, rehearsed := 0, 0
			require.Len(t, w.order, len(w.shapes))
			for i, s := range w.order {
				require.Equal(t, i, s.index)
				require.Same(t, s, w.shapes[s.key])
			}
			for key, s := range w.shapes {
				require.Positive(t, s.count, "shape %s", key)
				members += s.count
				if s.rehearsed {
					rehearsed++
				}
			}
			require.Equal(t, rehearsed, w.rehearsed)
			require.Len(t, w.byPod, members)
		}
	})
}

// wait makes a pod of so many cores wait that nobody knows otherwise.
func (l *Ledger) wait(uid types.UID, size int64, turn turn) *waiter {
	asks := quota.Waiter{ID: uid, Priority: turn.priority, Since: turn.created, Demand: quota.Demand{Amount: cores(size), Gangs: 1}}
	return l.waitLocked(fmt.Sprint(size), cores(size), turn, asks)
}

// offer makes the cluster one node of so many cores.
func (l *Ledger) offer(cores int64) {
	l.nodes = inventory.New("")
	l.nodes.See(newNode("a", cores))
	l.nodes.Settle()
}

func naiveNext(l *Ledger) *waiter {
	var first *waiter
	for _, candidate := range l.waiting.byPod {
		s := candidate.shape
		epoch := l.since.room
		if s.company {
			epoch = max(epoch, l.since.company)
		}
		if s.verdict.Permanent() {
			epoch = l.since.nodes
		}
		fits := s.demand.Fits(l.nodes.Total()) || s.verdict.Reason != gang.ClusterFull && s.tried < l.since.nodes
		if !s.failed.IsZero() && (s.tried >= epoch || !fits) {
			continue
		}
		if first == nil || cmp.Or(cmp.Compare(s.stalls, first.shape.stalls), cmp.Compare(first.turn.priority, candidate.turn.priority),
			candidate.turn.created.Compare(first.turn.created), cmp.Compare(candidate.uid(), first.uid())) < 0 {
			first = candidate
		}
	}
	return first
}

func TestWhoFoundNobodyDoesNotLookAgain(t *testing.T) {
	l := New("", placement.Pack)
	l.since.room = 1
	l.offer(9)
	require.Nil(t, l.nextLocked())
	w := l.wait("1", 1, turn{})
	require.Same(t, w, l.nextLocked(), "who comes is looked at")
	l.waiting.fail(w.shape, Refused{Epoch: 1, Verdict: gang.Verdict{Reason: gang.ClusterFull}}, start)
	require.Nil(t, l.nextLocked())
	l.since.room = 2
	require.Nil(t, l.nextLocked(), "nothing has happened that it was told of")
	l.waiting.idle = false
	require.Same(t, w, l.nextLocked())
	l.waiting.stall("nobody")
	l.endWaitLocked("nobody")
}
