package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/resource"
)

// daemonPriority is above that of everybody else.
const daemonPriority = 1000

// daemon is a pod that may go to one node only, as those of a DaemonSet may, and what becomes of others for it.
type daemon struct {
	uid  types.UID
	node string
	// late is what pods ask for that come as soon as the daemon has been refused.
	late    size
	refused bool
	// heir comes then, too, of a higher priority and for the same; nil means nobody.
	heir func() *v1.Pod
	came *v1.Pod
	// victims are the names of the pods that have had to go.
	victims []string
}

// playDaemon fills most of a node with two pods of no priority, and lets a daemon come that needs what is free and the room of one of them.
// As soon as it has been refused, smaller pods come for what is free. One has to go, and none of those who came later; the daemon is
// nominated meanwhile, and has its node in the end.
func (w *World) playDaemon() {
	r := w.leader()
	node, free := w.emptiest(r)
	eighth := size{free.CPU / 8, free.Memory >> 20 / 8}
	if w.climate.queues || len(r.ghosts) > 0 || eighth.cpu < 100 || eighth.memory < 100 || free.Pods < 12 {
		return
	}
	var lows []*v1.Pod
	for n := range 2 {
		lows = append(lows, w.pinned(fmt.Sprintf("low-%d", n), node, size{3 * eighth.cpu, 3 * eighth.memory}, 0))
	}
	w.rest()
	for _, low := range lows {
		if pod := w.api.pod(keyOf(low), low.UID); pod == nil || pod.Spec.NodeName == "" {
			return // somebody else was faster
		}
	}
	view := r.ledger.View()
	i, _ := view.Index(node)
	slots := !view.Held(i).IsZero()
	if object, there := w.api.nodes.get(node); !there || !(size{2 * eighth.cpu, 2 * eighth.memory}).vector().Fits(w.freeOf(object).Sub(*view.Held(i))) {
		return // others have taken what was to be free, and more than one would have to go: seed 2
	}
	kept := r.ledger.Collected() != nil // for somebody of a lower priority: the daemon takes it over if that is enough
	w.daemon = &daemon{node: node, late: size{eighth.cpu / 8, eighth.memory / 8}}
	pod := w.pinned("daemon", node, size{5 * eighth.cpu, 5 * eighth.memory}, daemonPriority)
	w.daemon.uid = pod.UID
	w.rest()
	d := w.daemon
	w.daemon = nil
	if pod = w.api.pod(keyOf(pod), pod.UID); pod == nil || pod.Spec.NodeName != node {
		w.fail("daemon", "%s: a daemon waits for node %s, on which two pods of no priority run: %v had to go: %s", r.name, node, d.victims, r.whereabouts(pod))
	}
	others := slices.ContainsFunc(d.victims, func(name string) bool { return name[:3] != "low" && name[:3] != "lat" })
	// Slots that nobody has claimed are given up before anybody has to go: seed 221.
	if !others && !kept && len(d.victims) != 1 && (len(d.victims) > 0 || !slots) {
		w.fail("daemon", "%s: %v had to go for a daemon, where one of the first two was enough", r.name, d.victims)
	}
	w.stats.Daemons++
}

// playRecluse lets two pods of no priority run on a node, and then one come that fits there and keeps away from one of them: that one has to
// go, and nobody else.
//
// Seen failing when nobody left for anything but room.
func (w *World) playRecluse() {
	r := w.leader()
	node, free := w.emptiest(r)
	eighth := size{free.CPU / 8, free.Memory >> 20 / 8}
	if w.climate.queues || len(r.ghosts) > 0 || eighth.cpu < 100 || eighth.memory < 100 || free.Pods < 12 {
		return
	}
	const label = "shunned"
	var others []*v1.Pod
	for _, name := range []string{"near", "beside"} {
		others = append(others, w.pinnedWith(name, node, eighth, 0, func(pod *v1.Pod) { pod.Labels = map[string]string{label: name} }))
	}
	w.rest()
	for _, other := range others {
		if pod := w.api.pod(keyOf(other), other.UID); pod == nil || pod.Spec.NodeName == "" {
			return // somebody else was faster
		}
	}
	w.daemon = &daemon{node: node}
	pod := w.pinnedWith("recluse", node, eighth, daemonPriority, func(pod *v1.Pod) { pod.Spec.Affinity.PodAntiAffinity = apart(label, "near").PodAntiAffinity })
	w.daemon.uid = pod.UID
	w.rest()
	victims := w.daemon.victims
	w.daemon = nil
	if pod = w.api.pod(keyOf(pod), pod.UID); pod == nil || pod.Spec.NodeName != node {
		w.fail("recluse", "%s: a pod keeps away from one of no priority on node %s: %v had to go: %s", r.name, node, victims, r.whereabouts(pod))
	}
	if !slices.Equal(victims, []string{"near"}) {
		w.fail("recluse", "%s: %v had to go for a pod that keeps away from one", r.name, victims)
	}
	w.stats.Recluses++
}

// heirWindow is for how long who has come may be unknown, as the API server tells of it in whole seconds.
const heirWindow = 2 * time.Second

