package cluster

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// patience is how long a test waits for what should take a second, on a machine that does other things as well.
const patience = 90 * time.Second

func createPod(t *testing.T, c *Cluster, name string) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			SchedulerName: "retinue",
			RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "main", Image: "none",
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}},
			}},
		},
	}
	if _, err := c.Client().CoreV1().Pods(metav1.NamespaceDefault).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func awaitPhase(t *testing.T, c *Cluster, name string, want corev1.PodPhase) *corev1.Pod {
	t.Helper()
	var pod *corev1.Pod
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		var err error
		pod, err = c.Client().CoreV1().Pods(metav1.NamespaceDefault).Get(ctx, name, metav1.GetOptions{})
		return err == nil && pod.Status.Phase == want, err
	})
	if err != nil {
		t.Fatalf("pod %s does not become %s: %v; its status is %v", name, want, err, pod.Status)
	}
	return pod
}

// finish tells a Running pod to end as a user would, and checks what is left of it.
func finish(t *testing.T, c *Cluster, name string, phase corev1.PodPhase) {
	t.Helper()
	if _, err := c.Kubectl(t.Context(), "annotate", "pod", name, FinishAnnotation+"="+string(phase)); err != nil {
		t.Fatal(err)
	}
	pod := awaitPhase(t, c, name, phase)
	wantCode := int32(0)
	if phase == corev1.PodFailed {
		wantCode = 1
	}
	if terminated := pod.Status.ContainerStatuses[0].State.Terminated; terminated == nil || terminated.ExitCode != wantCode {
		t.Errorf("pod %s: container state %+v, want terminated with exit code %d", name, pod.Status.ContainerStatuses[0].State, wantCode)
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady && condition.Status != corev1.ConditionFalse {
			t.Errorf("pod %s is %s and Ready is %s", name, phase, condition.Status)
		}
	}
}

// noPermissionIsMissing looks for requests of the scheduler that RBAC refused.
func noPermissionIsMissing(t *testing.T, c *Cluster, component Component) {
	t.Helper()
	for line := range strings.Lines(read(t, c.LogFile(component))) {
		if strings.Contains(strings.ToLower(line), "forbidden") {
			t.Errorf("%s lacks a permission: %s", component, line)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// commandsNaming returns the command lines of all processes of this machine that contain text.
func commandsNaming(t *testing.T, text string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue // it ended in between
		}
		if command := string(bytes.ReplaceAll(content, []byte{0}, []byte(" "))); strings.Contains(command, text) {
			found = append(found, command)
		}
	}
	return found
}
