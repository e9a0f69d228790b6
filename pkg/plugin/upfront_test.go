package plugin

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// clientExecutor is an executor of a driver outside the cluster, which says how many of them start together.
func clientExecutor(name string, together, cpu int) *v1.Pod {
	pod := executor(name, "app", cpu)
	pod.OwnerReferences = nil
	pod.Annotations = map[string]string{spark.AnnotationWorkers: fmt.Sprint(together)}
	return pod
}

// groupMember is a pod of a PodGroup.
func groupMember(name, group string, cpu int) *v1.Pod {
	pod := lone(name, cpu)
	pod.Labels = map[string]string{schedulingv1alpha1.PodGroupLabel: group}
	return pod
}

func TestPodsOfAnUpfrontGangAreBoundTogether(t *testing.T) {
	bubble(t, "", nodes(4, "a", "b"), func(h *harness) {
		h.create(clientExecutor("e1", 3, 2), clientExecutor("e2", 3, 2))
		assert.Equal(t, "GangIncomplete: 2 of 3 pods that start together are there", h.reserve("e1").status.Message())
		h.create(clientExecutor("e3", 3, 2))
		assert.Contains(t, h.woken(), "e1")
		assert.Equal(t, "PreEnqueue", h.reserve("e2").point, "one is tried for all")

		first := h.hold("e1")
		assert.True(t, first.status.IsWait())
		assert.Contains(t, h.woken(), "e2")
		h.create(lone("other", 3))
		assert.Equal(t, "Filter", h.schedule("other").point, "all slots are reserved at once")
		second := h.hold("e2")
		assert.True(t, second.status.IsWait())
		assert.Empty(t, h.pod("e1").Spec.NodeName)

		third := h.hold("e3")
		h.after(time.Second)
		for i, a := range []*attempt{first, second, third} {
			assert.True(t, a.status.IsSuccess(), "%v", a.status)
			assert.Equal(t, a.node, h.pod(fmt.Sprint("e", i+1)).Spec.NodeName)
		}
		gangs := h.plugin.Ledger().Gangs()
		require.Len(t, gangs, 1)
		for _, slot := range gangs[0].Slots {
			assert.NotEmpty(t, slot.Worker, "a bound pod keeps its slot")
		}
		assert.Contains(t, h.told(), "Normal GangAdmitted 3 pods that start together have room on 2 nodes")
	})
}

func TestPodsOfAnUpfrontGangGiveTheirNodesBackTogether(t *testing.T) {
	bubble(t, "", nodes(4, "a", "b"), func(h *harness) {
		p := h.plugin
		p.tell(ledger.GroupSeen{Group: ledger.Group{Key: groupKey("ns", "g"), Minimum: 3, Timeout: 30 * time.Second}})
		h.create(groupMember("m1", "g", 2), groupMember("m2", "g", 2), groupMember("m3", "g", 2))
		first, second := h.hold("m1"), h.hold("m2")
		h.after(time.Minute) // the third does not come
		for _, a := range []*attempt{first, second} {
			assert.False(t, a.status.IsSuccess())
			assert.Contains(t, a.status.Message(), "GangTimeout: 1 of 3 pods that start together found no node within 30s")
		}
		h.create(lone("other", 4))
		assert.Equal(t, "Bind", h.schedule("other").point, "nothing is held any more")
		assert.Contains(t, h.condition("m1"), "GangTimeout")
	})
}

// A scheduler that was killed while it bound a gang leaves some of its pods bound, and others nominated.
func TestAHalfBoundGangIsCompletedWhereItWasGoing(t *testing.T) {
	var left []*v1.Pod
	for i, at := range []string{"a", "c", "c"} {
		pod := clientExecutor(fmt.Sprint("e", i+1), 3, 2)
		if i == 0 {
			on(at, pod)
		} else {
			pod.Status.NominatedNodeName = at
		}
		left = append(left, pod)
	}
	objects := append(nodes(4, "a", "b", "c"), left[0], left[1], left[2])
	bubble(t, "", objects, func(h *harness) {
		h.create(lone("other", 4))
		assert.Equal(t, "b", h.schedule("other").node, "the room on c is kept")
		for _, name := range []string{"e2", "e3"} {
			a := h.schedule(name)
			assert.True(t, a.status.IsSuccess(), "%v", a.status)
			assert.Equal(t, "c", a.node)
		}
	})
}

func TestWhatIsWrongWithAnUpfrontGangIsSaid(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		wrong := clientExecutor("wrong", 0, 1)
		gated := groupMember("gated", "g", 1)
		gated.Spec.SchedulingGates = []v1.PodSchedulingGate{{Name: "later"}}
		h.create(wrong, groupMember("m1", "g", 1), groupMember("m2", "g", 1), gated)
		assert.Contains(t, h.reserve("wrong").status.Message(), `annotation retinue.dev/workers="0"`)
		assert.Equal(t, "GangIncomplete: ns/podgroup/g does not exist", h.reserve("m1").status.Message())
		h.plugin.tell(ledger.GroupSeen{Group: ledger.Group{Key: groupKey("ns", "g"), Minimum: 3}})
		assert.Equal(t, "GangIncomplete: 2 of 3 pods that start together are there", h.reserve("m1").status.Message(), "what has a gate is not there")
		h.plugin.tell(ledger.GroupSeen{Group: ledger.Group{Key: groupKey("ns", "g"), Minimum: 2, Resources: resource.Vector{CPU: 5000}}})
		assert.Equal(t, "ClusterFull: minResources asks for cpu 1 more than is free", h.reserve("m1").status.Message())
	})
}

