package plugin

import (
	"cmp"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/spark"
)

// Less orders the queue: higher priority, then older, then the pods of one application together with its leader
// first. It looks only at what never changes while a pod waits, so the order is consistent. Pod groups, whose members
// it cannot know, go by the time they were queued.
func (p *Plugin) Less(a, b fwk.QueuedEntityInfo) bool {
	if byPriority := cmp.Compare(b.GetPriority(), a.GetPriority()); byPriority != 0 {
		return byPriority < 0
	}
	podA, podB := podOf(a), podOf(b)
	if podA == nil || podB == nil {
		return a.GetTimestamp().Before(b.GetTimestamp())
	}
	return cmp.Or(
		podA.CreationTimestamp.Compare(podB.CreationTimestamp.Time),
		cmp.Compare(podA.Namespace, podB.Namespace),
		cmp.Compare(spark.AppID(podA), spark.AppID(podB)),
		leadersFirst(podA, podB),
		cmp.Compare(podA.Name, podB.Name),
	) < 0
}

func leadersFirst(a, b *v1.Pod) int {
	rank := func(pod *v1.Pod) int {
		if spark.IsDriver(pod) {
			return 0
		}
		return 1
	}
	return rank(a) - rank(b)
}

// podOf is the pod of an entity that is a pod; nil for a pod group.
func podOf(entity fwk.QueuedEntityInfo) *v1.Pod {
	if single, ok := entity.(interface{ GetPodInfo() fwk.PodInfo }); ok && entity.Type() == fwk.PodKeyType {
		return single.GetPodInfo().GetPod()
	}
	return nil
}
