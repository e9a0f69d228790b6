package integration_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"
)

// What the tests of scheduler-plugins v0.34.7 create is created here, with CPUs where those count memory, and has to come to the same. Names
// of cases are theirs; docs/upstream.md lists them all.

// guests creates pods as those tests do.
type guests struct {
	s *stage
}

// create makes a pod. One that has a node is bound from the start.
func (g *guests) create(namespace, name string, cpu int, priority, group, node string) {
	g.s.t.Helper()
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1.PodSpec{
			SchedulerName: "retinue", NodeName: node, PriorityClassName: priority, TerminationGracePeriodSeconds: ptr.To[int64](0),
			Containers: []v1.Container{{Name: "con0", Image: "pause", Resources: v1.ResourceRequirements{
				Requests: v1.ResourceList{v1.ResourceCPU: *resource.NewQuantity(int64(cpu), resource.DecimalSI)},
			}}},
		},
	}
	if group != "" {
		pod.Labels = map[string]string{schedulingv1alpha1.PodGroupLabel: group}
	}
	_, err := g.s.client.CoreV1().Pods(namespace).Create(g.s.t.Context(), pod, metav1.CreateOptions{})
	require.NoError(g.s.t, err)
}

// tell prints what all pods of a failed test say.
func (g *guests) tell() {
	if !g.s.t.Failed() {
		return
	}
	for _, namespace := range append([]string{metav1.NamespaceDefault}, g.s.namespaces...) {
		pods, err := g.s.client.CoreV1().Pods(namespace).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			g.s.t.Error(err)
			continue
		}
		for _, pod := range pods.Items {
			g.s.t.Logf("%s/%s on %q, deleted %v: %v", namespace, pod.Name, pod.Spec.NodeName, pod.DeletionTimestamp, pod.Status.Conditions)
		}
		events, err := g.s.client.EventsV1().Events(namespace).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			g.s.t.Error(err)
			continue
		}
		for _, event := range events.Items {
			g.s.t.Logf("%s/%s %s: %s", namespace, event.Regarding.Name, event.Reason, event.Note)
		}
	}
}

func (g *guests) bound(namespace, name string) bool {
	pod, err := g.s.client.CoreV1().Pods(namespace).Get(g.s.t.Context(), name, metav1.GetOptions{})
	return err == nil && pod.Spec.NodeName != "" && pod.DeletionTimestamp == nil
}

// of is the stage for a part of its test, which leaves nothing behind.
func (s *stage) of(t *testing.T) *stage {
	part := *s
	part.t, part.namespaces = t, nil
	t.Cleanup(part.clear)
	return &part
}

