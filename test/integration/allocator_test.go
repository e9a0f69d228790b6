package integration_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

// With spark.kubernetes.allocation.pods.allocator the driver creates no pods but a StatefulSet or, since Spark 4.1, a
// Deployment that it owns. What that creates does not name the driver as its owner, and is known by its labels.
func TestExecutorsFromAControllerClaimTheSlotsOfTheirDriver(t *testing.T) {
	const executors, cpu = 5, 2
	for allocator, create := range map[string]func(s *stage, meta metav1.ObjectMeta, selector *metav1.LabelSelector, template v1.PodTemplateSpec) error{
		"statefulset": func(s *stage, meta metav1.ObjectMeta, selector *metav1.LabelSelector, template v1.PodTemplateSpec) error {
			_, err := s.client.AppsV1().StatefulSets(meta.Namespace).Create(s.t.Context(), &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{
				Replicas: ptr.To[int32](executors), Selector: selector, Template: template, PodManagementPolicy: appsv1.ParallelPodManagement,
			}}, metav1.CreateOptions{})
			return err
		},
		"deployment": func(s *stage, meta metav1.ObjectMeta, selector *metav1.LabelSelector, template v1.PodTemplateSpec) error {
			_, err := s.client.AppsV1().Deployments(meta.Namespace).Create(s.t.Context(), &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
				Replicas: ptr.To[int32](executors), Selector: selector, Template: template,
			}}, metav1.CreateOptions{})
			return err
		},
	} {
		t.Run(allocator, func(t *testing.T) {
			s := newStage(t, 2, 8)
			application := sized(allocator, 1, executors, cpu)
			application.Properties["spark.kubernetes.allocation.pods.allocator"] = allocator
			driver := s.submit(application)
			s.awaitOne(allocator, "has a driver that runs", func(a chronicle.Application) bool { return a.Phase == v1.PodRunning && a.Slots == executors })
			driver = s.pod(driver.Name)
			s.lone("thief", 5) // fits beside the driver, were it not for the slots
			s.awaitRefused("thief")

			meta, selector, template := controlled(driver, cpu)
			t.Cleanup(func() { s.dropControllers() })
			require.NoError(t, create(s, meta, selector, template))
			s.awaitExecutors(allocator, executors, "")
			require.Equal(t, slotsOf(t, driver), s.nodesOfExecutors(allocator), "each has gone to its slot")

			// What replaces a lost one gets its slot, also when another scheduler process has taken over.
			s.restart()
			lost := s.pod(s.executorsOf(allocator)[0])
			s.remove(lost.Name)
			s.awaitExecutors(allocator, executors, lost.UID)
			s.requireUnbound("thief")

			s.remove(driver.Name)
			s.awaitBound("thief")
		})
	}
}

// controlled is what a driver hands to a controller that makes its executors.
func controlled(driver *v1.Pod, cpu int64) (metav1.ObjectMeta, *metav1.LabelSelector, v1.PodTemplateSpec) {
	labels := map[string]string{
		spark.LabelRole: spark.RoleExecutor, spark.LabelApp: driver.Labels[spark.LabelApp], spark.LabelAppName: driver.Labels[spark.LabelAppName],
		spark.LabelResourceProfile: "0", spark.LabelExecutorID: "EXECID",
	}
	meta := metav1.ObjectMeta{
		Namespace: driver.Namespace, Name: "spark-s-" + driver.Labels[spark.LabelApp][:20] + "-0",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID, Controller: ptr.To(true)}},
	}
	return meta, &metav1.LabelSelector{MatchLabels: labels}, v1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec: v1.PodSpec{SchedulerName: "retinue", Containers: []v1.Container{{
			Name: spark.ExecutorContainer, Image: "spark",
			Resources: v1.ResourceRequirements{Requests: v1.ResourceList{
				v1.ResourceCPU: *resource.NewQuantity(cpu, resource.DecimalSI), v1.ResourceMemory: resource.MustParse("1408Mi"),
			}},
		}}},
	}
}

// dropControllers deletes all controllers, before the pods are deleted that they would make again.
func (s *stage) dropControllers() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	apps, now := s.client.AppsV1(), metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationBackground)}
	require.NoError(s.t, apps.StatefulSets(metav1.NamespaceDefault).DeleteCollection(ctx, now, metav1.ListOptions{}))
	require.NoError(s.t, apps.Deployments(metav1.NamespaceDefault).DeleteCollection(ctx, now, metav1.ListOptions{}))
	require.NoError(s.t, apps.ReplicaSets(metav1.NamespaceDefault).DeleteCollection(ctx, now, metav1.ListOptions{}))
}

// awaitExecutors waits until so many executors of an application run, without a certain one.
func (s *stage) awaitExecutors(name string, count int, without types.UID) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		running := s.executorsOf(name)
		for _, executor := range running {
			if pod, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).Get(s.t.Context(), executor, metav1.GetOptions{}); err != nil || pod.UID == without {
				return false
			}
		}
		return len(running) == count
	}, patience, 10*look, "%d executors of %s do not run", count, name)
}

// nodesOfExecutors counts the executors of an application that run: node -> count.
func (s *stage) nodesOfExecutors(name string) map[string]int {
	nodes := map[string]int{}
	for _, executor := range s.executorsOf(name) {
		nodes[s.pod(executor).Spec.NodeName]++
	}
	return nodes
}

// slotsOf counts the slots that a driver was bound with: node -> count.
func slotsOf(t *testing.T, driver *v1.Pod) map[string]int {
	var reservation struct {
		Slots []struct {
			Node  string `json:"node"`
			Count int    `json:"count"`
		} `json:"slots"`
	}
	require.NoError(t, json.Unmarshal([]byte(driver.Annotations[plugin.AnnotationReservation]), &reservation))
	slots := map[string]int{}
	for _, slot := range reservation.Slots {
		slots[slot.Node] += slot.Count
	}
	return slots
}
