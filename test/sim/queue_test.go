package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	realqueue "k8s.io/kubernetes/pkg/scheduler/backend/queue"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
	testingclock "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"
)

// doorman is a PreEnqueue plugin that refuses the pods it has been told to refuse.
type doorman struct{ refuses map[string]bool }

func (d *doorman) Name() string { return "Doorman" }
func (d *doorman) PreEnqueue(_ context.Context, pod *v1.Pod) *fwk.Status {
	if d.refuses[pod.Name] {
		return fwk.NewStatus(fwk.Unschedulable, "not now")
	}
	return nil
}

// byName orders entities by priority, then by name.
func byName(a, b fwk.QueuedEntityInfo) bool {
	if a.GetPriority() != b.GetPriority() {
		return a.GetPriority() > b.GetPriority()
	}
	name := func(e fwk.QueuedEntityInfo) string { return e.(*framework.QueuedPodInfo).Pod.Name }
	return name(a) < name(b)
}

// queues are the simulated queue and the real one, driven alike.
type queues struct {
	clock *testingclock.FakeClock
	door  *doorman
	twin  *queue
	real  *realqueue.PriorityQueue
	pods  map[string]*v1.Pod
	// flying are pods that were popped: name -> what each queue returned.
	flying  map[string][2]*framework.QueuedPodInfo
	version int
}

func newQueues(t require.TestingT) *queues {
	prepare()
	q := &queues{
		clock: testingclock.NewFakeClock(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)), door: &doorman{map[string]bool{}},
		pods: map[string]*v1.Pod{}, flying: map[string][2]*framework.QueuedPodInfo{},
	}
	judge := func(klog.Logger, *v1.Pod, any, any) (fwk.QueueingHint, error) { return fwk.Queue, nil }
	// Fit hears of pods that go; Doorman hears of nothing, as Retinue does.
	freed := framework.EventAssignedPodDelete
	q.twin = &queue{
		less: byName, gates: []fwk.PreEnqueuePlugin{q.door}, hints: map[fwk.ClusterEvent][]hint{freed: {{"Fit", judge}}},
		gateKeys: map[string][]fwk.ClusterEvent{}, now: q.clock.Now, call: func(f func()) { f() },
		unschedulable: newTable[*framework.QueuedPodInfo](), nominated: newNominations(func(string) *v1.Pod { return nil }),
	}
	factory := informers.NewSharedInformerFactory(fake.NewClientset(), 0)
	q.real = realqueue.NewPriorityQueue(byName, factory,
		realqueue.WithClock(q.clock),
		realqueue.WithPreEnqueuePluginMap(map[string]map[string]fwk.PreEnqueuePlugin{schedulerName: {"Doorman": q.door}}),
		realqueue.WithQueueingHintMapPerProfile(realqueue.QueueingHintMapPerProfile{schedulerName: {
			freed: {{PluginName: "Fit", QueueingHintFn: judge}},
		}}),
		realqueue.WithMetricsRecorder(metrics.NewMetricsAsyncRecorder(1000, time.Hour, closed())),
	)
	require.NotNil(t, q.real)
	return q
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (q *queues) newPod(name string, priority int32) *v1.Pod {
	q.version++
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(fmt.Sprintf("%s-%d", name, q.version)), ResourceVersion: fmt.Sprint(q.version)},
		Spec:       v1.PodSpec{SchedulerName: schedulerName, Priority: &priority},
	}
}

