package plugin

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/spark"
)

// in is a node of a zone, with its host name as kubelets write it.
func in(zone, name string, cpu int) *v1.Node {
	n := node(name, cpu)
	n.Labels = map[string]string{v1.LabelHostname: name, v1.LabelTopologyZone: zone}
	return n
}

// selecting selects by one label.
func selecting(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func apart(topologyKey string, selector *metav1.LabelSelector) *v1.Affinity {
	return &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []v1.PodAffinityTerm{
		{TopologyKey: topologyKey, LabelSelector: selector},
	}}}
}

func together(topologyKey string, selector *metav1.LabelSelector) *v1.Affinity {
	return &v1.Affinity{PodAffinity: &v1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []v1.PodAffinityTerm{
		{TopologyKey: topologyKey, LabelSelector: selector},
	}}}
}

func level(topologyKey string, skew int32, selector *metav1.LabelSelector) v1.TopologySpreadConstraint {
	return v1.TopologySpreadConstraint{TopologyKey: topologyKey, MaxSkew: skew, WhenUnsatisfiable: v1.DoNotSchedule, LabelSelector: selector}
}

// executorsOnly selects the executors of every application.
var executorsOnly = selecting(spark.LabelRole, spark.RoleExecutor)

// play submits an application whose executors are made from a template.
func (h *harness) play(name string, count, cores int, spec v1.PodSpec) {
	h.playAt(0, name, count, cores, spec)
}

// playAt is play with a priority.
func (h *harness) playAt(priority int32, name string, count, cores int, spec v1.PodSpec) {
	if spec.Containers == nil {
		spec.Containers = []v1.Container{{Name: "main"}}
	}
	text, err := json.Marshal(&v1.Pod{Spec: spec})
	require.NoError(h.t, err)
	pod := templated(name)
	pod.Spec.Priority = &priority
	h.create(pod, properties(pod, executors(count, cores)...), template(pod, string(text)))
	h.after(time.Second)
}

// like is an executor as its driver makes it from a template.
func like(name, driver string, cpu int, spec v1.PodSpec) *v1.Pod {
	pod := executor(name, driver, cpu)
	pod.Spec.Affinity, pod.Spec.TopologySpreadConstraints, pod.Spec.Volumes = spec.Affinity, spec.TopologySpreadConstraints, spec.Volumes
	if len(spec.Containers) > 0 {
		pod.Spec.Containers[0].Ports = spec.Containers[0].Ports
	}
	return pod
}

func claim(name string) v1.Volume {
	return v1.Volume{Name: name, VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: name}}}
}

// bound is a claim and its volume, which is on one node only.
func bound(name, node string, mode v1.PersistentVolumeAccessMode) []runtime.Object {
	return []runtime.Object{
		&v1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), Annotations: map[string]string{"pv.kubernetes.io/bind-completed": "yes"}},
			Spec:       v1.PersistentVolumeClaimSpec{VolumeName: name + "-volume", AccessModes: []v1.PersistentVolumeAccessMode{mode}},
			Status:     v1.PersistentVolumeClaimStatus{Phase: v1.ClaimBound},
		},
		&v1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: name + "-volume"},
			Spec: v1.PersistentVolumeSpec{
				AccessModes: []v1.PersistentVolumeAccessMode{mode},
				ClaimRef:    &v1.ObjectReference{Namespace: "ns", Name: name, UID: types.UID(name)},
				NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{
					{Key: v1.LabelHostname, Operator: v1.NodeSelectorOpIn, Values: []string{node}},
				}}}}},
			},
			Status: v1.PersistentVolumeStatus{Phase: v1.VolumeBound},
		},
	}
}

func hostPort(port int32) []v1.Container {
	return []v1.Container{{Name: "main", Ports: []v1.ContainerPort{{Name: "shuffle", ContainerPort: port, HostPort: port, Protocol: v1.ProtocolTCP}}}}
}

