package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/spark"
)

// TestADriverThatItsUserHoldsBackIsNotTried until it is released, and hears why at once.
func TestADriverThatItsUserHoldsBackIsNotTried(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		hold := func(held string) {
			pod := h.pod("app").DeepCopy()
			metav1.SetMetaDataAnnotation(&pod.ObjectMeta, spark.AnnotationHold, held)
			h.update(pod)
			h.after(time.Second)
		}
		h.submit("app", 1, 1)
		hold("true")
		require.Equal(t, "PreEnqueue", h.schedule("app").point)
		h.after(time.Second)
		require.Equal(t, "HeldByUser: its user has held it back, by the annotation retinue.dev/hold", h.condition("app"))
		status, _ := h.status("app")
		require.Equal(t, gang.User, status.Actor)
		h.woken()
		hold("false")
		require.Contains(t, h.woken(), "app")
		require.True(t, h.schedule("app").status.IsSuccess())
	})
}
