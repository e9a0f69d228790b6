package meter

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/history/store"
	"retinue.dev/retinue/test/postgres"
)

// life is what is true of a pod.
type life struct {
	pod          *v1.Pod
	bound, ended int64 // ms; 0 means not yet
	core, used   int64 // millicores it holds, and millicore-milliseconds it has held before
	since        int64 // when it began to hold them
	gone         bool  // its object is no longer there
	unwritten    bool  // what a meter has seen of it last is not in the database yet
	unseenSize   bool  // a meter died before it wrote what it held before or after a resize
	unseenEnd    bool  // its object went while no meter ran, or one that died before it wrote that
}

// world is a cluster with its meter, which dies and comes back, and a database that does not always answer.
type world struct {
	t      *rapid.T
	clock  *clocktesting.FakePassiveClock
	lives  []*life
	store  *store.Store
	meter  *Meter // nil while none runs
	sweep  *Sweeper
	broken bool // the database
	nodes  []*v1.Node
}

var errDown = errors.New("the database is down")

func (w *world) apply(ctx context.Context, seen store.Observations) error {
	if w.broken {
		return errDown
	}
	return w.store.Apply(ctx, seen)
}

func (w *world) now() int64 { return w.clock.Now().UnixMilli() }

func (w *world) stamp() metav1.Time { return metav1.NewTime(w.clock.Now().Truncate(time.Second)) }

// tell the meter of a pod, if one runs; sometimes twice.
func (w *world) tell(l *life) {
	if w.meter == nil {
		l.unseenEnd = l.unseenEnd || l.gone
		return
	}
	l.unwritten = true
	for range rapid.IntRange(1, 2).Draw(w.t, "times") {
		w.meter.Pod(l.pod.DeepCopy(), l.gone)
	}
}

func (w *world) begin() {
	if w.meter != nil {
		return
	}
	state, err := w.store.State(context.Background())
	require.NoError(w.t, err)
	w.meter = New(Outside{Apply: w.apply, Clock: w.clock, ClassLabel: DefaultClassLabel})
	w.sweep = NewSweeper(w.store, w.meter, state.Heartbeat)
	for _, node := range w.nodes {
		w.meter.Node(node, false)
	}
	w.meter.Namespace(&v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "etl"}}, false)
	require.NoError(w.t, w.meter.Queue(&unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "team"}, "spec": map[string]any{"namespaces": []any{"etl"}}}}, false))
	for _, l := range w.lives { // the first list
		if !l.gone {
			w.tell(l)
		}
	}
}

// kill the meter: what it has not written is lost.
func (w *world) kill() {
	for _, l := range w.lives {
		l.unseenEnd = l.unseenEnd || l.gone && l.unwritten
		l.unseenSize = l.unseenSize || l.pod.Generation > 1 && l.unwritten
		l.unwritten = false
	}
	w.meter = nil
}

func (w *world) present() Present {
	present := Present{UIDs: map[string]bool{}, Applications: map[string]bool{}}
	for _, l := range w.lives {
		if !l.gone {
			present.UIDs[string(l.pod.UID)] = true
			present.Applications[ApplicationOf(l.pod)] = true
		}
	}
	for _, node := range w.nodes {
		present.UIDs[string(node.UID)] = true
	}
	return present
}

// beat is what the meter's command does every so often.
func (w *world) beat() {
	if w.meter == nil {
		return
	}
	at := w.now()
	if err := w.meter.Flush(context.Background()); err != nil {
		require.ErrorIs(w.t, err, errDown)
		return
	}
	for _, l := range w.lives {
		l.unwritten = false
	}
	require.NoError(w.t, w.store.Beat(context.Background(), at))
	require.NoError(w.t, w.store.Roll(context.Background(), at))
	_, err := w.sweep.Sweep(context.Background(), w.present, func(context.Context) (Present, error) { return w.present(), nil })
	require.NoError(w.t, err)
}

func (w *world) create() {
	n := len(w.lives)
	role, app := "executor", fmt.Sprint("spark-", n/3)
	if n%3 == 0 {
		role = "driver"
	}
	cores := rapid.Int64Range(1, 9).Draw(w.t, "cores") * 100
	w.lives = append(w.lives, &life{core: cores, pod: &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "etl", Name: fmt.Sprint("pod-", n), UID: types.UID(fmt.Sprint("uid-", n)), Generation: 1, CreationTimestamp: w.stamp(),
			Labels: map[string]string{"spark-role": role, "spark-app-selector": app, "retinue.dev/user": "ann"}},
		Spec:   v1.PodSpec{Containers: []v1.Container{{Name: "c", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: *resource.NewMilliQuantity(cores, resource.DecimalSI)}}}}},
		Status: v1.PodStatus{Phase: v1.PodPending},
	}})
	w.tell(w.lives[n])
}

// pick a pod of some kind, if there is one.
func (w *world) pick(which func(*life) bool) *life {
	var some []*life
	for _, l := range w.lives {
		if which(l) {
			some = append(some, l)
		}
	}
	if len(some) == 0 {
		return nil
	}
	return some[rapid.IntRange(0, len(some)-1).Draw(w.t, "pod")]
}

func runs(l *life) bool { return l.bound > 0 && l.ended == 0 && !l.gone }

func (w *world) bind() {
	if l := w.pick(func(l *life) bool { return l.bound == 0 && !l.gone }); l != nil {
		l.bound, l.since = w.now(), w.now()
		l.pod.Spec.NodeName = w.nodes[0].Name
		l.pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: w.stamp()}}
		w.tell(l)
	}
}

