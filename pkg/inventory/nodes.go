package inventory

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// Node is what is known about one node. Pods may be bound to a node before the node itself is seen; Object is nil then,
// and after the node has gone.
type Node struct {
	Name        string
	Object      *v1.Node // what placement rules look at; replaced only when something they look at changed
	Open        bool     // Object takes every pod that names no nodes, resources aside
	Domain      string   // value of the topology key; empty means none
	Allocatable resource.Vector
	Used        resource.Vector // sum over the pods on the node, assumed ones included
	Held        resource.Vector // sum over the open slots on the node, and what is kept for waiters
	Free        resource.Vector // Allocatable − Used − Held; negative when overbooked
}

// Keeps tells whether the node has room for what is held there already. It does not when more is taken of it than it has
// of a resource that is asked for; any other resource does not matter.
func (n *Node) Keeps(held resource.Vector) bool { return held.Fits(n.Free.Add(held)) }

// forgettable tells whether the entry is of a node that is gone and has nothing on it; one without a name is given up
// already.
func (n *Node) forgettable() bool {
	return n.Name != "" && n.Object == nil && n.Used.IsZero() && n.Held.IsZero()
}

// Nodes is the table of all nodes, and what has changed in it since Settle, which ends an event. An index stays with its
// name until then.
type Nodes struct {
	table array[Node]
	index map[string]int // name -> index into table
	spare []int          // indexes without a name, used before the table grows
	// indexShared means that a View holds the map; it is copied before the next name is added.
	indexShared bool
	// total is the sum of what is free over all nodes that exist; what an overbooked node lacks is not taken off.
	total resource.Vector
	// capacity is the sum of what all nodes that exist offer.
	capacity resource.Vector
	// topologyKey is the node label that names a node's domain; empty means no domains.
	topologyKey string

	// before is what was free before the event, of the nodes whose sums it has changed: index -> amount.
	before map[int]resource.Vector
	// touched are the nodes on which the event has changed anything.
	touched map[int]struct{}
	// changed means that the event changed what a node is, not only what is on it.
	changed bool
}

// New is a table without nodes. topologyKey is the node label whose values are the domains of zonal placement; empty means
// no domains.
func New(topologyKey string) *Nodes {
	return &Nodes{index: map[string]int{}, topologyKey: topologyKey, before: map[int]resource.Vector{}, touched: map[int]struct{}{}}
}

// Total is the sum of what is free on all nodes; what an overbooked node lacks is not taken off.
func (n *Nodes) Total() resource.Vector { return n.total }

// Capacity is the sum of what all nodes offer.
func (n *Nodes) Capacity() resource.Vector { return n.capacity }

// At is a node by its index. It must not be modified, and changes with the table.
func (n *Nodes) At(i int) *Node { return n.table.at(i) }

// Of is a node by its name; one that nobody has heard of offers nothing.
func (n *Nodes) Of(name string) *Node { return n.table.at(n.lookup(name)) }

// Exists tells whether a node has been seen and has not gone.
func (n *Nodes) Exists(name string) bool {
	i, known := n.index[name]
	return known && n.table.at(i).Object != nil
}

// All is every index, ascending; some stand for no node.
func (n *Nodes) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n.table.length {
			if !yield(i) {
				return
			}
		}
	}
}

// See takes a node's new state. Repeating it changes nothing.
func (n *Nodes) See(object *v1.Node) {
	i := n.lookup(object.Name)
	if before := n.table.at(i).Object; before != nil && !differs(before, object) {
		return
	}
	n.changed = true
	n.touched[i] = struct{}{}
	n.update(i, func(node *Node) {
		node.Object, node.Open = object, placement.Open(object)
		node.Domain = object.Labels[n.topologyKey]
		n.offer(node, resource.OfList(object.Status.Allocatable))
	})
}

// Remove makes a node offer nothing; pods that are still on it stay counted until they go.
func (n *Nodes) Remove(name string) {
	i := n.lookup(name)
	n.touched[i] = struct{}{}
	n.update(i, func(node *Node) {
		node.Object, node.Open, node.Domain = nil, false, ""
		n.offer(node, resource.Vector{})
	})
}

// offer changes what a node has in all.
func (n *Nodes) offer(node *Node, allocatable resource.Vector) {
	n.capacity = n.capacity.Sub(node.Allocatable).Add(allocatable)
	node.Allocatable = allocatable
}

// Use adds to what pods take on a node; a negative amount gives back.
func (n *Nodes) Use(name string, amount resource.Vector) {
	i := n.remember(name)
	n.update(i, func(node *Node) { node.Used = node.Used.Add(amount) })
}

// Hold adds to what is kept on a node for pods that do not exist yet or have no node; a negative amount gives back.
func (n *Nodes) Hold(name string, amount resource.Vector) {
	i := n.remember(name)
	n.update(i, func(node *Node) { node.Held = node.Held.Add(amount) })
}

// remember notes what was free before the event.
func (n *Nodes) remember(name string) int {
	i := n.lookup(name)
	if _, remembered := n.before[i]; !remembered {
		n.before[i] = n.table.at(i).Free
		n.touched[i] = struct{}{}
	}
	return i
}

