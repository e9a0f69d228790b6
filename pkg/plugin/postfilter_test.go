package plugin

import (
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"
	backend "k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// TestAPodThatLacksRoomIsKnownByTheFiltersThatRefusedIt: kube-scheduler's own filter comes first. Seen failing when only
// this plugin's refusals count, and when a pod was too large for ever of which the snapshot had not shown all nodes that may hold it,
// or had a node with other taints or labels than the ledger knows.
func TestAPodThatLacksRoomIsKnownByTheFiltersThatRefusedIt(t *testing.T) {
	tests := map[string]struct {
		cpu      int
		filters  map[string]string // node -> the plugin that refused it
		want     gang.Reason       // empty means that it is not room
		elsewise bool
		behind   bool
	}{
		"no node has room":                      {3, map[string]string{"full": "NodeResourcesFit", "half": "NodeResourcesFit"}, gang.Fragmented, false, false},
		"they have too little in all":           {4, map[string]string{"full": "NodeResourcesFit", "half": "NodeResourcesFit"}, gang.ClusterFull, false, false},
		"no node could ever have it":            {9, map[string]string{"full": "NodeResourcesFit", "half": "NodeResourcesFit"}, gang.NeverFitsNode, false, false},
		"other nodes have other labels by now":  {9, map[string]string{"full": "NodeResourcesFit", "half": "NodeAffinity"}, gang.NeverFitsNode, true, false},
		"the only one it may go to is full":     {2, map[string]string{"full": "NodeResourcesFit", "half": "TaintToleration"}, gang.ClusterFull, false, false},
		"it may go nowhere":                     {2, map[string]string{"full": "NodeAffinity", "half": "TaintToleration"}, "", false, false},
		"a claim keeps it from where room is":   {2, map[string]string{"full": "NodeResourcesFit", "half": "VolumeBinding"}, gang.ClusterFull, true, false},
		"the room is kept for others":           {2, map[string]string{"full": "NodeResourcesFit", "half": Name}, gang.Fragmented, false, false},
		"the snapshot is behind":                {1, map[string]string{"full": "NodeResourcesFit", "half": "NodeResourcesFit"}, "", false, true},
		"it is behind, and room is kept":        {2, map[string]string{"full": Name, "half": "NodeResourcesFit"}, "", false, true},
		"it shows a taint that has gone":        {2, map[string]string{"full": "NodeResourcesFit", "half": "TaintToleration"}, gang.ClusterFull, false, true},
		"it is refused for everything but room": {1, map[string]string{"full": "InterPodAffinity", "half": "VolumeBinding"}, "", false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			// 1 and 2 CPUs are free.
			half := node("half", 4)
			if test.filters["half"] == "TaintToleration" && !test.behind {
				half.Spec.Taints = []v1.Taint{{Key: "k", Effect: v1.TaintEffectNoSchedule}}
			}
			objects := []runtime.Object{node("full", 4), half, on("full", lone("large", 3)), on("half", lone("small", 2))}
			bubble(t, "", objects, func(h *harness) {
				h.look()
				pod := lone("pod", test.cpu)
				statuses := framework.NewDefaultNodeToStatus()
				for node, plugin := range test.filters {
					statuses.Set(node, fwk.NewStatus(fwk.Unschedulable, "no").WithPlugin(plugin))
				}
				c := &cycle{view: h.plugin.ledger.View(), request: resource.OfPod(pod)}
				verdict, elsewise, behind := h.plugin.shortOfRoom(c, pod, statuses)
				require.Equal(t, test.want, verdict.Reason, verdict)
				require.Equal(t, test.elsewise, elsewise)
				require.Equal(t, test.behind, behind)
			})
		})
	}
}

// A node that the ledger has heard of, and that PreFilter has named, may not be in the scheduler's snapshot yet.
//
// Seen failing when only the nodes of the snapshot were looked at: a group waited for ever beside a node that had room for it.
func TestANodeThatTheSnapshotDoesNotShowYetIsNoRefusal(t *testing.T) {
	bubble(t, "", []runtime.Object{node("seen", 4)}, func(h *harness) {
		h.look()
		pod := lone("pod", 1)
		c := &cycle{view: h.plugin.ledger.View(), request: resource.OfPod(pod), usable: usable{named: sets.New("new")}}
		verdict, _, behind := h.plugin.shortOfRoom(c, pod, framework.NewDefaultNodeToStatus())
		require.True(t, verdict.Passes())
		require.True(t, behind)
	})
}

