package quota

import (
	"maps"
	"math"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/resource"
)

// Shares are what every queue, with all below it, would hold if everything could be divided at will. demand is what the
// gangs of each queue itself want in all, running and waiting; a share is always a bit of all of it. Shares are what Next
// leads to when gangs are small: guarantees first, what remains by weight, nobody above a limit, and nothing left over
// that somebody could use.
//
// They are handed out in steps, each to the queue that is next, and so are exact but for a few steps, and as far as amounts
// can be cut. A step is 1/4096 of the queue's pool, and less where there are more than 256 queues. The capacity has to be known.
func (t *Tree) Shares(demand map[string]resource.Vector) map[string]resource.Vector {
	return t.shares(demand, int64(max(4096, 16*len(demand))))
}

func (t *Tree) shares(demand map[string]resource.Vector, steps int64) map[string]resource.Vector {
	ideal := New(t.specs)
	rest := make([]resource.Vector, len(t.pools)) // index as in Pools
	for p := range t.pools {
		rest[p] = t.pools[p].capacity
	}
	ideal.SetCapacity(rest...)
	wanted := map[string]*portion{}
	for _, queue := range slices.Sorted(maps.Keys(demand)) {
		name := ideal.leaf(queue).Name
		if wanted[name] == nil {
			wanted[name] = &portion{}
		}
		wanted[name].whole = wanted[name].whole.Add(demand[queue])
	}
	for name, p := range wanted {
		if p.cut(ideal.leaf(name).capacity(), steps); p.parts > 0 {
			ideal.Push(Waiter{ID: types.UID(name), Queue: name, Demand: Demand{Amount: p.whole}})
		}
	}
	for w, ok := ideal.Next(); ok; w, ok = ideal.Next() {
		leaf, p := ideal.leaf(w.Queue), wanted[w.Queue]
		part := p.next()
		granted := leaf.room(part, rest[leaf.pool])
		ideal.Charge(w.Queue, Demand{Amount: granted})
		rest[leaf.pool] = rest[leaf.pool].Sub(granted)
		if p.given == p.parts || !granted.Equal(part) {
			ideal.Remove(w.ID)
		}
	}
	shares := map[string]resource.Vector{}
	for name, n := range ideal.queues {
		shares[name] = n.used
	}
	return shares
}

// portion is a demand cut into equal parts, of which so many have been given.
type portion struct {
	whole        resource.Vector
	parts, given int64
}

// cut makes the parts so small that none is more than one step of any resource.
func (p *portion) cut(capacity resource.Vector, steps int64) {
	_, most := dominant(p.whole, nil, capacity, 1)
	if most.num == 0 {
		return
	}
	// Demands beyond a hundred times the cluster are not cut finer: they saturate it all the same.
	num, den := most.num, min(most.den, math.MaxInt64/100)
	num = min(num, 100*den)
	if den <= uint64(steps) {
		p.parts = int64(num)
		return
	}
	p.parts = 1 + share(int64(num), steps, int64(den))
}

// next is one more part. All parts add up to the whole, without rounding.
func (p *portion) next() resource.Vector {
	before := scaled(p.whole, p.given, p.parts)
	p.given++
	return scaled(p.whole, p.given, p.parts).Sub(before)
}

// scaled is v × part / whole, rounded down.
func scaled(v resource.Vector, part, whole int64) resource.Vector {
	result := resource.Vector{
		CPU: share(v.CPU, part, whole), Memory: share(v.Memory, part, whole),
		EphemeralStorage: share(v.EphemeralStorage, part, whole), Pods: share(v.Pods, part, whole),
	}
	extended := map[v1.ResourceName]int64{}
	for _, amount := range v.Extended {
		extended[amount.Name] = share(amount.Value, part, whole)
	}
	return result.WithExtended(extended)
}

// room is as much of a part as the limits of a queue, of those above it, and the rest of its pool leave.
func (n *node) room(part, rest resource.Vector) resource.Vector {
	fraction, whole := int64(1), int64(1)
	fit := func(asked, free int64) {
		free = max(free, 0)
		if asked > free && ratioOf(free, asked, 1).compare(ratioOf(fraction, whole, 1)) < 0 {
			fraction, whole = free, asked
		}
	}
	fit(part.CPU, rest.CPU)
	fit(part.Memory, rest.Memory)
	fit(part.EphemeralStorage, rest.EphemeralStorage)
	fit(part.Pods, rest.Pods)
	for _, amount := range part.Extended {
		fit(amount.Value, rest.Of(amount.Name))
	}
	for _, above := range n.path {
		for _, limit := range above.Limit {
			fit(part.Of(limit.Name), limit.Value-above.used.Of(limit.Name))
		}
	}
	if fraction == whole {
		return part
	}
	return scaled(part, fraction, whole)
}
