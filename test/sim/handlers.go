package sim

import (
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"retinue.dev/retinue/pkg/resource"
)

// handlers are the scheduler's own: they keep its cache and its queue. They do what pkg/scheduler/eventhandlers.go
// does, which cannot be used without a whole scheduler.
type handlers struct {
	replica *replica
	kind    kind
}

// OnAdd takes an object that appeared.
func (h handlers) OnAdd(o any, _ bool) {
	r := h.replica
	if h.kind == nodeKind {
		node := o.(*v1.Node)
		r.cache.AddNode(r.logger, node)
		r.queue.happen(fwk.ClusterEvent{Resource: fwk.Node, ActionType: fwk.Add}, nil, node, "")
		return
	}
	pod := o.(*v1.Pod)
	if pod.Spec.NodeName != "" {
		r.addAssigned(pod)
	} else if pod.Spec.SchedulerName == schedulerName {
		r.queue.add(pod)
	}
}

// OnUpdate takes a change.
func (h handlers) OnUpdate(before, after any) {
	r := h.replica
	if h.kind == nodeKind {
		old, node := before.(*v1.Node), after.(*v1.Node)
		r.cache.UpdateNode(r.logger, old, node)
		for _, event := range framework.NodeSchedulingPropertiesChange(node, old) {
			r.queue.happen(event, old, node, "")
		}
		return
	}
	old, pod := before.(*v1.Pod), after.(*v1.Pod)
	r.haunt(old, pod)
	ours := old.Spec.SchedulerName == schedulerName
	switch {
	case old.Spec.NodeName != "":
		r.updateAssigned(old, pod)
	case pod.Spec.NodeName != "":
		r.addAssigned(pod)
		if ours {
			r.queue.delete(old)
		}
	case ours:
		r.updateWaiting(old, pod)
	}
}

// OnDelete takes an object that is gone, or its tombstone.
func (h handlers) OnDelete(o any) {
	r := h.replica
	unknown, missed := o.(cache.DeletedFinalStateUnknown)
	if missed {
		o = unknown.Obj
	}
	if h.kind == nodeKind {
		node := o.(*v1.Node)
		r.queue.happen(fwk.ClusterEvent{Resource: fwk.Node, ActionType: fwk.Delete}, node, nil, "")
		_ = r.cache.RemoveNode(r.logger, node)
		return
	}
	pod := o.(*v1.Pod)
	if pod.Spec.NodeName != "" || missed {
		r.deleteAssigned(pod)
		if r.stopped.Load() {
			return
		}
	}
	if (pod.Spec.NodeName == "" || missed) && pod.Spec.SchedulerName == schedulerName {
		r.queue.delete(pod)
		if assumed, _ := r.cache.IsAssumedPod(pod); assumed {
			r.dropAssumed(pod)
		}
	}
}

// ghost is what a pod takes in the scheduler's cache that is not there any more.
type ghost struct {
	node     string
	requests resource.Vector
}

// haunt notes a pod that kube-scheduler forgets to forget: it was bound, deleted and created again under its name while
// nobody watched, and what one update stands for is the end of a pod that the cache has only assumed.
func (r *replica) haunt(old, pod *v1.Pod) {
	if old.UID == pod.UID || old.Spec.NodeName != "" {
		return
	}
	if assumed, _ := r.cache.IsAssumedPod(old); !assumed {
		return
	}
	if cached, err := r.cache.GetPod(old); err == nil {
		r.world.trace.add("%s: the scheduler's cache keeps %s (%s) on %s", r.name, keyOf(old), old.UID, cached.Spec.NodeName)
		r.ghosts[old.UID] = ghost{cached.Spec.NodeName, requestsOf(cached)}
	}
}

// haunted tells whether the scheduler's cache counts a pod on a node that is not there any more.
func (r *replica) haunted(node string) bool {
	for _, g := range r.ghosts {
		if g.node == node {
			return true
		}
	}
	return false
}

func (r *replica) addAssigned(pod *v1.Pod) {
	_ = r.cache.AddPod(r.logger, pod)
	r.queue.happen(framework.EventAssignedPodAdd, nil, pod, "")
}

func (r *replica) updateAssigned(old, pod *v1.Pod) {
	if cached, err := r.cache.GetPod(old); err == nil && cached.Spec.NodeName != pod.Spec.NodeName {
		if assumed, _ := r.cache.IsAssumedPod(old); !assumed {
			r.corrupt("pod %s was on %s and is on %q", keyOf(pod), cached.Spec.NodeName, pod.Spec.NodeName)
			return
		}
	}
	_ = r.cache.UpdatePod(r.logger, old, pod)
	for _, event := range framework.PodSchedulingPropertiesChange(pod, old, false) {
		r.queue.happen(event, old, pod, "")
	}
}

func (r *replica) deleteAssigned(pod *v1.Pod) {
	if cached, err := r.cache.GetPod(pod); err == nil && pod.Spec.NodeName != "" && cached.Spec.NodeName != pod.Spec.NodeName {
		r.corrupt("pod %s is removed from %s and was on %s", keyOf(pod), pod.Spec.NodeName, cached.Spec.NodeName)
		return
	}
	_ = r.cache.RemovePod(r.logger, pod)
	r.queue.happen(framework.EventAssignedPodDelete, pod, nil, "")
}

// corrupt ends a process whose cache contradicts the cluster, as kube-scheduler's does by itself. It happens when a pod
// is deleted and created again under its name while nobody watches.
func (r *replica) corrupt(format string, args ...any) {
	r.world.trace.add(r.name+": cache corrupted: "+format, args...)
	r.world.crash(r, r.world.absence())
}

func (r *replica) updateWaiting(old, pod *v1.Pod) {
	if old.ResourceVersion == pod.ResourceVersion {
		return
	}
	if assumed, _ := r.cache.IsAssumedPod(pod); assumed {
		if pod.DeletionTimestamp != nil && old.DeletionTimestamp == nil {
			r.dropAssumed(pod)
		}
		return
	}
	r.queue.update(old, pod)
	if old.Status.NominatedNodeName != "" && old.Status.NominatedNodeName != pod.Status.NominatedNodeName {
		r.queue.happen(framework.EventAssignedPodDelete, old, nil, "")
	}
}

// dropAssumed gives back at once what a pod takes that was deleted while it is being bound.
func (r *replica) dropAssumed(pod *v1.Pod) {
	assumed, err := r.cache.GetPod(pod)
	if err != nil {
		return
	}
	if !r.framework.RejectWaitingPod(assumed.UID) {
		_ = r.cache.RemoveAssumedPod(r.logger, assumed)
	}
	r.queue.happen(framework.EventAssignedPodDelete, assumed, nil, "")
}
