package integration_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/test/sparksim"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

// patchPod changes a pod, or with "status" its status.
func (s *stage) patchPod(name, patch string, subresources ...string) {
	s.t.Helper()
	_, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).Patch(s.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
	require.NoError(s.t, err)
}

// TestARetryMayUseTheNameOfADriverThatHasGone, and its id: spark.kubernetes.driver.pod.name is fixed, as Airflow and cron jobs do it.
// While the former driver is being deleted the API server refuses another of its name, as spark-submit says.
func TestARetryMayUseTheNameOfADriverThatHasGone(t *testing.T) {
	s := newStage(t, 1, 8)
	s.simulate()
	fixed := func() sparksim.Application {
		application := sized("fixed", 1, 3, 2)
		application.Properties["spark.kubernetes.driver.pod.name"] = "fixed-driver"
		application.Properties["spark.app.id"] = "fixed"
		return application
	}
	first := s.submit(fixed())
	require.Equal(t, "fixed-driver", first.Name)
	s.awaitWhole("fixed", 3)
	s.patchPod("fixed-driver", `{"metadata":{"finalizers":["example.com/log-upload"]}}`)
	s.remove("fixed-driver")
	_, err := s.submitter.Submit(t.Context(), fixed())
	require.True(t, apierrors.IsAlreadyExists(err), "%v", err)

	s.patchPod("fixed-driver", `{"metadata":{"finalizers":null}}`)
	var second *v1.Pod
	require.True(t, eventually(func() bool {
		second, err = s.submitter.Submit(t.Context(), fixed())
		return err == nil
	}), "%v", err)
	require.NotEqual(t, first.UID, second.UID)
	s.await("the retry runs whole, with executors of its own", func(all []chronicle.Application) bool {
		running := s.executorsOf("fixed")
		if len(running) != 3 {
			return false
		}
		for _, name := range running {
			if executor, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).Get(t.Context(), name, metav1.GetOptions{}); err != nil || !metav1.IsControlledBy(executor, second) {
				return false
			}
		}
		return true
	})
	s.finish(second)
	require.True(t, eventually(func() bool { return len(s.executorsOf("fixed")) == 0 }))
	s.requireEmpty(1, 8)
}

// TestExecutorsThatHaveEndedAndStayHoldNothing: with spark.kubernetes.executor.deleteOnTermination=false their pods are left, and their
// slots are for those that replace them.
func TestExecutorsThatHaveEndedAndStayHoldNothing(t *testing.T) {
	const executors, rounds = 10, 12
	s := newStage(t, 1, 16)
	s.simulate()
	application := sized("stay", 1, executors, 1)
	application.Properties["spark.kubernetes.executor.deleteOnTermination"] = "false"
	application.Properties["spark.executor.maxNumFailures"] = "100000"
	application.Properties["spark.kubernetes.allocation.batch.delay"] = "100ms"
	application.Properties["spark.kubernetes.allocation.batch.size"] = "10"
	driver := s.submit(application)
	s.awaitWhole("stay", executors)
	s.lone("thief", 6) // fits as soon as a slot is lost
	s.awaitRefused("thief")
	for range rounds {
		former := map[string]bool{}
		for _, name := range s.executorsOf("stay") {
			former[name] = true
			s.patchPod(name, `{"status":{"phase":"Failed"}}`, "status")
		}
		require.True(t, eventually(func() bool {
			running := s.executorsOf("stay")
			for _, name := range running {
				if former[name] {
					return false
				}
			}
			return len(running) == executors
		}), "%d of %d are replaced", len(s.executorsOf("stay")), executors)
	}
	s.requireUnbound("thief")
	all, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{FieldSelector: "status.phase=Failed"})
	require.NoError(t, err)
	require.Len(t, all.Items, executors*rounds, "their pods are left")
	s.finish(driver)
	s.awaitBound("thief")
	s.remove("thief")
	s.requireEmpty(1, 16)
}

// TestANamespaceThatIsDeletedTakesItsGangsWithIt, whether they wait, start or run: what they held is everybody's.
func TestANamespaceThatIsDeletedTakesItsGangsWithIt(t *testing.T) {
	s := newStage(t, 3, 8)
	in := func(namespace string, application sparksim.Application) sparksim.Application {
		application.Namespace = namespace
		return application
	}
	gone := []string{"goes-starting", "goes-running", "goes-waiting"}
	for _, namespace := range gone {
		s.namespace(namespace)
		require.True(t, eventually(func() bool { // submitting before is refused
			_, err := s.client.CoreV1().ServiceAccounts(namespace).Get(t.Context(), "default", metav1.GetOptions{})
			return err == nil
		}))
	}
	// Nobody plays the driver yet: all its room is slots.
	s.submit(in("goes-starting", sized("starting", 1, 3, 2)))
	s.awaitOne("starting", "holds slots", func(a chronicle.Application) bool { return a.Phase == v1.PodRunning && a.Slots == 3 })
	stop := s.simulate()
	s.awaitWhole("starting", 3)
	s.submit(in("goes-running", sized("running", 1, 3, 2)))
	s.awaitWhole("running", 3)
	stop()
	s.submit(in("goes-starting", sized("slots", 1, 3, 2)))
	s.awaitOne("slots", "holds slots", func(a chronicle.Application) bool { return a.Phase == v1.PodRunning && a.Slots == 3 })
	s.submit(in("goes-waiting", sized("waiting", 1, 7, 2)))
	s.awaitWaiting("waiting", "ClusterFull")

	for _, namespace := range gone {
		require.NoError(t, s.client.CoreV1().Namespaces().Delete(t.Context(), namespace, metav1.DeleteOptions{}))
	}
	s.namespaces = nil
	s.requireEmpty(3, 8)
	for _, namespace := range gone {
		require.True(t, eventually(func() bool {
			_, err := s.client.CoreV1().Namespaces().Get(context.Background(), namespace, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}), fmt.Sprint(namespace, " is still there"))
	}
}
