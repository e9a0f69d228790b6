package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/property"
)

// tricks are what a stranger may try: each makes pods whose names begin with the given one.
var tricks = []struct {
	name string
	play func(w *World, name string)
}{
	{"forge", (*World).forge}, {"edit", (*World).editRoles}, {"unready", (*World).neverReady}, {"hold", (*World).held}, {"select", (*World).selecting},
	{"lead", (*World).leadAndNot}, {"grow", (*World).growing}, {"later", (*World).forgeLater}, {"silent", (*World).silent}, {"miscount", (*World).miscounted},
	{"again", (*World).oneName},
	{"shun", (*World).shun}, {"dear", (*World).rehearseDearly}, {"resize", (*World).resize}, {"ignored", (*World).askForIgnored}, {"mistake", (*World).mistake},
	{"bomb", (*World).explode}, {"cling", (*World).cling}, {"fill", (*World).fill},
}

// shun has drivers refused on many nodes by anti-affinity of the stranger's own pods. They ask for exactly what somebody else's application
// asks for, and are of its priority.
func (w *World) shun(name string) {
	if len(w.apps) == 0 {
		return
	}
	for i, node := range w.api.nodes.all() {
		if w.chance.happens(0.3) {
			continue
		}
		guard := w.stranger(fmt.Sprintf("%s-guard-%d", name, i), "", func(pod *v1.Pod) {
			pod.Labels, pod.Annotations, pod.Spec.NodeName, pod.Spec.Affinity = nil, nil, node.Name, apart("shunned", name)
			pod.Spec.Containers[0].Resources.Requests = nil
		})
		w.startPod(keyOf(guard), guard.UID)
	}
	for i := range w.chance.number(1, 3) {
		p := pick(w.chance, w.apps...).plan
		p.broken = false
		w.stranger(fmt.Sprintf("%s-%d", name, i), p.annotation(), func(pod *v1.Pod) {
			pod.Labels["shunned"] = name
			pod.Spec.Priority, pod.Spec.Containers[0].Resources.Requests = &p.priority, p.driver.list()
		})
	}
}

// apart keeps a pod from nodes with pods of a label.
func apart(label, value string) *v1.Affinity {
	return &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []v1.PodAffinityTerm{{
		TopologyKey: v1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{label: value}},
	}}}}
}

// rehearseDearly submits gangs that have to be rehearsed, each of another shape, with workers about which a filter takes long.
//
// Seen failing by the invariant share, when no namespace rested after rehearsals that succeed, and when none did after any.
func (w *World) rehearseDearly(name string) {
	nodes := w.api.nodes.len()
	for i := range w.chance.number(1, 6) {
		shape := fmt.Sprintf("%s-%d", name, i)
		w.stranger(shape, fmt.Sprintf("[{name: executor, count: %d, requests: {cpu: 10m, memory: 1Mi}, labels: {%s: %q}, affinity: {podAntiAffinity: "+
			"{requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: %s, labelSelector: {matchLabels: {%s: %q}}}]}}}]",
			pick(w.chance, 1, 1, 1, nodes/2+1, nodes/2+1, nodes+1), labelDear, shape, v1.LabelHostname, labelDear, shape))
	}
}

// resize lets a pod that runs ask for so much that its kubelet calls that infeasible, then for less, which its kubelet takes some time to
// give back.
//
// Seen failing by the invariant sums, when the ledger counted what the pod's spec says.
func (w *World) resize(name string) {
	c := w.chance
	pod := w.stranger(name, "", func(pod *v1.Pod) {
		pod.Labels, pod.Annotations = nil, nil
		pod.Spec.Containers[0].Resources.Requests = size{500, 64}.list()
	})
	key, uid := keyOf(pod), pod.UID
	type stage struct {
		asked, allocated int64 // millicores
		infeasible       bool
	}
	delay := c.delay(5*time.Second, time.Minute)
	for _, next := range []stage{{500, 500, false}, {1_000_000, 500, false}, {1_000_000, 500, true}, {100, 500, false}, {100, 100, false}, {1500, 100, true}} {
		w.after(delay, func() {
			pod := w.api.pod(key, uid)
			if pod == nil || pod.Spec.NodeName == "" || ended(pod) {
				return
			}
			w.api.changePod(pod, func(pod *v1.Pod) {
				pod.Spec.Containers = slices.Clone(pod.Spec.Containers)
				container := &pod.Spec.Containers[0]
				container.Resources.Requests = size{next.asked, 64}.list()
				allocated := size{next.allocated, 64}.list()
				pod.Status.ContainerStatuses = []v1.ContainerStatus{{Name: container.Name, AllocatedResources: allocated, Resources: &v1.ResourceRequirements{Requests: allocated}}}
				pending := v1.PodCondition{Type: v1.PodResizePending, Status: v1.ConditionFalse}
				if next.infeasible {
					pending.Status, pending.Reason = v1.ConditionTrue, v1.PodReasonInfeasible
				}
				pod.Status.Conditions = withCondition(pod.Status.Conditions, pending)
			})
		})
		delay += c.delay(time.Second, 10*time.Second)
	}
}

