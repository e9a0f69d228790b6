package meter

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"retinue.dev/retinue/pkg/spark"
)

// Slim takes out of a pod or node what the meter does not look at, before an informer keeps it: of 150,000 pods that is most of the memory.
// It is a cache.TransformFunc.
func Slim(object any) (any, error) {
	switch object := object.(type) {
	case *v1.Pod:
		return slimPod(object), nil
	case *v1.Node:
		return slimNode(object), nil
	case cache.DeletedFinalStateUnknown:
		last, err := Slim(object.Obj)
		return cache.DeletedFinalStateUnknown{Key: object.Key, Obj: last}, err
	default:
		return nil, fmt.Errorf("a %T is neither a pod nor a node", object)
	}
}

func slimPod(pod *v1.Pod) *v1.Pod {
	slim := &v1.Pod{ObjectMeta: slimMeta(&pod.ObjectMeta)}
	for _, name := range []string{spark.LabelUser, spark.AnnotationWorkers, spark.AnnotationRoles} {
		if value, ok := pod.Annotations[name]; ok {
			if slim.Annotations == nil {
				slim.Annotations = map[string]string{}
			}
			slim.Annotations[name] = value
		}
	}
	slim.Spec = v1.PodSpec{
		NodeName: pod.Spec.NodeName, ServiceAccountName: pod.Spec.ServiceAccountName, Priority: pod.Spec.Priority,
		Overhead: pod.Spec.Overhead, Resources: pod.Spec.Resources,
		Containers: slimContainers(pod.Spec.Containers), InitContainers: slimContainers(pod.Spec.InitContainers),
	}
	status := &pod.Status
	slim.Status = v1.PodStatus{
		Phase: status.Phase, Reason: status.Reason, StartTime: status.StartTime, Conditions: status.Conditions,
		InitContainerStatuses: slimStatuses(status.InitContainerStatuses), ContainerStatuses: slimStatuses(status.ContainerStatuses),
		EphemeralContainerStatuses: slimStatuses(status.EphemeralContainerStatuses),
	}
	return slim
}

// slimMeta keeps labels, of which few are long.
func slimMeta(meta *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: meta.Namespace, Name: meta.Name, UID: meta.UID, ResourceVersion: meta.ResourceVersion, Generation: meta.Generation,
		CreationTimestamp: meta.CreationTimestamp, DeletionTimestamp: meta.DeletionTimestamp, Labels: meta.Labels, OwnerReferences: meta.OwnerReferences,
	}
}

func slimContainers(containers []v1.Container) []v1.Container {
	var slim []v1.Container
	for _, container := range containers {
		kept := v1.Container{Name: container.Name, Resources: container.Resources, RestartPolicy: container.RestartPolicy}
		for _, variable := range container.Env {
			if variable.Name == spark.EnvironmentUser {
				kept.Env = append(kept.Env, v1.EnvVar{Name: variable.Name, Value: variable.Value})
			}
		}
		slim = append(slim, kept)
	}
	return slim
}

// slimStatuses keeps how containers ended.
func slimStatuses(statuses []v1.ContainerStatus) []v1.ContainerStatus {
	var slim []v1.ContainerStatus
	for _, status := range statuses {
		if ended := status.State.Terminated; ended != nil {
			slim = append(slim, v1.ContainerStatus{State: v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: ended.ExitCode, Reason: ended.Reason, FinishedAt: ended.FinishedAt}}})
		}
	}
	return slim
}

func slimNode(node *v1.Node) *v1.Node {
	slim := &v1.Node{ObjectMeta: slimMeta(&node.ObjectMeta), Status: v1.NodeStatus{Allocatable: node.Status.Allocatable}}
	for _, condition := range node.Status.Conditions {
		if condition.Type == v1.NodeReady {
			// A heartbeat is no change.
			slim.Status.Conditions = []v1.NodeCondition{{Type: condition.Type, Status: condition.Status, LastTransitionTime: condition.LastTransitionTime}}
		}
	}
	return slim
}
