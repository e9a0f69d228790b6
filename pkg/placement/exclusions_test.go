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
		"a taint":             {[]*v1.Node{tainted("a"), tainted("tolerated", "a"), other}, "2 have the taint a=x:NoSchedule, 1 does not match its node selector or affinity"},
		"a cordon":            {[]*v1.Node{cordoned, other, other}, "2 do not match its node selector or affinity, 1 is cordoned"},
		"too many":            {many, "1 has the taint t0=x:NoSchedule, 1 has the taint t1=x:NoSchedule, 1 has the taint t2=x:NoSchedule, and 2 reasons more"},
	} {
		require.Equal(t, test.want, Exclusions(pod, slices.Values(test.nodes)), name)
	}
}
