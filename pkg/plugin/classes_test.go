package plugin

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"
)

// TestExecutorsOfAClassThatDoesNotExist would all be refused: their driver hears so, and starts when somebody has created the class.
//
// Seen failing before classes were looked for: the driver ran, and had no executors.
func TestExecutorsOfAClassThatDoesNotExist(t *testing.T) {
	for kind, test := range map[string]struct {
		template string
		create   func(*harness) error
	}{
		"PriorityClass": {"spec: {priorityClassName: swift}", func(h *harness) error {
			_, err := h.client.SchedulingV1().PriorityClasses().Create(context.Background(), &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "swift"}}, metav1.CreateOptions{})
			return err
		}},
		"RuntimeClass": {"spec: {runtimeClassName: swift}", func(h *harness) error {
			_, err := h.client.NodeV1().RuntimeClasses().Create(context.Background(), &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: "swift"}}, metav1.CreateOptions{})
			return err
		}},
	} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, "", nodes(8, "a"), func(h *harness) {
				pod := templated("app")
				h.create(pod, properties(pod, executors(1, 1)...), template(pod, test.template))
				h.after(time.Second)
				assert.Contains(t, h.condition("app"), "InvalidGang: "+kind+" swift of a pod of role executor does not exist: the API server will refuse it")
				h.after(lastRetry)
				require.NotEqual(t, gang.Waiting, h.phase("app"))
				require.NoError(t, test.create(h))
				h.after(lastRetry)
				require.Equal(t, gang.Waiting, h.phase("app"))
				require.True(t, h.schedule("app").status.IsSuccess())
			})
		})
	}
}

// TestTheClassOfADriverIsNotLookedFor: it was admitted with it.
func TestTheClassOfADriverIsNotLookedFor(t *testing.T) {
	bubble(t, "", nodes(8, "a"), func(h *harness) {
		pod := templated("app")
		pod.Spec.PriorityClassName = "swift"
		h.create(pod, properties(pod, executors(1, 1)...), template(pod, "spec: {priorityClassName: swift}"))
		h.after(time.Second)
		require.Equal(t, gang.Waiting, h.phase("app"))
	})
}
