package quota

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/resource"
)

// Whatever numbers somebody writes down, nothing panics, and guarantees still add up.
//
// Seen failing when negative amounts counted.
func TestNothingPanicsOnNumbersOutOfThisWorld(t *testing.T) {
	number := rapid.OneOf(rapid.SampledFrom([]int64{math.MinInt64, -1, 0, 1, resource.Cap, math.MaxInt64 - 1, math.MaxInt64}), rapid.Int64())
	amounts := func(t *rapid.T) Amounts {
		var drawn Amounts
		for range rapid.IntRange(0, 3).Draw(t, "amounts") {
			drawn = append(drawn, resource.Amount{Name: rapid.SampledFrom(resourceNames).Draw(t, "resource"), Value: number.Draw(t, "amount")})
		}
		return drawn
	}
	// What pods ask for is cut down by resource.OfList, and many of them run.
	asked := func(t *rapid.T) resource.Vector {
		large := rapid.SampledFrom([]int64{0, 1, resource.Cap, 1000 * resource.Cap})
		return vector(large.Draw(t, "cpu"), large.Draw(t, "memory"), large.Draw(t, "gpu"))
	}
	rapid.Check(t, func(t *rapid.T) {
		var specs []Spec
		for i := range rapid.IntRange(0, 4).Draw(t, "queues") {
			spec := Spec{
				Name: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "name"), Parent: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "parent"),
				Guaranteed: amounts(t), Limit: amounts(t), Priority: int32(i), Users: Users{Limit: amounts(t)}, Order: Order(rapid.SampledFrom([]string{"", "Fair"}).Draw(t, "order")),
			}
			for _, field := range []**int64{&spec.Weight, &spec.MaxRunningGangs, &spec.MaxLeaderShare, &spec.Users.MinimumShare, &spec.Reclaim.Budget} {
				*field = pointer(number.Draw(t, "number"))
			}
			spec.Reclaim.DeadZone, spec.Reclaim.Enabled = number.Draw(t, "dead zone"), true
			specs = append(specs, spec)
		}
		tree := New(specs)
		if rapid.Bool().Draw(t, "nodes") {
			tree.SetCapacity(asked(t).Scale(rapid.IntRange(0, 4).Draw(t, "nodes")))
		}
		demand := map[string]resource.Vector{}
		var victims []Victim
		for i := range rapid.IntRange(0, 6).Draw(t, "gangs") {
			queue, d := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "queue"), Demand{Amount: asked(t), Leader: asked(t), Gangs: 1}
			id := types.UID(fmt.Sprint(i))
			tree.Push(Waiter{ID: id, Queue: queue, Held: asked(t), Signature: string(id), Demand: d})
			require.NotEmpty(t, tree.Fits(queue, d).String())
			demand[queue] = demand[queue].Add(d.Amount)
			if rapid.Bool().Draw(t, "runs") {
				tree.Remove(id)
				tree.Charge(queue, d)
				victims = append(victims, Victim{ID: id, Kind: Gang, Gang: string(id), Queue: queue, Amount: d.Amount})
			}
		}
		if w, ok := tree.Next(); ok {
			require.NotEmpty(t, tree.SelectVictims(Request{Queue: w.Queue, Demand: w.Demand.Amount, Lacking: asked(t), Taken: asked(t)}, victims, nil).String())
		}
		tree.shares(demand, coarse)
		for _, n := range append(tree.all, tree.root) {
			for _, name := range resourceNames {
				sum := int64(0)
				for _, child := range n.children {
					require.GreaterOrEqual(t, child.guaranteed.or0(name), int64(0))
					sum += child.guaranteed.or0(name)
				}
				require.LessOrEqual(t, sum, n.guaranteed.or0(name))
			}
		}
		for _, p := range tree.Problems() {
			require.NotEmpty(t, p.String())
		}
	})
}
