package placement_test

import (
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// cluster is placement.Nodes for tests.
type cluster struct {
	free    []resource.Vector // node -> free
	domains []string          // node -> domain; nil means that no node is in one
}

func (c *cluster) Len() int                       { return len(c.free) }
func (c *cluster) Free(node int) *resource.Vector { return &c.free[node] }
func (c *cluster) Domain(node int) string {
	if c.domains == nil {
		return ""
	}
	return c.domains[node]
}

func (c *cluster) take(node int, v resource.Vector) { c.free[node] = c.free[node].Sub(v) }

func identicalNodes(n int, free resource.Vector) *cluster {
	c := &cluster{free: make([]resource.Vector, n)}
	for i := range c.free {
		c.free[i] = free
	}
	return c
}

// bestSeat is the leader's node as kube-scheduler would choose it: the first of those with the best score.
func bestSeat(nodes placement.Nodes, fit *placement.Fit) int {
	seat, best := placement.NoNode, -1
	for node := range nodes.Len() {
		if fit.LeaderFits(node) && fit.Score(node) > best {
			seat, best = node, fit.Score(node)
		}
	}
	return seat
}
