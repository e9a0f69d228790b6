package spark

import (
	v1 "k8s.io/api/core/v1"
)

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
