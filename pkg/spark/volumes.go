package spark

import (
	"strings"

	v1 "k8s.io/api/core/v1"
)

// claimFamily are the settings of volumes that are persistent volume claims: the only kind that ties a pod to nodes.
const claimFamily = executorVolume + "persistentVolumeClaim."

// claims are the volumes of executors whose claim exists before the executor does. Claims made for each executor tell
// nothing about nodes until they are bound.
func (s settings) claims() []v1.Volume {
	var volumes []v1.Volume
	for _, key := range s.members(claimFamily) {
		name, option, _ := strings.Cut(strings.TrimPrefix(key, claimFamily), ".")
		if option != "options.claimName" || perExecutor(s.properties[key]) {
			continue
		}
		volumes = append(volumes, v1.Volume{
			Name: name,
			VolumeSource: v1.VolumeSource{
				PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: s.properties[key]},
			},
		})
	}
	return volumes
}

// perExecutor tells whether every executor gets a claim of its own.
func perExecutor(claim string) bool {
	return strings.EqualFold(claim, "OnDemand") || strings.Contains(claim, "SPARK_EXECUTOR_ID")
}

// hasOwnClaims tells whether executors bring claims that do not exist yet.
func (s settings) hasOwnClaims() bool {
	for _, key := range s.members(claimFamily) {
		if strings.HasSuffix(key, ".options.claimName") && perExecutor(s.properties[key]) {
			return true
		}
	}
	return false
}

// strip removes what does not concern scheduling, so that a definition holds neither secrets nor much memory, and
// what can be judged only once it exists: claims that are made for each pod.
func strip(pod *v1.Pod) {
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			c := &containers[i]
			containers[i] = v1.Container{Name: c.Name, Image: c.Image, Resources: c.Resources, Ports: c.Ports, RestartPolicy: c.RestartPolicy}
			containers[i].Resources.Claims = nil
		}
	}
	var volumes []v1.Volume
	for _, volume := range pod.Spec.Volumes {
		if volume.PersistentVolumeClaim != nil || schedulingVolume(volume) {
			volumes = append(volumes, volume)
		}
	}
	pod.Spec.Volumes = volumes
	pod.Spec.ResourceClaims = nil
}

// schedulingVolume tells whether a volume other than a claim may keep a pod from a node.
func schedulingVolume(volume v1.Volume) bool {
	return volume.GCEPersistentDisk != nil || volume.AWSElasticBlockStore != nil || volume.ISCSI != nil ||
		volume.RBD != nil || volume.CSI != nil
}

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