// playHeir lets a pod of no priority run on a node, one of some priority come for which it has to go, and, before it has gone, one of a higher
// priority that asks for the same, and that may preempt or not: the one before it does not start then,
// only to be killed.
//
// Seen failing when nobody took over what was kept for others.
func (w *World) playHeir() {
	r := w.leader()
	node, free := w.emptiest(r)
	eighth := size{free.CPU / 8, free.Memory >> 20 / 8}
	if w.climate.queues || len(r.ghosts) > 0 || eighth.cpu < 100 || eighth.memory < 100 || free.Pods < 12 || r.ledger.Collected() != nil {
		return
	}
	low := w.pinned("former", node, size{6 * eighth.cpu, 6 * eighth.memory}, 0)
	w.rest()
	if pod := w.api.pod(keyOf(low), low.UID); pod == nil || pod.Spec.NodeName == "" {
		return // somebody else was faster
	}
	policy := pick(w.chance, v1.PreemptLowerPriority, v1.PreemptNever)
	asks := size{5 * eighth.cpu, 5 * eighth.memory}
	w.daemon = &daemon{node: node, heir: func() *v1.Pod {
		return w.pinnedWith("heir", node, asks, daemonPriority, func(pod *v1.Pod) { pod.Spec.PreemptionPolicy = &policy })
	}}
	pod := w.pinned("testator", node, asks, daemonPriority/2)
	w.daemon.uid = pod.UID
	w.rest()
	d := w.daemon
	w.daemon = nil
	if d.came == nil || len(d.victims) == 0 {
		return // it had its room at once
	}
	w.stats.Heirs++
}

// emptiest is the node with the most free CPU that takes everybody, and what is free there; empty when there is none.
func (w *World) emptiest(r *replica) (name string, most resource.Vector) {
	view := r.ledger.View()
	for _, node := range w.api.nodes.all() {
		i, known := view.Index(node.Name)
		if !known || !admits(node, &v1.PodSpec{}) {
			continue
		}
		if free := w.freeOf(node).Sub(*view.Held(i)); free.CPU > most.CPU {
			name, most = node.Name, free
		}
	}
	return name, most
}

// pinned creates a pod that may go to one node only.
func (w *World) pinned(name, node string, asks size, priority int32) *v1.Pod {
	return w.pinnedWith(name, node, asks, priority, func(*v1.Pod) {})
}

func (w *World) pinnedWith(name, node string, asks size, priority int32, edit func(*v1.Pod)) *v1.Pod {
	only := v1.NodeSelectorRequirement{Key: metav1.ObjectNameField, Operator: v1.NodeSelectorOpIn, Values: []string{node}}
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "red", Name: name},
		Spec: v1.PodSpec{
			SchedulerName: schedulerName, Priority: &priority, Containers: []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Requests: asks.list()}}},
			Affinity: &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
				NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchFields: []v1.NodeSelectorRequirement{only}}},
			}}},
		},
	}
	edit(pod)
	return w.api.createPod(pod)
}

// pinnedTo is the node of a pinned pod; empty for every other.
func pinnedTo(spec *v1.PodSpec) string {
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return ""
	}
	return spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
}

// fails is an attempt of a pod that has failed: when it is the first of the daemon, others come.
func (d *daemon) fails(w *World, pod *v1.Pod) {
	if d == nil || pod.UID != d.uid || d.refused {
		return
	}
	d.refused = true
	if d.heir != nil {
		d.came = d.heir()
	}
	if d.late == (size{}) {
		return
	}
	for n := range 5 {
		w.pinned(fmt.Sprintf("late-%d", n), d.node, d.late, 0)
	}
}

// goes is a pod that is evicted.
func (d *daemon) goes(pod *v1.Pod) {
	if d != nil {
		d.victims = append(d.victims, pod.Name)
	}
}

// end deletes a pod, a moment later.
func (w *World) end(uid types.UID) {
	for _, pod := range w.api.pods.all() {
		if pod.UID == uid {
			w.after(0, func() { w.deletePod(pod) })
		}
	}
}

// binds is a pod that is about to be bound: by then the daemon has been nominated for where it goes.
func (d *daemon) binds(w *World, pod *v1.Pod) {
	if d != nil && d.came != nil && pod.UID == d.came.UID {
		w.end(d.uid) // it would be tried again for ever
	}
	if d == nil || pod.UID != d.uid {
		return
	}
	if d.came != nil {
		w.end(d.came.UID)
	}
	if d.came != nil && time.Since(d.came.CreationTimestamp.Time) > heirWindow {
		w.fail("heir", "%s of priority %d starts on %s although %s of priority %d has come for that: %s", keyOf(pod), *pod.Spec.Priority, d.node, keyOf(d.came), *d.came.Spec.Priority,
			w.leader().whereabouts(d.came))
	}
	for _, late := range w.api.pods.all() { // they would be tried again for ever
		if strings.HasPrefix(late.Name, "late-") {
			w.after(0, func() { w.deletePod(late) })
		}
	}
	if d.refused && pod.Status.NominatedNodeName != d.node {
		w.fail("nominated", "daemon %s waited for others to leave %s for it, and was nominated for %q", keyOf(pod), d.node, pod.Status.NominatedNodeName)
	}
}
