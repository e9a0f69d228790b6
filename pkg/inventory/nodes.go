package inventory

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	Permanent   resource.Vector // the part of Used that never leaves while the node is there
	Empty       resource.Vector // Allocatable − Permanent: the most that can ever be free
	// Pool in which the node counts, and all that select it: a bit for each. Without an Object they say nothing.
	Pool     int
	selected uint64
}

// Keeps tells whether the node has room for what is held there already. It does not when more is taken of it than it has
// of a resource that is asked for; any other resource does not matter.
func (n *Node) Keeps(held resource.Vector) bool { return held.Fits(n.Free.Add(held)) }

// forgettable tells whether the entry is of a node that is gone and has nothing on it; one without a name is given up
// already.
func (n *Node) forgettable() bool {
	return n.Name != "" && n.Object == nil && n.Used.IsZero() && n.Held.IsZero() && n.Permanent.IsZero()
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
	// pools are sums over the nodes that take new pods. Room that nobody can use is no room.
	pools pools
	// uncounted are resources that others count on the nodes that list none of them, by name.
	uncounted []v1.ResourceName
	// topologyKey is the node label that names a node's domain; empty means no domains.
	topologyKey string

	// before is what was free before the event, of the nodes whose sums it has changed: index -> amount.
	before map[int]resource.Vector
	// touched are the nodes on which the event has changed anything.
	touched map[int]struct{}
	// changed means that the event changed what a node is, not only what is on it.
	changed bool
	// altered are the nodes of which it did: index -> what could be free on it before, if nothing else of it has changed; else nil. Where all
	// nodes are reconsidered they are not listed.
	altered map[int]*resource.Vector
	// reconsidered means that they are.
	reconsidered bool
}

// New is a table without nodes. topologyKey is the node label whose values are the domains of zonal placement; empty means
// no domains.
func New(topologyKey string) *Nodes {
	return &Nodes{index: map[string]int{}, pools: newPools(nil), topologyKey: topologyKey, before: map[int]resource.Vector{}, touched: map[int]struct{}{}, altered: map[int]*resource.Vector{}}
}

// Total is the sum of what is free on all nodes; what an overbooked node lacks is not taken off.
func (n *Nodes) Total() resource.Vector { return n.total }

// At is a node by its index. It must not be modified, and changes with the table.
func (n *Nodes) At(i int) *Node { return n.table.at(i) }

// Of is a node by its name; one that nobody has heard of offers nothing.
func (n *Nodes) Of(name string) *Node { return n.table.at(n.lookup(name)) }

// Exists tells whether a node has been seen and has not gone.
func (n *Nodes) Exists(name string) bool {
	i, known := n.index[name]
	return known && n.table.at(i).Object != nil
}

// Len is how many indexes there are.
func (n *Nodes) Len() int { return n.table.length }

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
	switch before := n.table.at(i).Object; {
	case before == nil || differs(before, object):
		n.alter(i, false)
	case !equality.Semantic.DeepEqual(before.Status.Allocatable, object.Status.Allocatable):
		n.alter(i, true)
	case takesPods(before) == takesPods(object):
		return
	}
	n.update(i, func(node *Node) {
		node.Object, node.Open = object, placement.Open(object)
		node.Pool, node.selected = n.pools.of(object)
		node.Domain = object.Labels[n.topologyKey]
		node.Allocatable = n.offers(object)
	})
}

// plenty is how much a node offers of a resource that others count there; the sum over 100,000 nodes is no absurd amount.
const plenty = 1 << 40

// offers is what a node offers, as far as it is counted here.
func (n *Nodes) offers(object *v1.Node) resource.Vector {
	offered := resource.OfList(object.Status.Allocatable)
	if len(n.uncounted) == 0 {
		return offered
	}
	extended := map[v1.ResourceName]int64{}
	for _, name := range n.uncounted {
		extended[name] = plenty
	}
	for _, amount := range offered.Extended { // which lists no zeros, such as a device plugin that has gone leaves
		extended[amount.Name] = amount.Value
	}
	return offered.WithExtended(extended)
}

// Uncount leaves resources to others on the nodes that list none of them; names that were left to them before and are not among
// these count again.
func (n *Nodes) Uncount(names []v1.ResourceName) {
	n.uncounted = names
	for i := range n.All() {
		if object := n.table.at(i).Object; object != nil {
			n.update(i, func(node *Node) { node.Allocatable = n.offers(object) })
		}
	}
	n.Reconsider()
}

// Remove makes a node offer nothing; pods that are still on it stay counted until they go.
func (n *Nodes) Remove(name string) {
	i := n.lookup(name)
	n.touched[i] = struct{}{}
	n.update(i, func(node *Node) {
		node.Object, node.Open, node.Domain, node.Allocatable, node.Pool, node.selected = nil, false, "", resource.Vector{}, 0, 0
	})
}

// Use adds to what pods take on a node; a negative amount gives back.
func (n *Nodes) Use(name string, amount resource.Vector) {
	i := n.remember(name)
	n.update(i, func(node *Node) { node.Used = node.Used.Add(amount) })
}

// Stay adds to what of a node's use never leaves; a negative amount takes it off. When less stays than before, more can be free
// than anybody was told: the node has changed.
func (n *Nodes) Stay(name string, amount resource.Vector) {
	i := n.lookup(name)
	n.touched[i] = struct{}{}
	if leaves := (resource.Vector{}).Sub(amount); n.table.at(i).Object != nil && !leaves.Fits(resource.Vector{}) {
		n.alter(i, true)
	}
	n.update(i, func(node *Node) { node.Permanent = node.Permanent.Add(amount) })
}

