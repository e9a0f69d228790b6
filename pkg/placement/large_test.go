package placement_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// TestEverySeatOfferedHasAPlan: on clusters too large for exhaustive search, and mostly too large for the bounded one,
// what LeaderFits offers Plan delivers.
//
// Seen failing when move put displaced workers back on the leader's node or seated them twice, when canMove counted the
// spare seats on the leader's own node, when seatChosen seated a pattern's surplus, and when Plan repeated another
// layout than the one kept was judged by.
func TestEverySeatOfferedHasAPlan(t *testing.T) {
	var solver placement.Solver
	rapid.Check(t, func(t *rapid.T) {
		draw := drawLarge
		if rapid.Bool().Draw(t, "planted") {
			draw = drawPlanted
		}
		nodes, gang := draw(t)
		fit, shortage := solver.Fit(nodes, gang)
		if fit == nil {
			require.NotEmpty(t, shortage.String())
			return
		}
		if gang.Leader == nil {
			checkPlan(t, nodes, gang, fit, placement.NoNode, gang.Strategy == placement.SingleZone)
			return
		}
		offered := 0
		for node := range nodes.Len() {
			if fit.LeaderFits(node) {
				checkPlan(t, nodes, gang, fit, node, gang.Strategy == placement.SingleZone)
				offered++
			}
		}
		require.Positive(t, offered, "a gang that fits has a seat for its leader")
	})
}

// drawLarge makes up to 40 nodes in two domains and a gang of 2 to 4 roles that nearly fills them.
func drawLarge(t *rapid.T) (*cluster, placement.Gang) {
	amount := rapid.Int64Range(1, 9)
	member := func(name string) placement.Member {
		return placement.Member{Name: name, Request: resource.Vector{CPU: amount.Draw(t, "cpu"), Memory: amount.Draw(t, "memory"), Pods: 1}}
	}
	gang := placement.Gang{Strategy: rapid.SampledFrom(everyStrategy).Draw(t, "strategy")}
	c := &cluster{}
	for range rapid.IntRange(2, 40).Draw(t, "nodes") {
		c.free = append(c.free, resource.Vector{
			CPU: rapid.Int64Range(0, 24).Draw(t, "nodeCPU"), Memory: rapid.Int64Range(0, 24).Draw(t, "nodeMemory"), Pods: 20,
		})
		c.domains = append(c.domains, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "domain"))
	}
	for _, name := range []string{"one", "two", "three", "four"}[:rapid.IntRange(2, 4).Draw(t, "roles")] {
		gang.Roles = append(gang.Roles, placement.Role{Member: member(name), Count: rapid.IntRange(1, 2*c.Len()).Draw(t, "count")})
	}
	if rapid.IntRange(0, 4).Draw(t, "withLeader") > 0 {
		leader := member("driver")
		gang.Leader = &leader
	}
	return c, gang
}

// drawPlanted makes up to 10 nodes of the pods they are to hold, a fifth of them with as much again, and a gang of 2 or
// 3 roles of those pods: it takes a search to seat the workers, and there are seats to move them to.
func drawPlanted(t *rapid.T) (*cluster, placement.Gang) {
	amount := rapid.Int64Range(1, 7)
	member := func(name string) placement.Member {
		return placement.Member{Name: name, Request: resource.Vector{CPU: amount.Draw(t, "cpu"), Memory: amount.Draw(t, "memory"), Pods: 1}}
	}
	leader := member("driver")
	gang := placement.Gang{Leader: &leader}
	for _, name := range []string{"one", "two", "three"}[:rapid.IntRange(2, 3).Draw(t, "roles")] {
		gang.Roles = append(gang.Roles, placement.Role{Member: member(name)})
	}
	c := &cluster{}
	for range rapid.IntRange(3, 10).Draw(t, "nodes") {
		var free resource.Vector
		for r := range gang.Roles {
			n := rapid.IntRange(0, 3).Draw(t, "planted")
			gang.Roles[r].Count += n
			free = free.Add(gang.Roles[r].Request.Scale(n))
		}
		if rapid.IntRange(0, 4).Draw(t, "roomy") == 0 {
			free = free.Scale(2)
		}
		c.free = append(c.free, free)
	}
	return c, gang
}

