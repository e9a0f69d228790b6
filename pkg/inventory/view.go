package inventory

import (
	"slices"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/resource"
)

// View is the state of all nodes at one moment. It never changes and may be read by many goroutines.
type View struct {
	table array[Node]
	index map[string]int
	total resource.Vector
	// capacities are what the nodes of each pool offer that take new pods, and idle what of it is free; index is the pool.
	capacities, idle []resource.Vector
	// Epoch is the ledger's epoch at that moment; a failed attempt reports it.
	Epoch uint64
}

// Len is the number of entries; some may stand for nodes that have gone and have no Object, or not even a Name.
func (v *View) Len() int { return v.table.length }

// Index finds a node by name.
func (v *View) Index(name string) (int, bool) {
	i, known := v.index[name]
	return i, known
}

// Name of a node.
func (v *View) Name(i int) string { return v.table.at(i).Name }

// Object is the node as last seen; nil when it is not there. It must not be modified.
func (v *View) Object(i int) *v1.Node { return v.table.at(i).Object }

// Open is placement.Open of the Node, known without a look at it: there are many, and they lie far apart in memory.
func (v *View) Open(i int) bool { return v.table.at(i).Open }

// Domain is the value of the configured topology key on the node; empty means none.
func (v *View) Domain(i int) string { return v.table.at(i).Domain }

// Free is what neither pods nor open slots take of the node; negative where it is overbooked.
func (v *View) Free(i int) *resource.Vector { return &v.table.at(i).Free }

// Total is the sum of what is free on all nodes; what an overbooked node lacks is not taken off.
func (v *View) Total() resource.Vector { return v.total }

// Capacity is the sum of what the nodes of a pool offer that take new pods.
func (v *View) Capacity(pool int) resource.Vector { return v.capacities[pool] }

// Idle is what of the Capacity of a pool is free.
func (v *View) Idle(pool int) resource.Vector { return v.idle[pool] }

// Pool in which a node counts.
func (v *View) Pool(i int) int { return v.table.at(i).Pool }

// Held is what open slots take of the node.
func (v *View) Held(i int) *resource.Vector { return &v.table.at(i).Held }

// Empty is the same cluster without any slot on it, and without any pod but those that never leave.
func (v *View) Empty() Emptied { return Emptied{v} }

// Emptied is a View in which all is free that ever can be: the answer to "could it ever fit".
type Emptied struct{ *View }

// Free is all the node offers besides what never leaves.
func (e Emptied) Free(i int) *resource.Vector { return &e.table.at(i).Empty }

// With is the same cluster with more free on some nodes: node -> amount. It costs a copy of the pages of those nodes. Nodes
// that are not known are left out.
func (v *View) With(more map[string]resource.Vector) *View {
	with := *v
	with.table, with.idle = v.table.fork(), slices.Clone(v.idle)
	for name, amount := range more {
		if i, known := v.index[name]; known {
			with.add(i, amount)
		}
	}
	return &with
}

func (v *View) add(i int, amount resource.Vector) {
	node := v.table.edit(i)
	before := node.Free.Max(resource.Vector{})
	if node.Free = node.Free.Add(amount); node.Object != nil {
		gained := node.Free.Max(resource.Vector{}).Sub(before)
		if v.total = v.total.Add(gained); takesPods(node.Object) {
			v.idle[node.Pool] = v.idle[node.Pool].Add(gained)
		}
	}
}
