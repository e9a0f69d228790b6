package plugin

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	featuregatetesting "k8s.io/component-base/featuregate/testing"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/resource"
)

// TestTheLedgerCountsPodsAsKubeSchedulerDoes plays random pods that have nodes to kube-scheduler's NodeInfo and, the way informers
// tell them, to the plugin, and compares the sums after every event. Seen failing while only the spec was counted, and while a
// status that changed was not told to the ledger.
func TestTheLedgerCountsPodsAsKubeSchedulerDoes(t *testing.T) {
	for name, gates := range map[string]map[featuregate.Feature]bool{
		"as kube-scheduler ships":             {},
		"without what is not final":           {features.InPlacePodLevelResourcesVerticalScaling: false},
		"with devices that take cpu and room": {features.DRANodeAllocatableResources: true},
	} {
		t.Run(name, func(t *testing.T) {
			for gate, enabled := range gates {
				featuregatetesting.SetFeatureGateDuringTest(t, utilfeature.DefaultFeatureGate, gate, enabled)
			}
			h := newHarness(t, nil, "", nil)
			defer h.stop()
			rapid.Check(t, func(t *rapid.T) { playCounted(t, h) })
		})
	}
}

// askedFor are the resources that random pods ask for.
var askedFor = []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage, "hugepages-2Mi", "example.com/gpu"}

func drawList(names ...v1.ResourceName) *rapid.Generator[v1.ResourceList] {
	return rapid.Custom(func(t *rapid.T) v1.ResourceList {
		var list v1.ResourceList
		for _, name := range names {
			if n := rapid.Int64Range(-1, 4).Draw(t, string(name)); n >= 0 {
				if list == nil {
					list = v1.ResourceList{}
				}
				list[name] = *apiresource.NewMilliQuantity(n*500, apiresource.DecimalSI) // half a byte is rounded up
			}
		}
		return list
	})
}

func drawContainer(t *rapid.T, name string) v1.Container {
	return v1.Container{Name: name, Resources: v1.ResourceRequirements{Requests: drawList(askedFor...).Draw(t, "requests")}}
}

// drawCounted is a pod on the node, of this scheduler or of another.
func drawCounted(t *rapid.T, name, node string) *v1.Pod {
	pod := on(node, lone(name, 0))
	pod.Spec.SchedulerName = rapid.SampledFrom([]string{profile, v1.DefaultSchedulerName, ""}).Draw(t, "scheduler")
	if rapid.IntRange(0, 4).Draw(t, "static") == 0 {
		pod.Annotations = map[string]string{v1.MirrorPodAnnotationKey: "hash"}
	}
	pod.Spec.Containers = nil
	for i := range rapid.IntRange(1, 3).Draw(t, "containers") {
		pod.Spec.Containers = append(pod.Spec.Containers, drawContainer(t, fmt.Sprint("main-", i)))
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "init containers") {
		container := drawContainer(t, fmt.Sprint("init-", i))
		if rapid.Bool().Draw(t, "sidecar") {
			always := v1.ContainerRestartPolicyAlways
			container.RestartPolicy = &always
		}
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, container)
	}
	if rapid.IntRange(0, 2).Draw(t, "overhead") == 0 {
		pod.Spec.Overhead = drawList(v1.ResourceCPU, v1.ResourceMemory).Draw(t, "of the runtime")
	}
	if rapid.IntRange(0, 2).Draw(t, "pod level") == 0 {
		pod.Spec.Resources = &v1.ResourceRequirements{Requests: drawList(v1.ResourceCPU, v1.ResourceMemory).Draw(t, "of the pod")}
	}
	return pod
}

// change is one thing that happens to a pod with a node.
func change(t *rapid.T, pod *v1.Pod) {
	containers := slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers)
	switch rapid.IntRange(0, 8).Draw(t, "change") {
	case 0: // the resize subresource
		pod.Generation++
		container := &pod.Spec.Containers[rapid.IntRange(0, len(pod.Spec.Containers)-1).Draw(t, "resized")]
		container.Resources.Requests = maps.Clone(container.Resources.Requests)
		for name := range container.Resources.Requests {
			container.Resources.Requests[name] = *apiresource.NewQuantity(rapid.Int64Range(0, 4).Draw(t, "to"), apiresource.DecimalSI)
		}
	case 1: // the kubelet says what it has allocated, and what the containers have
		var statuses, inits []v1.ContainerStatus
		for i, container := range containers {
			status := v1.ContainerStatus{Name: container.Name, AllocatedResources: drawList(askedFor...).Draw(t, "allocated")}
			if rapid.Bool().Draw(t, "actuated") {
				status.Resources = &v1.ResourceRequirements{Requests: drawList(askedFor...).Draw(t, "actual")}
			}
			if rapid.IntRange(0, 2).Draw(t, "ended") == 0 {
				status.State.Terminated = &v1.ContainerStateTerminated{}
			}
			if i < len(pod.Spec.Containers) {
				statuses = append(statuses, status)
			} else {
				inits = append(inits, status)
			}
		}
		pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses = statuses, inits
	case 2: // it has not got to it, or cannot
		pod.Status.Conditions = []v1.PodCondition{{
			Type: v1.PodResizePending, Status: v1.ConditionTrue, Reason: rapid.SampledFrom([]string{v1.PodReasonInfeasible, v1.PodReasonDeferred}).Draw(t, "reason"),
		}}
	case 3:
		pod.Status.Conditions = nil
	case 4: // the same of the whole pod
		pod.Status.AllocatedResources = drawList(askedFor...).Draw(t, "allocated to the pod")
		pod.Status.Resources = nil
		if rapid.Bool().Draw(t, "actuated") {
			pod.Status.Resources = &v1.ResourceRequirements{Requests: drawList(askedFor...).Draw(t, "the pod has")}
		}
	case 5: // resources that devices take from the node
		amount := apiresource.MustParse(rapid.SampledFrom([]string{"1", "500m", "3"}).Draw(t, "devices take"))
		pod.Status.NodeAllocatableResourceClaimStatuses = []v1.NodeAllocatableResourceClaimStatus{{
			Containers: []string{"main-0"},
			Mapping:    []v1.NodeAllocatableMappedResources{{Name: v1.ResourceCPU, Quantity: &amount}},
		}}
	case 6:
		now := metav1.NewTime(time.Unix(1, 0))
		pod.DeletionTimestamp = &now
	case 7:
		pod.Labels = map[string]string{"label": rapid.SampledFrom([]string{"a", "b"}).Draw(t, "value")}
	case 8:
		pod.Spec.Containers = slices.Clone(pod.Spec.Containers)
		pod.Generation++ // an image, or the end of a grace period
	}
}