// What a template asks for is planned: the gang starts when all of its executors can be placed so, they find their
// places, and when they cannot the reason says how many could and what refused the next.
func TestExecutorsGoWhereTheirTemplateLetsThem(t *testing.T) {
	zones := []runtime.Object{in("x", "x1", 16), in("x", "x2", 16), in("y", "y1", 16), in("y", "y2", 16)}
	tests := map[string]struct {
		objects  []runtime.Object
		template v1.PodSpec
		fit      int    // so many executors start
		want     string // why one more does not
	}{
		"one on each host": {
			zones, v1.PodSpec{Affinity: apart(v1.LabelHostname, executorsOnly)}, 4,
			"Constraints: 4 of 5 pods of role executor find nodes and the next does not: of 4 nodes 4 refuse it by InterPodAffinity (node(s) didn't match pod anti-affinity rules)",
		},
		"one in each zone": {
			zones, v1.PodSpec{Affinity: apart(v1.LabelTopologyZone, executorsOnly)}, 2,
			"Constraints: 2 of 3 pods of role executor find nodes and the next does not: of 4 nodes 4 refuse it by InterPodAffinity (node(s) didn't match pod anti-affinity rules)",
		},
		"all on one host": {
			zones, v1.PodSpec{Affinity: together(v1.LabelHostname, executorsOnly)}, 16,
			"Constraints: 16 of 17 pods of role executor find nodes and the next does not: of 4 nodes 3 refuse it by InterPodAffinity (node(s) didn't match pod affinity rules), 1 have no room for it",
		},
		"all in one zone": {
			append(zones[:3:3], on("x1", lone("other", 16))), v1.PodSpec{Affinity: together(v1.LabelTopologyZone, executorsOnly)}, 16,
			"Constraints: 16 of 17 pods",
		},
		"level over zones": {
			append(zones[:3:3], in("y", "y2", 1)), v1.PodSpec{TopologySpreadConstraints: []v1.TopologySpreadConstraint{level(v1.LabelTopologyZone, 1, executorsOnly)}}, 35,
			"Constraints: 35 of 36 pods of role executor find nodes and the next does not: of 4 nodes ",
		},
		"a port of the host": {
			append(zones, on("x1", withPort(lone("other", 1), 4040))), v1.PodSpec{Containers: hostPort(4040)}, 3,
			"Constraints: 3 of 4 pods of role executor find nodes and the next does not: of 4 nodes 4 refuse it by NodePorts (node(s) didn't have free ports for the requested pod ports)",
		},
		"a volume of one host": {
			append(zones, bound("data", "y1", v1.ReadWriteMany)...), v1.PodSpec{Volumes: []v1.Volume{claim("data")}}, 16,
			"Constraints: 16 of 17 pods of role executor find nodes and the next does not: of 4 nodes 3 refuse it by VolumeBinding (node(s) didn't match PersistentVolume's node affinity), 1 have no room for it",
		},
		"a volume for one pod": {
			append(zones, bound("data", "y1", v1.ReadWriteOncePod)...), v1.PodSpec{Volumes: []v1.Volume{claim("data")}}, 1,
			"Constraints: 1 of 2 pods of role executor find nodes and the next does not: of 4 nodes ",
		},
	}
	for name, test := range tests {
		for _, strategy := range []string{"Pack", "Spread", "PreferSingleZone"} {
			t.Run(name+", "+strategy, func(t *testing.T) {
				filtered(t, fmt.Sprintf(`{"placement": %q}`, strategy), test.objects, func(h *harness) {
					h.play("large", test.fit+1, 1, test.template)
					a := h.schedule("large")
					assert.Equal(t, "PreFilter", a.point)
					assert.Equal(t, fwk.Unschedulable, a.status.Code())
					assert.Contains(t, a.status.Message(), test.want)
					again := h.schedule("large")
					assert.Equal(t, "PreEnqueue", again.point)
					h.remove("large")

					h.play("app", test.fit, 1, test.template)
					a = h.schedule("app")
					require.True(t, a.status.IsSuccess(), "%s: %v", a.point, a.status)
					assert.Len(t, a.tried, 1)
					reservation, _ := h.plugin.Ledger().Reservation("app-uid")
					slots := map[string]int{}
					for _, slot := range reservation.Slots {
						slots[slot.Node] += slot.Count
					}
					for i := range test.fit {
						name := fmt.Sprint("exec-", i)
						h.create(like(name, "app", 1, test.template))
						a := h.schedule(name)
						require.True(t, a.status.IsSuccess(), "%s: %s: %v", name, a.point, a.status)
						slots[a.node]--
					}
					for node, left := range slots {
						assert.Zero(t, left, "slots of %s that nobody took", node)
					}
				})
			})
		}
	}
}

func withPort(pod *v1.Pod, port int32) *v1.Pod {
	pod.Spec.Containers[0].Ports = hostPort(port)[0].Ports
	return pod
}