// resourceIgnored is what the profile tells NodeResourcesFit to ignore: no node offers any of it.
const resourceIgnored v1.ResourceName = "example.com/ignored"

// askForIgnored creates a pod that asks for what the profile ignores. It is as good as any other.
//
// Seen failing by the invariant sums, when everything counted.
func (w *World) askForIgnored(name string) {
	priority, requests := int32(0), size{100, 64}.list()
	requests[resourceIgnored] = *apiresource.NewQuantity(3, apiresource.DecimalSI)
	pod := w.api.createPod(&v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespaceOfStrangers, Name: name},
		Spec:       v1.PodSpec{SchedulerName: schedulerName, Priority: &priority, Containers: []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Requests: requests}}}},
	})
	w.removeLater(pod, w.chance.between(time.Minute, 6*time.Minute))
}

// mistake creates a driver with roles that nobody may ask for, and which would fit anywhere. The invariant mistaken says that it is
// never placed.
//
// Seen failing when the names of resources were not counted, and when any exponent was taken.
func (w *World) mistake(name string) {
	requests := `cpu: "1e-40"`
	if w.chance.happens(0.5) {
		var resources []string
		for i := range 40 {
			resources = append(resources, fmt.Sprintf("example.com/r%d: 0", i))
		}
		requests = strings.Join(resources, ", ")
	}
	w.mistaken[w.stranger(name, "[{name: executor, count: 1, requests: {"+requests+"}}]").UID] = true
}

// explode creates a driver with an annotation that says one thing very often. The invariant memory says what reading it costs: the least of
// three times, as other seeds are played meanwhile.
//
// Seen failing when nobody counted what aliases stand for.
func (w *World) explode(name string) {
	pod := w.stranger(name, "- &x "+strings.Repeat("y", 20_000)+strings.Repeat("\n- *x", 2_000))
	w.mistaken[pod.UID] = true
	read := func() { _, _, _ = spark.FromAnnotations(pod) }
	if least := min(property.Allocated(read), property.Allocated(read), property.Allocated(read)); least > property.MostAllocated {
		w.fail("memory", "to read what %s says takes %d bytes", keyOf(pod), least)
	}
}

// cling creates a large pod of a low priority that takes for ever to end. The invariant grace says how long it gets.
//
// Seen failing when its own grace was not capped.
func (w *World) cling(name string) {
	c := w.chance
	w.stranger(name, "", func(pod *v1.Pod) {
		priority, grace := int32(-10), int64(1)<<40
		pod.Labels, pod.Annotations, pod.Spec.Priority, pod.Spec.TerminationGracePeriodSeconds = nil, nil, &priority, &grace
		pod.Spec.Containers[0].Resources.Requests = size{pick[int64](c, 2000, 3000, 4000), 512}.list()
	})
}

// maxAnnotations is how long all annotations of an object may be, in bytes: the API server refuses updates that say more, but not a
// binding, after which it refuses every update.
const maxAnnotations = 256 << 10

// fill creates a driver with so many annotations that little is left for its reservation, and adds more later. The invariant annotations
// says that no binding makes them too long.
//
// Seen failing when nobody asked how long they get.
func (w *World) fill(name string) {
	c := w.chance
	notes := func(left int) map[string]string {
		annotations := map[string]string{spark.AnnotationRoles: roles(c.number(1, 4), 100)}
		annotations["notes"] = strings.Repeat("x", maxAnnotations-left-annotationBytes(annotations)-len("notes"))
		return annotations
	}
	pod := w.stranger(name, "", func(pod *v1.Pod) { pod.Annotations = notes(pick(c, 0, 100, 1000, 34<<10, 40<<10)) })
	w.strangely(pod, func(pod *v1.Pod) {
		annotations := notes(pick(c, 0, 1000))
		for key, value := range pod.Annotations {
			if key != "notes" {
				annotations[key] = value
			}
		}
		if annotationBytes(annotations) <= maxAnnotations {
			pod.Annotations = annotations
		}
	})
}

func annotationBytes(annotations map[string]string) int {
	size := 0
	for key, value := range annotations {
		size += len(key) + len(value)
	}
	return size
}
