package quota

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/resource"
)

// million is the capacity of these tests in every resource, large enough for a step to be small.
const million = 1 << 20

// coarse is the number of steps of these tests, so that there is time for many cases.
const coarse = 256

const step = million / coarse

// drawTree are queues without contradictions but those of guarantees and limits, with a demand each.
func drawTree(t *rapid.T, names []v1.ResourceName) ([]Spec, map[string]resource.Vector) {
	amounts := func(label string, least int64) Amounts {
		var drawn Amounts
		for _, name := range names {
			if rapid.Bool().Draw(t, label) {
				drawn = append(drawn, resource.Amount{Name: name, Value: even(t, label, least, million/2)})
			}
		}
		return drawn
	}
	var specs []Spec
	demand := map[string]resource.Vector{}
	for i := range rapid.IntRange(1, 8).Draw(t, "queues") {
		spec := Spec{Name: fmt.Sprintf("q%d", i), Guaranteed: amounts("guaranteed", 0), Limit: amounts("limit", million/100), Weight: maybe(t, "weight", 0, 4)}
		if i > 0 && rapid.Bool().Draw(t, "has parent") {
			spec.Parent = fmt.Sprintf("q%d", rapid.IntRange(0, i-1).Draw(t, "parent"))
		}
		specs = append(specs, spec)
		if rapid.IntRange(0, 3).Draw(t, "wants") > 0 {
			var wants resource.Vector
			for _, name := range names {
				amount := even(t, "demand", 0, million)
				switch name {
				case v1.ResourceCPU:
					wants.CPU = amount
				case v1.ResourceMemory:
					wants.Memory = amount
				}
			}
			demand[spec.Name] = wants
		}
	}
	return specs, demand
}

// water divides one resource among the children of a node by the book: to each what it wants within its guarantee, then
// what is left by weight among those who want more, and to those of weight zero what nobody else wants.
func water(n *node, amount *big.Rat, demand map[string]resource.Vector, shares map[string]*big.Rat) {
	shares[n.Name] = amount
	got := map[*node]*big.Rat{}
	left := new(big.Rat).Set(amount)
	for _, child := range n.children {
		got[child] = new(big.Rat).SetInt64(min(wants(child, demand), child.guaranteed.or0(v1.ResourceCPU)))
		left.Sub(left, got[child])
	}
	for _, weighted := range []bool{true, false} {
		for left.Sign() > 0 {
			total := new(big.Rat)
			var hungry []*node
			for _, child := range n.children {
				if (child.weight > 0) == weighted && got[child].Cmp(new(big.Rat).SetInt64(wants(child, demand))) < 0 {
					hungry = append(hungry, child)
					total.Add(total, new(big.Rat).SetInt64(max(child.weight, 1)))
				}
			}
			if len(hungry) == 0 {
				break
			}
			// As much for each weight as lets nobody have more than it wants, and everybody together not more than is left.
			each := new(big.Rat).Quo(left, total)
			for _, child := range hungry {
				lacks := new(big.Rat).Sub(new(big.Rat).SetInt64(wants(child, demand)), got[child])
				lacks.Quo(lacks, new(big.Rat).SetInt64(max(child.weight, 1)))
				if lacks.Cmp(each) < 0 {
					each = lacks
				}
			}
			for _, child := range hungry {
				more := new(big.Rat).Mul(each, new(big.Rat).SetInt64(max(child.weight, 1)))
				got[child].Add(got[child], more)
				left.Sub(left, more)
			}
		}
	}
	for _, child := range n.children {
		if !child.ofParent() {
			water(child, got[child], demand, shares)
		}
	}
}

// wants is what a node can use: what it and all below it demand, each at most its limit.
func wants(n *node, demand map[string]resource.Vector) int64 {
	total := int64(0)
	if len(n.children) == 0 {
		total = demand[n.Name].CPU
	}
	for _, child := range n.children {
		total += wants(child, demand)
	}
	if limit, limited := n.Limit.Of(v1.ResourceCPU); limited {
		total = min(total, limit)
	}
	return total
}