// update edits one node and keeps the sums right.
func (n *Nodes) update(i int, change func(*Node)) {
	node := n.table.edit(i)
	if node.Object != nil {
		n.total = n.total.Sub(node.Free.Max(resource.Vector{}))
	}
	change(node)
	node.Free = node.Allocatable.Sub(node.Used).Sub(node.Held)
	if node.Object != nil {
		n.total = n.total.Add(node.Free.Max(resource.Vector{}))
	}
}

// differs compares what placement looks at; heartbeats and images differ all the time.
func differs(a, b *v1.Node) bool {
	return a.UID != b.UID ||
		a.Spec.Unschedulable != b.Spec.Unschedulable ||
		!equality.Semantic.DeepEqual(a.Status.Allocatable, b.Status.Allocatable) ||
		!equality.Semantic.DeepEqual(a.Spec.Taints, b.Spec.Taints) ||
		!maps.Equal(a.Labels, b.Labels)
}

// Reconsider treats all nodes as changed.
func (n *Nodes) Reconsider() {
	n.changed = true
	for i := range n.All() {
		n.touched[i] = struct{}{}
	}
}

// Touched are the nodes on which the event has changed anything, by index.
func (n *Nodes) Touched() []int { return slices.Sorted(maps.Keys(n.touched)) }

// Changed tells whether the event changed what a node is: a new one, other labels, taints, or amounts.
func (n *Nodes) Changed() bool { return n.changed }

// Gained tells whether a node has changed, or some node has more free than before the event.
func (n *Nodes) Gained() bool {
	if n.changed {
		return true
	}
	for i, before := range n.before {
		if node := n.table.at(i); node.Object != nil && !node.Free.Sub(before).Fits(resource.Vector{}) {
			return true
		}
	}
	return false
}

// Settle ends an event: the next has changed nothing yet, and what is gone and has nothing on it any more is forgotten.
func (n *Nodes) Settle() {
	for _, i := range n.Touched() {
		if n.table.at(i).forgettable() {
			n.forget(i)
		}
	}
	n.changed = false
	clear(n.before)
	clear(n.touched)
}

// lookup returns the index of a name, making an entry for a name not seen before.
func (n *Nodes) lookup(name string) int {
	if i, known := n.index[name]; known {
		return i
	}
	n.ownIndex()
	var i int
	if last := len(n.spare) - 1; last >= 0 {
		i, n.spare = n.spare[last], n.spare[:last]
	} else {
		i = n.table.grow()
	}
	n.index[name] = i
	n.touched[i] = struct{}{}
	n.table.edit(i).Name = name
	return i
}

// forget gives the index of a node to the next new one: a cluster that replaces its nodes every day must not make every
// plan longer.
func (n *Nodes) forget(i int) {
	n.ownIndex()
	delete(n.index, n.table.at(i).Name)
	*n.table.edit(i) = Node{}
	n.spare = append(n.spare, i)
}

// ownIndex makes the index one that no View holds.
func (n *Nodes) ownIndex() {
	if n.indexShared {
		n.index, n.indexShared = maps.Clone(n.index), false
	}
}

// View is the table as it is now.
func (n *Nodes) View(epoch uint64) *View {
	n.indexShared = true
	return &View{table: n.table.share(), index: n.index, total: n.total, Epoch: epoch}
}

// Check tells whether what must always hold between events does: sums are those of the nodes, every name has one entry, and
// every entry without a name is spare.
func (n *Nodes) Check() error {
	var total, capacity resource.Vector
	named := 0
	for i := range n.All() {
		node := n.At(i)
		if node.Name == "" {
			if !slices.Contains(n.spare, i) {
				return fmt.Errorf("entry %d has no name and is not spare", i)
			}
			continue
		}
		named++
		if at, known := n.index[node.Name]; !known || at != i {
			return fmt.Errorf("entry %d of node %s is at %d in the index", i, node.Name, at)
		}
		if node.forgettable() {
			return fmt.Errorf("node %s is gone, has nothing on it, and is not forgotten", node.Name)
		}
		if want := node.Allocatable.Sub(node.Used).Sub(node.Held); !node.Free.Equal(want) {
			return fmt.Errorf("node %s has %s free, want %s", node.Name, node.Free, want)
		}
		if node.Object != nil {
			total, capacity = total.Add(node.Free.Max(resource.Vector{})), capacity.Add(node.Allocatable)
		}
	}
	switch {
	case named != len(n.index):
		return fmt.Errorf("%d nodes have a name, and the index has %d", named, len(n.index))
	case !n.total.Equal(total):
		return fmt.Errorf("%s free in all, want %s", n.total, total)
	case !n.capacity.Equal(capacity):
		return fmt.Errorf("the capacity is %s, want %s", n.capacity, capacity)
	case n.changed || len(n.before) > 0 || len(n.touched) > 0:
		return fmt.Errorf("an event has not been settled")
	default:
		return nil
	}
}
