package placement

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// maxExclusions bounds how many different things a sentence names.
const maxExclusions = 3

// Exclusions is what keeps a pod from nodes, resources aside, by the first thing that does on each, the most frequent first: "3 have the
// taint dedicated=spark:NoSchedule, 1 lacks the label pool=spark". Nodes that may hold it are not counted.
func Exclusions(pod *v1.Pod, nodes iter.Seq[*v1.Node]) string {
	labels := slices.Sorted(maps.Keys(pod.Spec.NodeSelector))
	affinity, requirements := nodeaffinity.GetRequiredNodeAffinity(pod), requirementsOf(pod)
	counts := map[string]int{} // what is said of one node -> nodes
	for node := range nodes {
		if node == nil {
			continue
		}
		if exclusion := untolerated(pod, node); exclusion != nil {
			if exclusion == &unschedulable {
				counts["is cordoned"]++
			} else {
				counts["has the taint "+exclusion.ToString()]++
			}
		} else if matches, err := affinity.Match(node); !matches || err != nil {
			counts[mismatch(pod, labels, requirements, node)]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b)) })
	var parts []string
	for _, exclusion := range frequent[:min(len(frequent), maxExclusions)] {
		text := exclusion
		if counts[exclusion] > 1 {
			text = plural.Replace(exclusion)
		}
		parts = append(parts, fmt.Sprintf("%d %s", counts[exclusion], text))
	}
	if more := len(frequent) - maxExclusions; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d reasons more", more))
	}
	return strings.Join(parts, ", ")
}

// maxValues bounds how many values of a requirement a sentence names.
const maxValues = 3

// requirement is one of those that a node has to meet for a pod's node affinity.
type requirement struct {
	text  string
	meets *nodeaffinity.NodeSelector
}

// requirementsOf are those of a pod's node affinity where all of them have to be met; nil where it has several terms, of which one would do.
func requirementsOf(pod *v1.Pod) []requirement {
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.NodeAffinity == nil {
		return nil
	}
	required := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if required == nil || len(required.NodeSelectorTerms) != 1 {
		return nil
	}
	var requirements []requirement
	for _, expression := range required.NodeSelectorTerms[0].MatchExpressions {
		only := v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchExpressions: []v1.NodeSelectorRequirement{expression}}}}
		meets, err := nodeaffinity.NewNodeSelector(&only)
		if err != nil {
			return nil
		}
		text := fmt.Sprintf("%s %s", expression.Key, expression.Operator)
		if values := expression.Values; len(values) > 0 {
			text += " (" + strings.Join(values[:min(len(values), maxValues)], ", ")
			if more := len(values) - maxValues; more > 0 {
				text += fmt.Sprintf(" and %d more", more)
			}
			text += ")"
		}
		requirements = append(requirements, requirement{text, meets})
	}
	return requirements
}

// mismatch is what a node lacks that does not match a pod's node selector or affinity: the first label of the selector, then the first
// requirement.
func mismatch(pod *v1.Pod, labels []string, requirements []requirement, node *v1.Node) string {
	for _, key := range labels {
		if value, there := node.Labels[key]; !there || value != pod.Spec.NodeSelector[key] {
			return fmt.Sprintf("lacks the label %s=%s", key, pod.Spec.NodeSelector[key])
		}
	}
	for _, requirement := range requirements {
		if !requirement.meets.Match(node) {
			return "does not meet the node affinity " + requirement.text
		}
	}
	return "does not match its node affinity"
}

// plural makes a sentence about one node one about several.
var plural = strings.NewReplacer("is cordoned", "are cordoned", "has the taint", "have the taint", "lacks the label", "lack the label", "does not", "do not")
