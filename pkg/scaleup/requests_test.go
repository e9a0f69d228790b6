package scaleup

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func TestARefusalIsFollowedByAPauseThatGrows(t *testing.T) {
	r := New(Limits{Timeout: time.Minute, PerQueue: 1, Total: 1})
	now := noon
	r.Lacks("a", Need{Queue: "q", Since: now})
	pauses := []time.Duration{}
	for range 7 {
		require.True(t, r.Due(now, "a"))
		r.Open(now, "a")
		now = now.Add(59 * time.Second)
		require.False(t, r.Expired(now, "a"))
		now = now.Add(time.Second)
		require.True(t, r.Expired(now, "a"))
		refusal := r.Refuse(now, "a")
		pauses = append(pauses, refusal.Until.Sub(now))
		_, rests := r.Refused(now, "a")
		require.True(t, rests)
		require.False(t, r.Due(refusal.Until.Add(-1), "a"))
		now = refusal.Until
	}
	m := time.Minute
	require.Equal(t, []time.Duration{m, 2 * m, 4 * m, 8 * m, 16 * m, 30 * m, 30 * m}, pauses)
	require.Equal(t, []types.UID{"a"}, r.Remembered())
	r.Forget("a")
	needs, open, refusals := r.Len()
	require.Equal(t, []int{0, 0, 0}, []int{needs, open, refusals})
}

func TestWhoseRequestIsOpenIsNotForgotten(t *testing.T) {
	r := New(Limits{Timeout: time.Minute, PerQueue: 1, Total: 1})
	r.Lacks("a", Need{Queue: "q", Since: noon})
	r.Open(noon, "a")
	r.Refuse(noon, "a")
	r.Open(noon, "a")
	require.Empty(t, r.Remembered())
	r.Forget("a")
	require.Equal(t, 2, r.Refuse(noon, "a").Times)
}

func TestOthersGoOnWhileOneRests(t *testing.T) {
	r := New(Limits{Timeout: time.Minute, PerQueue: 1, Total: 2})
	for _, id := range []types.UID{"a", "b", "c"} {
		r.Lacks(id, Need{Queue: map[types.UID]string{"a": "q", "b": "q", "c": "r"}[id], Since: noon})
	}
	r.Open(noon, "a")
	require.False(t, r.Due(noon, "b"), "one of its queue is open")
	require.True(t, r.Due(noon, "c"))
	r.Refuse(noon, "a")
	require.True(t, r.Due(noon, "b"))
	r.Open(noon, "b")
	r.Open(noon, "c")
	require.True(t, r.Full())
	r.Lacks("d", Need{Queue: "s", Since: noon})
	require.False(t, r.Due(noon, "d"), "two are open in all")
	require.True(t, r.End("b"))
	require.True(t, r.Due(noon, "d"))
	require.Equal(t, []types.UID{"c"}, r.Listed())
}

func TestAnAutoscalerThatFailsIsNotWaitedForAsLongAsOneThatIsSilent(t *testing.T) {
	r := New(Limits{Timeout: time.Hour, PerQueue: 1, Total: 1})
	r.Lacks("a", Need{Queue: "q", Since: noon})
	r.Open(noon, "a")
	r.Answered(noon, "a", Answer{Words: "9 failed", Failing: true})
	r.Answered(noon.Add(20*time.Second), "a", Answer{Words: "8 failed", Failing: true})
	require.False(t, r.Expired(noon.Add(failingPatience-1), "a"))
	require.True(t, r.Expired(noon.Add(failingPatience), "a"))
	r.Answered(noon.Add(failingPatience), "a", Answer{Words: "0 failed"})
	require.False(t, r.Expired(noon.Add(10*failingPatience), "a"))
	require.Equal(t, "0 failed", r.Refuse(noon.Add(time.Hour), "a").Words)
}

func TestWhoCouldStartWhenOthersEndWaitsBeforeAsking(t *testing.T) {
	r := New(Limits{After: 10 * time.Second, Timeout: time.Hour, PerQueue: 1, Total: 1})
	r.Lacks("a", Need{Queue: "q", Since: noon, Frees: true})
	r.Lacks("a", Need{Queue: "q", Since: noon.Add(9 * time.Second), Frees: true})
	require.False(t, r.Due(noon.Add(9*time.Second), "a"))
	require.True(t, r.Due(noon.Add(10*time.Second), "a"), "since when it lacks room is known")
	r.Lacks("a", Need{Queue: "q", Since: noon, Frees: false})
	require.True(t, r.Due(noon, "a"), "nobody's end would help")
}
