package quota

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/resource"
)

// 48 cores that can be used and 64 of a node that no pod of these queues tolerates. Seen failing when every node counted for everybody:
// 60 and 50 are less than 112, so that whoever came first held all 48 within its guarantee, and the other could take nothing back.
func TestNodesThatAQueueNeverUsesDoNotCountForIt(t *testing.T) {
	general := selecting("general")
	specs := []Spec{
		{Name: "etl", NodeSelector: general, Guaranteed: cpu(60), Reclaim: Reclaim{Enabled: true}},
		{Name: "web", NodeSelector: general, Guaranteed: cpu(50), Reclaim: Reclaim{Enabled: true}},
	}
	tree := New(specs)
	tree.SetCapacity(resource.Vector{CPU: 64_000}, resource.Vector{CPU: 48_000})
	guaranteed := func(queue string) int64 {
		usage, _ := tree.Usage(queue)
		return usage.Guaranteed.or0("cpu")
	}
	require.Equal(t, []int64{26_181, 21_818}, []int64{guaranteed("etl"), guaranteed("web")})
	var victims []Victim
	for i := range int64(6) {
		tree.Charge("etl", Demand{Amount: resource.Vector{CPU: 8000}, Gangs: 1})
		victims = append(victims, Victim{ID: types.UID(fmt.Sprint(i)), Kind: Gang, Gang: fmt.Sprint(i), Queue: "etl", Amount: resource.Vector{CPU: 8000}})
	}
	asks := resource.Vector{CPU: 16_000}
	require.True(t, tree.WithinGuarantee("web", Demand{Amount: asks, Gangs: 1}))
	require.False(t, tree.WithinGuarantee("etl", Demand{Amount: asks, Gangs: 1}))
	require.Len(t, tree.SelectVictims(Request{Queue: "web", Demand: asks, Lacking: asks}, victims, nil).Victims, 2)
}

// Seen failing when a pool of no nodes limited nothing: leaders that run elsewhere were let in without end, found by seed 246 of the simulation.
func TestInAPoolWithoutNodesOneLeaderMayRun(t *testing.T) {
	share := int64(42)
	tree := New([]Spec{{Name: "etl", NodeSelector: selecting("general"), MaxLeaderShare: &share}})
	tree.SetCapacity(resource.Vector{CPU: 64_000, Memory: 64 << 30, Pods: 110}, resource.Vector{})
	leader := Demand{Amount: resource.Vector{CPU: 1000, Pods: 1}, Leader: resource.Vector{CPU: 1000, Pods: 1}, Gangs: 1}
	require.True(t, tree.Fits("etl", leader).Passes())
	tree.Charge("etl", leader)
	require.Equal(t, LeaderShare, tree.Fits("etl", leader).Reason)
}

func TestPoolsThatMakeNoSenseAreNotDeclared(t *testing.T) {
	many := &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for i := range maxRequirements + 1 {
		many.MatchLabels[fmt.Sprint("label", i)] = "x"
	}
	long := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "pool", Operator: metav1.LabelSelectorOpIn, Values: strings.Split(strings.Repeat("x,", maxValues)+"x", ",")}}}
	vast := &metav1.LabelSelector{MatchLabels: map[string]string{"pool": strings.Repeat("x", 1<<20)}}
	for name, test := range map[string]struct {
		specs []Spec
		want  string // Problems
		pools int
	}{
		"two queues share one": {
			specs: []Spec{{Name: "a", NodeSelector: selecting("x")}, {Name: "b", NodeSelector: selecting("x")}}, pools: 2,
		},
		"the same in other words": {
			specs: []Spec{
				{Name: "a", NodeSelector: selecting("x")},
				{Name: "b", NodeSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "pool", Operator: metav1.LabelSelectorOpIn, Values: []string{"x"}}}}},
			}, pools: 2,
		},
		"below another that says the same": {
			specs: []Spec{{Name: "a", NodeSelector: selecting("x")}, {Name: "b", Parent: "a", NodeSelector: selecting("x")}}, pools: 2,
		},
		"below another": {
			specs: []Spec{{Name: "a", NodeSelector: selecting("x")}, {Name: "b", Parent: "a", NodeSelector: selecting("y")}}, pools: 2,
			want: "queue b: nodeSelector: pool=y: queues that stand below another share the nodes of the one at the top, a; counts as not written",
		},
		"below none that there is": {
			specs: []Spec{{Name: "b", Parent: "a", NodeSelector: selecting("y")}}, pools: 2,
			want: "queue b: parent: a: there is no such queue; this one stands at the top meanwhile",
		},
		"empty": {
			specs: []Spec{{Name: "a", NodeSelector: &metav1.LabelSelector{}}}, pools: 1,
			want: "queue a: nodeSelector: {}: it selects every node; counts as not written",
		},
		"too many labels": {
			specs: []Spec{{Name: "a", NodeSelector: many}}, pools: 1,
			want: "queue a: nodeSelector: 17 labels and expressions: at most 16 labels and expressions, each of at most 64 values; counts as not written",
		},
		"too many values": {
			specs: []Spec{{Name: "a", NodeSelector: long}}, pools: 1,
			want: "queue a: nodeSelector: 65 values of one label: at most 16 labels and expressions, each of at most 64 values; counts as not written",
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree := New(test.specs)
			var said []string
			for _, p := range tree.Problems() {
				said = append(said, p.String())
			}
			require.Equal(t, test.want, strings.Join(said, "\n"))
			require.Len(t, Pools(tree), test.pools)
		})
	}

	problems := New([]Spec{{Name: "a", NodeSelector: vast}}).Problems()
	require.Len(t, problems, 1)
	require.Less(t, len(problems[0].String()), 1200, "what somebody has written is not repeated as long as it is")

	var specs []Spec
	for i := range MaxPools + 5 {
		specs = append(specs, Spec{Name: fmt.Sprintf("q%03d", i), NodeSelector: selecting(fmt.Sprint(i))})
	}
	tree := New(specs)
	require.Len(t, Pools(tree), MaxPools)
	require.Len(t, tree.Problems(), 6, "63 of 69 are pools")
	require.Equal(t, Rest, PoolOf(tree, "q068"))
}

