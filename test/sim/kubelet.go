package sim

import (
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/resource"
)

// podBound is called when a pod has been given a node: its kubelet starts it after a while.
func (w *World) podBound(pod *v1.Pod, by string) {
	w.bound(pod, by)
	w.startPod(keyOf(pod), pod.UID)
}

// startPod is the kubelet's attempt to run a pod. A driver's container needs its ConfigMap, and Spark one that it
// understands.
func (w *World) startPod(key string, uid types.UID) {
	w.after(w.chance.delay(500*time.Millisecond, 10*time.Second), func() {
		pod := w.api.pod(key, uid)
		if pod == nil || pod.DeletionTimestamp != nil || ended(pod) || w.dead[pod.Spec.NodeName] || w.unready[uid] {
			return
		}
		a := w.appOf(pod)
		if a != nil && pod.UID == a.driver && a.plan.source == fromProperties {
			switch {
			case a.plan.missing:
				return
			case w.api.lacksMap(a.key() + mapSuffix):
				w.startPod(key, uid)
				return
			case a.plan.broken:
				a.crash()
				return
			}
		}
		if !w.accepts(pod) {
			w.trace.add("kubelet %s: no room for %s", pod.Spec.NodeName, key)
			w.stats.Rejected++
			w.endPod(w.api.changePod(pod, func(pod *v1.Pod) { pod.Status.Phase = v1.PodFailed }))
			return
		}
		w.api.changePod(pod, func(pod *v1.Pod) {
			pod.Status.Phase = v1.PodRunning
			pod.Status.Conditions = withCondition(pod.Status.Conditions, v1.PodCondition{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: metav1.Now()})
		})
		if a != nil && pod.UID == a.driver {
			a.started()
		}
	})
}

// accepts is the kubelet's admission: the pod and those that run already have to fit.
func (w *World) accepts(pod *v1.Pod) bool {
	node, there := w.api.nodes.get(pod.Spec.NodeName)
	if !there {
		return false
	}
	sum := requestsOf(pod)
	for _, other := range w.api.pods.all() {
		if other.Spec.NodeName == node.Name && other.UID != pod.UID && other.Status.Phase == v1.PodRunning {
			sum = sum.Add(requestsOf(other))
		}
	}
	return sum.Fits(resource.OfList(node.Status.Allocatable))
}

// endPod is called when a pod has come to its end by itself.
func (w *World) endPod(pod *v1.Pod) {
	w.leaving(pod)
}

// deletePod asks for a pod's deletion. One that nobody runs is gone at once, others get time to stop.
func (w *World) deletePod(pod *v1.Pod) {
	if pod.DeletionTimestamp != nil {
		return
	}
	w.leaving(pod)
	if pod.Spec.NodeName == "" || ended(pod) {
		w.api.removePod(pod)
		return
	}
	now := metav1.Now().Rfc3339Copy()
	pod = w.api.changePod(pod, func(pod *v1.Pod) { pod.DeletionTimestamp = &now })
	key, uid := keyOf(pod), pod.UID
	w.after(w.chance.delay(500*time.Millisecond, 30*time.Second), func() {
		if pod := w.api.pod(key, uid); pod != nil && !w.dead[pod.Spec.NodeName] {
			w.api.removePod(pod)
		}
	})
}

// longestGrace is the most that whoever has to go may take if its queue says nothing, in seconds.
const longestGrace = 600

// checkGrace: whoever has to go does not take as long as it likes.
func (w *World) checkGrace(by *replica, pod *v1.Pod, given *int64) {
	if given == nil {
		given = pod.Spec.TerminationGracePeriodSeconds
	}
	if given != nil && *given > longestGrace {
		w.fail("grace", "%s: %s is evicted, and may take %d s to end", by.name, keyOf(pod), *given)
	}
}

// leaving is called when a pod has ended or its deletion is asked for.
func (w *World) leaving(pod *v1.Pod) {
	a := w.appOf(pod)
	switch {
	case w.members[pod.UID] != nil:
		w.members[pod.UID].missed(pod)
	case a == nil:
	case pod.UID == a.driver:
		a.state = over
	default:
		a.missed(pod)
	}
}

// podRemoved is called when a pod is gone. The garbage collector deletes what a driver owned.
func (w *World) podRemoved(pod *v1.Pod) {
	w.cloud.collect(pod.UID)
	if k := w.members[pod.UID]; k != nil {
		k.missed(pod)
	}
	a := w.appOf(pod)
	if a == nil {
		return
	}
	if pod.UID != a.driver {
		a.missed(pod)
		return
	}
	a.state = over
	w.api.maps.remove(a.key() + mapSuffix)
	w.api.maps.remove(a.key() + templateSuffix)
	for _, other := range w.api.pods.all() {
		if w.appOf(other) != a {
			continue
		}
		key, uid := keyOf(other), other.UID
		w.after(w.chance.delay(300*time.Millisecond, 10*time.Second), func() {
			if pod := w.api.pod(key, uid); pod != nil {
				w.deletePod(pod)
			}
		})
	}
}

// appOf is the application that a pod belongs to; nil for others.
func (w *World) appOf(pod *v1.Pod) *application { return w.owners[pod.UID] }
