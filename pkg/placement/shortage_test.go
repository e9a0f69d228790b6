package placement_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

var resources = []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage, v1.ResourcePods, gpu}

// TestShortageNumbersAreThoseOfTheNodes: one role, every number recomputed from the Vectors.
//
// Seen failing when overbooked nodes lowered the free sum, when ineligible nodes were added to it, and when Placed of a
// gang beside its leader was that of the workers alone.
func TestShortageNumbersAreThoseOfTheNodes(t *testing.T) {
	var solver placement.Solver
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawCluster(t)
		gang := drawGang(t, nodes.Len(), gangOption{roles: 1, strategies: []placement.Strategy{placement.Pack}})
		_, shortage := solver.Fit(nodes, gang)
		if shortage == nil {
			return
		}
		require.True(t, shortage.Proven)
		require.NotEmpty(t, shortage.String())

		var member *placement.Member
		var needed resource.Vector
		if shortage.Leader {
			member = gang.Leader
			require.Equal(t, 1, shortage.Count)
			require.Zero(t, shortage.Placed)
			needed = member.Request
		} else {
			member = &gang.Roles[0].Member
			require.Equal(t, gang.Roles[0].Count, shortage.Count)
			require.Equal(t, mostPlaced(nodes, gang, shortage.Beside), shortage.Placed)
			needed = member.Request.Scale(shortage.Count)
		}
		require.Less(t, shortage.Placed, shortage.Count)
		require.Equal(t, member.Name, shortage.Member)
		if shortage.Beside {
			needed = needed.Add(gang.Leader.Request)
		}

		var free, largest resource.Vector
		eligible, holdsOne := 0, false
		for node := range nodes.Len() {
			if mayHold(member, node) || shortage.Beside && mayHold(gang.Leader, node) {
				eligible++
				free = free.Add(resource.Vector{}.Max(nodes.free[node]))
				largest = largest.Max(nodes.free[node])
				holdsOne = holdsOne || member.Request.Fits(nodes.free[node])
			}
		}
		require.Equal(t, eligible, shortage.Eligible)
		if eligible == 0 {
			require.Equal(t, placement.NoEligibleNode, shortage.Kind)
			return
		}
		require.Equal(t, needed.Fits(free), shortage.Kind == placement.Fragmented, "%v of %v", needed, free)
		require.Equal(t, !needed.Fits(free), shortage.Kind == placement.Insufficient, "%v of %v", needed, free)
		require.Equal(t, !holdsOne, shortage.TooLarge)
		require.Equal(t, needed.Of(shortage.Resource), shortage.Needed)
		require.Equal(t, free.Of(shortage.Resource), shortage.Free)
		require.Equal(t, largest.Of(shortage.Resource), shortage.Largest)
		if shortage.Kind == placement.Insufficient && !shortage.TooLarge {
			require.Greater(t, shortage.Needed, shortage.Free)
		}
		require.True(t, slices.Contains(resources, shortage.Resource))
	})
}

// mostPlaced is how many workers of the only role find room, on the best seat of the leader if beside.
func mostPlaced(nodes *cluster, gang placement.Gang, beside bool) int {
	count := func(leader int) int {
		total := 0
		for node := range nodes.Len() {
			free := nodes.free[node]
			if node == leader {
				free = free.Sub(gang.Leader.Request)
			}
			if role := &gang.Roles[0]; mayHold(&role.Member, node) {
				total += role.Request.Count(free, role.Count)
			}
		}
		return total
	}
	if !beside {
		return count(placement.NoNode)
	}
	most := 0
	for node := range nodes.Len() {
		if mayHold(gang.Leader, node) && gang.Leader.Request.Fits(nodes.free[node]) {
			most = max(most, count(node))
		}
	}
	return most
}

