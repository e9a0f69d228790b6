package placement

import (
	"slices"

	"github.com/go-logr/logr"
	v1 "k8s.io/api/core/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// unschedulable is the taint that stands for a cordoned node: whoever tolerates it may go there.
var unschedulable = v1.Taint{Key: v1.TaintNodeUnschedulable, Effect: v1.TaintEffectNoSchedule}

// Eligibility is the fast path of the framework's own rules for a pod that may not exist yet: node selector, required
// node affinity, taints and cordons, through the helpers that the framework's filters use. Resources are another matter.
// A node that is nil is not there and takes nobody.
func Eligibility(pod *v1.Pod) func(*v1.Node) bool {
	affinity := nodeaffinity.GetRequiredNodeAffinity(pod)
	constrained := Constrained(pod)
	return func(node *v1.Node) bool {
		if node == nil || !tolerates(pod, node) {
			return false
		}
		if !constrained {
			return true
		}
		matches, err := affinity.Match(node)
		return matches && err == nil
	}
}

// Constrained tells whether a pod says which nodes it may use. One that does not may use every Open node.
func Constrained(pod *v1.Pod) bool {
	return len(pod.Spec.NodeSelector) > 0 || pod.Spec.Affinity != nil && pod.Spec.Affinity.NodeAffinity != nil
}

// Open tells whether a node takes every pod that is not Constrained, resources aside.
func Open(node *v1.Node) bool {
	return node != nil && !node.Spec.Unschedulable && !slices.ContainsFunc(node.Spec.Taints, func(taint v1.Taint) bool { return forbids(&taint) })
}

// MostRules is how many Rules a pod of a gang may have: as many take about as long for one node as the framework's filters.
const MostRules = 256

// valuesPerRule are compared in the time of any other rule.
const valuesPerRule = 16

// rulesPerTerm is how many rules about nodes one about other pods counts as.
const rulesPerTerm = 8

// Rules are how many things a node is compared with for a pod: what Eligibility looks at, and rules about other pods.
func Rules(pod *v1.Pod) int {
	rules := len(pod.Spec.NodeSelector) + len(pod.Spec.Tolerations) + rulesPerTerm*len(pod.Spec.TopologySpreadConstraints)
	affinity := pod.Spec.Affinity
	if affinity == nil {
		return rules
	}
	if affinity.PodAffinity != nil {
		rules += rulesPerTerm * len(affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	if affinity.PodAntiAffinity != nil {
		rules += rulesPerTerm * len(affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
	}
	if affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return rules
	}
	for _, term := range affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		rules++
		for _, requirement := range slices.Concat(term.MatchExpressions, term.MatchFields) {
			rules += 1 + len(requirement.Values)/valuesPerRule
		}
	}
	return rules
}

func tolerates(pod *v1.Pod, node *v1.Node) bool { return untolerated(pod, node) == nil }

// untolerated is the first taint, or unschedulable, that keeps a pod from a node; nil means that none does.
func untolerated(pod *v1.Pod, node *v1.Node) *v1.Taint {
	if node.Spec.Unschedulable && !corev1helpers.TolerationsTolerateTaint(logr.Discard(), pod.Spec.Tolerations, &unschedulable, false) {
		return &unschedulable
	}
	for i := range node.Spec.Taints {
		taint := &node.Spec.Taints[i]
		if forbids(taint) && !corev1helpers.TolerationsTolerateTaint(logr.Discard(), pod.Spec.Tolerations, taint, false) {
			return taint
		}
	}
	return nil
}

// forbids tells whether a taint keeps pods out; the third effect, PreferNoSchedule, only discourages them.
func forbids(taint *v1.Taint) bool {
	return taint.Effect == v1.TaintEffectNoSchedule || taint.Effect == v1.TaintEffectNoExecute
}