// TestPodGroupsOfSchedulerPluginsOwnTests: the cases of TestCoschedulingPlugin and TestPodgroupBackoff.
func TestPodGroupsOfSchedulerPluginsOwnTests(t *testing.T) {
	s := newStage(t, 1, 6)
	s.installPodGroups() // which the scheduler knows within half a minute
	s.priority("mid", 100)
	s.priority("high", 1000)
	for i, test := range []struct {
		name string
		// groups have a minMember each, and minResources if they have any: "a 3", "b 4 8".
		groups []string
		// pods in the order of their creation: their group, or a dot for one by itself, what they ask for, and their priority.
		pods string
		// want are those that have to run in the end.
		want string
	}{
		{"equal priority, sequentially pg1 meet min and pg2 not meet min", []string{"a 3", "b 4"}, "a1mid a1mid a1mid b2mid b2mid b2mid b2mid", "aaa"},
		{"equal priority, not sequentially pg1 meet min and pg2 not meet min", []string{"a 3", "b 4"}, "a1mid b2mid a1mid b2mid a1mid b2mid b2mid", "aaa"},
		{"equal priority, not sequentially pg1 not meet min and 3 regular pods", []string{"a 4"}, "a1mid .2mid a1mid .2mid a1mid", ".."},
		{"different priority, sequentially pg1 meet min and pg2 meet min", []string{"a 3", "b 3"}, "a2mid a2mid a2mid b1high b1high b1high", "bbb"},
		{"different priority, not sequentially pg1 meet min and pg2 meet min", []string{"a 3", "b 3"}, "a2mid b1high a2mid b1high a2mid b1high", "bbb"},
		{"different priority, not sequentially pg1 meet min and 3 regular pods", []string{"a 3"}, "a1mid .2high a1mid .2high a1mid .2high", "..."},
		{"equal priority, not sequentially pg1 meet min and p2 p3 not meet min", []string{"a 3", "b 4", "c 4"}, "a1mid b2mid c2mid a1mid b2mid c2mid a1mid b2mid c2mid b2mid c2mid", "aaa"},
		{"equal priority, not sequentially pg1 meet min and p2 p3 not meet min, pgs have min resources", []string{"a 3 3", "b 4 8", "c 4 8"}, "a1mid b2mid c2mid a1mid b2mid c2mid a1mid b2mid c2mid b2mid c2mid", "aaa"},
		{"equal priority, not sequentially pg1 meet min and pg2 not meet min, pgs have min resources", []string{"a 3 3", "b 4 8"}, "a1mid b2mid a1mid b2mid a1mid b2mid b2mid", "aaa"},
		{"pg1 can not be scheduled and pg2 can be scheduled", []string{"a 6", "b 1"}, "a4mid a4mid a4mid a4mid a4mid a4mid b2mid", "b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := s.of(t)
			g := &guests{s: s}
			defer g.tell()
			for _, group := range test.groups {
				name, rest, _ := strings.Cut(group, " ")
				minimum, resources, some := strings.Cut(rest, " ")
				spec := fmt.Sprintf("{minMember: %s}", minimum)
				if some {
					spec = fmt.Sprintf("{minMember: %s, minResources: {cpu: %s}}", minimum, resources)
				}
				s.create(schedulingv1alpha1.SchemeGroupVersion.WithResource("podgroups"), fmt.Sprintf(
					"{apiVersion: scheduling.x-k8s.io/v1alpha1, kind: PodGroup, metadata: {namespace: default, name: %s-%d}, spec: %s}", name, i, spec))
			}
			var want, others []string
			for at, pod := range strings.Fields(test.pods) {
				group, name := pod[:1], fmt.Sprintf("pod-%d", at)
				if group == "." {
					group = ""
				} else {
					group = fmt.Sprintf("%s-%d", group, i)
				}
				g.create(metav1.NamespaceDefault, name, int(pod[1]-'0'), pod[2:], group, "")
				if strings.Contains(test.want, pod[:1]) {
					want = append(want, name)
				} else {
					others = append(others, name)
				}
			}
			require.Len(t, want, len(test.want))
			for _, name := range want {
				require.True(t, eventually(func() bool { return g.bound(metav1.NamespaceDefault, name) }), "%s does not run", name)
			}
			if strings.HasPrefix(test.name, "different priority") {
				return // some of the others may have run, and some of those may be left
			}
			for _, name := range others {
				require.False(t, g.bound(metav1.NamespaceDefault, name), "%s runs", name)
			}
			for _, name := range want {
				require.True(t, g.bound(metav1.NamespaceDefault, name), "%s does not run any more", name)
			}
		})
	}
}

// awaitUsed waits until the ElasticQuota of a namespace counts.
func (s *stage) awaitUsed(namespace string, cpu int64) {
	s.t.Helper()
	require.True(s.t, eventually(func() bool {
		object, err := s.objects(elasticResource, namespace).Get(s.t.Context(), "eq", metav1.GetOptions{})
		require.NoError(s.t, err)
		var quota schedulingv1alpha1.ElasticQuota
		require.NoError(s.t, runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &quota))
		return quota.Status.Used.Cpu().Value() == cpu
	}), "the ElasticQuota of %s does not say that %d is used", namespace, cpu)
}

