package sim

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

// activate moves a pod where it is tried next. One in flight learns of it when it comes back.
func (q *queue) activate(pod *v1.Pod) {
	key := queueKey(pod)
	if info, there := q.unschedulable.get(key); there {
		q.activateOrGate(info)
		return
	}
	if info := remove(&q.backoff, key); info != nil {
		q.active = append(q.active, info)
		return
	}
	if info := remove(&q.errors, key); info != nil {
		q.active = append(q.active, info)
		return
	}
	if q.flying(pod.UID) {
		q.inFlight = append(q.inFlight, flight{event: framework.EventForceActivate, new: pod})
	}
}

// update takes a new state of a pod.
func (q *queue) update(old, new *v1.Pod) {
	events := framework.PodSchedulingPropertiesChange(new, old, true)
	if q.flying(new.UID) {
		for _, event := range events {
			q.inFlight = append(q.inFlight, flight{event: event, old: old, new: new})
		}
		return
	}
	key := queueKey(old)
	for _, list := range [][]*framework.QueuedPodInfo{q.active, q.backoff, q.errors} {
		if info := find1(list, key); info != nil {
			if _, err := info.Update(new); err == nil {
				q.nominated.update(old, new)
				return
			}
		}
	}
	info, there := q.unschedulable.get(key)
	if !there {
		q.add(new)
		return
	}
	if _, err := info.Update(new); err != nil {
		q.add(new)
		return
	}
	q.nominated.update(old, new)
	for _, event := range events {
		s := q.judge(info, event, old, new)
		q.requeue(info, s)
		if _, still := q.unschedulable.get(key); !still {
			return
		}
	}
}

// delete forgets a pod wherever it waits; one in flight stays in flight.
func (q *queue) delete(pod *v1.Pod) {
	q.nominated.remove(pod.UID)
	key := queueKey(pod)
	for _, list := range []*[]*framework.QueuedPodInfo{&q.active, &q.backoff, &q.errors} {
		if remove(list, key) != nil {
			return
		}
	}
	q.unschedulable.remove(key)
}

func (q *queue) holds(key string) bool {
	_, there := q.unschedulable.get(key)
	return there || find1(q.active, key) != nil || find1(q.backoff, key) != nil || find1(q.errors, key) != nil
}

func find1(list []*framework.QueuedPodInfo, key string) *framework.QueuedPodInfo {
	for _, info := range list {
		if queueKey(info.Pod) == key {
			return info
		}
	}
	return nil
}

func remove(list *[]*framework.QueuedPodInfo, key string) *framework.QueuedPodInfo {
	for i, info := range *list {
		if queueKey(info.Pod) == key {
			*list = slices.Delete(*list, i, i+1)
			return info
		}
	}
	return nil
}

// nominations are pods that will probably go to a node and count there for pods that are no more important.
type nominations struct {
	byNode map[string][]nomination
	node   map[types.UID]string // pod -> node
	// current is the pod as its informer knows it; nil when it is not there.
	current func(key string) *v1.Pod
}

type nomination struct {
	uid types.UID
	key string
}

func newNominations(current func(key string) *v1.Pod) nominations {
	return nominations{byNode: map[string][]nomination{}, node: map[types.UID]string{}, current: current}
}

// add nominates a pod to the node of info, or without one to the node its status names.
func (n *nominations) add(pod *v1.Pod, info *fwk.NominatingInfo) {
	n.remove(pod.UID)
	node := ""
	switch info.Mode() {
	case fwk.ModeOverride:
		node = info.NominatedNodeName
	case fwk.ModeNoop:
		node = pod.Status.NominatedNodeName
	}
	if node == "" {
		return
	}
	if current := n.current(queueKey(pod)); current == nil || current.Spec.NodeName != "" {
		return
	}
	n.node[pod.UID] = node
	n.byNode[node] = append(n.byNode[node], nomination{pod.UID, queueKey(pod)})
}

// update follows a pod's new state; a nomination that no state knows yet stays.
func (n *nominations) update(old, new *v1.Pod) {
	var info *fwk.NominatingInfo
	if node, there := n.node[old.UID]; there && old.Status.NominatedNodeName == "" && new.Status.NominatedNodeName == "" {
		info = &fwk.NominatingInfo{NominatingMode: fwk.ModeOverride, NominatedNodeName: node}
	}
	n.remove(old.UID)
	n.add(new, info)
}

func (n *nominations) remove(uid types.UID) {
	node, there := n.node[uid]
	if !there {
		return
	}
	delete(n.node, uid)
	n.byNode[node] = slices.DeleteFunc(n.byNode[node], func(other nomination) bool { return other.uid == uid })
}
