package tenants

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/pkg/spark"
)

// readable is what the scheduler has written for whoever may read the pods and events of a namespace.
func readable(t *testing.T, namespace string) (texts []string) {
	t.Helper()
	events, err := shared.Client().EventsV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, event := range events.Items {
		texts = append(texts, event.Note)
	}
	pods, err := shared.Client().CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	for _, pod := range pods.Items {
		texts = append(texts, pod.Annotations[plugin.AnnotationReservation])
		for _, condition := range pod.Status.Conditions {
			texts = append(texts, condition.Message)
		}
	}
	return texts
}

// namesNobody shows that nobody in a namespace reads names of others.
func namesNobody(t *testing.T, namespace, others string) {
	t.Helper()
	for _, text := range readable(t, namespace) {
		assert.NotRegexp(t, others, text, "told in namespace %s", namespace)
	}
}

// TestATenantReadsNoNamesOfAnother takes back what a queue has lent, so that each side hears of the other.
//
// Seen failing with the argument tell: names.
func TestATenantReadsNoNamesOfAnother(t *testing.T) {
	const cpu, each = 8, 4
	c := start(t, 2, cpu)
	queues(t, `
{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: vault}, spec: {namespaces: [lender], guaranteed: {cpu: 8}, reclaim: {enabled: true, after: 0s}}}
---
{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: den}, spec: {namespaces: [borrower]}}
`, "vault", "den")
	lender, borrower := namespace(t, "lender", "alice"), namespace(t, "borrower", "mallory")
	create := func(client kubernetes.Interface, namespace, name, user string) {
		_, err := client.CoreV1().Pods(namespace).Create(t.Context(), &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{spark.LabelUser: user}},
			Spec: v1.PodSpec{SchedulerName: "retinue", Containers: []v1.Container{{Name: "main", Image: "pause", Resources: v1.ResourceRequirements{
				Requests: v1.ResourceList{v1.ResourceCPU: *resource.NewQuantity(each, resource.DecimalSI)},
			}}}},
		}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	bound := func(namespace string) (n int) {
		pods, err := c.Client().CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		for _, pod := range pods.Items {
			if pod.Spec.NodeName != "" {
				n++
			}
		}
		return n
	}
	for i := range 2*cpu/each + 1 {
		create(borrower, "borrower", fmt.Sprint("thief-", i), "mallory")
	}
	require.Eventually(t, func() bool { return bound("borrower") == 2*cpu/each }, patience, look)
	create(lender, "lender", "owner-0", "alice")
	require.Eventually(t, func() bool { return bound("lender") == 1 }, patience, look, "what was lent comes back")
	for _, namespace := range []string{"lender", "borrower"} {
		require.Eventually(t, func() bool {
			return regexp.MustCompile(`\banother\b`).MatchString(strings.Join(readable(t, namespace), "\n"))
		}, patience, look, "whoever reads namespace %s is told that there is somebody else", namespace)
	}
	namesNobody(t, "lender", `\bden\b|borrower|thief|mallory`)
	namesNobody(t, "borrower", `\bvault\b|lender|owner|alice`)
	clear(t, "lender")
	clear(t, "borrower")
}
