package plugin

import (
	"cmp"
	"time"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/spark"
)

// Less orders the queue: higher priority, then older, then the pods of one application together with its leader
// first. It looks only at what does not change while a pod is in the queue, so the order is consistent. Pod groups,
// whose members it cannot know, stand among the pods by the time they were queued.
func (p *Plugin) Less(a, b fwk.QueuedEntityInfo) bool {
	if byPriority := cmp.Compare(b.GetPriority(), a.GetPriority()); byPriority != 0 {
		return byPriority < 0
	}
	return placeOf(a).compare(placeOf(b)) < 0
}

// place is where an entity stands among those of its priority. Every pair is compared by the same fields: comparing
// pods with pods by one thing and with groups by another would make circles.
type place struct {
	since                time.Time
	namespace, app, name string
	follows              int // 0 for leaders
}

func placeOf(entity fwk.QueuedEntityInfo) place {
	pod := podOf(entity)
	if pod == nil {
		return place{since: entity.GetTimestamp()}
	}
	at := place{since: pod.CreationTimestamp.Time, namespace: pod.Namespace, app: spark.AppID(pod), name: pod.Name}
	if !leads(pod) {
		at.follows = 1
	}
	return at
}

func (p place) compare(other place) int {
	return cmp.Or(
		p.since.Compare(other.since),
		cmp.Compare(p.namespace, other.namespace),
		cmp.Compare(p.app, other.app),
		cmp.Compare(p.follows, other.follows),
		cmp.Compare(p.name, other.name),
	)
}

// podOf is the pod of an entity that is a pod; nil for a pod group.
func podOf(entity fwk.QueuedEntityInfo) *v1.Pod {
	if single, ok := entity.(interface{ GetPodInfo() fwk.PodInfo }); ok && entity.Type() == fwk.PodKeyType {
		return single.GetPodInfo().GetPod()
	}
	return nil
}