func TestTheQueuesOfNamespacesShareThePoolOfTheOneAbove(t *testing.T) {
	queue := queueOf(t, `{metadata: {name: teams}, spec: {nodeSelector: {matchLabels: {pool: x}}, perNamespace: {}}}`)
	tree := New([]Spec{OfQueue(queue), OfNamespace(queue, "a")})
	require.Empty(t, tree.Problems())
	require.Equal(t, []int{1, 1, Rest}, []int{PoolOf(tree, "teams"), PoolOf(tree, "teams/a"), PoolOf(tree, Unassigned)})
}

// A selector that changes while gangs run and wait: what is charged stays, and is measured by other nodes from then on.
func TestASelectorThatChangesLeavesWhatRunsCharged(t *testing.T) {
	spec := Spec{Name: "a", NodeSelector: selecting("x"), Guaranteed: cpu(10)}
	former := New([]Spec{spec})
	former.SetCapacity(resource.Vector{CPU: 4000}, resource.Vector{CPU: 8000})
	former.Charge("a", Demand{Amount: resource.Vector{CPU: 5000}, Gangs: 1})
	former.Push(Waiter{ID: "w", Queue: "a", Demand: Demand{Amount: resource.Vector{CPU: 2000}, Gangs: 1}})
	usage := func(tree *Tree) []int64 {
		u, _ := tree.Usage("a")
		return []int64{u.Used.CPU, u.Guaranteed.or0("cpu"), u.Borrowed.CPU, int64(u.Waiting)}
	}
	require.Equal(t, []int64{5000, 8000, 0, 1}, usage(former))

	spec.NodeSelector = selecting("y")
	tree := New([]Spec{spec})
	Succeed(former, tree)
	require.Equal(t, []int64{5000, 0, 5000, 1}, usage(tree), "nobody has said what its nodes have")
	tree.SetCapacity(resource.Vector{CPU: 8000}, resource.Vector{CPU: 4000})
	require.Equal(t, []int64{5000, 4000, 1000, 1}, usage(tree))
	next, ok := tree.Next()
	require.True(t, ok && next.ID == "w")
}

// A pool is a tree of its own: guarantees, turns and shares of its queues are those that they would have if there were no other.
//
// Seen failing when guarantees were divided, turns compared, and shares handed out by what all nodes have.
func TestPoolsAreTreesOfTheirOwn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		specs := drawSpecs(t)
		tree := New(specs)
		twin := newNaive(tree)
		twin.measure(drawCapacities(t, 100))
		demand := map[string]resource.Vector{}
		var waiters []Waiter
		for i := range rapid.IntRange(0, 12).Draw(t, "waiters") {
			w := drawWaiter(t, i)
			waiters = append(waiters, w)
			demand[tree.leaf(w.Queue).Name] = demand[tree.leaf(w.Queue).Name].Add(w.Demand.Amount)
		}
		shares, order := tree.shares(demand, coarse), orderOf(tree, waiters)
		for p, pool := range Pools(tree) {
			inPool := func(queue string) bool { return PoolOf(tree, queue) == p }
			var own []Spec
			for _, spec := range specs {
				if inPool(spec.Name) {
					spec.NodeSelector, spec.Parent = nil, tree.queues[spec.Name].parent.Name
					own = append(own, spec)
				}
			}
			alone := New(own)
			alone.SetCapacity(twin.capacities[pool.text()])
			alone.settle()
			ownDemand := maps.Clone(demand)
			maps.DeleteFunc(ownDemand, func(queue string, _ resource.Vector) bool { return !inPool(queue) })
			ownShares := alone.shares(ownDemand, coarse)
			for name, n := range alone.queues {
				if name == Unassigned && p != Rest {
					continue
				}
				require.Equal(t, n.guaranteed, tree.queues[name].guaranteed, name)
				require.True(t, ownShares[name].Equal(shares[name]), "share of %s is %v, alone %v", name, shares[name], ownShares[name])
			}
			var ownWaiters []Waiter
			for _, w := range waiters {
				if inPool(w.Queue) {
					ownWaiters = append(ownWaiters, w)
				}
			}
			ownOrder := slices.DeleteFunc(slices.Clone(order), func(id types.UID) bool {
				return !slices.ContainsFunc(ownWaiters, func(w Waiter) bool { return w.ID == id })
			})
			require.Equal(t, orderOf(alone, ownWaiters), ownOrder)
		}
	})
}

// orderOf is in which order all start if nothing stands in the way.
func orderOf(tree *Tree, waiters []Waiter) []types.UID {
	order := []types.UID{}
	for _, w := range waiters {
		tree.Push(w)
	}
	for w, ok := tree.Next(); ok; w, ok = tree.Next() {
		tree.Remove(w.ID)
		tree.Charge(w.Queue, w.Demand)
		order = append(order, w.ID)
	}
	return order
}