// TestLeaderFitsMayBeAskedInParallel is for the race detector.
func TestLeaderFitsMayBeAskedInParallel(t *testing.T) {
	nodes := identicalNodes(200, resource.Vector{CPU: 16_000, Memory: 64 << 30, Pods: 110})
	for _, gang := range []placement.Gang{fragmentingGang(40, 1), fragmentingGang(40, 2)} {
		var solver placement.Solver
		fit, shortage := solver.Fit(nodes, gang)
		require.NotNil(t, fit, "%s", shortage)
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for node := range nodes.Len() {
					assert.True(t, fit.LeaderFits(node))
					assert.Positive(t, fit.Score(node))
				}
			})
		}
		readers.Wait()
	}
}

func fragmentingGang(executors, roles int) placement.Gang {
	gang := placement.Gang{Leader: &placement.Member{Name: "driver", Request: resource.Vector{CPU: 1_000, Memory: 1 << 30, Pods: 1}}}
	for range roles {
		gang.Roles = append(gang.Roles, placement.Role{
			Member: placement.Member{Name: "executor", Request: resource.Vector{CPU: 6_000, Memory: 1 << 30, Pods: 1}},
			Count:  executors,
		})
	}
	return gang
}

// TestAnsweringAllocatesNothingThatGrowsWithTheCluster: once its memory is made, a Solver needs no more.
//
// Seen failing when the tables were made anew for every call.
func TestAnsweringAllocatesNothingThatGrowsWithTheCluster(t *testing.T) {
	for name, strategy := range map[string]placement.Strategy{"Pack": placement.Pack, "Spread": placement.Spread, "SingleZone": placement.SingleZone} {
		for roles := 1; roles <= 2; roles++ {
			t.Run(name, func(t *testing.T) {
				nodes := identicalNodes(600, resource.Vector{CPU: 16_000, Memory: 64 << 30, Pods: 110})
				nodes.domains = slices.Repeat([]string{"a", "b", "c"}, 200)
				gang := fragmentingGang(40, roles)
				gang.Strategy = strategy
				var solver placement.Solver
				assert.Zero(t, testing.AllocsPerRun(5, func() {
					fit, shortage := solver.Fit(nodes, gang)
					if fit == nil {
						t.Fatal(shortage)
					}
				}))
				assert.LessOrEqual(t, testing.AllocsPerRun(5, func() {
					fit, _ := solver.Fit(nodes, gang)
					if _, ok := fit.Plan(bestSeat(nodes, fit)); !ok {
						t.Fatal("no plan")
					}
				}), 1.0, "the list of slots")
			})
		}
	}
}

// TestSearchSeatsGangsThatFillLargeClusters: the nodes are made of what they are to hold and a tenth more, and hold it
// only so or nearly so; role after role finds 1 of 60. A change that makes the search find less fails here.
//
// Seen failing without the search by bids, and with pacing 0 and 1.
func TestSearchSeatsGangsThatFillLargeClusters(t *testing.T) {
	var solver placement.Solver
	found := 0
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 1))
		var gang placement.Gang
		for range 3 {
			gang.Roles = append(gang.Roles, placement.Role{Member: placement.Member{Name: "worker", Request: resource.Vector{
				CPU: 1000 * (1 + random.Int64N(8)), Memory: (1 + random.Int64N(8)) << 30, Pods: 1,
			}}})
		}
		nodes := &cluster{}
		for range 100 {
			var free resource.Vector
			for r := range gang.Roles {
				n := random.IntN(4)
				gang.Roles[r].Count += n
				free = free.Add(gang.Roles[r].Request.Scale(n))
			}
			free.CPU, free.Memory = free.CPU*11/10, free.Memory*11/10
			nodes.free = append(nodes.free, free)
		}
		fit, shortage := solver.Fit(nodes, gang)
		if fit != nil {
			found++
		} else {
			assert.False(t, shortage.Proven, "seed %d: there is a layout", seed)
		}
	}
	assert.GreaterOrEqual(t, found, 57, "of 60")
}
