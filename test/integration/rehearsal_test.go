package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

// onePerHost is a template whose executors keep away from all others.
const onePerHost = `
spec:
  affinity:
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            spark-role: executor
`

// TestExecutorsThatKeepApartStartTogether: there is room for many more, but no more hosts, and the next application
// waits, also behind slots that nobody has taken yet.
func TestExecutorsThatKeepApartStartTogether(t *testing.T) {
	s := newStage(t, 4, 16)
	first, second, never := sized("first", 1, 3, 1), sized("second", 1, 2, 1), sized("never", 1, 5, 1)
	first.Template, second.Template, never.Template = onePerHost, onePerHost, onePerHost
	driver := s.submit(first)
	s.awaitOne("first", "has a driver that runs", func(a chronicle.Application) bool { return a.Phase == v1.PodRunning && a.Slots == 3 })
	s.submit(second)
	require.Contains(t, s.awaitWaiting("second", "Constraints:"), "1 of 2 pods of role executor find nodes and the next does not")
	s.submit(never)
	require.Contains(t, s.awaitWaiting("never", "Constraints:"), "InterPodAffinity")

	s.simulate()
	s.awaitWhole("first", 3)
	s.finish(driver)
	s.awaitWhole("second", 2)
	hosts := map[string]bool{}
	list, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{LabelSelector: spark.LabelRole + "=" + spark.RoleExecutor, FieldSelector: "status.phase=Running"})
	require.NoError(t, err)
	for _, pod := range list.Items {
		require.False(t, hosts[pod.Spec.NodeName], "two executors on %s", pod.Spec.NodeName)
		hosts[pod.Spec.NodeName] = true
	}
}
