package placement_test

import (
	"slices"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// twin answers the questions of placement by trying every layout, with nothing but Fits and Sub of resource.Vector.
type twin struct {
	nodes *cluster
	gang  placement.Gang
}

// answer is what the layouts with the leader on one node (NoNode for none) come to.
type answer struct {
	fits bool
	// fewest is the least number of nodes that leader and workers use together.
	fewest int
	// even is the least sum of squares of the gang's pods per node: the smaller, the more even.
	even int
}

// beside tries every layout of the workers on the given nodes beside the leader.
func (t twin) beside(leader int, allowed []int) answer {
	free, members := slices.Clone(t.nodes.free), make([]int, t.nodes.Len())
	if leader != placement.NoNode {
		if !slices.Contains(allowed, leader) || !mayHold(t.gang.Leader, leader) || !t.gang.Leader.Request.Fits(free[leader]) {
			return answer{}
		}
		free[leader] = free[leader].Sub(t.gang.Leader.Request)
		members[leader]++
	}
	var found answer
	t.try(free, members, allowed, 0, 0, 0, &found)
	return found
}

// try seats worker number i of role r on the allowed nodes from the given one on, and everybody after it.
func (t twin) try(free []resource.Vector, members, allowed []int, r, i, from int, found *answer) {
	if r == len(t.gang.Roles) {
		nodes, even := 0, 0
		for _, n := range members {
			even += n * n
			nodes += min(n, 1)
		}
		if !found.fits {
			*found = answer{true, nodes, even}
		}
		found.fewest, found.even = min(found.fewest, nodes), min(found.even, even)
		return
	}
	role := &t.gang.Roles[r]
	if i >= role.Count {
		t.try(free, members, allowed, r+1, 0, 0, found)
		return
	}
	for a := from; a < len(allowed); a++ {
		node := allowed[a]
		if !mayHold(&role.Member, node) || !role.Request.Fits(free[node]) {
			continue
		}
		before := free[node]
		free[node] = before.Sub(role.Request)
		members[node]++
		t.try(free, members, allowed, r, i+1, a, found)
		free[node] = before
		members[node]--
	}
}

// leaderFits is the answer for a leader on the node (NoNode for none) under the gang's strategy, and whether one domain
// holds the gang.
func (t twin) leaderFits(leader int) (found answer, inDomain bool) {
	if t.gang.Strategy == placement.SingleZone || t.gang.Strategy == placement.PreferSingleZone {
		for _, domain := range []string{"a", "b"} {
			if t.gang.Home == "" || t.gang.Home == domain {
				if found = t.beside(leader, t.members(domain)); found.fits {
					return found, true
				}
			}
		}
		if t.gang.Strategy == placement.SingleZone {
			return answer{}, false
		}
	}
	return t.beside(leader, t.everyNode()), false
}

// fits is the answer for the gang.
func (t twin) fits() bool {
	if t.gang.Leader == nil {
		found, _ := t.leaderFits(placement.NoNode)
		return found.fits
	}
	return slices.ContainsFunc(t.everyNode(), func(node int) bool {
		found, _ := t.leaderFits(node)
		return found.fits
	})
}

func (t twin) everyNode() []int {
	nodes := make([]int, t.nodes.Len())
	for i := range nodes {
		nodes[i] = i
	}
	return nodes
}

func (t twin) members(domain string) []int {
	return slices.DeleteFunc(t.everyNode(), func(node int) bool { return t.nodes.Domain(node) != domain })
}

func mayHold(m *placement.Member, node int) bool { return m.Eligible == nil || m.Eligible(node) }
