package placement_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// TestScorePrefersSeatsThatKeepTheGangOnFewNodes: Pack, one role. A seat with which the gang needs fewer nodes scores
// no worse, up to two nodes above the fewest, where the score stops telling.
//
// Seen failing when the leader's node was counted among the best of the others, and when fewest was always 1.
func TestScorePrefersSeatsThatKeepTheGangOnFewNodes(t *testing.T) {
	var solver placement.Solver
	rapid.Check(t, func(t *rapid.T) {
		nodes, gang := drawLarge(t)
		gang.Strategy, gang.Roles = placement.Pack, gang.Roles[:1]
		fit, _ := solver.Fit(nodes, gang)
		if fit == nil || gang.Leader == nil {
			return
		}
		needs := make([]int, nodes.Len()) // node -> nodes the gang needs with the leader there
		for node := range nodes.Len() {
			if fit.LeaderFits(node) {
				needs[node] = nodesNeeded(nodes, gang, node)
			}
			require.GreaterOrEqual(t, fit.Score(node), 0)
			require.LessOrEqual(t, fit.Score(node), placement.MaxScore)
		}
		fewest := nodesNeeded(nodes, gang, placement.NoNode)
		for a, needsA := range needs {
			for b, needsB := range needs {
				if needsA > 0 && needsA < needsB && needsA < fewest+2 {
					require.GreaterOrEqual(t, fit.Score(a), fit.Score(b), "node %d needs %d nodes, node %d needs %d", a, needsA, b, needsB)
				}
			}
		}
	})
}

// nodesNeeded fills the leader's node and then the others, largest capacity first.
func nodesNeeded(nodes *cluster, gang placement.Gang, leader int) int {
	missing, used := gang.Roles[0].Count, 0
	var room []int
	for node, free := range nodes.free {
		if node == leader {
			missing -= gang.Roles[0].Request.Count(free.Sub(gang.Leader.Request), missing)
			used++
		} else {
			room = append(room, gang.Roles[0].Request.Count(free, missing))
		}
	}
	slices.Sort(room)
	for i := len(room) - 1; missing > 0; i-- {
		missing -= room[i]
		used++
	}
	return used
}

// TestScorePrefersASingleDomainWhereOneHoldsTheGang.
//
// Seen failing when a node whose domain holds the gang scored in the lower half as well.
func TestScorePrefersASingleDomainWhereOneHoldsTheGang(t *testing.T) {
	var solver placement.Solver
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawCluster(t)
		gang := drawGang(t, nodes.Len(), gangOption{roles: 2, leader: true, strategies: []placement.Strategy{placement.PreferSingleZone}})
		fit, _ := solver.Fit(nodes, gang)
		if fit == nil {
			return
		}
		tw := twin{nodes, gang}
		for a := range nodes.Len() {
			for b := range nodes.Len() {
				foundA, inDomainA := tw.leaderFits(a)
				foundB, inDomainB := tw.leaderFits(b)
				if foundA.fits && foundB.fits && inDomainA && !inDomainB {
					require.GreaterOrEqual(t, fit.Score(a), fit.Score(b), "node %d in a domain, node %d not", a, b)
				}
			}
		}
	})
}

func TestScoreTellsSeatsApart(t *testing.T) {
	cpu := func(cores int64) resource.Vector { return resource.Vector{CPU: 1000 * cores} }
	gang := placement.Gang{
		Leader: &placement.Member{Name: "driver", Request: cpu(1)},
		Roles:  []placement.Role{{Member: placement.Member{Name: "executor", Request: cpu(6)}, Count: 4}},
	}
	tests := map[string]struct {
		strategy placement.Strategy
		cores    []int64  // node -> cores free
		domains  []string // node -> domain
		want     int      // the node with the best score
	}{
		"packed beside its workers":                  {placement.Pack, []int64{1, 16, 16}, nil, 1},
		"packed into a hole that costs no worker":    {placement.Pack, []int64{12, 12, 2, 9}, nil, 2},
		"packed into the smaller of two holes":       {placement.Pack, []int64{12, 12, 3, 1, 4}, nil, 3},
		"spread onto the emptiest node":              {placement.Spread, []int64{16, 40, 16, 16}, nil, 1},
		"in the domain with less to spare":           {placement.SingleZone, []int64{50, 50, 13, 12}, []string{"a", "a", "b", "b"}, 2},
		"in a domain rather than across two of them": {placement.PreferSingleZone, []int64{13, 6, 12, 13}, []string{"a", "a", "b", "b"}, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			nodes := &cluster{domains: tt.domains}
			for _, cores := range tt.cores {
				nodes.free = append(nodes.free, cpu(cores))
			}
			gang.Strategy = tt.strategy
			var solver placement.Solver
			fit, shortage := solver.Fit(nodes, gang)
			require.NotNil(t, fit, "%s", shortage)
			assert.Equal(t, tt.want, bestSeat(nodes, fit))
		})
	}
}