func TestShortageSaysWhatIsMissing(t *testing.T) {
	node := resource.Vector{CPU: 16_000, Memory: 64 << 30, EphemeralStorage: 100 << 30, Pods: 110}
	member := func(name, size string) placement.Member {
		sizes := map[string]resource.Vector{
			"small":  {CPU: 1_000, Memory: 1 << 30, Pods: 1},
			"medium": {CPU: 6_000, Memory: 8 << 30, Pods: 1},
			"wide":   {CPU: 7_000, Memory: 8 << 30, Pods: 1},
			"huge":   {CPU: 32_000, Memory: 8 << 30, Pods: 1},
			"gpu":    {CPU: 1_000, Pods: 1, Extended: []resource.Amount{{Name: gpu, Value: 1}}},
		}
		return placement.Member{Name: name, Request: sizes[size]}
	}
	driver := member("driver", "small")
	wideDriver, hugeDriver := member("driver", "wide"), member("driver", "huge")
	never := func(m placement.Member) placement.Member {
		m.Eligible = func(int) bool { return false }
		return m
	}
	executors := func(n int, size string) []placement.Role {
		return []placement.Role{{Member: member("executor", size), Count: n}}
	}
	tests := map[string]struct {
		nodes *cluster
		gang  placement.Gang
		kind  placement.Kind
		want  string
	}{
		"the sum is short": {
			identicalNodes(2, node), placement.Gang{Leader: &driver, Roles: executors(6, "medium")}, placement.Insufficient,
			"4 of 6 executors fit: cpu 36 asked for in all, 32 free on 2 nodes",
		},
		"the sum would do, the pieces do not": {
			identicalNodes(3, node), placement.Gang{Leader: &driver, Roles: executors(7, "medium")}, placement.Fragmented,
			"6 of 7 executors fit: cpu 48 free on 3 nodes in all, but not in pieces of cpu 6, memory 8Gi",
		},
		"the leader takes the last seat of a worker": {
			identicalNodes(1, resource.Vector{CPU: 12_500, Memory: 64 << 30, Pods: 110}),
			placement.Gang{Leader: &driver, Roles: executors(2, "medium")}, placement.Insufficient,
			"1 of 2 executors fit beside the rest of the gang: cpu 13 asked for in all, 12500m free on 1 node",
		},
		"the leader sits where it costs fewest workers": {
			&cluster{free: []resource.Vector{{CPU: 12_000, Memory: 64 << 30, Pods: 9}, {CPU: 13_000, Memory: 64 << 30, Pods: 9}}},
			placement.Gang{Leader: &wideDriver, Roles: executors(4, "medium")}, placement.Insufficient,
			"3 of 4 executors fit beside the rest of the gang: cpu 31 asked for in all, 25 free on 2 nodes",
		},
		"one worker is larger than any node": {
			identicalNodes(3, node), placement.Gang{Leader: &driver, Roles: executors(1, "huge")}, placement.Fragmented,
			"0 of 1 executor fit: each needs cpu 32, and the most free on one of 3 nodes is 16 (48 in all)",
		},
		"no single node has both": {
			&cluster{free: []resource.Vector{{CPU: 16_000, Memory: 1 << 30, Pods: 9}, {CPU: 1_000, Memory: 64 << 30, Pods: 9}}},
			placement.Gang{Roles: executors(2, "medium")}, placement.Fragmented,
			"0 of 2 executors fit: each needs cpu 6, memory 8Gi, which none of 2 nodes has free at once",
		},
		"an extended resource": {
			identicalNodes(3, node), placement.Gang{Roles: executors(2, "gpu")}, placement.Insufficient,
			"0 of 2 executors fit: each needs nvidia.com/gpu 1, and the most free on one of 3 nodes is 0 (0 in all)",
		},
		"the leader is larger than any node": {
			identicalNodes(3, node), placement.Gang{Leader: &hugeDriver, Roles: executors(1, "medium")}, placement.Fragmented,
			"driver does not fit: it needs cpu 32, and the most free on one of 3 nodes is 16 (48 in all)",
		},
		"no node may hold the worker": {
			identicalNodes(3, node), placement.Gang{Roles: []placement.Role{{Member: never(member("executor", "small")), Count: 2}}}, placement.NoEligibleNode,
			"none of 3 nodes may hold executor",
		},
		"no node at all": {
			&cluster{}, placement.Gang{Leader: &driver}, placement.NoEligibleNode, "none of 0 nodes may hold driver",
		},
		"numbers whose node is gone are not counted": {
			&cluster{free: []resource.Vector{node, {}}}, placement.Gang{Roles: []placement.Role{{Member: never(driver), Count: 2}}}, placement.NoEligibleNode,
			"none of 1 node may hold driver",
		},
		"no node is in a domain": {
			identicalNodes(3, node), placement.Gang{Leader: &driver, Strategy: placement.SingleZone}, placement.NoDomain,
			"none of 3 nodes is in a domain, and the gang must sit in one",
		},
		"no node is in the domain": {
			&cluster{free: []resource.Vector{node}, domains: []string{"a"}},
			placement.Gang{Roles: executors(1, "small"), Strategy: placement.SingleZone, Home: "b"}, placement.NoDomain,
			"none of 1 node is in domain b, where the gang must sit",
		},
		"the best domain is short": {
			&cluster{free: []resource.Vector{node, node, node}, domains: []string{"a", "b", "b"}},
			placement.Gang{Leader: &driver, Roles: executors(5, "medium"), Strategy: placement.SingleZone}, placement.Fragmented,
			"4 of 5 executors fit: cpu 32 free on 2 nodes of b in all, but not in pieces of cpu 6, memory 8Gi",
		},
		"places in the pod limit": {
			identicalNodes(2, resource.Vector{CPU: 16_000, Memory: 64 << 30, Pods: 2}), placement.Gang{Leader: &driver, Roles: executors(4, "small")},
			placement.Insufficient, "3 of 4 executors fit beside the rest of the gang: pods 5 asked for in all, 4 free on 2 nodes",
		},
		"several roles fit alone but not together": {
			identicalNodes(2, node),
			placement.Gang{Roles: []placement.Role{{Member: member("server", "small"), Count: 9}, {Member: member("worker", "medium"), Count: 4}}},
			placement.Insufficient, "8 of 9 servers fit beside the rest of the gang: cpu 33 asked for in all, 32 free on 2 nodes",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var solver placement.Solver
			fit, shortage := solver.Fit(tt.nodes, tt.gang)
			require.Nil(t, fit)
			assert.Equal(t, tt.kind, shortage.Kind, "%s", shortage.Kind)
			assert.Equal(t, tt.want, shortage.String())
			assert.True(t, shortage.Proven)
		})
	}
}

func TestAbsurdCountsAreAnsweredWithNumbers(t *testing.T) {
	nodes := identicalNodes(3, resource.Vector{CPU: resource.Cap, Memory: resource.Cap, Pods: resource.Cap})
	request := resource.Vector{CPU: resource.Cap, Memory: 1, Pods: 1}
	gang := placement.Gang{Roles: []placement.Role{{Member: placement.Member{Name: "executor", Request: request}, Count: 1 << 60}}}
	var solver placement.Solver
	_, shortage := solver.Fit(nodes, gang)
	assert.Equal(t, 3, shortage.Placed)
	assert.Equal(t, placement.Insufficient, shortage.Kind)
	assert.Positive(t, shortage.Needed)

	gang.Roles[0].Count, gang.Roles[0].Request = -7, resource.Vector{CPU: -5}
	fit, _ := solver.Fit(nodes, gang)
	slots, ok := fit.Plan(placement.NoNode)
	assert.True(t, ok)
	assert.Empty(t, slots)
}
