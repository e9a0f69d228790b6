package podgroups

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/spark"
)

// NativeNameOf is the PodGroup of Kubernetes' own (scheduling.k8s.io) that a pod belongs to; empty means none.
func NativeNameOf(pod *v1.Pod) string {
	if group := pod.Spec.SchedulingGroup; group != nil && group.PodGroupName != nil {
		return *group.PodGroupName
	}
	return ""
}

// NativeKey is the key of the gang that such a PodGroup declares. It is no application's and no other PodGroup's: see Key.
func NativeKey(namespace, name string) gang.Key {
	return gang.Key{Namespace: namespace, Name: "podgroups.scheduling.k8s.io/" + name}
}

// ReadNative reads such a PodGroup. One that lets pods start by themselves (policy Basic) is a gang that starts with one of them. One
// that is part of a CompositePodGroup, or asks for a topology, is no gang of the ledger: there others decide as well which of its pods
// start where. What cannot be understood becomes its Problem.
func ReadNative(object *schedulingv1beta1.PodGroup) ledger.Group {
	spec := &object.Spec
	group := ledger.Group{
		Key: NativeKey(object.Namespace, object.Name), Minimum: 1,
		Whole: spec.DisruptionMode != nil && spec.DisruptionMode.All != nil,
		Loose: spec.ParentCompositePodGroupName != nil || spec.SchedulingConstraints != nil,
	}
	if policy := spec.SchedulingPolicy.Gang; policy != nil {
		if group.Minimum = int(policy.MinCount); group.Minimum < 1 || group.Minimum > spark.MaxWorkers {
			group.Problem = fmt.Sprintf("PodGroup %s: spec.schedulingPolicy.gang.minCount=%d: want 1 to %d", klog.KObj(object), policy.MinCount, spark.MaxWorkers)
		}
	}
	return group
}
