package rehearsal

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"
)

// PodRules are what in a pod's spec lets other pods, or volumes, decide where it may go. Placement's fast path looks at
// nodes and room only; the zero PodRules are those of a pod for which that is enough.
type PodRules struct {
	affinity       []string // topology keys of required pod affinity
	antiAffinity   []string // topology keys of required pod anti-affinity
	topologySpread []string // topology keys of topology spread constraints that must hold
	ports          bool     // asks for host ports
	claims         bool     // mounts claims, which may be tied to nodes and to each other
	disks          bool     // mounts other volumes that may not be on every node
}

// RulesOf are the rules of a pod.
func RulesOf(pod *v1.Pod) PodRules {
	var r PodRules
	for _, term := range requiredAffinity(pod) {
		r.affinity = append(r.affinity, term.TopologyKey)
	}
	for _, term := range requiredAntiAffinity(pod) {
		r.antiAffinity = append(r.antiAffinity, term.TopologyKey)
	}
	for _, constraint := range pod.Spec.TopologySpreadConstraints {
		if constraint.WhenUnsatisfiable == v1.DoNotSchedule {
			r.topologySpread = append(r.topologySpread, constraint.TopologyKey)
		}
	}
	r.ports = len(HostPorts(pod)) > 0
	for _, volume := range NodeVolumes(pod) {
		if volume.PersistentVolumeClaim != nil || volume.Ephemeral != nil {
			r.claims = true
		} else {
			r.disks = true
		}
	}
	return r
}

func requiredAffinity(pod *v1.Pod) []v1.PodAffinityTerm {
	if affinity := pod.Spec.Affinity; affinity != nil && affinity.PodAffinity != nil {
		return affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	return nil
}

func requiredAntiAffinity(pod *v1.Pod) []v1.PodAffinityTerm {
	if affinity := pod.Spec.Affinity; affinity != nil && affinity.PodAntiAffinity != nil {
		return affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	return nil
}

// Any tells whether there is any rule.
func (r PodRules) Any() bool {
	return len(r.affinity) > 0 || len(r.antiAffinity) > 0 || len(r.topologySpread) > 0 || r.ports || r.claims || r.disks
}

// aboutPods is how many rules of the pod's own the framework's filters hold against all pods.
func (r PodRules) aboutPods() int {
	return len(r.affinity) + len(r.antiAffinity) + len(r.topologySpread)
}

// Settled tells whether a node that has refused the pod goes on refusing it however many pods are added anywhere: only pod
// affinity and topology spread can turn a refusal into its opposite.
func (r PodRules) Settled() bool { return len(r.affinity) == 0 && len(r.topologySpread) == 0 }

// Needed tells whether a gang has to be rehearsed: whether room is not all that decides where its workers may go. The
// leader is nil for a gang without one. A leader's own rules about pods that run already are judged by the framework
// when it is placed; those that keep workers away from it concern the gang.
func Needed(leader *v1.Pod, roles []gang.Role) bool {
	workers := false
	for _, role := range roles {
		if role.Count > 0 {
			workers = true
			if RulesOf(role.Pod).Any() {
				return true
			}
		}
	}
	return workers && leader != nil && len(requiredAntiAffinity(leader)) > 0
}

// asCreated is the pod as the API server will make it: it adds what matchLabelKeys and mismatchLabelKeys mean to the
// selectors of affinity, and the framework reads the selectors only.
func asCreated(pod *v1.Pod) *v1.Pod {
	created := pod
	for i := range requiredAffinity(pod) {
		created = withLabelKeys(created, pod, requiredAffinity, i)
	}
	for i := range requiredAntiAffinity(pod) {
		created = withLabelKeys(created, pod, requiredAntiAffinity, i)
	}
	return created
}

// withLabelKeys adds the label keys of one term of the original to the same term of a copy.
func withLabelKeys(created, original *v1.Pod, terms func(*v1.Pod) []v1.PodAffinityTerm, i int) *v1.Pod {
	term := terms(original)[i]
	if term.LabelSelector == nil || len(term.MatchLabelKeys)+len(term.MismatchLabelKeys) == 0 {
		return created
	}
	if created == original {
		created = original.DeepCopy()
	}
	selector := terms(created)[i].LabelSelector
	add := func(keys []string, operator metav1.LabelSelectorOperator) {
		for _, key := range keys {
			if value, labelled := original.Labels[key]; labelled {
				selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{Key: key, Operator: operator, Values: []string{value}})
			}
		}
	}
	add(term.MatchLabelKeys, metav1.LabelSelectorOpIn)
	add(term.MismatchLabelKeys, metav1.LabelSelectorOpNotIn)
	return created
}

// NodeVolumes are the volumes that may tie a pod to nodes; those that every node can provide are left out.
func NodeVolumes(pod *v1.Pod) []v1.VolumeSource {
	var bound []v1.VolumeSource
	for _, volume := range pod.Spec.Volumes {
		if volume.ConfigMap == nil && volume.Secret == nil && volume.EmptyDir == nil && volume.Projected == nil &&
			volume.DownwardAPI == nil && volume.HostPath == nil {
			bound = append(bound, volume.VolumeSource)
		}
	}
	return bound
}

// HostPorts are the host ports a pod asks for.
func HostPorts(pod *v1.Pod) []string {
	var ports []string
	EachHostPort(pod, func(port v1.ContainerPort) {
		ports = append(ports, fmt.Sprint(port.HostIP, " ", port.HostPort, " ", port.Protocol))
	})
	return ports
}

// EachHostPort calls f with the host ports of containers that run as long as the pod does.
func EachHostPort(pod *v1.Pod, f func(v1.ContainerPort)) {
	add := func(container *v1.Container) {
		for _, port := range container.Ports {
			if port.HostPort != 0 {
				f(port)
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		if sidecar := &pod.Spec.InitContainers[i]; sidecar.RestartPolicy != nil && *sidecar.RestartPolicy == v1.ContainerRestartPolicyAlways {
			add(sidecar)
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
}
