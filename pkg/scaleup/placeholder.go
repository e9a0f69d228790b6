package scaleup

import (
	"fmt"
	"maps"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
)

const (
	// PlaceholderScheduler is the schedulerName of placeholders: no scheduler has it, so that nothing can bind one.
	PlaceholderScheduler = "retinue-placeholder"
	// PlaceholderReason is what `kubectl get pods` shows as the status of one.
	PlaceholderReason = "Placeholder"
	// LeaderAnnotation is on a placeholder namespace and name of the leader of its gang.
	LeaderAnnotation = "retinue.dev/scale-up-for"
)

// Placeholder is a pod that stands for one of several equal pods in another namespace than theirs, without a name: a Template of which no
// rule means something else there. An error says what cannot be said there: another pod that has to be near, or a claim.
func Placeholder(leader *v1.Pod, pods inventory.Pods, strategy placement.Strategy, domainKey string) (v1.PodTemplateSpec, error) {
	for i := range pods.Pod.Spec.Volumes {
		if claim := pods.Pod.Spec.Volumes[i].PersistentVolumeClaim; claim != nil {
			return v1.PodTemplateSpec{}, fmt.Errorf("%s has the PersistentVolumeClaim %q, which no pod of another namespace can have", pods.Name, claim.ClaimName)
		}
	}
	if claims := pods.Pod.Spec.ResourceClaims; len(claims) > 0 {
		return v1.PodTemplateSpec{}, fmt.Errorf("%s has the resource claim %q, which no pod of another namespace can have", pods.Name, claims[0].Name)
	}
	if affinity := pods.Pod.Spec.Affinity; affinity != nil && affinity.PodAffinity != nil && len(affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution) > 0 {
		return v1.PodTemplateSpec{}, fmt.Errorf("%s has to be near other pods (podAffinity), which cannot be said in another namespace", pods.Name)
	}
	own := *pods.Pod
	own.Spec.Affinity = antiAffinity(pods.Pod.Spec.Affinity, leader)
	own.Spec.TopologySpreadConstraints = spread(pods.Pod.Spec.TopologySpreadConstraints, leader)
	own.Labels = selected(pods.Pod.Labels, &own.Spec)
	pods.Pod = &own
	template := Template(leader.UID, pods, strategy, domainKey)
	template.Annotations = map[string]string{LeaderAnnotation: leader.Namespace + "/" + leader.Name}
	template.Spec.SchedulerName = PlaceholderScheduler
	template.Spec.SecurityContext = &v1.PodSecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), SeccompProfile: &v1.SeccompProfile{Type: v1.SeccompProfileTypeRuntimeDefault}}
	template.Spec.Containers[0].SecurityContext = &v1.SecurityContext{AllowPrivilegeEscalation: new(false), Capabilities: &v1.Capabilities{Drop: []v1.Capability{"ALL"}}}
	return template, nil
}

// antiAffinity is an affinity that says in another namespace which nodes there may be, and which pods must not be near: those of the leader's
// namespace, and placeholders of the same gang. What is preferred buys nothing.
func antiAffinity(affinity *v1.Affinity, leader *v1.Pod) *v1.Affinity {
	if affinity == nil {
		return nil
	}
	said := &v1.Affinity{NodeAffinity: affinity.NodeAffinity}
	if affinity.PodAntiAffinity == nil {
		return said
	}
	said.PodAntiAffinity = &v1.PodAntiAffinity{}
	terms := &said.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	for _, term := range affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		theirs, ours := *term.DeepCopy(), *term.DeepCopy()
		if len(theirs.Namespaces) == 0 && theirs.NamespaceSelector == nil {
			theirs.Namespaces = []string{leader.Namespace}
		}
		ours.Namespaces, ours.NamespaceSelector = nil, nil // the placeholder's own
		ours.LabelSelector = ofGang(ours.LabelSelector, leader)
		*terms = append(*terms, theirs, ours)
	}
	return said
}

// spread are constraints that count the placeholders of one gang.
func spread(constraints []v1.TopologySpreadConstraint, leader *v1.Pod) []v1.TopologySpreadConstraint {
	var said []v1.TopologySpreadConstraint
	for _, constraint := range constraints {
		if constraint.WhenUnsatisfiable == v1.DoNotSchedule {
			constraint.LabelSelector = ofGang(constraint.LabelSelector, leader)
			said = append(said, constraint)
		}
	}
	return said
}

// ofGang is a selector that selects of what it selects the pods of one gang. A selector that is nil selects nothing.
func ofGang(selector *metav1.LabelSelector, leader *v1.Pod) *metav1.LabelSelector {
	if selector == nil {
		return nil
	}
	narrow := selector.DeepCopy()
	if narrow.MatchLabels == nil {
		narrow.MatchLabels = map[string]string{}
	}
	narrow.MatchLabels[Label] = string(leader.UID)
	return narrow
}

// selected are the labels that the pod's own rules look at: nobody else has to see any.
func selected(labels map[string]string, spec *v1.PodSpec) map[string]string {
	looked := map[string]bool{}
	look := func(selector *metav1.LabelSelector, more ...[]string) {
		if selector == nil {
			return
		}
		for key := range selector.MatchLabels {
			looked[key] = true
		}
		for _, expression := range selector.MatchExpressions {
			looked[expression.Key] = true
		}
		for _, keys := range more {
			for _, key := range keys {
				looked[key] = true
			}
		}
	}
	if spec.Affinity != nil && spec.Affinity.PodAntiAffinity != nil {
		for _, term := range spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
			look(term.LabelSelector, term.MatchLabelKeys, term.MismatchLabelKeys)
		}
	}
	for _, constraint := range spec.TopologySpreadConstraints {
		look(constraint.LabelSelector, constraint.MatchLabelKeys)
	}
	own := maps.Clone(labels)
	maps.DeleteFunc(own, func(key, _ string) bool { return !looked[key] })
	return own
}