// alter notes that a node is about to change; sized means that only how much it offers does.
func (n *Nodes) alter(i int, sized bool) {
	n.changed = true
	n.touched[i] = struct{}{}
	if !sized {
		n.altered[i] = nil
	} else if _, known := n.altered[i]; !known {
		empty := n.table.at(i).Empty
		n.altered[i] = &empty
	}
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
	n.count(node, -1)
	change(node)
	node.Free = node.Allocatable.Sub(node.Used).Sub(node.Held)
	node.Empty = node.Allocatable.Sub(node.Permanent)
	n.count(node, 1)
}

// count adds a node to the sums, or takes it off if sign is −1.
func (n *Nodes) count(node *Node, sign int) {
	if node.Object == nil {
		return
	}
	free := node.Free.Max(resource.Vector{})
	n.total = resource.Signed(n.total, free, sign)
	if takesPods(node.Object) {
		n.pools.count(node, free, sign)
	}
}

// leaving are the taints by which autoscalers say that they are about to delete a node.
var leaving = []string{"ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted"}

// takesPods tells whether a node takes new pods at all, whatever they tolerate: it is not cordoned, not on its way out, and its
// kubelet does not say that it is not ready, nor has it stopped to say anything.
func takesPods(node *v1.Node) bool {
	if node.Spec.Unschedulable || node.DeletionTimestamp != nil {
		return false
	}
	if slices.ContainsFunc(node.Spec.Taints, func(taint v1.Taint) bool { return slices.Contains(leaving, taint.Key) }) {
		return false
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == v1.NodeReady {
			return condition.Status != v1.ConditionFalse && condition.Status != v1.ConditionUnknown
		}
	}
	return true
}

// Permanent tells whether a pod never leaves its node while the node is there: a DaemonSet makes another one at once, and a
// static pod, of which the API server has only a mirror, is the kubelet's own.
func Permanent(pod *v1.Pod) bool {
	if _, mirror := pod.Annotations[v1.MirrorPodAnnotationKey]; mirror {
		return true
	}
	owner := metav1.GetControllerOfNoCopy(pod)
	return owner != nil && (owner.Kind == "DaemonSet" || owner.Kind == "Node")
}

// differs compares what placement looks at besides amounts; heartbeats and images differ all the time.
func differs(a, b *v1.Node) bool {
	return a.UID != b.UID ||
		a.Spec.Unschedulable != b.Spec.Unschedulable ||
		!equality.Semantic.DeepEqual(a.Spec.Taints, b.Spec.Taints) ||
		!maps.Equal(a.Labels, b.Labels)
}

// Reconsider treats all nodes as changed.
func (n *Nodes) Reconsider() {
	n.changed, n.reconsidered = true, true
	for i := range n.All() {
		n.touched[i] = struct{}{}
	}
}

// Touched are the nodes on which the event has changed anything, by index.
func (n *Nodes) Touched() []int { return slices.Sorted(maps.Keys(n.touched)) }

// Changed tells whether the event changed what a node is: a new one, other labels, taints, or amounts.
func (n *Nodes) Changed() bool { return n.changed }

// Gained is the most, of every resource, that is free on any node that has more free than before the event, or has changed; false
// means that there is no such node.
func (n *Nodes) Gained() (most resource.Vector, gained bool) {
	take := func(i int) {
		if node := n.table.at(i); node.Object != nil {
			most, gained = most.Max(node.Free), true
		}
	}
	for i, before := range n.before {
		if !n.table.at(i).Free.Sub(before).Fits(resource.Vector{}) {
			take(i)
		}
	}
	if n.changed {
		for i := range n.touched {
			take(i)
		}
	}
	return most, gained || n.changed
}

// Opens tells whether the event may let a pod onto a node that would have taken fewer like it before, or none, with nothing on it but what
// never leaves: a node that is new, or has other labels or taints, or offers more of something that the pod asks for.
func (n *Nodes) Opens(pod resource.Vector) bool {
	if n.reconsidered {
		return true
	}
	for i, before := range n.altered {
		node := n.table.at(i)
		if node.Object != nil && pod.Fits(node.Empty) && (before == nil || pod.Gains(*before, node.Empty)) {
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
	n.changed, n.reconsidered = false, false
	clear(n.before)
	clear(n.touched)
	clear(n.altered)
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
	n.pools.shared = true
	return &View{table: n.table.share(), index: n.index, total: n.total, capacities: n.pools.capacities, idle: n.pools.idle, Epoch: epoch}
}

// Check tells whether what must always hold between events does: sums are those of the nodes, every name has one entry, and
// every entry without a name is spare.
func (n *Nodes) Check() error {
	var total resource.Vector
	pools := newPools(n.pools.selectors)
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
		if want := node.Allocatable.Sub(node.Permanent); !node.Empty.Equal(want) {
			return fmt.Errorf("node %s can have %s free, want %s", node.Name, node.Empty, want)
		}
		if node.Object != nil {
			total = total.Add(node.Free.Max(resource.Vector{}))
		}
		if node.Object != nil && takesPods(node.Object) {
			counted := *node
			counted.Pool, counted.selected = pools.of(node.Object)
			pools.count(&counted, node.Free.Max(resource.Vector{}), 1)
		}
	}
	switch {
	case named != len(n.index):
		return fmt.Errorf("%d nodes have a name, and the index has %d", named, len(n.index))
	case !n.total.Equal(total):
		return fmt.Errorf("%s free in all, want %s", n.total, total)
	case !n.pools.equal(&pools):
		return fmt.Errorf("the pools are %+v, want %+v", n.pools, pools)
	case n.changed || n.reconsidered || len(n.before) > 0 || len(n.touched) > 0 || len(n.altered) > 0:
		return fmt.Errorf("an event has not been settled")
	default:
		return nil
	}
}