func (w *world) resize() {
	if w.meter == nil || w.broken {
		return // the time of a resize is when it is seen
	}
	if l := w.pick(runs); l != nil {
		l.used += l.core * (w.now() - l.since)
		l.core, l.since = rapid.Int64Range(1, 9).Draw(w.t, "cores")*100, w.now()
		l.pod.Generation++
		l.pod.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: *resource.NewMilliQuantity(l.core, resource.DecimalSI)}
		w.tell(l)
	}
}

func (w *world) finish(l *life) {
	l.ended = w.now()
	l.used += l.core * (l.ended - l.since)
}

func (w *world) end() {
	if l := w.pick(runs); l != nil {
		w.finish(l)
		l.pod.Status.Phase = v1.PodSucceeded
		l.pod.Status.ContainerStatuses = []v1.ContainerStatus{{State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{FinishedAt: w.stamp()}}}}
		w.tell(l)
	}
}

func (w *world) remove() {
	if l := w.pick(func(l *life) bool { return !l.gone }); l != nil {
		if runs(l) {
			w.finish(l)
		}
		l.gone = true
		w.tell(l)
	}
}

// TestTheSumsAreWhatPodsHeld: whatever dies when, every pod that a meter has seen is counted once, to the second where its times
// are known, and within the stored uncertainty where they are not.
func TestTheSumsAreWhatPodsHeld(t *testing.T) {
	for name, source := range map[string]func(*testing.T) string{
		"SQLite":     func(t *testing.T) string { return filepath.Join(t.TempDir(), "history.db") },
		"PostgreSQL": func(t *testing.T) string { return postgres.Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			source(t) // or skip
			rapid.Check(t, func(r *rapid.T) { playWorld(t, r, source(t)) })
		})
	}
}

func playWorld(t *testing.T, r *rapid.T, source string) {
	ctx := t.Context()
	w := &world{t: r, clock: clocktesting.NewFakePassiveClock(start)}
	s, err := store.Open(ctx, source, w.now())
	require.NoError(r, err)
	defer func() { require.NoError(r, s.Close()) }()
	w.store = s
	w.nodes = []*v1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "node", UID: "uid-node", ResourceVersion: "7", CreationTimestamp: w.stamp(), Labels: map[string]string{v1.LabelInstanceTypeStable: "large"}},
		Status: v1.NodeStatus{Allocatable: v1.ResourceList{v1.ResourceCPU: resource.MustParse("64")}}}}
	w.begin()
	for range rapid.IntRange(10, 60).Draw(r, "steps") {
		w.clock.SetTime(w.clock.Now().Add(time.Duration(rapid.IntRange(1, 120_000).Draw(r, "ms")) * time.Millisecond))
		switch rapid.IntRange(0, 13).Draw(r, "step") {
		case 0, 1, 2:
			w.create()
		case 3, 4, 5:
			w.bind()
		case 6:
			w.resize()
		case 7, 8:
			w.end()
		case 9:
			w.remove()
		case 10:
			w.beat()
		case 11:
			w.kill()
		case 12:
			w.broken = !w.broken
		case 13:
			w.begin()
		}
	}
	// All is well again: everything ends, or is found to have gone.
	w.broken = false
	w.begin()
	for w.pick(runs) != nil {
		w.clock.SetTime(w.clock.Now().Add(time.Second))
		w.end()
	}
	for range 3 {
		w.beat()
		w.clock.SetTime(w.clock.Now().Add(confirmDoubtAfter))
	}
	w.beat()
	w.compare(ctx)
}

func (w *world) compare(ctx context.Context) {
	spans := map[string]store.Span{}
	applications, err := w.store.Applications(ctx, store.Filter{})
	require.NoError(w.t, err)
	for _, application := range applications {
		story, err := w.store.Story(ctx, application.Key)
		require.NoError(w.t, err)
		for _, span := range story.Spans {
			require.NotContains(w.t, spans, span.UID, "counted twice")
			spans[span.UID] = span
			require.Equal(w.t, []string{"ann", "large", "team"}, []string{span.User, span.Class, span.Queue})
		}
		require.Zero(w.t, story.Running, "all pods of %s have ended", application.Key)
		require.NotEqual(w.t, store.StateWaiting, map[bool]string{true: story.State()}[len(story.Spans) > 0])
	}
	total := int64(0)
	for _, l := range w.lives {
		span, counted := spans[string(l.pod.UID)]
		if l.bound == 0 {
			require.False(w.t, counted, "a pod without a node held nothing")
			continue
		}
		if !counted {
			require.True(w.t, l.gone && l.unseenEnd, "%s: lost, though its end was seen or it is there", l.pod.Name)
			continue
		}
		used := span.Used(w.now())["cpu"]
		total += used
		truth := l.used / 1000
		slack := int64(900) + 5 // a second of the largest, and rounding
		if l.unseenEnd && l.pod.Status.Phase != v1.PodSucceeded || span.End.Rank == store.EndInferred {
			slack += 900 * (span.End.Uncertainty + confirmAfter.Milliseconds()) / 1000
		}
		if l.unseenSize {
			continue // what it held is not known to anybody
		}
		require.InDelta(w.t, truth, used, float64(slack), "%s: %+v", l.pod.Name, span)
	}
	rows, err := w.store.Usage(ctx, store.Usage{Until: w.now() + store.Day, By: []string{store.ByUser, store.ByResource}})
	require.NoError(w.t, err)
	sum := int64(0)
	for _, row := range rows {
		require.Equal(w.t, "ann", row.User)
		sum += row.Used
	}
	require.Equal(w.t, total, sum, "sums are those of the pods")
	_, err = w.store.Check(ctx, 0, w.now()+store.Day)
	require.NoError(w.t, err)
}
