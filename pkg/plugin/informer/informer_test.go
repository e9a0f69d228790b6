package informer

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

func TestTheLastStateOfADeletedObjectIsFoundInATombstone(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}}
	var deleted []*v1.Pod
	handlers := Handlers(func(_, _ *v1.Pod) {}, func(pod *v1.Pod) { deleted = append(deleted, pod) })
	for name, object := range map[string]any{"seen": pod, "missed": cache.DeletedFinalStateUnknown{Key: "p", Obj: pod}} {
		deleted = nil
		handlers.OnDelete(object)
		require.Len(t, deleted, 1, name)
		require.Same(t, pod, deleted[0], name)
	}
	deleted = nil
	handlers.OnDelete(cache.DeletedFinalStateUnknown{Key: "p"})
	require.Empty(t, deleted, "a tombstone may be empty")
}

func TestWhatAnObjectWasBeforeIsToldOnlyOfThoseThatChange(t *testing.T) {
	was, is := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "was"}}, &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "is"}}
	var told [][2]*v1.Pod
	handlers := Handlers(func(before, pod *v1.Pod) { told = append(told, [2]*v1.Pod{before, pod}) }, func(*v1.Pod) {})
	handlers.OnAdd(is, true)
	handlers.OnUpdate(was, is)
	require.Equal(t, [][2]*v1.Pod{{nil, is}, {was, is}}, told)
}

func TestWhoIsWaitedForIsAskedUntilItIsSyncedAndNotAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		asked := 0
		first := func() bool { asked++; return time.Since(began) >= 12*time.Millisecond }
		second := func() bool { return time.Since(began) >= time.Second }
		require.True(t, Wait(t.Context(), first, second))
		require.Less(t, time.Since(began), 1100*time.Millisecond)
		require.Equal(t, 3, asked, "at first it looks soon again")

		ended, end := context.WithCancel(t.Context())
		end()
		require.False(t, Wait(ended, func() bool { return false }))
		require.True(t, Wait(t.Context()))
	})
}
