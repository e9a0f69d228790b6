package ledger

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/resource"
)

// collection is room that is kept for one waiter as it comes back: because it has waited so long that smaller ones would
// pass it for ever, or because others have to leave for it, or on the nodes that come while they are asked for. It is never more than the waiter asks for. When all is there,
// the waiter is tried with that room free for it; it may be laid out otherwise then.
type collection struct {
	waiter types.UID
	// queue is that of the waiter if it is within its guarantee with it; quota.Unassigned if not.
	queue string
	// preemption is what others give back for it; nil means that it waits for what comes.
	preemption *preemption
	wants      []want
	kept       []kept
	// onNode finds what is kept on a node: name -> indexes into kept.
	onNode map[string][]int
	// homeless are the indexes into kept of pods for which no node has been chosen; missing is how many pods, those
	// included, do not have all they ask for.
	homeless []int
	missing  int
	// seeking means that not every node has been looked at for the homeless; else those of an event are enough.
	seeking bool
	among
	// tried means that the last attempt began when all was there: one that began before says nothing of what is kept.
	tried bool
	// lag is that of the scheduler's snapshot behind what is complete.
	lag lag
	// progressed is when room was last added.
	progressed time.Time
	// after is how long nothing may be added before it is given up, or other nodes are chosen.
	after time.Duration
}

// among is which nodes a collection chooses from.
type among struct {
	// avoided nodes have given nothing back for too long: others are chosen, as long as there are any.
	avoided map[string]bool
	// domain is the only one that nodes are chosen from; empty means any. Those of left were tried before it.
	domain string
	left   map[string]bool
	// arrived are the only nodes that are chosen from: those that have come since an autoscaler was asked for them; nil means all.
	arrived map[string]bool
}

// newCollection keeps nothing yet; all that a waiter asks for is without a node.
func newCollection(waiter types.UID, wants []want, now time.Time) *collection {
	c := &collection{waiter: waiter, wants: wants, onNode: map[string][]int{}, among: among{avoided: map[string]bool{}}, progressed: now, seeking: true}
	for w := range wants {
		for range wants[w].count {
			c.homeless = append(c.homeless, len(c.kept))
			c.kept = append(c.kept, kept{want: w})
		}
	}
	c.missing = len(c.kept)
	return c
}

// want is what several equal pods of the waiter ask for.
type want struct {
	requests resource.Vector
	eligible func(*v1.Node) bool
	count    int // pods
}

// kept is room for one pod, or a part of it, on the node that was chosen for it.
type kept struct {
	want   int    // index into wants
	node   string // empty means none
	amount resource.Vector
}

func (c *collection) lacks(k int) bool {
	return !c.wants[c.kept[k].want].requests.Equal(c.kept[k].amount)
}

// patient tells whether it is for somebody who has waited long, and so may come from anybody: nobody leaves for it, and no nodes were asked for.
func (c *collection) patient() bool { return c.preemption == nil && c.arrived == nil }

// complete tells whether there is room for everything.
func (c *collection) complete() bool { return c.missing == 0 }

// collections is the room that is kept for waiters until they have all they need, the oldest first.
type collections struct {
	nodes *inventory.Nodes
	list  []*collection
	// byWaiter is the same: waiter -> what is collected for it.
	byWaiter map[types.UID]*collection
	// total is all that they keep.
	total resource.Vector
	// vainUntil is until when nothing is collected, because it was in vain; zero means that it was not.
	vainUntil time.Time
}

// patient are the collections for those who have waited long: at most one for every queue within its guarantee, and
// one for all others.
func (s *collections) patient() []*collection {
	var patient []*collection
	for _, c := range s.list {
		if c.patient() {
			patient = append(patient, c)
		}
	}
	return patient
}

// of is what is collected for a waiter; nil means nothing.
func (s *collections) of(waiter types.UID) *collection { return s.byWaiter[waiter] }

func (s *collections) add(c *collection) {
	s.list = append(s.list, c)
	s.byWaiter[c.waiter] = c
}

// pass gives a collection to another waiter.
func (s *collections) pass(c *collection, heir types.UID) {
	delete(s.byWaiter, c.waiter)
	c.waiter = heir
	s.byWaiter[heir] = c
}

func (s *collections) remove(c *collection) {
	s.list = slices.DeleteFunc(s.list, func(other *collection) bool { return other == c })
	delete(s.byWaiter, c.waiter)
}

// roomiest is the domain in which most of a demand is free, of those that could hold it if all their pods ended and
// that have not been left; empty means none.
func (s *collections) roomiest(demand resource.Vector, left map[string]bool) string {
	free, all := map[string]resource.Vector{}, map[string]resource.Vector{} // domain -> sum
	for i := range s.nodes.All() {
		if n := s.nodes.At(i); n.Object != nil && n.Domain != "" && !left[n.Domain] {
			free[n.Domain] = free[n.Domain].Add(n.Free.Max(resource.Vector{}))
			all[n.Domain] = all[n.Domain].Add(n.Empty)
		}
	}
	best, most := "", -1
	for _, domain := range slices.Sorted(maps.Keys(all)) {
		if permille := demand.Count(free[domain].Scale(1000), 1000); demand.Fits(all[domain]) && permille > most {
			best, most = domain, permille
		}
	}
	return best
}

// collect keeps room that has come back on the chosen nodes, and chooses nodes for pods that have none: first for those for whom
// others have to go or nodes have come, then for those who have waited for long, whose room may come from anybody.
func (s *collections) collect(now time.Time) {
	if len(s.list) == 0 {
		return
	}
	touched := s.nodes.Touched()
	for _, own := range []bool{true, false} {
		for _, c := range s.list {
			if own != c.patient() && !c.complete() {
				s.grow(now, c, touched)
			}
		}
	}
}

