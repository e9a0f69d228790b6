package ledger

import (
	"iter"
	"maps"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// node is what the ledger knows about one node. Pods may be bound to a node before the node itself is seen; object
// is nil then, and after the node has gone.
type node struct {
	name        string
	object      *v1.Node // what placement rules look at; replaced only when something they look at changed
	open        bool     // object takes every pod that names no nodes, resources aside
	domain      string   // value of the topology key; empty means none
	allocatable resource.Vector
	used        resource.Vector // sum over the pods on the node, assumed ones included
	held        resource.Vector // sum over the open slots on the node
	free        resource.Vector // allocatable − used − held; negative when overbooked
}

// nodes is the table of all nodes. An index stays with its name until forget, which only the end of an event calls.
type nodes struct {
	table paged[node]
	index map[string]int // name -> index into table
	spare []int          // indexes without a name, used before the table grows
	// indexShared means that a View holds the map; it is copied before the next name is added.
	indexShared bool
	// total is the sum of free over all nodes that exist; what an overbooked node lacks is not taken off.
	total resource.Vector
	// capacity is the sum of what all nodes that exist offer.
	capacity resource.Vector
	// topologyKey is the node label that names a node's domain; empty means no domains.
	topologyKey string
}

// lookup returns the index of a name, making an entry for a name not seen before.
func (n *nodes) lookup(name string) int {
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
	n.table.edit(i).name = name
	return i
}

// forgettable tells whether the entry is of a node that is gone and has nothing on it; one without a name is given up
// already.
func (n *node) forgettable() bool {
	return n.name != "" && n.object == nil && n.used.IsZero() && n.held.IsZero()
}

// forget gives the index of a node to the next new one: a cluster that replaces its nodes every day must not make every
// plan longer.
func (n *nodes) forget(i int) {
	n.ownIndex()
	delete(n.index, n.table.at(i).name)
	*n.table.edit(i) = node{}
	n.spare = append(n.spare, i)
}

// ownIndex makes the index one that no View holds.
func (n *nodes) ownIndex() {
	if n.indexShared {
		n.index, n.indexShared = maps.Clone(n.index), false
	}
}

// all is every index, ascending.
func (n *nodes) all() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n.table.length {
			if !yield(i) {
				return
			}
		}
	}
}

// set takes a node's new state and tells whether anything changed that placement looks at.
func (n *nodes) set(object *v1.Node) bool {
	i := n.lookup(object.Name)
	if before := n.table.at(i).object; before != nil && !placementDiffers(before, object) {
		return false
	}
	n.update(i, func(node *node) {
		node.object, node.open = object, placement.Open(object)
		node.domain = object.Labels[n.topologyKey]
		n.offer(node, resource.OfList(object.Status.Allocatable))
	})
	return true
}

// remove makes a node offer nothing; pods that are still on it stay counted until they go.
func (n *nodes) remove(name string) {
	n.update(n.lookup(name), func(node *node) {
		node.object, node.open, node.domain = nil, false, ""
		n.offer(node, resource.Vector{})
	})
}

// offer changes what a node has in all.
func (n *nodes) offer(node *node, allocatable resource.Vector) {
	n.capacity = n.capacity.Sub(node.allocatable).Add(allocatable)
	node.allocatable = allocatable
}

// use adds to what pods take on a node; hold to what open slots take. Negative amounts give back.
func (n *nodes) use(name string, amount resource.Vector) {
	n.update(n.lookup(name), func(node *node) { node.used = node.used.Add(amount) })
}

func (n *nodes) hold(name string, amount resource.Vector) {
	n.update(n.lookup(name), func(node *node) { node.held = node.held.Add(amount) })
}

// update edits one node and keeps the sums right.
func (n *nodes) update(i int, change func(*node)) {
	node := n.table.edit(i)
	if node.object != nil {
		n.total = n.total.Sub(node.free.Max(resource.Vector{}))
	}
	change(node)
	node.free = node.allocatable.Sub(node.used).Sub(node.held)
	if node.object != nil {
		n.total = n.total.Add(node.free.Max(resource.Vector{}))
	}
}

// placementDiffers compares what placement looks at; heartbeats and images differ all the time.
func placementDiffers(a, b *v1.Node) bool {
	return a.UID != b.UID ||
		a.Spec.Unschedulable != b.Spec.Unschedulable ||
		!equality.Semantic.DeepEqual(a.Status.Allocatable, b.Status.Allocatable) ||
		!equality.Semantic.DeepEqual(a.Spec.Taints, b.Spec.Taints) ||
		!maps.Equal(a.Labels, b.Labels)
}

// View is the state of all nodes at one moment. It never changes and may be read by many goroutines.
type View struct {
	table paged[node]
	index map[string]int
	total resource.Vector
	// Epoch is the ledger's epoch at that moment; a failed attempt reports it.
	Epoch uint64
}

func (n *nodes) view(epoch uint64) *View {
	n.indexShared = true
	return &View{table: n.table.share(), index: n.index, total: n.total, Epoch: epoch}
}

// Len is the number of entries; some may stand for nodes that have gone and have no Object, or not even a Name.
func (v *View) Len() int { return v.table.length }

// Index finds a node by name.
func (v *View) Index(name string) (int, bool) {
	i, known := v.index[name]
	return i, known
}

// Name of a node.
func (v *View) Name(i int) string { return v.table.at(i).name }

// Object is the node as last seen; nil when it is not there. It must not be modified.
func (v *View) Object(i int) *v1.Node { return v.table.at(i).object }

// Open is placement.Open of the Node, known without a look at it: there are many, and they lie far apart in memory.
func (v *View) Open(i int) bool { return v.table.at(i).open }

// Domain is the value of the configured topology key on the node; empty means none.
func (v *View) Domain(i int) string { return v.table.at(i).domain }

// Free is what neither pods nor open slots take of the node; negative where it is overbooked.
func (v *View) Free(i int) *resource.Vector { return &v.table.at(i).free }

// Total is the sum of what is free on all nodes; what an overbooked node lacks is not taken off.
func (v *View) Total() resource.Vector { return v.total }

// Held is what open slots take of the node.
func (v *View) Held(i int) *resource.Vector { return &v.table.at(i).held }

// Empty is the same cluster without any pod and slot on it.
func (v *View) Empty() Emptied { return Emptied{v} }

// Emptied is a View in which everything allocatable is free: the answer to "would it fit the empty cluster".
type Emptied struct{ *View }

// Free is all the node offers.
func (e Emptied) Free(i int) *resource.Vector { return &e.table.at(i).allocatable }
