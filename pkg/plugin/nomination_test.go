package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/gang"
)

// While others leave for a pod it is nominated for the node, or an autoscaler would buy another one meanwhile: kube-scheduler writes it with the
// condition that it writes anyway. When they do not leave any more, it is taken back.
//
// Seen failing when PostFilter always took nominations back, and when nothing told the plugin that a collection had ended.
func TestAPodForWhichOthersLeaveIsNominated(t *testing.T) {
	high := lone("high", 3)
	high.Spec.Priority = ptr.To[int32](100)
	filtered(t, "", []runtime.Object{node("a", 4), on("a", lone("low", 3)), high}, func(h *harness) {
		newEvictions(h).protected.Insert("low") // it does not leave
		a := h.schedule("high")
		require.Equal(t, "a", a.nominated)
		assert.Equal(t, "Reclaiming: takes back cpu 3 from namespaces without a queue (pods by themselves: 1)", a.said)
		assert.Empty(t, h.condition("high"), "kube-scheduler writes it")

		nominated := h.pod("high")
		nominated.Status.NominatedNodeName = "a"
		h.update(nominated)
		h.after(2 * tickPeriod)
		h.plugin.PreEnqueue(h.ctx, h.pod("high"))
		h.after(2 * tickPeriod)
		assert.Equal(t, "a", h.pod("high").Status.NominatedNodeName, "it lasts")

		dear := h.pod("low")
		dear.Generation, dear.Spec.Priority = 2, ptr.To[int32](200) // so that nobody has to go when this has come to nothing
		h.update(dear)
		h.after(3 * time.Minute)
		assert.Empty(t, h.pod("high").Status.NominatedNodeName)
	})
}

// What a tick takes back is told with the node in one patch.
func TestWhatATickTakesBackIsToldWithTheNode(t *testing.T) {
	high := lone("high", 3)
	high.Spec.Priority = ptr.To[int32](100)
	first := on("a", lone("first", 3))
	first.Spec.Priority = ptr.To[int32](100)
	filtered(t, "", []runtime.Object{node("a", 4), first, high}, func(h *harness) {
		require.Empty(t, h.schedule("high").nominated, "nobody has to go")
		h.remove("first")
		newEvictions(h).protected.Insert("low")
		h.create(on("a", lone("low", 3)))
		h.after(10 * time.Second)
		pod := h.pod("high")
		assert.Equal(t, "a", pod.Status.NominatedNodeName)
		assert.Contains(t, h.condition("high"), "Reclaiming: takes back")
		assert.Equal(t, gang.WaitingForTurn, pod.Status.Conditions[0].Reason, "nodes would not help: others leave for it")
	})
}
