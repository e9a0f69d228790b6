package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/utils/ptr"
)

const device v1.ResourceName = "example.com/gpu"

// asking makes a pod ask for devices as well.
func asking(pod *v1.Pod, count int64) *v1.Pod {
	pod.Spec.Containers[0].Resources.Requests[device] = *apiresource.NewQuantity(count, apiresource.DecimalSI)
	return pod
}

// listing makes a node list devices.
func listing(node *v1.Node, count int64) *v1.Node {
	node.Status.Allocatable[device] = *apiresource.NewQuantity(count, apiresource.DecimalSI)
	return node
}

func ignoringDevices(h *harness) {
	h.process.Ignores = func(profile string, resource v1.ResourceName) bool {
		return profile == h.fw.ProfileName() && resource == device
	}
}

// Seen failing when the ledger counted what kube-scheduler does not.
func TestWhatTheProfileIgnoresIsNotCounted(t *testing.T) {
	bubbleWith(t, nil, "", []runtime.Object{node("a", 4)}, func(h *harness) {
		h.create(asking(lone("p", 1), 1))
		require.Equal(t, "a", h.schedule("p").node)

		app := driver("app")
		h.create(app)
		conf := properties(app, append(executors(2, 1), "spark.executor.resource.gpu.amount=1", "spark.executor.resource.gpu.vendor=example.com")...)
		h.create(conf)
		h.after(time.Second)
		require.Equal(t, "a", h.schedule("app").node)
		h.create(asking(executor("e1", "app", 1), 1))
		require.Equal(t, "a", h.schedule("e1").node)
		slots := h.plugin.Ledger().Gangs()[0].Slots
		require.Len(t, slots, 2)
		require.ElementsMatch(t, []string{"e1-uid", ""}, []string{string(slots[0].Worker), string(slots[1].Worker)})
	}, ignoringDevices)
}

func TestWhatIsNotIgnoredCounts(t *testing.T) {
	bubble(t, "", []runtime.Object{node("a", 4)}, func(h *harness) {
		h.create(asking(lone("p", 1), 1))
		require.Empty(t, h.schedule("p").node)
	})
}

// Seen failing when a node that does not list a resource offered none of it, whoever provides it, and when one that lists zero, as one
// whose device plugin has gone does, counted for itself: NodeResourcesFit leaves both to dynamic resource allocation.
func TestDevicesOfDynamicResourceAllocationAreLeftToIt(t *testing.T) {
	class := &resourcev1.DeviceClass{ObjectMeta: metav1.ObjectMeta{Name: "gpu"}, Spec: resourcev1.DeviceClassSpec{ExtendedResourceName: ptr.To(string(device))}}
	bubbleWith(t, nil, "", []runtime.Object{node("a", 4), listing(node("b", 4), 1), listing(node("c", 4), 0), class}, func(h *harness) {
		fits := func(pod, on string) bool {
			h.reserve(pod)
			i, _ := h.plugin.Ledger().View().Index(on)
			return h.plugin.counted.requests(h.pod(pod)).Fits(*h.plugin.Ledger().View().Free(i))
		}
		h.create(asking(lone("two", 1), 2))
		require.True(t, fits("two", "a"), "nobody counts here but dynamic resource allocation")
		require.False(t, fits("two", "b"), "this node has a device plugin")
		require.True(t, fits("two", "c"), "this one had one")
		require.Equal(t, "a", h.schedule("two").node)

		other := lone("implicit", 1)
		other.Spec.Containers[0].Resources.Requests["deviceclass.resource.kubernetes.io/gpu"] = apiresource.MustParse("1")
		h.create(other)
		require.NotEmpty(t, h.schedule("implicit").node)

		require.NoError(t, h.client.ResourceV1().DeviceClasses().Delete(h.ctx, "gpu", metav1.DeleteOptions{}))
		h.create(asking(lone("late", 1), 2))
		require.Empty(t, h.schedule("late").node, "nobody provides it any more")
	}, func(h *harness) { h.dra = struct{ fwk.SharedDRAManager }{} })
}
