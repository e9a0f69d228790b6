package view

import (
	"strconv"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/spark"
)

// NativeGroup is the PodGroup of Kubernetes' own that a pod belongs to; empty means none.
func NativeGroup(pod *v1.Pod) string {
	if group := pod.Spec.SchedulingGroup; group != nil && group.PodGroupName != nil {
		return *group.PodGroupName
	}
	return ""
}

// startTogether is how many pods of a gang without a leader start together.
func (a *App) startTogether(o Objects) (int, bool) {
	if members, known := o.Groups[a.Namespace+"/"+a.Name]; known && a.Kind == KindPodGroup {
		return members, true
	}
	if members, known := o.NativeGroups[a.Namespace+"/"+a.Name]; known && a.Kind == KindNative {
		return members, true
	}
	for _, pod := range a.pods {
		if text, written := pod.Annotations[spark.AnnotationWorkers]; written {
			if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= spark.MaxWorkers {
				return n, true
			}
		}
	}
	return 0, false
}
