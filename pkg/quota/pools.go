package quota

import (
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	operators "k8s.io/apimachinery/pkg/selection"

	"retinue.dev/retinue/pkg/resource"
)

const (
	// MaxPools is how many pools there are at most, the Rest among them: every node that comes is shown to each.
	MaxPools = 64
	// maxRequirements and maxValues bound what a selector of nodes costs every node that comes: how many labels and expressions it
	// has, and how many values each of those.
	maxRequirements, maxValues = 16, 64
)

// Rest is the pool of the nodes that no queue selects. It is that of all queues which select none, Unassigned among them.
const Rest = 0

// Pool is nodes that some queues share, and no others: no node counts twice, so that what queues are guaranteed in all is never more
// than there is.
type Pool struct {
	// Selector of its nodes; nil for the Rest. Of a node that several select the first of them counts.
	Selector labels.Selector
	// Queues at the top that declare it, by name; none for the Rest.
	Queues []string
	// capacity is what its nodes have in all.
	capacity resource.Vector
}

// text is the selector of a pool as people write it; empty for the Rest.
func (p *Pool) text() string {
	if p.Selector == nil {
		return ""
	}
	return p.Selector.String()
}

// Pools are those that queues declare, after the Rest, by the name of the first queue that does. They never change.
func Pools(t *Tree) []Pool { return slices.Clone(t.pools) }

// PoolOf is an index into Pools: that of a queue, which all below it share.
func PoolOf(t *Tree, queue string) int { return t.leaf(queue).pool }

// capacity of the pool that a queue is in.
func (n *node) capacity() resource.Vector { return n.tree.pools[n.pool].capacity }

// pools are what queues at the top declare, and which pool each of those is in that does: queue -> index.
func (i *inspector) pools(byName map[string]Spec, parents map[string]string) ([]Pool, map[string]int) {
	pools, of, known := []Pool{{}}, map[string]int{}, map[string]int{} // known: text of the selector -> index
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		spec := byName[name]
		if spec.NodeSelector == nil {
			continue
		}
		if parents[name] != "" {
			if top := byName[topOf(name, parents)]; !sameSelector(top.NodeSelector, spec.NodeSelector) {
				i.report(name, "nodeSelector", metav1.FormatLabelSelector(spec.NodeSelector),
					"queues that stand below another share the nodes of the one at the top, %s; counts as not written", top.Name)
			}
			continue
		}
		selector := i.nodeSelector(name, spec.NodeSelector)
		if selector == nil {
			continue
		}
		at, declared := known[selector.String()]
		switch {
		case declared:
		case len(pools) == MaxPools:
			i.report(name, "nodeSelector", metav1.FormatLabelSelector(spec.NodeSelector), "other queues have declared %d pools of nodes already; counts as not written", MaxPools-1)
			continue
		default:
			at = len(pools)
			pools, known[selector.String()] = append(pools, Pool{Selector: selector}), at
		}
		pools[at].Queues, of[name] = append(pools[at].Queues, name), at
	}
	return pools, of
}

// topOf is the queue at the top that another stands below.
func topOf(name string, parents map[string]string) string {
	for parents[name] != "" {
		name = parents[name]
	}
	return name
}

// sameSelector tells whether two selectors select the same nodes whatever there is; for what makes no pool it is false.
func sameSelector(a, b *metav1.LabelSelector) bool {
	if a == nil || tooLarge(a) != "" || tooLarge(b) != "" {
		return false
	}
	first, err := metav1.LabelSelectorAsSelector(a)
	second, otherErr := metav1.LabelSelectorAsSelector(b)
	return err == nil && otherErr == nil && !first.Empty() && canonical(first).String() == canonical(second).String()
}

// nodeSelector is what a queue selects its nodes by; nil if that makes no sense.
func (i *inspector) nodeSelector(queue string, written *metav1.LabelSelector) labels.Selector {
	if large := tooLarge(written); large != "" {
		i.report(queue, "nodeSelector", large, "at most %d labels and expressions, each of at most %d values; counts as not written", maxRequirements, maxValues)
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(written)
	if err != nil {
		i.report(queue, "nodeSelector", metav1.FormatLabelSelector(written), "%v; counts as not written", err)
		return nil
	}
	if selector.Empty() {
		i.report(queue, "nodeSelector", "{}", "it selects every node; counts as not written")
		return nil
	}
	return canonical(selector)
}

// canonical writes "in one value" as "equals", so that who says the same in other words means the same pool.
func canonical(selector labels.Selector) labels.Selector {
	requirements, _ := selector.Requirements()
	written := labels.NewSelector()
	for _, r := range requirements {
		if r.Operator() == operators.In && len(r.ValuesUnsorted()) == 1 {
			if equals, err := labels.NewRequirement(r.Key(), operators.Equals, r.ValuesUnsorted()); err == nil {
				r = *equals
			}
		}
		written = written.Add(r)
	}
	return written
}

// tooLarge says how large a selector is that is too large; empty means that it is not.
func tooLarge(selector *metav1.LabelSelector) string {
	if requirements := len(selector.MatchLabels) + len(selector.MatchExpressions); requirements > maxRequirements {
		return fmt.Sprintf("%d labels and expressions", requirements)
	}
	for _, expression := range selector.MatchExpressions {
		if len(expression.Values) > maxValues {
			return fmt.Sprintf("%d values of one label", len(expression.Values))
		}
	}
	return ""
}

// SetCapacity says what the nodes of each pool have in all; index as in Pools, what is missing is nothing. Guarantees that are more
// than that in all shrink in proportion, until there are more nodes. Before it was called, guarantees count as they are written.
func (t *Tree) SetCapacity(capacities ...resource.Vector) {
	for p := range t.pools {
		var capacity resource.Vector
		if p < len(capacities) {
			capacity = capacities[p]
		}
		if pool := &t.pools[p]; !t.known || !pool.capacity.Equal(capacity) {
			pool.capacity, t.stale = capacity, true
		}
	}
	t.known = true
}

// dividePools gives every pool's queues at the top what its nodes can keep of what they want, and returns what that is in all.
func (t *Tree) dividePools() (all Amounts) {
	queues := make([][]*node, len(t.pools)) // pool -> its queues at the top
	for _, top := range t.root.children {
		queues[top.pool] = append(queues[top.pool], top)
	}
	for p := range t.pools {
		needs := needsOf(queues[p])
		there := needs
		if t.known {
			there = lower(needs, t.pools[p].capacityOf(needs))
		}
		for _, top := range queues[p] {
			top.guaranteed = divide(top.wanted, there, needs)
			for j, want := range top.wanted {
				if got := top.guaranteed[j]; got != want {
					t.overcommitted = append(t.overcommitted, Problem{top.Name, "guaranteed." + string(want.Name), quantity(want.Name, want.Value),
						fmt.Sprintf("more than %s have, together with the other queues; counts as %s until there is more", titleOfNodes(t.pools, p), quantity(got.Name, got.Value))})
				}
			}
		}
		all = plus(all, there)
	}
	return all
}

// titleOfNodes is what people call the nodes of a pool.
func titleOfNodes(pools []Pool, pool int) string {
	switch {
	case pool != Rest:
		return "the nodes that it selects"
	case len(pools) > 1:
		return "the nodes that no queue selects"
	default:
		return "the nodes"
	}
}

// capacityOf is what the nodes of a pool have of the resources named.
func (p *Pool) capacityOf(named Amounts) Amounts {
	capacity := slices.Clone(named)
	for j, amount := range capacity {
		capacity[j].Value = max(p.capacity.Of(amount.Name), 0)
	}
	return capacity
}