// TestElasticQuotasOfSchedulerPluginsOwnTests: the cases of TestCapacityScheduling.
func TestElasticQuotasOfSchedulerPluginsOwnTests(t *testing.T) {
	s := newStage(t, 2, 100)
	s.installPodGroups()
	s.priority("low", 1)
	s.priority("mid", 100)
	s.priority("high", 1000)
	nodes, err := s.client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, nodes.Items, 2)
	for i, test := range []struct {
		name string
		// quotas are min and max of a namespace: "1 100 200".
		quotas []string
		// there are the pods that run, and added are those that come: namespace, what they ask for, priority, node.
		there, added string
		// want are those that have to run in the end, by their place in both.
		want []int
	}{
		{"cross-namespace preemption", []string{"1 100 200", "2 100 200"}, "1/50/mid/1 1/50/mid/1 1/50/low/2", "2/50/mid 2/50/mid 2/50/low", []int{0, 1, 3, 4}},
		{"in-namespace preemption", []string{"1 100 200", "2 100 200"}, "1/50/mid/1 1/50/low/1 2/50/mid/2 2/50/low/2", "1/50/mid 2/50/mid", []int{0, 2, 4, 5}},
		{"regular preemption without Elastic Quota", nil, "1/50/high/1 1/50/low/1 2/50/high/2 2/50/low/2", "1/50/mid 2/50/mid", []int{0, 2, 4, 5}},
		{"in-namespace preemption failed because it can't find node which is suitable for preemption", []string{"1 100 200", "2 100 200"}, "1/50/mid/1 1/50/mid/1 1/50/low/2 2/50/mid/2", "1/150/high 2/150/high", []int{0, 1, 2, 3}},
		{"pod subjects to overused quota can't preempt pods subjects to other quotas", []string{"1 100 200", "2 100 200"}, "1/50/mid/1 2/50/high/1 2/50/high/2 2/50/high/2", "2/50/high", []int{0, 1, 2, 3}},
		{"cross-node preemption isn't supported", []string{"1 100 200", "2 100 200"}, "1/50/low/1 1/50/low/2 2/50/mid/1 2/50/mid/2", "1/100/high 2/100/high", []int{0, 1, 2, 3}},
		{"cross-namespace preemption with three elasticquota", []string{"1 1 3", "2 3 3", "3 3 4"}, "1/1/high/1 1/1/mid/2 1/1/mid/2 2/1/mid/2 2/1/mid/1 2/1/mid/2", "3/1/mid 3/1/mid 3/1/mid 3/1/mid", []int{0, 3, 4, 5, 6, 7, 8}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := s.of(t)
			g := &guests{s: s}
			defer g.tell()
			namespace := func(n string) string { return fmt.Sprintf("case-%d-ns%s", i, n) }
			for _, n := range []string{"1", "2", "3"} {
				s.namespace(namespace(n))
			}
			for _, quota := range test.quotas {
				words := strings.Fields(quota)
				s.elasticQuota(namespace(words[0]), "eq", fmt.Sprintf("{min: {cpu: %s}, max: {cpu: %s}}", words[1], words[2]))
			}
			names, held := map[int][2]string{}, map[string]int64{} // index of a pod -> namespace, name; namespace -> CPUs
			for at, pod := range strings.Fields(test.there + " " + test.added) {
				if at == len(strings.Fields(test.there)) && len(test.quotas) > 0 {
					for namespace, cpu := range held {
						s.awaitUsed(namespace, cpu)
					}
				}
				words := strings.Split(pod, "/")
				node := ""
				if len(words) > 3 {
					node = nodes.Items[words[3][0]-'1'].Name
				}
				cpu, name := 0, fmt.Sprintf("pod-%d", at)
				_, err := fmt.Sscan(words[1], &cpu)
				require.NoError(t, err)
				names[at] = [2]string{namespace(words[0]), name}
				g.create(names[at][0], name, cpu, words[2], "", node)
				held[names[at][0]] += int64(cpu)
			}
			runs := func(at int) bool { return g.bound(names[at][0], names[at][1]) }
			for _, at := range test.want {
				require.True(t, eventually(func() bool { return runs(at) }), "pod %d does not run", at)
			}
			for at := range names {
				pod, err := s.client.CoreV1().Pods(names[at][0]).Get(t.Context(), names[at][1], metav1.GetOptions{})
				if err == nil && pod.Spec.NodeName == "" { // it has been looked at
					require.True(t, eventually(func() bool {
						pod, err := s.client.CoreV1().Pods(names[at][0]).Get(t.Context(), names[at][1], metav1.GetOptions{})
						return err != nil || refused(pod)
					}))
				}
			}
			for _, at := range test.want {
				require.True(t, runs(at), "pod %d does not run any more", at)
			}
		})
	}
}