// Workers that slots wait for are as good as there: of two gangs that ask for the same port, each keeps its nodes, also
// after a restart.
func TestWorkersToComeAreRehearsedWith(t *testing.T) {
	template := v1.PodSpec{Containers: hostPort(4040)}
	cluster := []runtime.Object{in("x", "a", 16), in("x", "b", 16), in("x", "c", 16)}
	refusal := "Constraints: 1 of 2 pods of role executor find nodes"
	var restarted []runtime.Object
	filtered(t, "", cluster, func(h *harness) {
		h.play("first", 2, 1, template)
		require.True(t, h.schedule("first").status.IsSuccess())
		h.play("second", 2, 1, template)
		assert.Contains(t, h.schedule("second").status.Message(), refusal)
		h.play("third", 1, 1, template)
		require.True(t, h.schedule("third").status.IsSuccess())
		taken := map[string]bool{}
		for _, awaited := range h.plugin.Ledger().Awaited() {
			assert.False(t, taken[awaited.Node], "two workers on one node with one port")
			taken[awaited.Node] = true
		}
		restarted = append(slices.Clone(cluster), h.pod("first"), h.pod("third"))

		// The end of the third makes room for one, that of the first for both.
		h.woken()
		h.remove("third")
		assert.Equal(t, []string{"second"}, h.woken())
		assert.False(t, h.schedule("second").status.IsSuccess())
		h.woken()
		h.remove("first")
		assert.Equal(t, []string{"second"}, h.woken())
		assert.True(t, h.schedule("second").status.IsSuccess())
	})
	filtered(t, "", restarted, func(h *harness) {
		h.play("fourth", 1, 1, template)
		assert.Contains(t, h.schedule("fourth").status.Message(), "Constraints: 0 of 1 pods of role executor find nodes")
	})
}

// A slot moves by room, and others may break the rules of who is to come: the worker goes through the filters, and when
// they refuse it on its slots it goes wherever it fits.
func TestAWorkerWhoseSlotsRefuseItGoesElsewhere(t *testing.T) {
	template := v1.PodSpec{Containers: hostPort(4040)}
	tests := map[string]func(h *harness, slot, other string){
		"another takes its port": func(h *harness, slot, _ string) { h.create(on(slot, withPort(lone("rude", 1), 4040))) },
		"its slot moves to a node whose port is taken": func(h *harness, slot, other string) {
			h.create(on(other, withPort(lone("rude", 1), 4040)))
			cordoned := in("x", slot, 4)
			cordoned.Spec.Unschedulable = true
			_, err := h.client.CoreV1().Nodes().Update(h.ctx, cordoned, metav1.UpdateOptions{})
			require.NoError(h.t, err)
		},
	}
	for name, disturb := range tests {
		t.Run(name, func(t *testing.T) {
			filtered(t, "", []runtime.Object{in("x", "a", 4), in("x", "b", 4), in("x", "c", 4)}, func(h *harness) {
				h.play("app", 1, 1, template)
				require.True(t, h.schedule("app").status.IsSuccess())
				slot := h.plugin.Ledger().Awaited()[0].Node
				others := slices.DeleteFunc([]string{"a", "b", "c"}, func(node string) bool { return node == slot })
				disturb(h, slot, others[0])
				h.create(like("exec-1", "app", 1, template))
				h.woken()
				a := h.schedule("exec-1")
				if a.node == "" {
					assert.Len(t, a.tried, 1)
					assert.Equal(t, []string{"exec-1"}, h.woken(), "it is sent on")
					a = h.schedule("exec-1")
				}
				assert.True(t, a.status.IsSuccess(), "%s %v", a.point, a.status)
				assert.Empty(t, h.plugin.Ledger().Awaited())
			})
		})
	}
}

// Pods that come let a gang start that seeks them, without any room that comes back: it is tried again in time.
func TestAGangThatSeeksOtherPodsIsTriedAgain(t *testing.T) {
	template := v1.PodSpec{Affinity: together(v1.LabelTopologyZone, selecting("app", "store"))}
	store := func(node string) *v1.Pod {
		pod := lone("store", 1)
		pod.Labels = map[string]string{"app": "store"}
		pod.Spec.SchedulerName = "another"
		return on(node, pod)
	}
	filtered(t, "", []runtime.Object{in("x", "x1", 8), in("y", "y1", 8)}, func(h *harness) {
		h.play("app", 2, 1, template)
		assert.Contains(t, h.schedule("app").status.Message(), "2 refuse it by InterPodAffinity (node(s) didn't match pod affinity rules)")
		h.woken()
		h.create(store("y1"))
		assert.Empty(t, h.woken(), "no room has come back")
		h.after(15 * time.Second)
		assert.Equal(t, []string{"app"}, h.woken())
		require.True(t, h.schedule("app").status.IsSuccess())
		for _, awaited := range h.plugin.Ledger().Awaited() {
			assert.Equal(t, "y1", awaited.Node)
		}
	})
}

