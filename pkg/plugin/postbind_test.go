package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
)

// Seen failing when every gang was told, and when none was.
func TestWhoHasReadWhyItWaitsReadsThatItStarts(t *testing.T) {
	tests := map[string]struct {
		conditions []v1.PodCondition
		want       []string
	}{
		"it starts at once": {},
		"it was told that it waits": {
			conditions: []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: gang.ClusterFull.Condition()}},
			want:       []string{"Normal GangAdmitted the leader and 2 workers have room on 2 nodes"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, "", nodes(4, "a", "b", "c"), func(h *harness) {
				pod := driver("app")
				pod.Status.Conditions = test.conditions
				h.create(pod, properties(pod, executors(2, 3)...))
				h.after(time.Second)
				a := h.schedule("app")
				require.True(t, a.status.IsSuccess(), "%s: %v", a.point, a.status)
				assert.Equal(t, test.want, h.told())
			})
		})
	}
}
