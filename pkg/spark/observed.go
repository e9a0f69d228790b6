package spark

import (
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"retinue.dev/retinue/pkg/resource"
)

// Observed is the predicted worker with what a real one says about the nodes it may run on, and in words what that is;
// nil when the prediction was right. Neither pod is changed. Claims are left out: each worker may have its own.
func Observed(predicted, real *v1.Pod) (*v1.Pod, string) {
	var differences []string
	differs := func(what string, a, b any) {
		if !equality.Semantic.DeepEqual(a, b) {
			differences = append(differences, what)
		}
	}
	differs("node selector", predicted.Spec.NodeSelector, real.Spec.NodeSelector)
	differs("tolerations", ownTolerations(predicted), ownTolerations(real))
	differs("node affinity", requiredNodes(predicted), requiredNodes(real))
	differs("pod affinity", termKeys(predicted, podAffinity), termKeys(real, podAffinity))
	differs("pod anti-affinity", termKeys(predicted, podAntiAffinity), termKeys(real, podAntiAffinity))
	differs("topology spread", spreadKeys(predicted), spreadKeys(real))
	differs("host ports", hostPorts(predicted), hostPorts(real))
	if len(differences) == 0 {
		return nil, ""
	}
	observed := predicted.DeepCopy()
	like := &v1.Pod{Spec: *real.Spec.DeepCopy()}
	strip(like)
	spec := &observed.Spec
	spec.NodeSelector, spec.Tolerations, spec.Affinity = like.Spec.NodeSelector, like.Spec.Tolerations, like.Spec.Affinity
	spec.TopologySpreadConstraints, spec.HostNetwork = like.Spec.TopologySpreadConstraints, like.Spec.HostNetwork
	if !slices.Equal(hostPorts(predicted), hostPorts(real)) {
		spec.InitContainers, spec.Containers = like.Spec.InitContainers, like.Spec.Containers
	}
	return observed, "another " + strings.Join(differences, ", another ")
}

// Unpredicted names what a worker needs that its prediction did not have: "nvidia.com/gpu 1"; empty means nothing.
func Unpredicted(predicted, real resource.Vector) string {
	var names []string
	for _, amount := range real.Extended {
		if predicted.Of(amount.Name) == 0 {
			names = append(names, string(amount.Name)+" "+resource.Quantity(amount.Name, amount.Value).String())
		}
	}
	return strings.Join(names, ", ")
}

// requiredNodes are the terms of required node affinity; nil means none.
func requiredNodes(pod *v1.Pod) []v1.NodeSelectorTerm {
	if affinity := pod.Spec.Affinity; affinity != nil && affinity.NodeAffinity != nil {
		if required := affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution; required != nil {
			return required.NodeSelectorTerms
		}
	}
	return nil
}

func podAffinity(affinity *v1.Affinity) []v1.PodAffinityTerm {
	if affinity.PodAffinity == nil {
		return nil
	}
	return affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

func podAntiAffinity(affinity *v1.Affinity) []v1.PodAffinityTerm {
	if affinity.PodAntiAffinity == nil {
		return nil
	}
	return affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

// termKeys are the topology keys of terms. The API server adds what matchLabelKeys mean to their selectors, so that those of a
// prediction and of a real pod differ without meaning anything.
func termKeys(pod *v1.Pod, terms func(*v1.Affinity) []v1.PodAffinityTerm) []string {
	var keys []string
	if pod.Spec.Affinity != nil {
		for _, term := range terms(pod.Spec.Affinity) {
			keys = append(keys, term.TopologyKey)
		}
	}
	slices.Sort(keys)
	return keys
}

// spreadKeys are the topology keys of constraints that must hold.
func spreadKeys(pod *v1.Pod) []string {
	var keys []string
	for _, constraint := range pod.Spec.TopologySpreadConstraints {
		if constraint.WhenUnsatisfiable == v1.DoNotSchedule {
			keys = append(keys, constraint.TopologyKey)
		}
	}
	slices.Sort(keys)
	return keys
}
