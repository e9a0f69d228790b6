package meter

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clocktesting "k8s.io/utils/clock/testing"

	"retinue.dev/retinue/pkg/history/store"
)

// swept is a store in which pods are open, and a sweeper for it.
type swept struct {
	*testing.T
	clock   *clocktesting.FakePassiveClock
	store   *store.Store
	meter   *Meter
	sweeper *Sweeper
	present Present
}

// newSwept makes so many pods, which were last seen alive a minute after start, by a meter whose last heartbeat was a minute later.
func newSwept(t *testing.T, pods int) *swept {
	s := &swept{T: t, clock: clocktesting.NewFakePassiveClock(start), present: Present{UIDs: map[string]bool{}, Applications: map[string]bool{}}}
	var err error
	s.store, err = store.Open(t.Context(), filepath.Join(t.TempDir(), "history.db"), start.UnixMilli())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.store.Close()) })
	s.meter = New(Outside{Apply: s.store.Apply, Clock: s.clock, ClassLabel: DefaultClassLabel})
	seen := none()
	for i := range pods {
		uid := fmt.Sprint("uid-", i)
		seen.Spans[uid] = store.Span{UID: uid, Kind: store.Pod, Alive: after(60).UnixMilli(), Start: store.Evidence{At: after(0).UnixMilli(), Rank: store.StartScheduled},
			Description: store.Description{Application: "etl/app", Namespace: "etl", Name: uid, Seen: 1, Rank: 1}}
		s.present.UIDs[uid] = true
	}
	if pods > 0 {
		seen.Applications["etl/app"] = store.Application{Key: "etl/app", Bound: after(0).UnixMilli(), Profile: store.Profile{Rank: store.OfWorker, Seen: 1}}
	}
	require.NoError(t, s.store.Apply(t.Context(), seen))
	s.sweeper = NewSweeper(s.store, s.meter, after(120).UnixMilli())
	s.clock.SetTime(after(600).Time)
	return s
}

func (s *swept) sweep() Swept {
	s.Helper()
	found, err := s.sweeper.Sweep(s.Context(), func() Present { return s.present }, func(context.Context) (Present, error) { return s.present, nil })
	require.NoError(s, err)
	require.NoError(s, s.meter.Flush(s.Context()))
	return found
}

func (s *swept) step(d time.Duration) { s.clock.SetTime(s.clock.Now().Add(d)) }

// span of a pod, as it is stored.
func (s *swept) span(uid string) store.Span {
	s.Helper()
	story, err := s.store.Story(s.Context(), "etl/app")
	require.NoError(s, err)
	for _, span := range story.Spans {
		if span.UID == uid {
			return span
		}
	}
	s.Fatalf("no span %s", uid)
	return store.Span{}
}

func TestWhatIsMissingTwiceHasEnded(t *testing.T) {
	s := newSwept(t, 5)
	require.Equal(t, Swept{}, s.sweep())
	delete(s.present.UIDs, "uid-3")
	require.Equal(t, Swept{Missing: 1}, s.sweep(), "once is no proof")
	s.step(confirmAfter - time.Second)
	require.Equal(t, Swept{Missing: 1}, s.sweep())
	s.step(time.Second)
	require.Equal(t, Swept{Missing: 1, Ended: 1}, s.sweep())
	require.Equal(t, store.Evidence{At: after(120).UnixMilli(), Rank: store.EndInferred, Uncertainty: 480_000, Reason: "Gone"}, s.span("uid-3").End,
		"at the last heartbeat of the meter before, and at most until it was first missed")
	require.Equal(t, Swept{}, s.sweep())
}

func TestWhatComesBackWasNotGone(t *testing.T) {
	s := newSwept(t, 5)
	delete(s.present.UIDs, "uid-3")
	s.sweep()
	s.step(confirmAfter / 2)
	s.present.UIDs["uid-3"] = true
	require.Equal(t, Swept{}, s.sweep())
	delete(s.present.UIDs, "uid-3")
	s.step(confirmAfter / 2)
	require.Equal(t, Swept{Missing: 1}, s.sweep(), "it is missing anew")
}

// TestAWrongListEndsNothing: a meter that no longer sees most of the cluster does not end it at once, and what it ends after all comes
// back as soon as it is seen.
func TestAWrongListEndsNothing(t *testing.T) {
	s := newSwept(t, 50)
	all := s.present.UIDs
	s.present.UIDs = map[string]bool{"uid-0": true}
	require.Equal(t, Swept{Missing: 49, Doubtful: true}, s.sweep())
	s.step(confirmDoubtAfter - time.Second)
	require.Equal(t, Swept{Missing: 49, Doubtful: true}, s.sweep())
	s.present.UIDs = all
	require.Equal(t, Swept{}, s.sweep())
	s.present.UIDs = map[string]bool{"uid-0": true}
	s.sweep()
	s.step(confirmDoubtAfter)
	require.Equal(t, Swept{Missing: 49, Ended: 49, Doubtful: true}, s.sweep(), "nobody has mended it for so long")
	gone := s.span("uid-7")
	require.False(t, gone.Open())
	require.NoError(t, s.store.Apply(t.Context(), store.Observations{Spans: map[string]store.Span{"uid-7": {UID: "uid-7", Alive: s.clock.Now().UnixMilli()}}}))
	back := s.span("uid-7")
	require.True(t, back.Open())
}

func TestAListThatFailsSaysNothing(t *testing.T) {
	s := newSwept(t, 5)
	s.present.UIDs = nil
	failed := errors.New("forbidden")
	_, err := s.sweeper.Sweep(t.Context(), func() Present { return s.present }, func(context.Context) (Present, error) { return Present{}, failed })
	require.ErrorIs(t, err, failed)
	s.step(confirmAfter)
	require.Equal(t, Swept{Missing: 5}, s.sweep(), "that was the first list")
}

// TestExecutorsEndWithTheirDriver: a finished driver's object stays, and says when its executors went.
func TestExecutorsEndWithTheirDriver(t *testing.T) {
	s := newSwept(t, 5)
	leader := store.Application{Key: "etl/app", Profile: store.Profile{Rank: store.OfLeader}, End: store.Evidence{At: after(300).UnixMilli(), Rank: store.EndContainers, Reason: "Succeeded"}}
	require.NoError(t, s.store.Apply(t.Context(), store.Observations{Applications: map[string]store.Application{"etl/app": leader}}))
	delete(s.present.UIDs, "uid-3")
	s.sweep()
	s.step(confirmAfter)
	s.sweep()
	require.Equal(t, store.Evidence{At: after(300).UnixMilli(), Rank: store.EndInferred, Uncertainty: 180_000, Reason: "Gone"}, s.span("uid-3").End)
}

func TestApplicationsThatWentBeforeTheyStartedHaveEnded(t *testing.T) {
	s := newSwept(t, 0)
	require.NoError(t, s.store.Apply(t.Context(), store.Observations{Applications: map[string]store.Application{"etl/app": {Key: "etl/app", Submitted: 1, Profile: store.Profile{Rank: store.OfLeader}}}}))
	s.present.Applications["etl/app"] = true
	require.Equal(t, Swept{}, s.sweep())
	delete(s.present.Applications, "etl/app")
	s.sweep()
	s.step(confirmAfter)
	require.Equal(t, Swept{Missing: 1, Ended: 1}, s.sweep())
	story, err := s.store.Story(t.Context(), "etl/app")
	require.NoError(t, err)
	require.Equal(t, store.StateFinished, story.State())
}
