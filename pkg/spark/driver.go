package spark

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Driver is the driver pod that spark-submit would create from these settings without a pod template, as far as
// scheduling is concerned. It serves to look at a gang before anything is submitted.
func Driver(properties Properties, version Version) (*v1.Pod, error) {
	s := settings{properties, version}
	memory, err := s.driverMemory()
	if err != nil {
		return nil, err
	}
	cpu, err := s.cpu(driverRequestCores, driverCores)
	if err != nil {
		return nil, err
	}
	container := v1.Container{Name: DriverContainer}
	if err := s.overlay(&container.Resources, amounts{memory, cpu, driverLimitCores, [2]string{driverRequestCores, driverCores}, driverResource}); err != nil {
		return nil, err
	}
	selector, err := s.selectors(nil, nodeSelector, driverNodeSelector)
	if err != nil {
		return nil, err
	}
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "spark-driver", Labels: map[string]string{
			LabelRole:    RoleDriver,
			LabelApp:     "spark-application",
			LabelVersion: version.String(),
		}},
		Spec: v1.PodSpec{
			NodeSelector:  selector,
			RestartPolicy: v1.RestartPolicyNever,
			Containers:    []v1.Container{container},
		},
	}
	pod.Spec.Containers[0].Image = s.image(pod, "", driverImage)
	pod.Spec.SchedulerName, _ = s.text(driverScheduler, scheduler)
	applyDefaults(&pod.Spec)
	return pod, nil
}
