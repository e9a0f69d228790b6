package integration_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

// TestNodesThatOthersUseAreNoGuarantee: 48 cores for two queues that are guaranteed 60 and 50, and 64 on nodes that take none of their
// pods. Whoever comes first has all 48, until the nodes that others use do not count.
func TestNodesThatOthersUseAreNoGuarantee(t *testing.T) {
	s := newStageWith(t, start(t), sparkPool("gpu", 4), 3, 16)
	s.namespace("web")
	reclaim := "reclaim: {enabled: true, after: 0s, grace: 1s, deadZone: 0, utilization: 80}"
	s.queue("etl", "{namespaces: [default], guaranteed: {cpu: 60}, "+reclaim+"}")
	s.queue("web", "{namespaces: [web], guaranteed: {cpu: 50}, "+reclaim+"}")
	s.awaitValid("etl")
	s.awaitValid("web")
	for i := range 12 {
		s.lone(fmt.Sprint("etl-", i), 4)
	}
	for i := range 12 {
		s.awaitBound(fmt.Sprint("etl-", i))
	}
	_, err := s.client.CoreV1().Pods("web").Create(t.Context(), &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "first"}, Spec: v1.PodSpec{
		SchedulerName: "retinue", Containers: []v1.Container{{Name: "main", Image: "lone", Resources: v1.ResourceRequirements{
			Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("4")},
		}}},
	}}, metav1.CreateOptions{})
	require.NoError(t, err)
	first := func() *v1.Pod {
		pod, err := s.client.CoreV1().Pods("web").Get(t.Context(), "first", metav1.GetOptions{})
		require.NoError(t, err)
		return pod
	}
	require.True(t, eventually(func() bool { return refused(first()) }), "it is not refused")

	others := "{nodeSelector: {matchExpressions: [{key: pool, operator: DoesNotExist}]}}"
	s.specify("etl", others)
	s.specify("web", others)
	for name, guaranteed := range map[string]int64{"etl": 26181, "web": 21818} {
		status := s.awaitQueue(name, "has the nodes that it selects", func(status v1alpha1.QueueStatus) bool {
			return status.Pool != nil && status.Pool.Nodes == 3 && status.Guaranteed.Cpu().MilliValue() == guaranteed
		})
		require.Equal(t, int64(48), status.Pool.Capacity.Cpu().Value())
		s.awaitInvalid(name, "more than the nodes that it selects have")
	}
	require.True(t, eventually(func() bool { return first().Spec.NodeName != "" }), "nothing was taken back for it")

	// Nodes that come to the pool count at once.
	node, err := s.client.CoreV1().Nodes().Get(t.Context(), "gpu-0000", metav1.GetOptions{})
	require.NoError(t, err)
	delete(node.Labels, "pool")
	_, err = s.client.CoreV1().Nodes().Update(t.Context(), node, metav1.UpdateOptions{})
	require.NoError(t, err)
	s.awaitQueue("web", "has one node more", func(status v1alpha1.QueueStatus) bool {
		return status.Pool.Nodes == 4 && status.Pool.Capacity.Cpu().Value() == 64
	})
}

// TestASelectorOfNodesThatMakesNoSenseIsRefused: by the API server where it can know, else by the queue's condition.
func TestASelectorOfNodesThatMakesNoSenseIsRefused(t *testing.T) {
	s := newStageWith(t, start(t), sparkPool("gpu", 1), 1, 4)
	many := ""
	for i := range 17 {
		many += fmt.Sprintf("label-%d: x, ", i)
	}
	for spec, want := range map[string]string{
		"{nodeSelector: {}}":                                                                    "an empty selector selects every node",
		"{nodeSelector: {matchLabels: {" + many + "}}}":                                         "at most 16 labels and expressions",
		"{parent: a, nodeSelector: {matchLabels: {pool: x}}}":                                   "a queue with a parent has the nodes of the queue at the top of its tree",
		"{nodeSelector: {matchExpressions: [{key: pool, operator: In, values: [x]}], some: 1}}": "",
	} {
		object := &unstructured.Unstructured{}
		require.NoError(t, yaml.Unmarshal(fmt.Appendf(nil, "{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: refused}, spec: %s}", spec), &object.Object))
		_, err := s.objects(queuesResource, "").Create(t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if want == "" {
			require.NoError(t, err, spec)
			continue
		}
		require.True(t, apierrors.IsInvalid(err), "%s: %v", spec, err)
		require.ErrorContains(t, err, want)
	}
	s.queue("odd", "{nodeSelector: {matchExpressions: [{key: pool, operator: Near, values: [x]}]}}")
	s.queue("all", "{nodeSelector: {matchLabels: {pool: spark}}}")
	s.queue("zoo", "{nodeSelector: {matchExpressions: [{key: pool, operator: Exists}]}}")
	s.awaitInvalid("odd", `spec.nodeSelector: `)
	s.awaitInvalid("odd", `counts as not written`)
	s.awaitInvalid("zoo", "1 of the nodes that it selects do not count for it, because a queue that comes before it by name, such as all, selects them as well")
	s.awaitValid("all")
}
