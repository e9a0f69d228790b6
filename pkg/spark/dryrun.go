package spark

import (
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// Candidate is an executor for the API server to look at in a dry run: what a definition knows of it, without what is only assumed,
// and what a pod has to have besides. It has labels, and none of the annotations and commands that the driver would give it.
func Candidate(driver *v1.Pod, role gang.Role) *v1.Pod {
	predicted := role.Pod
	if role.Plain != nil {
		predicted = role.Plain
	}
	pod := predicted.DeepCopy()
	controller := true
	pod.ObjectMeta = metav1.ObjectMeta{
		Namespace: driver.Namespace, GenerateName: "executor-of-dry-run-", Labels: maps.Clone(predicted.Labels),
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID, Controller: &controller}},
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[LabelExecutorID] = "1"
	pod.Spec.ServiceAccountName = driver.Spec.ServiceAccountName
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			if containers[i].Image == "" {
				containers[i].Image = "spark"
			}
		}
	}
	return pod
}

// Admit makes the workers of a role what the API server's answer about their Candidate says that they will be: nothing is assumed of
// them then. An error means that the answer cannot be used, and that nothing has changed.
func Admit(driver *v1.Pod, definition *gang.Definition, answered *v1.Pod) error {
	role := definition.Roles[0]
	like := answered.DeepCopy()
	like.Spec.Tolerations = ownTolerations(answered)
	strip(like)
	admitted := role.Pod.DeepCopy()
	spec := &admitted.Spec
	spec.NodeSelector, spec.Tolerations, spec.Affinity = like.Spec.NodeSelector, like.Spec.Tolerations, like.Spec.Affinity
	spec.TopologySpreadConstraints, spec.HostNetwork, spec.Volumes = like.Spec.TopologySpreadConstraints, like.Spec.HostNetwork, like.Spec.Volumes
	spec.InitContainers, spec.Containers, spec.Resources = like.Spec.InitContainers, like.Spec.Containers, like.Spec.Resources
	spec.PriorityClassName, spec.RuntimeClassName, spec.Overhead = like.Spec.PriorityClassName, like.Spec.RuntimeClassName, like.Spec.Overhead
	spec.SchedulerName = like.Spec.SchedulerName
	admitted.Labels = maps.Clone(like.Labels)
	delete(admitted.Labels, LabelExecutorID)
	if err := validate(admitted); err != nil {
		return err
	}
	role.Pod, role.Plain, role.Requests = admitted, nil, resource.OfPod(admitted)
	if err := checkSize(role); err != nil {
		return err
	}
	definition.Assumed, definition.Roles = "", []gang.Role{role}
	if scheduler := spec.SchedulerName; scheduler != schedulerOf(driver) {
		definition.Roles = nil
		definition.Warnings = append(slices.Clone(definition.Warnings), fmt.Sprintf("admission gives executors scheduler %s, so no room is kept for them", quote(scheduler)))
	}
	return nil
}