func TestPodGroupsAreRead(t *testing.T) {
	tests := map[string]struct {
		spec map[string]any
		want ledger.Group
	}{
		"all there is": {
			map[string]any{"minMember": int64(3), "minResources": map[string]any{"cpu": "4", "memory": "1Gi"}, "scheduleTimeoutSeconds": int64(90)},
			ledger.Group{Minimum: 3, Resources: resource.Vector{CPU: 4000, Memory: 1 << 30}, Timeout: 90 * time.Second},
		},
		"only a minimum": {map[string]any{"minMember": int64(1)}, ledger.Group{Minimum: 1}},
		"no minimum":     {map[string]any{}, ledger.Group{Problem: "PodGroup ns/g: spec.minMember=0: want at least 1"}},
		"a minimum below one": {
			map[string]any{"minMember": int64(-1)}, ledger.Group{Problem: "PodGroup ns/g: spec.minMember=-1: want at least 1"},
		},
		"a negative resource": {
			map[string]any{"minMember": int64(1), "minResources": map[string]any{"cpu": "-4"}},
			ledger.Group{Minimum: 1, Problem: "PodGroup ns/g: spec.minResources[cpu]=-4: want at least 0"},
		},
		"a negative timeout": {
			map[string]any{"minMember": int64(1), "scheduleTimeoutSeconds": int64(-5)},
			ledger.Group{Minimum: 1, Problem: "PodGroup ns/g: spec.scheduleTimeoutSeconds=-5: want at least 0"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"namespace": "ns", "name": "g"}, "spec": test.spec}}
			test.want.Key = gang.Key{Namespace: "ns", Name: "podgroup/g"}
			assert.Equal(t, test.want, groupOf(object))
		})
	}
	t.Run("another shape", func(t *testing.T) {
		object := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"namespace": "ns", "name": "g"}, "spec": "none"}}
		assert.Contains(t, groupOf(object).Problem, "PodGroup ns/g: spec=none: ")
	})
}

func TestStatusOfPodGroups(t *testing.T) {
	type pods struct{ waiting, scheduled, running, succeeded, failed int }
	tests := map[string]struct {
		pods pods
		want schedulingv1alpha1.PodGroupPhase
	}{
		"no pods":                        {pods{}, schedulingv1alpha1.PodGroupPending},
		"all wait":                       {pods{waiting: 3}, schedulingv1alpha1.PodGroupPending},
		"some have a node":               {pods{waiting: 1, scheduled: 2}, schedulingv1alpha1.PodGroupUnknown},
		"all have a node":                {pods{scheduled: 2, running: 1}, schedulingv1alpha1.PodGroupScheduling},
		"all run":                        {pods{running: 3}, schedulingv1alpha1.PodGroupRunning},
		"some run and some have ended":   {pods{running: 1, succeeded: 2}, schedulingv1alpha1.PodGroupRunning},
		"one has failed":                 {pods{running: 2, failed: 1}, schedulingv1alpha1.PodGroupFailed},
		"one has failed and is replaced": {pods{running: 3, failed: 1}, schedulingv1alpha1.PodGroupFailed},
		"all have ended":                 {pods{succeeded: 3}, schedulingv1alpha1.PodGroupFinished},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			group := &schedulingv1alpha1.PodGroup{Spec: schedulingv1alpha1.PodGroupSpec{MinMember: 3}}
			var list []v1.Pod
			add := func(n int, phase v1.PodPhase, node string) {
				for range n {
					list = append(list, v1.Pod{
						ObjectMeta: metav1.ObjectMeta{Namespace: "ns", OwnerReferences: []metav1.OwnerReference{{Kind: "Job", Name: "job", Controller: ptr.To(true)}}},
						Spec:       v1.PodSpec{NodeName: node}, Status: v1.PodStatus{Phase: phase},
					})
				}
			}
			add(test.pods.waiting, v1.PodPending, "")
			add(test.pods.scheduled, v1.PodPending, "a")
			add(test.pods.running, v1.PodRunning, "a")
			add(test.pods.succeeded, v1.PodSucceeded, "a")
			add(test.pods.failed, v1.PodFailed, "a")
			got := statusOfGroup(group, list, clockStart)
			require.Equal(t, test.want, got.Phase)
			require.Equal(t, []int{test.pods.running, test.pods.succeeded, test.pods.failed}, []int{int(got.Running), int(got.Succeeded), int(got.Failed)})
			require.Equal(t, len(list) > 0, got.OccupiedBy == "ns/job")
			require.Equal(t, len(list) == test.pods.waiting, got.ScheduleStartTime.IsZero())
			group.Status = got
			require.Equal(t, got, statusOfGroup(group, list, clockStart.Add(time.Hour)), "the same pods, the same status")
		})
	}
}

// The rules about other pods are rehearsed for an up-front gang as for any other.
func TestPodsOfAnUpfrontGangThatKeepApart(t *testing.T) {
	filtered(t, "", []runtime.Object{in("x", "x1", 16), in("x", "x2", 16)}, func(h *harness) {
		for i := range 3 {
			pod := clientExecutor(fmt.Sprint("e", i+1), 3, 2)
			pod.Spec.Affinity = apart(v1.LabelHostname, executorsOnly)
			h.create(pod)
		}
		assert.Contains(t, h.schedule("e1").status.Message(), "Constraints: 2 of 3 pods of role executor find nodes and the next does not")
		h.create(in("y", "y1", 16))
		assert.Contains(t, h.woken(), "e1")
		attempts := []*attempt{h.hold("e1"), h.hold("e2"), h.hold("e3")}
		h.after(time.Second)
		nodes := sets.New[string]()
		for _, a := range attempts {
			assert.True(t, a.status.IsSuccess(), "%v", a.status)
			nodes.Insert(a.node)
		}
		assert.Len(t, nodes, 3)
	})
}
