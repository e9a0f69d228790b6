package placement_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// Others start 47 or 49 of these gangs whole, or half-start the rest: 64 would fit by the sum of cpu, 50 do by node.
func TestGangsPlacedOneAfterAnotherFillFragmentedNodesToTheLastSeat(t *testing.T) {
	nodes := identicalNodes(100, resource.Vector{CPU: 16_000, Memory: 64 << 30, Pods: 110})
	gang := fragmentingGang(4, 1)
	var solver placement.Solver
	started := 0
	for {
		fit, shortage := solver.Fit(nodes, gang)
		if fit == nil {
			assert.Equal(t, placement.Fragmented, shortage.Kind)
			assert.Equal(t, "0 of 4 executors fit: each needs cpu 6, and the most free on one of 100 nodes is 4 (350 in all)", shortage.String())
			break
		}
		leader := bestSeat(nodes, fit)
		slots, ok := fit.Plan(leader)
		require.True(t, ok)
		nodes.take(leader, gang.Leader.Request)
		for _, slot := range slots {
			nodes.take(slot.Node, gang.Roles[slot.Role].Request.Scale(slot.Count))
		}
		started++
	}
	assert.Equal(t, 50, started)
}
