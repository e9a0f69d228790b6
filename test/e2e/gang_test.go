//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/test/e2e/node"
	"retinue.dev/retinue/test/e2e/witness"
)

func TestTheSecondApplicationWaitsWhole(t *testing.T) {
	keepEvidence(t)
	end := newGate(t)
	submit(t, application{name: "first", scheduler: retinue, gates: []string{end.url}})
	awaitRunning(t, "first", executors)

	// There is room for the driver and one executor of the second.
	submit(t, application{name: "second", scheduler: retinue})
	awaitReason(t, "second")
	// The scheduler goes on: what comes later and fits is started. So it had its chance with the second, too.
	runBystander(t)
	requireWaiting(t, "second")

	end.open()
	requirePi(t, awaitSuccess(t, "first"))
	requirePi(t, awaitSuccess(t, "second"))
	requireNoViolation(t)
}

// The witness is no proof without this: given the same two applications, it catches the scheduler of Kubernetes.
func TestTheDefaultSchedulerStartsHalfOfTheSecond(t *testing.T) {
	keepEvidence(t)
	never := newGate(t)
	submit(t, application{name: "first-default", scheduler: kubernetesDefault, gates: []string{never.url}})
	awaitRunning(t, "first-default", executors)
	submit(t, application{name: "second-default", scheduler: kubernetesDefault, gates: []string{never.url}})
	var violations []string
	eventually(t, "the witness sees half a gang", func(context.Context) (string, error) {
		var err error
		violations, err = box.witness.Violations(kubernetesDefault)
		if len(violations) < 2 { // the driver's start, and an executor without a node
			return fmt.Sprintf("%d violations", len(violations)), err
		}
		return "", err
	})
	for _, violation := range violations {
		t.Log(violation)
	}
	for _, app := range []string{"first-default", "second-default"} {
		remove(t, app)
	}
}

// awaitReason waits until the scheduler says why a driver waits.
func awaitReason(t *testing.T, app string) {
	t.Helper()
	eventually(t, app+": the scheduler says why the driver waits", func(ctx context.Context) (string, error) {
		driver, err := driverOf(ctx, app)
		if err != nil || driver == nil {
			return "no driver yet", err
		}
		if driver.Spec.NodeName != "" {
			return "", fmt.Errorf("driver %s is bound to %s", driver.Name, driver.Spec.NodeName)
		}
		condition := witness.ScheduledCondition(driver)
		if condition == nil {
			return "the driver has no condition PodScheduled", nil
		}
		t.Logf("%s: %s", condition.Reason, condition.Message)
		return "", nil
	})
}

// runBystander runs a small pod that has nothing to do with Spark, and returns when it is bound.
func runBystander(t *testing.T) {
	t.Helper()
	pods := box.client.CoreV1().Pods(namespace)
	created, err := pods.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "bystander-"},
		Spec: corev1.PodSpec{
			SchedulerName: retinue,
			Containers: []corev1.Container{{
				Name:  "main",
				Image: node.PauseImage,
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi"),
				}},
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a pod that fits is bound", func(ctx context.Context) (string, error) {
		pod, err := pods.Get(ctx, created.Name, metav1.GetOptions{})
		if err != nil || pod.Spec.NodeName == "" {
			return "not bound", err
		}
		return "", nil
	})
	if err := pods.Delete(t.Context(), created.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// requireWaiting checks that nothing of an application was started.
func requireWaiting(t *testing.T, app string) {
	t.Helper()
	driver, err := driverOf(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if driver.Spec.NodeName != "" || driver.Status.Phase != corev1.PodPending {
		t.Errorf("%s: driver is %s on node %q, want Pending on none", app, driver.Status.Phase, driver.Spec.NodeName)
	}
	executors, err := executorsOf(t.Context(), driver)
	if err != nil {
		t.Fatal(err)
	}
	if len(executors) > 0 {
		t.Errorf("%s: %d executors exist, want none", app, len(executors))
	}
}

// remove deletes an application by its driver, which owns the rest, and returns when no pod of it is left.
func remove(t *testing.T, app string) {
	t.Helper()
	driver, err := driverOf(t.Context(), app)
	if err != nil || driver == nil {
		t.Fatalf("%s: no driver to delete: %v", app, err)
	}
	if err := box.client.CoreV1().Pods(driver.Namespace).Delete(t.Context(), driver.Name, *metav1.NewDeleteOptions(0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, app+": removed", func(ctx context.Context) (string, error) {
		pods, err := podsWith(ctx, witness.AppLabel+"="+driver.Labels[witness.AppLabel])
		if len(pods) > 0 {
			return fmt.Sprintf("%d pods are left", len(pods)), err
		}
		return "", err
	})
}
