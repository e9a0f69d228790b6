package inventory

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/labels"
)

// counting is a selector that counts how often it is asked.
type counting struct {
	labels.Selector
	asked *int
}

func (c counting) Matches(of labels.Labels) bool {
	*c.asked++
	return c.Selector.Matches(of)
}

// A cluster has thousands of nodes and a few pools: what becomes of one node costs a look at each pool, and what becomes of its pods
// none.
//
// Seen failing when sums were made of all nodes whenever one of them changed.
func TestANodeThatChangesIsShownToEveryPoolOnce(t *testing.T) {
	asked := 0
	n := New("zone")
	for i := range 100 {
		n.See(newNode(fmt.Sprint("a", i), 4))
	}
	n.Divide([]labels.Selector{nil, counting{labels.SelectorFromSet(labels.Set{"zone": "a"}), &asked}, counting{labels.SelectorFromSet(labels.Set{"zone": "b"}), &asked}})
	require.Equal(t, 200, asked)
	costs := func(change func()) int {
		asked = 0
		change()
		n.Settle()
		return asked
	}
	require.Equal(t, 2, costs(func() { n.See(newNode("b1", 4)) }), "a node comes")
	require.Equal(t, 2, costs(func() { n.See(newNode("b1", 8)) }), "it changes")
	require.Zero(t, costs(func() { n.See(newNode("b1", 8)) }), "it is seen again")
	require.Zero(t, costs(func() { n.Use("b1", cores(1)) }), "a pod comes")
	require.Zero(t, costs(func() { n.Hold("b1", cores(1)) }), "a slot is held")
	require.Zero(t, costs(func() { n.Remove("b1") }), "it goes")
	require.Zero(t, costs(func() { n.Divide([]labels.Selector{nil, n.pools.selectors[1], n.pools.selectors[2]}) }), "nothing changes")
}

func TestANodeCountsForOnePoolOnly(t *testing.T) {
	n := New("zone")
	n.Divide(selectors([]string{"", "zone in (a,b)", "zone=b"}))
	n.See(newNode("a1", 4))
	n.See(newNode("b1", 4))
	n.See(newNode("b2", 4))
	n.See(newNode("c1", 4))
	type size struct{ nodes, elsewhere, where int }
	sizes := func() (sizes []size) {
		for pool := range 3 {
			nodes, elsewhere, where := n.PoolSize(pool)
			sizes = append(sizes, size{nodes, elsewhere, where})
		}
		return sizes
	}
	require.Equal(t, []size{{1, 0, 0}, {3, 0, 0}, {0, 2, 1}}, sizes())
	n.Remove("b2")
	require.Equal(t, []size{{1, 0, 0}, {2, 0, 0}, {0, 1, 1}}, sizes())
	n.Divide(selectors([]string{"", "zone=b"}))
	nodes, elsewhere, _ := n.PoolSize(1)
	require.Equal(t, []int{1, 0}, []int{nodes, elsewhere})
}