// grow keeps more for one waiter, of what is free on the nodes that an event has touched.
func (s *collections) grow(now time.Time, c *collection, touched []int) {
	for _, i := range touched {
		for _, k := range c.onNode[s.nodes.At(i).Name] {
			s.keep(now, c, k)
		}
	}
	if len(c.homeless) == 0 {
		return
	}
	among := slices.Values(touched)
	if c.seeking {
		among = s.nodes.All()
	}
	c.seeking = false
	for w := range c.wants {
		s.choose(now, c, w, among)
	}
}

// choose gives the homeless pods of one kind to some of the nodes: first where they fit as it is, then where most of
// what one asks for is free.
func (s *collections) choose(now time.Time, c *collection, w int, among iter.Seq[int]) {
	mine, others := partition(c.homeless, func(k int) bool { return c.kept[k].want == w })
	want := &c.wants[w]
	var usable []int
	if len(mine) > 0 {
		for i := range among {
			if n := s.nodes.At(i); n.Object != nil && c.has(n) && want.eligible(n.Object) {
				usable = append(usable, i)
			}
		}
	}
	settle := func(i, most int) {
		name := s.nodes.At(i).Name
		for range min(most, len(mine)) {
			s.settleOn(now, c, mine[0], name)
			mine = mine[1:]
		}
	}
	for _, i := range usable {
		settle(i, want.requests.Count(s.nodes.At(i).Free, len(mine)))
	}
	if len(mine) > 0 {
		permille := map[int]int{} // node -> how much of one request is free there
		for _, i := range usable {
			permille[i] = want.requests.Count(s.nodes.At(i).Free.Scale(1000), 1000)
		}
		slices.SortStableFunc(usable, func(a, b int) int { return cmp.Compare(permille[b], permille[a]) })
		for _, i := range usable {
			settle(i, want.requests.Count(s.empty(c, i), len(mine)))
		}
	}
	c.homeless = append(others, mine...)
}

// has tells whether a node is chosen from.
func (a *among) has(n *inventory.Node) bool {
	return (a.domain == "" || n.Domain == a.domain) && !a.avoided[n.Name] && (a.arrived == nil || a.arrived[n.Name])
}

// empty is what a node would have if all its pods ended that ever do, less what slots hold and is chosen for the collection.
func (s *collections) empty(c *collection, i int) resource.Vector {
	n := s.nodes.At(i)
	empty := n.Empty.Sub(n.Held)
	for _, k := range c.onNode[n.Name] {
		empty = empty.Add(c.kept[k].amount).Sub(c.wants[c.kept[k].want].requests)
	}
	return empty
}

func partition(list []int, belongs func(int) bool) (in, out []int) {
	for _, x := range list {
		if belongs(x) {
			in = append(in, x)
		} else {
			out = append(out, x)
		}
	}
	return in, out
}

// settleOn chooses a node for one pod, and keeps what is free there.
func (s *collections) settleOn(now time.Time, c *collection, k int, node string) {
	c.kept[k].node = node
	c.onNode[node] = append(c.onNode[node], k)
	s.keep(now, c, k)
}

// keep keeps as much for one pod on its node as is free there.
func (s *collections) keep(now time.Time, c *collection, k int) {
	if !c.lacks(k) {
		return
	}
	kept := &c.kept[k]
	lacking := c.wants[kept.want].requests.Sub(kept.amount)
	n := s.nodes.Of(kept.node)
	gained := lacking.Sub(lacking.Missing(n.Free.Max(resource.Vector{})))
	if n.Object == nil || gained.IsZero() {
		return
	}
	s.nodes.Hold(kept.node, gained)
	kept.amount, s.total = kept.amount.Add(gained), s.total.Add(gained)
	c.progressed = now
	if !c.lacks(k) {
		c.missing--
	}
}

// seekElsewhere leaves the nodes that have not given what was to come there.
func (s *collections) seekElsewhere(c *collection) {
	for k := range c.kept {
		if c.kept[k].node != "" && c.lacks(k) {
			s.giveBack(c, k)
		}
	}
}

// giveBack gives back what is kept for one pod, which is homeless then.
func (s *collections) giveBack(c *collection, k int) {
	kept := &c.kept[k]
	if !c.lacks(k) {
		c.missing++
		c.tried, c.lag = false, lag{}
	}
	if kept.node != "" {
		s.nodes.Hold(kept.node, resource.Vector{}.Sub(kept.amount))
		s.total = s.total.Sub(kept.amount)
	}
	c.onNode[kept.node] = slices.DeleteFunc(c.onNode[kept.node], func(other int) bool { return other == k })
	if len(c.onNode[kept.node]) == 0 {
		delete(c.onNode, kept.node)
	}
	kept.node, kept.amount = "", resource.Vector{}
	c.homeless = append(c.homeless, k)
	c.seeking = true
}

// check gives back what is kept on nodes of the event that cannot keep it.
func (s *collections) check() {
	if len(s.list) == 0 {
		return
	}
	for _, i := range s.nodes.Touched() {
		for _, c := range slices.Backward(s.list) {
			for _, k := range slices.Clone(c.onNode[s.nodes.At(i).Name]) {
				if n := s.nodes.At(i); n.Object == nil || !n.Keeps(n.Held) || !c.wants[c.kept[k].want].eligible(n.Object) {
					s.giveBack(c, k)
				}
			}
		}
	}
}

// amounts is what is kept: node -> sum.
func (c *collection) amounts() map[string]resource.Vector {
	amounts := map[string]resource.Vector{}
	for _, kept := range c.kept {
		if kept.node != "" {
			amounts[kept.node] = amounts[kept.node].Add(kept.amount)
		}
	}
	return amounts
}