// A node that kube-scheduler's cache shows uncordoned before the ledger has heard of it takes nobody: it would be given to whoever is tried
// then, and not to the first in turn. What the ledger hears next wakes those who were refused.
//
// Seen failing when Filter looked at room alone (seed 8000901 of test/sim at aa1a2b9), and when such a refusal ended the wait.
func TestANodeIsOpenWhenBothHaveHeardOfIt(t *testing.T) {
	for name, change := range map[string]struct{ close, open func(*v1.Node) }{
		"a cordon": {func(n *v1.Node) { n.Spec.Unschedulable = true }, func(n *v1.Node) { n.Spec.Unschedulable = false }},
		"a taint":  {func(n *v1.Node) { n.Spec.Taints = []v1.Taint{{Key: "k", Effect: v1.TaintEffectNoSchedule}} }, func(n *v1.Node) { n.Spec.Taints = nil }},
		"a label":  {func(*v1.Node) {}, func(n *v1.Node) { n.Labels = map[string]string{"disk": "ssd"} }},
	} {
		t.Run(name, func(t *testing.T) {
			pod, a := lone("pod", 1), node("a", 4)
			if name == "a label" {
				pod.Spec.NodeSelector = map[string]string{"disk": "ssd"}
			}
			change.close(a)
			filtered(t, "", []runtime.Object{a, pod}, func(h *harness) {
				opened := a.DeepCopy()
				change.open(opened)
				h.stale, h.nodes.MutableSnapshotSharedLister = true, backend.NewSnapshot(nil, []*v1.Node{opened})
				h.woken()
				refused := h.schedule("pod")
				require.Equal(t, "Filter", refused.point)
				require.Empty(t, h.woken())
				require.Equal(t, "node(s) that have changed a moment ago", refused.status.Message())

				_, err := h.client.CoreV1().Nodes().Update(h.ctx, opened, metav1.UpdateOptions{})
				require.NoError(t, err)
				require.Equal(t, []string{"pod"}, h.woken())
				require.Equal(t, "a", h.schedule("pod").node)
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

// Room that somebody was evicted for goes to the pod it was freed for, however late kube-scheduler's cache hears of that, and not
// to the next one that comes.
//
// Seen failing when a refusal for something that the ledger does not know ended the wait.
func TestWhatWasTakenBackStaysKeptWhileTheSnapshotIsBehind(t *testing.T) {
	high := lone("high", 3)
	high.Spec.Priority = ptr.To[int32](100)
	filtered(t, "", []runtime.Object{node("a", 4), on("a", lone("low", 3)), high}, func(h *harness) {
		newEvictions(h)
		require.False(t, h.schedule("high").status.IsSuccess())
		h.stale = true
		h.after(2 * tickPeriod)
		require.Contains(t, h.woken(), "high", "all is there")
		require.Equal(t, "Filter", h.schedule("high").point, "kube-scheduler has not heard of it")

		h.create(lone("again", 3))
		h.stale = false
		require.False(t, h.schedule("again").status.IsSuccess())
		require.Equal(t, "a", h.schedule("high").node)
		require.False(t, h.schedule("again").status.IsSuccess())
	})
}

// The same of a gang that the framework's filters are asked about: they see who has left.
//
// Seen failing when the rehearsal's word counted: what was collected was given up, and a lower priority had it.
func TestWhatWasTakenBackStaysKeptWhileARehearsalSeesWhoHasLeft(t *testing.T) {
	for name, objects := range map[string][]runtime.Object{
		"and takes the room": {in("x", "a", 4), in("x", "b", 4), on("a", lone("low", 3))},
		"and the host port":  {in("x", "a", 4), in("x", "b", 4), on("a", ported(lone("low", 2)))},
	} {
		t.Run(name, func(t *testing.T) {
			filtered(t, "", objects, func(h *harness) {
				newEvictions(h)
				spec := v1.PodSpec{Affinity: apart(v1.LabelHostname, executorsOnly), Containers: hostPort(8080)}
				h.playAt(100, "spark", 2, 3, spec)
				require.False(t, h.schedule("spark").status.IsSuccess())
				h.stale = true
				h.after(2 * tickPeriod)
				require.Contains(t, h.woken(), "spark", "all is there")
				behind := h.schedule("spark")
				require.Equal(t, "PreFilter", behind.point, "kube-scheduler has not heard of it: %v", behind.status)

				h.create(lone("again", 3))
				h.stale = false
				require.False(t, h.schedule("again").status.IsSuccess())
				a := h.schedule("spark")
				require.True(t, a.status.IsSuccess(), "%s: %v", a.point, a.status)
			})
		})
	}
}

// If kube-scheduler does not bring the pod back, the plugin does after a second, and names it among those that an event may help
// until then.
func TestWhoeverWasTriedTooEarlyIsTriedAgain(t *testing.T) {
	high := lone("high", 3)
	high.Spec.Priority = ptr.To[int32](100)
	filtered(t, "", []runtime.Object{node("a", 4), on("a", lone("low", 3)), high}, func(h *harness) {
		newEvictions(h)
		require.False(t, h.schedule("high").status.IsSuccess())
		h.stale = true
		h.after(2 * tickPeriod)
		h.woken()
		require.False(t, h.schedule("high").status.IsSuccess())
		require.Contains(t, h.plugin.pending.open, nameOf(high))
		require.Empty(t, h.woken())
		h.after(2 * tickPeriod)
		require.Equal(t, []string{"high"}, h.woken())
	})
}
