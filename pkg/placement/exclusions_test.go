package placement

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestExclusionsNameWhatKeepsAPodFromNodes(t *testing.T) {
	tainted := func(keys ...string) *v1.Node {
		node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"pool": "spark"}}}
		for _, key := range keys {
			node.Spec.Taints = append(node.Spec.Taints, v1.Taint{Key: key, Value: "x", Effect: v1.TaintEffectNoSchedule})
		}
		return node
	}
	cordoned := tainted()
	cordoned.Spec.Unschedulable = true
	preferred := tainted()
	preferred.Spec.Taints = []v1.Taint{{Key: "a", Effect: v1.TaintEffectPreferNoSchedule}}
	other := &v1.Node{}
	pod := &v1.Pod{Spec: v1.PodSpec{NodeSelector: map[string]string{"pool": "spark"}, Tolerations: []v1.Toleration{{Key: "tolerated", Operator: v1.TolerationOpExists}}}}
	many := []*v1.Node{}
	for i := range 5 {
		many = append(many, tainted(fmt.Sprint("t", i)))
	}
	for name, test := range map[string]struct {
		nodes []*v1.Node
		want  string
	}{
		"none":                {nil, ""},
		"nodes that are well": {[]*v1.Node{tainted(), tainted("tolerated"), preferred, nil}, ""},
		"a taint":             {[]*v1.Node{tainted("a"), tainted("tolerated", "a"), other}, "2 have the taint a=x:NoSchedule, 1 lacks the label pool=spark"},
		"a cordon":            {[]*v1.Node{cordoned, other, other}, "2 lack the label pool=spark, 1 is cordoned"},
		"too many":            {many, "1 has the taint t0=x:NoSchedule, 1 has the taint t1=x:NoSchedule, 1 has the taint t2=x:NoSchedule, and 2 reasons more"},
	} {
		require.Equal(t, test.want, Exclusions(pod, slices.Values(test.nodes)), name)
	}
}

// TestExclusionsNameTheRequirementOfANodeAffinity, where all have to be met; of several terms one would do.
//
// Seen failing when no requirement was named.
func TestExclusionsNameTheRequirementOfANodeAffinity(t *testing.T) {
	term := func(requirements ...v1.NodeSelectorRequirement) v1.NodeSelectorTerm {
		return v1.NodeSelectorTerm{MatchExpressions: requirements}
	}
	zone := v1.NodeSelectorRequirement{Key: "zone", Operator: v1.NodeSelectorOpIn, Values: []string{"a", "b", "c", "d", "e"}}
	fast := v1.NodeSelectorRequirement{Key: "disk", Operator: v1.NodeSelectorOpExists}
	labelled := func(labels ...string) *v1.Node {
		node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{}}}
		for i := 0; i < len(labels); i += 2 {
			node.Labels[labels[i]] = labels[i+1]
		}
		return node
	}
	named := v1.NodeSelectorTerm{MatchFields: []v1.NodeSelectorRequirement{{Key: "metadata.name", Operator: v1.NodeSelectorOpIn, Values: []string{"other"}}}}
	for name, test := range map[string]struct {
		terms []v1.NodeSelectorTerm
		nodes []*v1.Node
		want  string
	}{
		"one term":       {[]v1.NodeSelectorTerm{term(zone, fast)}, []*v1.Node{labelled(), labelled("zone", "x"), labelled("zone", "a"), labelled("zone", "a", "disk", "")}, "2 do not meet the node affinity zone In (a, b, c and 2 more), 1 does not meet the node affinity disk Exists"},
		"several terms":  {[]v1.NodeSelectorTerm{term(zone), term(fast)}, []*v1.Node{labelled(), labelled("disk", "")}, "1 does not match its node affinity"},
		"a node by name": {[]v1.NodeSelectorTerm{named}, []*v1.Node{labelled()}, "1 does not match its node affinity"},
	} {
		pod := &v1.Pod{Spec: v1.PodSpec{Affinity: &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{NodeSelectorTerms: test.terms}}}}}
		require.Equal(t, test.want, Exclusions(pod, slices.Values(test.nodes)), name)
	}
}
