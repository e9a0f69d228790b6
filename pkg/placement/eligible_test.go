package placement_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/placement"
)

func TestEligibilityFollowsTheRulesOfTheFilters(t *testing.T) {
	dedicated := v1.Taint{Key: "dedicated", Value: "spark", Effect: v1.TaintEffectNoSchedule}
	leaving := v1.Taint{Key: "leaving", Effect: v1.TaintEffectNoExecute}
	reluctant := v1.Taint{Key: "reluctant", Effect: v1.TaintEffectPreferNoSchedule}
	node := func(change func(*v1.Node)) *v1.Node {
		n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"disk": "ssd", "cores": "16"}}}
		if change != nil {
			change(n)
		}
		return n
	}
	tainted := func(taints ...v1.Taint) *v1.Node { return node(func(n *v1.Node) { n.Spec.Taints = taints }) }
	cordoned := node(func(n *v1.Node) { n.Spec.Unschedulable = true })
	selecting := func(labels map[string]string) v1.PodSpec { return v1.PodSpec{NodeSelector: labels} }
	tolerating := func(tolerations ...v1.Toleration) v1.PodSpec { return v1.PodSpec{Tolerations: tolerations} }
	requiring := func(terms ...v1.NodeSelectorTerm) v1.PodSpec {
		return v1.PodSpec{Affinity: &v1.Affinity{NodeAffinity: &v1.NodeAffinity{
			RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{NodeSelectorTerms: terms},
		}}}
	}
	label := func(key string, operator v1.NodeSelectorOperator, values ...string) v1.NodeSelectorTerm {
		return v1.NodeSelectorTerm{MatchExpressions: []v1.NodeSelectorRequirement{{Key: key, Operator: operator, Values: values}}}
	}
	preferring := v1.PodSpec{Affinity: &v1.Affinity{NodeAffinity: &v1.NodeAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []v1.PreferredSchedulingTerm{{Weight: 1, Preference: label("disk", v1.NodeSelectorOpIn, "tape")}},
	}}}
	tests := map[string]struct {
		spec v1.PodSpec
		node *v1.Node
		want bool
	}{
		"a plain pod on a plain node":                  {v1.PodSpec{}, node(nil), true},
		"a node that is gone":                          {v1.PodSpec{}, nil, false},
		"a selector that matches":                      {selecting(map[string]string{"disk": "ssd"}), node(nil), true},
		"a selector that does not":                     {selecting(map[string]string{"disk": "tape"}), node(nil), false},
		"one of two terms matches":                     {requiring(label("disk", v1.NodeSelectorOpIn, "tape"), label("cores", v1.NodeSelectorOpGt, "8")), node(nil), true},
		"no term matches":                              {requiring(label("disk", v1.NodeSelectorOpNotIn, "ssd")), node(nil), false},
		"a term with a bad operator matches nothing":   {requiring(label("disk", "Like", "s%")), node(nil), false},
		"required terms that are empty match nothing":  {requiring(), node(nil), false},
		"a preference forbids nothing":                 {preferring, node(nil), true},
		"a taint":                                      {v1.PodSpec{}, tainted(dedicated), false},
		"a taint that is tolerated":                    {tolerating(v1.Toleration{Key: "dedicated", Operator: v1.TolerationOpEqual, Value: "spark"}), tainted(dedicated), true},
		"one of two taints is tolerated":               {tolerating(v1.Toleration{Key: "dedicated", Operator: v1.TolerationOpExists}), tainted(dedicated, leaving), false},
		"a taint that drives pods away":                {v1.PodSpec{}, tainted(leaving), false},
		"a taint that only discourages":                {v1.PodSpec{}, tainted(reluctant), true},
		"a cordoned node":                              {v1.PodSpec{}, cordoned, false},
		"a cordoned node for one that tolerates it":    {tolerating(v1.Toleration{Key: v1.TaintNodeUnschedulable, Operator: v1.TolerationOpExists}), cordoned, true},
		"a cordoned node for one that tolerates all":   {tolerating(v1.Toleration{Operator: v1.TolerationOpExists}), cordoned, true},
		"a tolerated taint and a selector that is not": {v1.PodSpec{NodeSelector: map[string]string{"disk": "tape"}, Tolerations: []v1.Toleration{{Operator: v1.TolerationOpExists}}}, tainted(dedicated), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &v1.Pod{Spec: tt.spec}
			assert.Equal(t, tt.want, placement.Eligibility(pod)(tt.node))
			assert.False(t, placement.Open(tt.node) && !placement.Constrained(pod) && !tt.want, "an open node takes every pod that names no nodes")
		})
	}
}

// BenchmarkEligibility is what a Member.Eligible made of it costs per node.
func BenchmarkEligibility(b *testing.B) {
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{}},
		Spec:       v1.NodeSpec{Taints: []v1.Taint{{Key: "dedicated", Value: "spark", Effect: v1.TaintEffectNoSchedule}}},
	}
	for i := range 20 {
		node.Labels[fmt.Sprintf("example.com/label-%d", i)] = "value"
	}
	specs := map[string]v1.PodSpec{
		"tolerating": {Tolerations: []v1.Toleration{{Key: "dedicated", Operator: v1.TolerationOpExists}}},
		"selecting": {
			Tolerations:  []v1.Toleration{{Key: "dedicated", Operator: v1.TolerationOpExists}},
			NodeSelector: map[string]string{"example.com/label-7": "value"},
		},
	}
	for name, spec := range specs {
		b.Run(name, func(b *testing.B) {
			eligible := placement.Eligibility(&v1.Pod{Spec: spec})
			b.ReportAllocs()
			for b.Loop() {
				if !eligible(node) {
					b.Fatal("not eligible")
				}
			}
		})
	}
}
