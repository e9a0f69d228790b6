package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/scaleup"
)

// elastic tells the ledger that there is an autoscaler.
func (h *harness) elastic() {
	h.plugin.tell(ledger.Elastic{Limits: &scaleup.Limits{After: time.Minute, Timeout: time.Hour, PerQueue: 1, Total: 10}})
}

// kube-scheduler tries nobody while there are no nodes, and asks no plugin.
//
// Seen failing with Karpenter: from zero nodes a gang waited for ever, and nothing was asked for.
func TestAGangAsksForNodesWhereThereAreNone(t *testing.T) {
	bubble(t, "", nil, func(h *harness) {
		h.elastic()
		h.submit("app", 8, 4)
		pod := h.pod("app")
		verdict := Teller{h.plugin}.NoNodes(pod)
		require.Equal(t, "NeverFitsCluster: the cluster has no nodes", verdict.String())
		require.Equal(t, v1.PodReasonUnschedulable, h.plugin.ledger.Condition(pod.UID, verdict.Reason), "its request is open")

		h.create(lone("single", 1))
		require.True(t, Teller{h.plugin}.NoNodes(h.pod("single")).Passes(), "kube-scheduler has words of its own")
		words, _ := Teller{h.plugin}.Words(h.pod("single"), gang.Verdict{}, "0/0 nodes")
		require.Equal(t, v1.PodReasonUnschedulable, words.Condition)
	})
	bubble(t, "", []runtime.Object{node("n", 4)}, func(h *harness) {
		h.submit("app", 8, 4)
		require.True(t, Teller{h.plugin}.NoNodes(h.pod("app")).Passes(), "the ledger has heard of a node that the scheduler's snapshot does not show yet")
	})
}

// What is written on a driver that waits: a reason to buy nodes only while nodes are asked for.
func TestADriverIsAReasonToBuyNodesWhileItsGangAsksForThem(t *testing.T) {
	bubble(t, "", []runtime.Object{node("n", 4), on("n", lone("busy", 3))}, func(h *harness) {
		h.submit("app", 2, 1)
		h.elastic()
		a := h.schedule("app")
		require.False(t, a.status.IsSuccess())
		pod := h.pod("app")
		require.Equal(t, gang.WaitingForTurn, h.plugin.ledger.Condition(pod.UID, gang.ClusterFull), "the pod that runs may end")
		h.after(2 * time.Minute)
		require.Equal(t, v1.PodReasonUnschedulable, h.plugin.ledger.Condition(pod.UID, gang.ClusterFull))
		require.Equal(t, gang.WaitingForTurn, h.plugin.ledger.Condition(pod.UID, gang.QueueLimit))
	})
}
