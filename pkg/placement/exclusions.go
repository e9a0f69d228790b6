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
	m := matcher{pod: pod, labels: slices.Sorted(maps.Keys(pod.Spec.NodeSelector)), requirements: requirementsOf(pod)}
	if pod.Spec.Affinity != nil && pod.Spec.Affinity.NodeAffinity != nil {
		m.affinity = nodeaffinity.GetRequiredNodeAffinity(&v1.Pod{Spec: v1.PodSpec{Affinity: pod.Spec.Affinity}})
		m.affine = true
	}
	counts := map[exclusion]int{} // what is true of a node -> nodes
	for node := range nodes {
		if node == nil {
			continue
		}
		if e := m.exclusion(node); e != (exclusion{}) {
			counts[e]++
		}
	}
	texts := make(map[exclusion]string, len(counts))
	for e, n := range counts {
		texts[e] = e.text(n > 1)
	}
	frequent := slices.SortedFunc(maps.Keys(counts), func(a, b exclusion) int { return cmp.Or(counts[b]-counts[a], cmp.Compare(texts[a], texts[b])) })
	var parts []string
	for _, e := range frequent[:min(len(frequent), maxExclusions)] {
		parts = append(parts, fmt.Sprintf("%d %s", counts[e], texts[e]))
	}
	if more := len(frequent) - maxExclusions; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d reasons more", more))
	}
	return strings.Join(parts, ", ")
}

// exclusion is what keeps a pod from a node; the zero exclusion means that nothing does.
type exclusion struct {
	kind exclusionKind
	// name is the key of a label or a taint, or the text of a requirement; value and effect are a label's or a taint's.
	name, value string
	effect      v1.TaintEffect
}

type exclusionKind uint8

const (
	cordoned exclusionKind = iota + 1
	tainted
	unlabelled
	unmet
	otherwise
)

// text is what is said of one node, or of several.
func (e exclusion) text(several bool) string {
	one, many := "", ""
	switch e.kind {
	case cordoned:
		return map[bool]string{false: "is cordoned", true: "are cordoned"}[several]
	case tainted:
		taint := v1.Taint{Key: e.name, Value: e.value, Effect: e.effect}
		one, many = "has the taint "+taint.ToString(), "have the taint "+taint.ToString()
	case unlabelled:
		label := fmt.Sprintf("the label %s=%s", e.name, e.value)
		one, many = "lacks "+label, "lack "+label
	case unmet:
		one, many = "does not meet the node affinity "+e.name, "do not meet the node affinity "+e.name
	default:
		one, many = "does not match its node affinity", "do not match its node affinity"
	}
	if several {
		return many
	}
	return one
}

// matcher compares a pod with nodes.
type matcher struct {
	pod *v1.Pod
	// labels are the keys of its node selector.
	labels       []string
	requirements []requirement
	// affinity is its required node affinity alone, if it is affine.
	affinity nodeaffinity.RequiredNodeAffinity
	affine   bool
}

// exclusion is the first thing that keeps the pod from a node: a taint, a label of its node selector, or its node affinity.
func (m *matcher) exclusion(node *v1.Node) exclusion {
	if taint := untolerated(m.pod, node); taint == &unschedulable {
		return exclusion{kind: cordoned}
	} else if taint != nil {
		return exclusion{kind: tainted, name: taint.Key, value: taint.Value, effect: taint.Effect}
	}
	for _, key := range m.labels {
		wanted := m.pod.Spec.NodeSelector[key]
		if value, there := node.Labels[key]; !there || value != wanted {
			return exclusion{kind: unlabelled, name: key, value: wanted}
		}
	}
	if !m.affine {
		return exclusion{}
	}
	if matches, err := m.affinity.Match(node); matches && err == nil {
		return exclusion{}
	}
	for _, requirement := range m.requirements {
		if !requirement.meets.Match(node) {
			return exclusion{kind: unmet, name: requirement.text}
		}
	}
	return exclusion{kind: otherwise}
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
