package plugin

import (
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// TestAPodThatLacksRoomIsKnownByTheFiltersThatRefusedIt: kube-scheduler's own filter comes first. Seen failing when only
// this plugin's refusals count.
func TestAPodThatLacksRoomIsKnownByTheFiltersThatRefusedIt(t *testing.T) {
	tests := map[string]struct {
		cpu      int
		filters  map[string]string // node -> the plugin that refused it
		want     gang.Reason       // empty means that it is not room
		elsewise bool
	}{
		"no node has room":                      {3, map[string]string{"full": "NodeResourcesFit", "half": "NodeResourcesFit"}, gang.Fragmented, false},
		"they have too little in all":           {4, map[string]string{"full": "NodeResourcesFit", "half": "NodeResourcesFit"}, gang.ClusterFull, false},
		"no node could ever have it":            {9, map[string]string{"full": "NodeResourcesFit", "half": "NodeResourcesFit"}, gang.NeverFitsNode, false},
		"the only one it may go to is full":     {2, map[string]string{"full": "NodeResourcesFit", "half": "TaintToleration"}, gang.ClusterFull, false},
		"it may go nowhere":                     {1, map[string]string{"full": "NodeAffinity", "half": "TaintToleration"}, "", false},
		"a claim keeps it from where room is":   {2, map[string]string{"full": "NodeResourcesFit", "half": "VolumeBinding"}, gang.ClusterFull, true},
		"the room is kept for others":           {2, map[string]string{"full": "NodeResourcesFit", "half": Name}, gang.Fragmented, false},
		"the snapshot is behind":                {1, map[string]string{"full": "NodeResourcesFit", "half": "NodeResourcesFit"}, "", false},
		"it is refused for everything but room": {1, map[string]string{"full": "InterPodAffinity", "half": "VolumeBinding"}, "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			// 1 and 2 CPUs are free.
			objects := []runtime.Object{node("full", 4), node("half", 4), on("full", lone("large", 3)), on("half", lone("small", 2))}
			bubble(t, "", objects, func(h *harness) {
				h.look()
				pod := lone("pod", test.cpu)
				statuses := framework.NewDefaultNodeToStatus()
				for node, plugin := range test.filters {
					statuses.Set(node, fwk.NewStatus(fwk.Unschedulable, "no").WithPlugin(plugin))
				}
				c := &cycle{view: h.plugin.ledger.View(), request: resource.OfPod(pod)}
				verdict, elsewise := h.plugin.shortOfRoom(c, pod, statuses)
				require.Equal(t, test.want, verdict.Reason, verdict)
				require.Equal(t, test.elsewise, elsewise)
			})
		})
	}
}

// TestAPodByItselfWaitsInTheLedger when kube-scheduler's filter refuses it, so that its queue may have something taken back
// for it.
func TestAPodByItselfWaitsInTheLedger(t *testing.T) {
	tainted := node("tainted", 9)
	tainted.Spec.Taints = []v1.Taint{{Key: "k", Effect: v1.TaintEffectNoSchedule}}
	filtered(t, "", []runtime.Object{node("a", 4), tainted, on("a", lone("first", 3)), lone("second", 2)}, func(h *harness) {
		require.False(t, h.schedule("second").status.IsSuccess())
		require.Equal(t, 1, h.plugin.ledger.Census().Waiting)
		h.remove("first")
		require.Contains(t, h.woken(), "second")
	})
}
