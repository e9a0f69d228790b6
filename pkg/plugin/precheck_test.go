package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
)

// failInVain is an attempt that fails, and what kube-scheduler then writes.
func (h *harness) failInVain(name string) {
	h.t.Helper()
	a := h.reserve(name)
	require.False(h.t, a.status.IsSuccess(), "%s fits", name)
	pod := h.pod(name)
	pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionFalse, Message: "0/1 nodes are available: " + a.status.Message() + "."}}
	h.update(pod)
	h.woken()
}

// A gang for which room has come back, but not enough, takes a scheduling cycle once a second; one that fits takes it at
// once. Seen failing when every turn was a cycle, and when those who fit were held back as well.
func TestAGangThatWouldFailAgainIsNotTriedAgain(t *testing.T) {
	bubble(t, "", nodes(6, "a", "b"), func(h *harness) {
		for _, name := range []string{"p", "q", "r"} {
			h.create(on("a", lone(name, 1)), on("b", lone(name+"b", 1)))
		}
		h.create(on("b", lone("s", 1)))
		h.submit("app", 1, 4) // five cores are free, but no four of them on one node
		h.failInVain("app")

		h.remove("s")
		assert.Equal(t, []string{"app"}, h.woken(), "the numbers that its user reads are old")
		h.failInVain("app")
		h.create(on("b", lone("t", 1)))
		h.remove("t")
		h.woken()
		assert.Equal(t, gang.Waiting, h.phase("app"))
		assert.False(t, h.plugin.PreEnqueue(h.ctx, h.pod("app")).IsSuccess(), "it would fail again, and its turn is over")
		h.remove("p")
		assert.Contains(t, h.woken(), "app")
		assert.True(t, h.reserve("app").status.IsSuccess())
	})
}

// A gang whose user reads another reason than the one it has now is tried, so that the reason is told. Seen failing when only
// fitting decided.
func TestAGangThatFailsForANewReasonIsTried(t *testing.T) {
	bubble(t, "", nodes(6, "a", "b"), func(h *harness) {
		h.create(on("a", lone("p", 3)), on("a", lone("q", 3)), on("b", lone("r", 3)), on("b", lone("s", 3)))
		h.submit("app", 1, 4)
		h.failInVain("app") // no room at all
		h.plugin.effects.prechecker.refreshed = time.Now()
		h.remove("p")
		h.remove("r") // six cores are free, three on each node
		assert.Contains(t, h.woken(), "app")
		assert.True(t, h.plugin.PreEnqueue(h.ctx, h.pod("app")).IsSuccess())
	})
}
