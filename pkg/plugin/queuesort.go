package plugin

import (
	"cmp"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"
)

// Less orders the queue: where there are queues of namespaces, as the ledger has let pods through; else higher priority, then who
// came first, pod or native PodGroup. It looks only at what does not change while an entity is in the queue, so the order is
// consistent.
func (p *Plugin) Less(a, b fwk.QueuedEntityInfo) bool {
	if byNumber := cmp.Compare(p.pending.numberOf(a), p.pending.numberOf(b)); byNumber != 0 {
		return byNumber < 0
	}
	if byPriority := cmp.Compare(b.GetPriority(), a.GetPriority()); byPriority != 0 {
		return byPriority < 0
	}
	at, uid := p.arrivals.of(a)
	otherAt, otherUID := p.arrivals.of(b)
	return cmp.Or(at.Compare(otherAt), cmp.Compare(uid, otherUID)) < 0
}

// podOf is the pod of an entity that is a pod; nil for a pod group.
func podOf(entity fwk.QueuedEntityInfo) *v1.Pod {
	if single, ok := entity.(interface{ GetPodInfo() fwk.PodInfo }); ok && entity.Type() == fwk.PodKeyType {
		return single.GetPodInfo().GetPod()
	}
	return nil
}

// numberOf is when a pod, or the last of the pods of a native PodGroup, has passed the Gate; 0 for anything else, and where there are
// no queues.
func (p *pending) numberOf(entity fwk.QueuedEntityInfo) uint64 {
	if pod := podOf(entity); pod != nil {
		return p.number(pod)
	}
	if group, native := entity.(fwk.PodGroupInfo); native && group.GetPodGroup() != nil {
		return p.numberOfGroup(group.GetNamespace(), group.GetName())
	}
	return 0
}
