package plugin

import (
	"context"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/plugin/podgroups"
	"retinue.dev/retinue/pkg/spark"
)

// SignPod keeps the framework's opportunistic batching on for pods without a gang: the plugin judges equal ones
// equally. Members of gangs go where their slots are, each to its own.
func (p *Plugin) SignPod(_ context.Context, pod *v1.Pod) ([]fwk.SignFragment, *fwk.Status) {
	if _, together := pod.Annotations[spark.AnnotationWorkers]; together || spark.Leads(pod) || spark.IsExecutor(pod) || native(pod) || podgroups.NameOf(pod) != "" {
		return nil, fwk.NewStatus(fwk.Unschedulable, "member of a gang")
	}
	return nil, nil
}
