package ledger

import (
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// A node that two queues select counts for the first of them by name, and the other is told.
func TestANodeOfTwoPoolsCountsForTheFirst(t *testing.T) {
	l := New("", placement.Pack)
	for name, pool := range map[string]string{"a": "x", "b": "x", "c": "y"} {
		node := newNode(name, 4)
		node.Labels = map[string]string{"pool": pool}
		_, err := l.Apply(start, NodeSeen{node})
		require.NoError(t, err)
	}
	either := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "pool", Operator: metav1.LabelSelectorOpIn, Values: []string{"x", "y"}}}}
	arrange := func(specs ...quota.Spec) (map[string]*PoolStanding, []quota.Problem) {
		_, err := l.Apply(start, QueuesSeen{Queues{Specs: specs}})
		require.NoError(t, err)
		standings, problems := l.Queues()
		pools := map[string]*PoolStanding{}
		for _, s := range standings {
			pools[s.Name] = s.Pool
		}
		return pools, problems
	}
	pools, problems := arrange(quota.Spec{Name: "p", NodeSelector: pooled("x")}, quota.Spec{Name: "q", NodeSelector: either}, quota.Spec{Name: "r", Parent: "q"})
	require.Equal(t, map[string]*PoolStanding{"": nil, "p": {2, resource.Vector{CPU: 8000, Pods: 220}}, "q": {1, resource.Vector{CPU: 4000, Pods: 110}}, "r": nil}, pools)
	require.Equal(t, []quota.Problem{{Queue: "q", Field: "nodeSelector", Value: "pool in (x,y)",
		Message: "2 of the nodes that it selects do not count for it, because a queue that comes before it by name, such as p, selects them as well"}}, problems)

	pools, problems = arrange(quota.Spec{Name: "q", NodeSelector: either}, quota.Spec{Name: "r", Parent: "q"})
	require.Equal(t, 3, pools["q"].Nodes, "the other queue has gone")
	require.Empty(t, problems)
	_, err := l.Apply(start, NodeGone{"a"})
	require.NoError(t, err)
	pools, _ = arrange(quota.Spec{Name: "q", NodeSelector: either})
	require.Equal(t, 2, pools["q"].Nodes)
}