// Of claims and volumes the ledger hears nothing, so who waits for them is tried again in time.
func TestAGangThatWaitsForAClaimIsTriedAgain(t *testing.T) {
	filtered(t, "", []runtime.Object{in("x", "a", 8)}, func(h *harness) {
		h.play("app", 2, 1, v1.PodSpec{Volumes: []v1.Volume{claim("data")}})
		assert.Contains(t, h.schedule("app").status.Message(), `persistentvolumeclaim "data" not found`)
		h.woken()
		for _, object := range bound("data", "a", v1.ReadWriteMany) {
			h.create(object)
		}
		h.after(5 * time.Second)
		assert.Empty(t, h.woken())
		h.after(10 * time.Second)
		assert.Contains(t, h.woken(), "app")
		assert.True(t, h.schedule("app").status.IsSuccess())
	})
}

// A leader that keeps workers away from itself is planned with, although the workers have no rules.
func TestALeaderThatWantsToBeAlone(t *testing.T) {
	filtered(t, "", []runtime.Object{in("x", "a", 8), in("x", "b", 2)}, func(h *harness) {
		pod := driver("app")
		pod.Spec.Affinity = apart(v1.LabelHostname, executorsOnly)
		h.create(pod, properties(pod, executors(4, 2)...))
		h.after(time.Second)
		assert.Equal(t, "b", h.schedule("app").node)
		for _, awaited := range h.plugin.Ledger().Awaited() {
			assert.Equal(t, "a", awaited.Node)
		}
	})
}

// Gangs that differ only in who they are wait as one; whatever their own rules look at keeps them apart.
func TestShapesOfGangsThatAreRehearsed(t *testing.T) {
	shape := func(change func(leader, worker *v1.Pod)) string {
		leader, worker := driver("app"), executor("worker", "app", 1)
		worker.Spec.Affinity = apart(v1.LabelHostname, executorsOnly)
		change(leader, worker)
		return gangSignature(leader, []gang.Role{{Pod: worker}})
	}
	plain := shape(func(_, _ *v1.Pod) {})
	other := func(leader, worker *v1.Pod) {
		leader.Labels[spark.LabelApp], worker.Labels[spark.LabelApp] = "other", "other"
	}
	assert.Equal(t, plain, shape(other))
	assert.NotEqual(t, plain, shape(func(_, worker *v1.Pod) { worker.Labels["team"] = "a" }))
	assert.NotEqual(t, plain, shape(func(leader, _ *v1.Pod) { leader.Namespace = "another" }))
	selfish := func(_, worker *v1.Pod) {
		worker.Spec.Affinity = apart(v1.LabelHostname, selecting(spark.LabelApp, "app"))
	}
	assert.NotEqual(t, shape(selfish), shape(func(leader, worker *v1.Pod) { selfish(leader, worker); other(leader, worker) }))
}

// A gang without leader is rehearsed as well.
func TestAnUpfrontGangIsRehearsed(t *testing.T) {
	filtered(t, "", []runtime.Object{in("x", "a", 16), in("x", "b", 16)}, func(h *harness) {
		lonely := func(name string, together int) *v1.Pod {
			pod := clientExecutor(name, together, 1)
			pod.Spec.Affinity = apart(v1.LabelHostname, executorsOnly)
			return pod
		}
		h.create(lonely("e1", 3), lonely("e2", 3), lonely("e3", 3))
		assert.Contains(t, h.reserve("e1").status.Message(), "Constraints: 2 of 3 pods")
		for _, name := range []string{"e1", "e2", "e3"} {
			h.remove(name)
		}
		h.create(lonely("e4", 2), lonely("e5", 2))
		a := h.reserve("e4")
		require.True(t, a.status.IsSuccess(), "%s: %v", a.point, a.status)
		awaited := h.plugin.Ledger().Awaited()
		require.Len(t, awaited, 1)
		assert.NotEqual(t, a.node, awaited[0].Node)
	})
}
