package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
)

// webOnly keeps a pod away from those of the same label on a node.
func webOnly(pod *v1.Pod) *v1.Pod {
	pod.Labels = map[string]string{"app": "web"}
	pod.Spec.Affinity = &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []v1.PodAffinityTerm{{
		LabelSelector: &metav1.LabelSelector{MatchLabels: pod.Labels}, TopologyKey: v1.LabelHostname,
	}}}}
	return pod
}

// One node refuses the pod for its anti-affinity, whether it has room or not, and the other lacks nothing but room: somebody leaves there, and nowhere
// else.
//
// Seen failing when somebody had to go wherever room was lacking: on a full node that would have refused the pod all the same.
func TestOthersLeaveWhereOnlyRoomLacks(t *testing.T) {
	for name, web := range map[string]int{"where the other is full": 3, "where the other has room": 1} {
		t.Run(name, func(t *testing.T) {
			objects := []runtime.Object{node("a", 4), node("b", 4), on("a", webOnly(lone("web-0", web))), on("b", lone("low", 3))}
			for _, object := range objects[:2] {
				n := object.(*v1.Node)
				n.Labels = map[string]string{v1.LabelHostname: n.Name}
			}
			high := webOnly(lone("web-1", 3))
			high.Spec.Priority = ptr.To[int32](1000)
			if web == 3 {
				objects = append(objects, on("a", lone("x-low", 1))) // younger than the one on b, and first to go
			}
			filtered(t, "", append(objects, high), func(h *harness) {
				s := newEvictions(h)
				a := h.schedule("web-1")
				require.Equal(t, "b", a.nominated)
				h.woken()
				assert.Len(t, s.asked(), 1)
				assert.Equal(t, "b", h.schedule("web-1").node)
			})
		})
	}
}

// A pod that is pinned to a node by its name, as those of DaemonSets are, takes back what is there, and nothing elsewhere.
//
// Seen failing when a node that PreFilter had left out counted as one that lacks room.
func TestAPinnedPodTakesBackWhatIsOnItsNode(t *testing.T) {
	pinned := lone("pinned", 3)
	pinned.Spec.Priority = ptr.To[int32](1000)
	pinned.Spec.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
		NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchFields: []v1.NodeSelectorRequirement{{Key: metav1.ObjectNameField, Operator: v1.NodeSelectorOpIn, Values: []string{"b"}}}}},
	}}}
	objects := []runtime.Object{node("a", 4), node("b", 4), on("a", lone("low-a", 3)), on("b", lone("low-b", 3)), pinned}
	filtered(t, "", objects, func(h *harness) {
		newEvictions(h)
		require.Equal(t, "b", h.schedule("pinned").nominated)
		h.woken()
		assert.Equal(t, "b", h.schedule("pinned").node)
	})
}
