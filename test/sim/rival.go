package sim

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/resource"
)

// rivalPod lets another scheduler place a pod of its own. It sees bound pods only, neither slots nor what is being
// bound.
func (w *World) rivalPod() {
	c := w.chance
	asks := size{pick[int64](c, 500, 1000, 2000, 4000), pick[int64](c, 512, 2048, 8192)}
	pod := w.api.createPod(&v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "blue", Name: fmt.Sprintf("rival-%d", w.api.serial)},
		Spec: v1.PodSpec{SchedulerName: rivalName,
			Containers: []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Requests: asks.list()}}}},
	})
	key, uid := keyOf(pod), pod.UID
	w.after(c.delay(20*time.Millisecond, 5*time.Second), func() { w.bindAsRival(key, uid) })
	w.after(c.delay(30*time.Second, 4*time.Minute), func() {
		if pod := w.api.pod(key, uid); pod != nil {
			w.deletePod(pod)
		}
	})
}

// bindAsRival binds a pod to any node that has room for it, if there is one.
func (w *World) bindAsRival(key string, uid types.UID) {
	pod := w.api.pod(key, uid)
	if pod == nil || pod.Spec.NodeName != "" || pod.DeletionTimestamp != nil {
		return
	}
	var nodes []string
	for _, node := range w.api.nodes.all() {
		if admits(node, &pod.Spec) && requestsOf(pod).Fits(w.freeOf(node)) {
			nodes = append(nodes, node.Name)
		}
	}
	if len(nodes) > 0 {
		_ = w.api.bind(key, uid, pick(w.chance, nodes...), nil, "rival")
	}
}

// admits tells whether a node takes a pod, resources aside; the simulation's own reading of the rules.
func admits(node *v1.Node, spec *v1.PodSpec) bool {
	if pin := pinnedTo(spec); node.Spec.Unschedulable || pin != "" && pin != node.Name {
		return false
	}
	for label, value := range spec.NodeSelector {
		if node.Labels[label] != value {
			return false
		}
	}
	for _, taint := range node.Spec.Taints {
		if taint.Effect == v1.TaintEffectPreferNoSchedule {
			continue
		}
		tolerated := false
		for _, toleration := range spec.Tolerations {
			tolerated = tolerated || toleration.Key == taint.Key && toleration.Operator == v1.TolerationOpExists
		}
		if !tolerated {
			return false
		}
	}
	return true
}

// usurp lets another scheduler bind a pod that is not its own.
func (w *World) usurp() {
	var waiting []*v1.Pod
	for _, pod := range w.api.pods.all() {
		if pod.Spec.NodeName == "" && pod.Spec.SchedulerName == schedulerName {
			waiting = append(waiting, pod)
		}
	}
	if len(waiting) > 0 {
		pod := pick(w.chance, waiting...)
		w.bindAsRival(keyOf(pod), pod.UID)
	}
}

// freeOf is what the pods bound to a node leave free, as the API server shows it.
func (w *World) freeOf(node *v1.Node) resource.Vector {
	free := resource.OfList(node.Status.Allocatable)
	for _, pod := range w.api.pods.all() {
		if pod.Spec.NodeName == node.Name && !ended(pod) {
			free = free.Sub(requestsOf(pod))
		}
	}
	return free
}