// Seen failing when what is used beyond the guarantee was compared without weights, when weight 0 counted as 1, and when
// siblings were compared by all they use instead of what they borrow.
func TestSharesOfOneResourceAreThoseOfTheBook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		specs, demand := drawTree(t, []v1.ResourceName{v1.ResourceCPU})
		tree := New(specs)
		tree.SetCapacity(resource.Vector{CPU: million})
		got := tree.shares(demand, coarse)
		tree.settle()
		want := map[string]*big.Rat{}
		water(tree.root, new(big.Rat).SetInt64(min(wants(tree.root, demand), million)), demand, want)
		for _, spec := range specs {
			exact, _ := want[spec.Name].Float64()
			require.InDelta(t, exact, got[spec.Name].CPU, float64(step*4), "%s of %v", spec.Name, specs)
		}
	})
}

// fill raises the dominant share of every queue at the same speed, by weight, until a resource runs out: then those who
// want some of it stop.
func fill(specs []Spec, demand map[string]resource.Vector, names []v1.ResourceName) map[string]*big.Rat {
	part := map[string]*big.Rat{} // queue -> which part of its demand it has
	speed := map[string]*big.Rat{}
	left := map[v1.ResourceName]*big.Rat{}
	for _, name := range names {
		left[name] = new(big.Rat).SetInt64(million)
	}
	for _, spec := range specs {
		part[spec.Name] = new(big.Rat)
		most := int64(0)
		for _, name := range names {
			most = max(most, demand[spec.Name].Of(name))
		}
		if most > 0 {
			speed[spec.Name] = big.NewRat(*spec.Weight*million, most)
		}
	}
	for len(speed) > 0 {
		var until *big.Rat
		earlier := func(at *big.Rat) {
			if until == nil || at.Cmp(until) < 0 {
				until = at
			}
		}
		flow := map[v1.ResourceName]*big.Rat{}
		for _, name := range names {
			flow[name] = new(big.Rat)
		}
		for queue, s := range speed {
			earlier(new(big.Rat).Quo(new(big.Rat).Sub(big.NewRat(1, 1), part[queue]), s))
			for _, name := range names {
				flow[name].Add(flow[name], new(big.Rat).Mul(s, new(big.Rat).SetInt64(demand[queue].Of(name))))
			}
		}
		for _, name := range names {
			if flow[name].Sign() > 0 {
				earlier(new(big.Rat).Quo(left[name], flow[name]))
			}
		}
		for queue, s := range speed {
			part[queue].Add(part[queue], new(big.Rat).Mul(s, until))
		}
		for _, name := range names {
			left[name].Sub(left[name], new(big.Rat).Mul(flow[name], until))
		}
		for queue := range speed {
			stops := part[queue].Cmp(big.NewRat(1, 1)) >= 0
			for _, name := range names {
				stops = stops || left[name].Sign() <= 0 && demand[queue].Of(name) > 0
			}
			if stops {
				delete(speed, queue)
			}
		}
	}
	return part
}

// Seen failing when a queue was measured by its first resource instead of its dominant one.
func TestSharesOfSeveralResourcesAreThoseOfProgressiveFilling(t *testing.T) {
	names := []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory}
	// A resource of which somebody wants a few units is handed out in leaps, and what goes with it as well.
	amount := rapid.Custom(func(t *rapid.T) int64 {
		return rapid.Int64Range(0, 1).Draw(t, "some") * even(t, "amount", million/50, million)
	})
	rapid.Check(t, func(t *rapid.T) {
		var specs []Spec
		demand := map[string]resource.Vector{}
		for i := range rapid.IntRange(1, 6).Draw(t, "queues") {
			name := fmt.Sprint("q", i)
			specs = append(specs, Spec{Name: name, Weight: pointer(even(t, "weight", 1, 4))})
			demand[name] = resource.Vector{CPU: amount.Draw(t, "cpu"), Memory: amount.Draw(t, "memory")}
		}
		tree := New(specs)
		tree.SetCapacity(resource.Vector{CPU: million, Memory: million})
		got, want := tree.shares(demand, coarse), fill(specs, demand, names)
		for _, spec := range specs {
			for _, name := range names {
				exact, _ := new(big.Rat).Mul(want[spec.Name], new(big.Rat).SetInt64(demand[spec.Name].Of(name))).Float64()
				require.InDelta(t, exact, got[spec.Name].Of(name), float64(step*8), "%s %s of %v", spec.Name, name, demand)
			}
		}
	})
}