func playCounted(t *rapid.T, h *harness) {
	const name = "counted"
	h.plugin.tell(ledger.NodeSeen{Node: node(name, 1000)})
	pods := map[string]*v1.Pod{}
	defer func() {
		for _, pod := range pods {
			h.plugin.tell(ledger.PodGone{UID: pod.UID})
		}
	}()
	for i := range rapid.IntRange(1, 15).Draw(t, "events") {
		present := slices.Sorted(maps.Keys(pods))
		switch event := rapid.IntRange(0, 9).Draw(t, "event"); {
		case event < 3 || len(present) == 0:
			pod := drawCounted(t, fmt.Sprint("pod-", i), name)
			pods[pod.Name] = pod
			h.plugin.podSeen(nil, pod)
		case event < 9:
			before := pods[rapid.SampledFrom(present).Draw(t, "pod")]
			after := before.DeepCopy()
			change(t, after)
			pods[after.Name] = after
			h.plugin.podSeen(before, after)
		default: // it was deleted or has ended: the scheduler's informers do not show pods that have
			gone := rapid.SampledFrom(present).Draw(t, "pod")
			h.plugin.tell(ledger.PodGone{UID: pods[gone].UID})
			delete(pods, gone)
		}
		info := framework.NewNodeInfo(slices.Collect(maps.Values(pods))...)
		requested := resource.Vector{
			CPU: info.Requested.MilliCPU, Memory: info.Requested.Memory, EphemeralStorage: info.Requested.EphemeralStorage, Pods: int64(len(info.Pods)),
		}.WithExtended(info.Requested.ScalarResources)
		view := h.plugin.ledger.View()
		n, there := view.Index(name)
		require.True(t, there)
		used := resource.OfList(view.Object(n).Status.Allocatable).Sub(*view.Free(n)) // nothing is held: there is no gang
		require.True(t, used.Equal(requested), "kube-scheduler counts %s, the ledger %s", requested, used)
	}
}

// resized gives a pod another size, and says what the kubelet has allocated to it.
func (h *harness) resized(name string, cpu, allocated string, conditions ...v1.PodCondition) {
	pod := h.pod(name)
	pod.Generation++
	pod.Spec.Containers[0].Resources.Requests[v1.ResourceCPU] = apiresource.MustParse(cpu)
	pod.Status.ContainerStatuses = []v1.ContainerStatus{{Name: "main", AllocatedResources: v1.ResourceList{v1.ResourceCPU: apiresource.MustParse(allocated)}}}
	pod.Status.Conditions = conditions
	h.update(pod)
}

func TestAGangWaitsUntilAPodThatShrinksHasShrunk(t *testing.T) {
	pod := on("n1", lone("a", 6))
	bubble(t, "", append(nodes(8, "n1"), pod), func(h *harness) {
		h.resized("a", "1", "6")
		h.submit("app", 2, 2)
		a := h.schedule("app")
		require.False(t, a.status.IsSuccess(), "the executors would not fit")
		h.woken()
		h.resized("a", "1", "1") // nothing but the status changes
		assert.Equal(t, []string{"app"}, h.woken())
		require.True(t, h.schedule("app").status.IsSuccess())
	})
}

func TestAResizeThatTheNodeCannotDoTakesNoRoom(t *testing.T) {
	pod := on("n1", lone("a", 1))
	infeasible := v1.PodCondition{Type: v1.PodResizePending, Status: v1.ConditionTrue, Reason: v1.PodReasonInfeasible}
	bubble(t, "", append(nodes(8, "n1"), pod), func(h *harness) {
		h.resized("a", "8", "1", infeasible)
		h.submit("app", 2, 2)
		a := h.schedule("app")
		require.True(t, a.status.IsSuccess(), "%s: %v", a.point, a.status)
		h.told()
		h.resized("a", "9", "1", infeasible)
		assert.Empty(t, h.told(), "the slots stay")
		h.create(executor("exec-1", "app", 2), executor("exec-2", "app", 2))
		for _, name := range []string{"exec-1", "exec-2"} {
			require.True(t, h.schedule(name).status.IsSuccess())
		}
	})
}
