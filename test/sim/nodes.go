package sim

import (
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
)

var (
	unreachable = v1.Taint{Key: v1.TaintNodeUnreachable, Effect: v1.TaintEffectNoExecute}
	maintenance = v1.Taint{Key: "maintenance", Effect: v1.TaintEffectNoSchedule}
)

// changeNode stores another state of a node, if it is still there.
func (w *World) changeNode(name string, what string, change func(*v1.Node)) {
	node, there := w.api.nodes.get(name)
	if !there {
		return
	}
	changed := *node
	changed.Spec.Taints = slices.Clone(node.Spec.Taints)
	change(&changed)
	w.trace.add("api: node %s %s", name, what)
	w.api.putNode(&changed)
}

func without(taints []v1.Taint, key string) []v1.Taint {
	return slices.DeleteFunc(taints, func(taint v1.Taint) bool { return taint.Key == key })
}

// disturbNode lets something happen to one of the nodes.
func (w *World) disturbNode() {
	c := w.chance
	if w.api.nodes.len() == 0 {
		return
	}
	name := pick(c, w.api.nodes.keys...)
	for _, f := range []Fault{NodeLost, NodeDeleted, NodeCordoned, NodeTainted, NodeShrunk} {
		if !w.strikes(f, 0.25) {
			continue
		}
		switch f {
		case NodeLost:
			w.loseNode(name)
		case NodeDeleted:
			w.deleteNode(name)
		case NodeCordoned:
			w.changeNode(name, "cordoned", func(node *v1.Node) { node.Spec.Unschedulable = true })
			w.after(c.between(time.Second, 2*time.Minute), func() {
				w.changeNode(name, "uncordoned", func(node *v1.Node) { node.Spec.Unschedulable = false })
			})
		case NodeTainted:
			w.changeNode(name, "tainted", func(node *v1.Node) {
				node.Spec.Taints = append(without(node.Spec.Taints, maintenance.Key), maintenance)
			})
			w.after(c.between(time.Second, 2*time.Minute), func() {
				w.changeNode(name, "untainted", func(node *v1.Node) { node.Spec.Taints = without(node.Spec.Taints, maintenance.Key) })
			})
		case NodeShrunk:
			w.resizeNode(name)
		}
		return
	}
}

// resizeNode changes what a node offers.
func (w *World) resizeNode(name string) {
	cpu := int64(w.chance.number(1, 16))
	w.changeNode(name, "resized", func(node *v1.Node) {
		allocatable := v1.ResourceList{}
		for resource, quantity := range node.Status.Allocatable {
			allocatable[resource] = quantity
		}
		allocatable[v1.ResourceCPU] = *apiresource.NewQuantity(cpu, apiresource.DecimalSI)
		node.Status.Allocatable = allocatable
	})
}

// loseNode lets a node stop answering. Its pods are evicted after a while, and are gone when the node comes back or its
// object is deleted.
func (w *World) loseNode(name string) {
	if w.dead[name] {
		return
	}
	c := w.chance
	w.dead[name] = true
	w.changeNode(name, "unreachable", func(node *v1.Node) { node.Spec.Taints = append(node.Spec.Taints, unreachable) })
	w.after(c.between(time.Second, time.Minute), func() {
		for _, pod := range w.api.pods.all() {
			if pod.Spec.NodeName == name && w.dead[name] {
				w.deletePod(pod)
			}
		}
	})
	w.after(c.between(10*time.Second, 3*time.Minute), func() {
		if !w.dead[name] {
			return
		}
		if c.happens(0.5) {
			w.deleteNode(name)
			return
		}
		delete(w.dead, name)
		w.changeNode(name, "reachable again", func(node *v1.Node) { node.Spec.Taints = without(node.Spec.Taints, unreachable.Key) })
		w.clearNode(name, func(pod *v1.Pod) bool { return pod.DeletionTimestamp != nil })
	})
}

// deleteNode removes a node's object. The pods on it are collected later, and the node may come back.
func (w *World) deleteNode(name string) {
	node, there := w.api.nodes.get(name)
	if !there {
		return
	}
	c := w.chance
	w.dead[name] = true
	w.trace.add("api: node %s deleted", name)
	w.api.removeNode(node)
	w.clearNode(name, func(*v1.Pod) bool { return true })
	if w.cloud.lost(name) {
		// Whoever was bound to it since goes as well (seed 30000947).
		w.after(c.between(10*time.Second, 3*time.Minute), func() { w.clearNode(name, func(*v1.Pod) bool { return true }) })
		return
	}
	w.after(c.between(10*time.Second, 3*time.Minute), func() {
		if _, there := w.api.nodes.get(name); !there {
			w.clearNode(name, func(*v1.Pod) bool { return true })
			w.addNode(name)
		}
	})
}

// clearNode lets pods of a node disappear one by one.
func (w *World) clearNode(name string, which func(*v1.Pod) bool) {
	for _, pod := range w.api.pods.all() {
		if pod.Spec.NodeName != name || !which(pod) {
			continue
		}
		key, uid := keyOf(pod), pod.UID
		w.after(w.chance.delay(2*time.Second, 40*time.Second), func() {
			if pod := w.api.pod(key, uid); pod != nil {
				w.leaving(pod)
				w.api.removePod(pod)
			}
		})
	}
}