// Seen failing when room forgot the queues above, and when a part that did not fit was dropped instead of cut.
func TestSharesUseAllThatCanBeUsedAndNoMore(t *testing.T) {
	names := []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory}
	rapid.Check(t, func(t *rapid.T) {
		specs, demand := drawTree(t, names)
		tree := New(specs)
		tree.SetCapacity(resource.Vector{CPU: million, Memory: million})
		shares := tree.shares(demand, coarse)
		all := resource.Vector{}
		for _, spec := range specs {
			if spec.Parent == "" {
				all = all.Add(shares[spec.Name])
			}
			for _, limit := range spec.Limit {
				require.LessOrEqual(t, shares[spec.Name].Of(limit.Name), limit.Value)
			}
		}
		require.True(t, all.Fits(resource.Vector{CPU: million, Memory: million}), "%v in all", all)
		for _, leaf := range tree.all {
			if len(leaf.children) > 0 || leaf.ofParent() || shares[leaf.Name].Equal(demand[leaf.Name]) {
				continue
			}
			// Something it wants has run out, but for what rounding loses.
			out := false
			for _, name := range names {
				if demand[leaf.Name].Of(name) == 0 {
					continue
				}
				out = out || all.Of(name) >= million-int64(len(specs))
				for _, n := range leaf.path {
					if limit, limited := n.Limit.Of(name); limited {
						out = out || shares[n.Name].Of(name) >= limit-int64(len(specs))
					}
				}
			}
			require.True(t, out, "%s has %v of %v, and there is more", leaf.Name, shares[leaf.Name], demand[leaf.Name])
		}
	})
}

// Admitting whoever is next, gang by gang, leads to the shares, but for the size of a gang: order and ideal are one.
//
// Seen failing when room forgot what is used already.
func TestWhoIsNextLeadsToTheShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		specs, demand := drawTree(t, []v1.ResourceName{v1.ResourceCPU})
		tree := New(specs)
		tree.SetCapacity(resource.Vector{CPU: million})
		gang := Demand{Amount: resource.Vector{CPU: million / 512}, Gangs: 1}
		for queue, wants := range demand {
			for i := range wants.CPU / gang.Amount.CPU {
				tree.Push(Waiter{ID: types.UID(fmt.Sprint(queue, i)), Queue: queue, Demand: gang})
			}
			demand[queue] = resource.Vector{CPU: wants.CPU / gang.Amount.CPU * gang.Amount.CPU}
		}
		free := int64(million)
		for w, ok := tree.Next(); ok && free >= gang.Amount.CPU; w, ok = tree.Next() {
			if v := tree.Fits(w.Queue, gang); !v.Passes() {
				tree.Park(tree.waiters[w.ID].group)
				continue
			}
			tree.Remove(w.ID)
			tree.Charge(w.Queue, gang)
			free -= gang.Amount.CPU
		}
		for queue, share := range tree.shares(demand, coarse) {
			usage, _ := tree.Usage(queue)
			require.InDelta(t, share.CPU, usage.Used.CPU, float64(8*gang.Amount.CPU), "%s of %v wants %v", queue, specs, demand)
		}
	})
}
