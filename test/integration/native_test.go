package integration_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

// newNativeStage is a stage of two nodes of 4 CPUs on a cluster of its own that knows native PodGroups.
func newNativeStage(t *testing.T) *stage {
	t.Helper()
	needsCluster(t)
	// It lists what others stream, as older API servers do, so that its audit log has both.
	const gates = "--feature-gates=GenericWorkload=true"
	c := clusterForTest(t, cluster.Config{ExtraArgs: map[cluster.Component][]string{
		cluster.APIServer:         {gates + ",WatchList=false", "--runtime-config=" + schedulingv1beta1.SchemeGroupVersion.String() + "=true"},
		cluster.ControllerManager: {gates},
		cluster.Scheduler:         {gates},
	}})
	return newStageOn(t, c, 2, 4)
}

// TestExecutorsMayBeOfAGroupOfKubernetesOwnAsWell: executors of a driver are also the members of a native PodGroup, to which the driver
// does not belong. The slots are Retinue's and the barrier is the in-tree plugin's: whatever minCount says, the executors start all or
// not at all.
func TestExecutorsMayBeOfAGroupOfKubernetesOwnAsWell(t *testing.T) {
	s := newNativeStage(t)
	// A group that comes after its pods lets them into the queue one by one, and the in-tree plugin may try it with the first alone, in vain.
	s.halves = []string{"late"}
	group := func(name string, minCount int32) {
		_, err := s.client.SchedulingV1beta1().PodGroups(metav1.NamespaceDefault).Create(t.Context(), &schedulingv1beta1.PodGroup{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       schedulingv1beta1.PodGroupSpec{SchedulingPolicy: schedulingv1beta1.PodGroupSchedulingPolicy{Gang: &schedulingv1beta1.GangSchedulingPolicy{MinCount: minCount}}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	executors := func(driver *v1.Pod, group string) {
		for i := range 2 {
			s.member(fmt.Sprintf("%s-%d", group, i), 2, func(pod *v1.Pod) {
				pod.Labels = map[string]string{
					spark.LabelRole: spark.RoleExecutor, spark.LabelApp: driver.Labels[spark.LabelApp], spark.LabelAppName: driver.Labels[spark.LabelAppName],
					spark.LabelExecutorID: fmt.Sprint(i), spark.LabelResourceProfile: "0",
				}
				pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID, Controller: ptr.To(true)}}
				pod.Spec.SchedulingGroup = &v1.PodSchedulingGroup{PodGroupName: ptr.To(group)}
			})
		}
	}
	runs := func(name string) *v1.Pod {
		driver := s.submit(sized(name, 1, 2, 2))
		s.awaitOne(name, "has a driver that runs", func(a chronicle.Application) bool { return a.Phase == v1.PodRunning && a.Slots == 2 })
		return driver
	}
	ends := func(driver *v1.Pod) {
		require.NoError(t, s.client.CoreV1().Pods(driver.Namespace).Delete(t.Context(), driver.Name, metav1.DeleteOptions{}))
		for i := range 2 {
			for _, of := range []string{"equal", "below", "late", "above"} {
				_ = s.client.CoreV1().Pods(driver.Namespace).Delete(t.Context(), fmt.Sprintf("%s-%d", of, i), metav1.DeleteOptions{})
			}
		}
	}

	for _, test := range []struct {
		name     string
		minCount int32
	}{{"equal", 2}, {"below", 1}, {"late", 2}} {
		driver := runs(test.name)
		if test.name == "late" {
			executors(driver, test.name)
			s.requireUnbound("late-0")
			group(test.name, test.minCount)
		} else {
			group(test.name, test.minCount)
			executors(driver, test.name)
		}
		s.awaitBound(test.name + "-0")
		s.awaitBound(test.name + "-1")
		ends(driver)
	}

	// Three are to start together, and the application makes two: the in-tree plugin binds neither.
	driver := runs("above")
	group("above", 3)
	executors(driver, "above")
	s.lone("behind", 1) // behind them, and placed: they have been looked at
	s.awaitBound("behind")
	s.requireUnbound("above-0")
	s.requireUnbound("above-1")
	// A third comes, whom nobody has foreseen: it goes by itself, and the barrier opens.
	s.member("above-2", 1, func(pod *v1.Pod) { pod.Spec.SchedulingGroup = &v1.PodSchedulingGroup{PodGroupName: ptr.To("above")} })
	for i := range 3 {
		s.awaitBound(fmt.Sprint("above-", i))
	}
	ends(driver)
}

// TestKubernetesOwnPodGroupsAreGangsOfTheLedger: they take back what lower priorities hold, go whole if their disruptionMode says so, and
// wait for their queue all together.
func TestKubernetesOwnPodGroupsAreGangsOfTheLedger(t *testing.T) {
	s := newNativeStage(t)
	s.priority("urgent", 1000)
	group := func(name, priority string, minCount int32, cpu int, mode *schedulingv1beta1.DisruptionMode) {
		_, err := s.client.SchedulingV1beta1().PodGroups(metav1.NamespaceDefault).Create(t.Context(), &schedulingv1beta1.PodGroup{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: schedulingv1beta1.PodGroupSpec{
				SchedulingPolicy:  schedulingv1beta1.PodGroupSchedulingPolicy{Gang: &schedulingv1beta1.GangSchedulingPolicy{MinCount: minCount}},
				PriorityClassName: priority, DisruptionMode: mode,
			},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
		for i := range minCount {
			s.member(fmt.Sprint(name, "-", i), cpu, func(pod *v1.Pod) {
				pod.Spec.SchedulingGroup = &v1.PodSchedulingGroup{PodGroupName: ptr.To(name)}
				pod.Spec.PriorityClassName = priority
			})
		}
	}
	gone := s.departures()
	for _, name := range []string{"low-0", "low-1"} {
		s.lone(name, 3)
		s.awaitBound(name)
	}
	group("high", "urgent", 2, 3, nil)
	s.awaitBound("high-0")
	s.awaitBound("high-1")
	require.ElementsMatch(t, []string{"low-0 EvictionByEvictionAPI", "low-1 EvictionByEvictionAPI"}, gone.all())
	s.remove("high-0")
	s.remove("high-1")

	group("whole", "", 2, 3, &schedulingv1beta1.DisruptionMode{All: &schedulingv1beta1.AllDisruptionMode{}})
	s.awaitBound("whole-0")
	s.awaitBound("whole-1")
	s.member("urgent", 3, func(pod *v1.Pod) { pod.Spec.PriorityClassName = "urgent" })
	s.awaitBound("urgent")
	for _, name := range []string{"whole-0", "whole-1"} {
		require.True(t, eventually(func() bool { return slices.Contains(gone.all(), name+" EvictionByEvictionAPI") }), "%s stays", name)
	}
	s.remove("urgent")

	s.queue("etl", "{namespaces: [default], limit: {cpu: 5}}")
	s.awaitValid("etl")
	s.lone("other", 2)
	s.awaitBound("other")
	group("over", "", 2, 2, nil)
	for _, name := range []string{"over-0", "over-1"} {
		require.Eventually(t, func() bool {
			for _, condition := range s.pod(name).Status.Conditions {
				if condition.Type == v1.PodScheduled && strings.Contains(condition.Message, "QueueLimit") {
					return true
				}
			}
			return false
		}, patience, look, name)
		s.requireUnbound(name)
	}
	s.specify("etl", "{limit: {cpu: 6}}")
	s.awaitBound("over-0")
	s.awaitBound("over-1")
}
