package spark

import (
	v1 "k8s.io/api/core/v1"
)

// applyDefaults does what the API server does to a new pod, as far as scheduling is concerned.
func applyDefaults(spec *v1.PodSpec) {
	if spec.SchedulerName == "" {
		spec.SchedulerName = v1.DefaultSchedulerName
	}
	for _, containers := range [][]v1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			r := &containers[i].Resources
			for name, limit := range r.Limits {
				if _, requested := r.Requests[name]; !requested {
					if r.Requests == nil {
						r.Requests = v1.ResourceList{}
					}
					r.Requests[name] = limit
				}
			}
			for j := range containers[i].Ports {
				port := &containers[i].Ports[j]
				if spec.HostNetwork && port.HostPort == 0 {
					port.HostPort = port.ContainerPort
				}
				if port.Protocol == "" {
					port.Protocol = v1.ProtocolTCP
				}
			}
		}
	}
}
