package inventory

import (
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/resource"
)

// View is the state of all nodes at one moment. It never changes and may be read by many goroutines.
type View struct {
	table array[Node]
	index map[string]int
	total resource.Vector
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

// Held is what open slots take of the node.
func (v *View) Held(i int) *resource.Vector { return &v.table.at(i).Held }

// Empty is the same cluster without any pod and slot on it.
func (v *View) Empty() Emptied { return Emptied{v} }

// Emptied is a View in which everything allocatable is free: the answer to "would it fit the empty cluster".
type Emptied struct{ *View }

// Free is all the node offers.
func (e Emptied) Free(i int) *resource.Vector { return &e.table.at(i).Allocatable }

// With is the same cluster with more free on some nodes: node -> amount. It costs a copy of the pages of those nodes. Nodes
// that are not known are left out.
func (v *View) With(more map[string]resource.Vector) *View {
	with := &View{table: v.table.fork(), index: v.index, total: v.total, Epoch: v.Epoch}
	for name, amount := range more {
		if i, known := v.index[name]; known {
			with.add(i, amount)
		}
	}
	return with
}

func (v *View) add(i int, amount resource.Vector) {
	node := v.table.edit(i)
	before := node.Free
	if node.Free = before.Add(amount); node.Object != nil {
		v.total = v.total.Sub(before.Max(resource.Vector{})).Add(node.Free.Max(resource.Vector{}))
	}
}
