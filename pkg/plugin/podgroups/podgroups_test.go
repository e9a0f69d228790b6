package podgroups

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/resource"
)

var clockStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestPodGroupsAreRead(t *testing.T) {
	tests := map[string]struct {
		spec, status map[string]any
		want         ledger.Group
	}{
		"pods that have ended": {
			map[string]any{"minMember": int64(3)}, map[string]any{"succeeded": int64(2), "failed": int64(1), "scheduleStartTime": "2026-01-01T00:00:00Z"},
			ledger.Group{Minimum: 3, Succeeded: 2, Started: true},
		},
		"fewer than none that have ended": {map[string]any{"minMember": int64(3)}, map[string]any{"succeeded": int64(-2)}, ledger.Group{Minimum: 3}},
		"all there is": {
			map[string]any{"minMember": int64(3), "minResources": map[string]any{"cpu": "4", "memory": "1Gi"}, "scheduleTimeoutSeconds": int64(90)}, nil,
			ledger.Group{Minimum: 3, Resources: resource.Vector{CPU: 4000, Memory: 1 << 30}, Timeout: 90 * time.Second},
		},
		"only a minimum": {map[string]any{"minMember": int64(1)}, nil, ledger.Group{Minimum: 1}},
		"a timeout beyond all measure": {
			map[string]any{"minMember": int64(1), "scheduleTimeoutSeconds": int64(2147483647)}, nil, ledger.Group{Minimum: 1, Timeout: 5 * time.Minute},
		},
		"no minimum": {map[string]any{}, nil, ledger.Group{Problem: "PodGroup ns/g: spec.minMember=0: want 1 to 100000"}},
		"a minimum below one": {
			map[string]any{"minMember": int64(-1)}, nil, ledger.Group{Problem: "PodGroup ns/g: spec.minMember=-1: want 1 to 100000"},
		},
		"a negative resource": {
			map[string]any{"minMember": int64(1), "minResources": map[string]any{"cpu": "-4"}}, nil,
			ledger.Group{Minimum: 1, Problem: "PodGroup ns/g: spec.minResources[cpu]=-4: want at least 0"},
		},
		"a negative timeout": {
			map[string]any{"minMember": int64(1), "scheduleTimeoutSeconds": int64(-5)}, nil,
			ledger.Group{Minimum: 1, Problem: "PodGroup ns/g: spec.scheduleTimeoutSeconds=-5: want at least 0"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"namespace": "ns", "name": "g"}, "spec": test.spec}}
			if test.status != nil {
				object.Object["status"] = test.status
			}
			test.want.Key = gang.Key{Namespace: "ns", Name: "podgroup/g"}
			assert.Equal(t, test.want, read(object))
		})
	}
	t.Run("another shape", func(t *testing.T) {
		object := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"namespace": "ns", "name": "g"}, "spec": "none"}}
		assert.Contains(t, read(object).Problem, "PodGroup ns/g: cannot restore struct")
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
			got := statusOf(group, list, clockStart)
			require.Equal(t, test.want, got.Phase)
			require.Equal(t, []int{test.pods.running, test.pods.succeeded, test.pods.failed}, []int{int(got.Running), int(got.Succeeded), int(got.Failed)})
			require.Equal(t, len(list) > 0, got.OccupiedBy == "ns/job")
			require.Equal(t, len(list) == test.pods.waiting, got.ScheduleStartTime.IsZero())
			group.Status = got
			require.Equal(t, got, statusOf(group, list, clockStart.Add(time.Hour)), "the same pods, the same status")
		})
	}
}