// step lets one random thing happen to both queues.
func (q *queues) step(t *rapid.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "name")
	pod, known := q.pods[name]
	logger, ctx := klog.Background(), context.Background()
	switch rapid.SampledFrom([]string{"add", "delete", "update", "refuse", "admit", "activate", "pop", "fail", "error", "bind", "freed", "time"}).Draw(t, "event") {
	case "add":
		if _, flies := q.flying[name]; !known && !flies {
			pod = q.newPod(name, rapid.SampledFrom([]int32{0, 10}).Draw(t, "priority"))
			q.pods[name] = pod
			q.twin.add(pod)
			q.real.Add(ctx, pod)
		}
	case "delete":
		if known {
			delete(q.pods, name)
			q.twin.delete(pod)
			q.real.Delete(logger, pod)
		}
	case "update":
		if known {
			changed := *pod
			q.version++
			changed.ResourceVersion = fmt.Sprint(q.version)
			changed.Labels = map[string]string{"version": changed.ResourceVersion}
			q.pods[name] = &changed
			q.twin.update(pod, &changed)
			q.real.Update(ctx, pod, &changed)
		}
	case "refuse":
		q.door.refuses[name] = true
	case "admit":
		delete(q.door.refuses, name)
	case "activate":
		if known {
			q.twin.activate(pod)
			q.real.Activate(logger, map[string]*v1.Pod{"ns/" + name: pod})
		}
	case "pop":
		q.pop(t)
	case "fail":
		q.putBack(t, name, sets.New(rapid.SampledFrom([]string{"Fit", "Doorman"}).Draw(t, "rejector")))
	case "error":
		q.putBack(t, name, sets.New[string]())
	case "bind":
		if infos, flies := q.flying[name]; flies {
			delete(q.flying, name)
			q.twin.done(infos[0].Pod.UID)
			q.real.Done(infos[1].Pod.UID)
		}
	case "freed":
		gone := q.newPod("gone", 0)
		gone.Spec.NodeName = "node"
		q.twin.happen(framework.EventAssignedPodDelete, gone, nil, "")
		q.real.MoveAllToActiveOrBackoffQueue(logger, framework.EventAssignedPodDelete, gone, nil, nil)
	case "time":
		q.clock.Step(time.Duration(rapid.IntRange(1, 4000).Draw(t, "ms")) * time.Millisecond)
	}
}

func (q *queues) pop(t *rapid.T) {
	ready := len(q.real.PodsInActiveQ()) > 0 || q.twin.ready()
	if !ready {
		return
	}
	twin := q.twin.pop()
	if twin == nil {
		return
	}
	entity, err := q.real.Pop(klog.Background())
	require.NoError(t, err)
	real := entity.(*framework.QueuedPodInfo)
	require.Equal(t, real.Pod.UID, twin.Pod.UID, "popped")
	require.Equal(t, real.Attempts, twin.Attempts, "attempts")
	q.flying[twin.Pod.Name] = [2]*framework.QueuedPodInfo{twin, real}
}

// putBack ends the flight of a pod that still exists by a failure.
func (q *queues) putBack(t *rapid.T, name string, rejectors sets.Set[string]) {
	infos, flies := q.flying[name]
	if !flies {
		return
	}
	delete(q.flying, name)
	pod, known := q.pods[name]
	if !known || pod.UID != infos[0].Pod.UID {
		q.twin.done(infos[0].Pod.UID)
		q.real.Done(infos[1].Pod.UID)
		return
	}
	for _, info := range infos {
		info.PodInfo, _ = framework.NewPodInfo(pod)
		info.UnschedulablePlugins, info.PendingPlugins = rejectors.Clone(), sets.New[string]()
	}
	q.twin.putBack(infos[0])
	require.NoError(t, q.real.AddUnschedulablePodIfNotPresent(klog.Background(), infos[1], 0))
}

func uids(pods []*v1.Pod) []string {
	var list []string
	for _, pod := range pods {
		list = append(list, string(pod.UID)+" v"+pod.ResourceVersion)
	}
	slices.Sort(list)
	return list
}

func podsOf(lists ...[]*framework.QueuedPodInfo) (pods []*v1.Pod) {
	for _, list := range lists {
		for _, info := range list {
			pods = append(pods, info.Pod)
		}
	}
	return pods
}

// check compares what waits where.
func (q *queues) check(t *rapid.T) {
	require.Equal(t, uids(q.real.PodsInActiveQ()), uids(podsOf(q.twin.active)), "active")
	require.Equal(t, uids(q.real.PodsInBackoffQ()), uids(podsOf(q.twin.backoff, q.twin.errors)), "backing off")
	require.Equal(t, uids(q.real.UnschedulablePods()), uids(podsOf(q.twin.unschedulable.all())), "unschedulable")
	for _, name := range slices.Sorted(maps.Keys(q.pods)) {
		real, there := q.real.GetPod(name, "ns", nil)
		if !there {
			continue
		}
		info, parked := q.twin.unschedulable.get("ns/" + name)
		require.Equal(t, real.Gated(), parked && info.Gated(), "%s is gated", name)
	}
}

func TestTheQueueBehavesLikeTheRealOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueues(t)
		for range rapid.IntRange(1, 80).Draw(t, "events") {
			q.step(t)
			q.check(t)
		}
	})
}
