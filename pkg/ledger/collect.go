package ledger

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// collection is room that is kept for one waiter as it comes back: because it has waited so long that smaller ones would
// pass it for ever, or because others have to leave for it. It is never more than the waiter asks for. When all is there,
// the waiter is tried with that room free for it; it may be laid out otherwise then.
type collection struct {
	waiter types.UID
	// queue is that of the waiter if it is within its guarantee with it; quota.Unassigned if not.
	queue string
	// reclaim is what others give back for it; nil means that it waits for what comes.
	reclaim *reclaim
	wants   []want
	kept    []kept
	// onNode finds what is kept on a node: name -> indexes into kept.
	onNode map[string][]int
	// homeless are the indexes into kept of pods for which no node has been chosen; missing is how many pods, those
	// included, do not have all they ask for.
	homeless []int
	missing  int
	// seeking means that not every node has been looked at for the homeless; else those of an event are enough.
	seeking bool
	// avoided nodes have given nothing back for too long: others are chosen, as long as there are any.
	avoided map[string]bool
	// domain is the only one that nodes are chosen from; empty means any. Those of left were tried before it.
	domain string
	left   map[string]bool
	// progressed is when room was last added.
	progressed time.Time
	// after is how long nothing may be added before it is given up, or other nodes are chosen.
	after time.Duration
}

// patientLocked are the collections for those who have waited long: at most one for every queue within its guarantee, and
// one for all others.
func (l *Ledger) patientLocked() []*collection {
	var patient []*collection
	for _, c := range l.collections {
		if c.reclaim == nil {
			patient = append(patient, c)
		}
	}
	return patient
}

// collectionOfLocked is what is collected for a waiter; nil means nothing.
func (l *Ledger) collectionOfLocked(waiter types.UID) *collection {
	for _, c := range l.collections {
		if c.waiter == waiter {
			return c
		}
	}
	return nil
}

// newCollection keeps nothing yet; all that a waiter asks for is without a node.
func newCollection(waiter types.UID, wants []want, now time.Time) *collection {
	c := &collection{waiter: waiter, wants: wants, onNode: map[string][]int{}, avoided: map[string]bool{}, progressed: now, seeking: true}
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

// complete tells whether there is room for everything.
func (c *collection) complete() bool { return c.missing == 0 }

// tickCollectionLocked begins to collect for the first in turn of those that have waited longer than after for want of
// room. Where nothing has come back for as long, other nodes are chosen, and when there are no others, somebody else's
// turn comes. When all was collected and the waiter does not fit all the same, all is given back and everybody tried
// again: so that this does not go on all the time, nothing is collected for as long after it.
func (l *Ledger) tickCollectionLocked(after time.Duration) {
	taken := map[string]bool{} // queue -> collects already
	for _, c := range l.patientLocked() {
		taken[c.queue] = true
	}
	for _, c := range slices.Clone(l.collections) {
		if !l.readyLocked(c) && l.now.Sub(c.progressed) >= c.after {
			l.chooseOthersLocked(c)
		}
	}
	if len(l.degraded) > 0 || l.now.Before(l.vainUntil) {
		return
	}
	first := map[string]*waiter{} // queue -> the first of those who may collect for it
	for _, w := range l.waiting.byPod {
		waited, lately := l.now.Sub(w.turn.created) >= after, l.now.Sub(w.passed) < after
		if !waited || lately || !l.wantsRoomLocked(w) || l.collectionOfLocked(w.uid()) != nil {
			continue
		}
		queue := quota.Unassigned
		if l.queues.WithinGuarantee(w.asks.Queue, w.asks.Demand) {
			queue = w.asks.Queue
		}
		if best := first[queue]; !taken[queue] && (best == nil || cmp.Or(w.passed.Compare(best.passed), w.turn.compare(best.turn)) < 0) {
			first[queue] = w
		}
	}
	for _, queue := range slices.Sorted(maps.Keys(first)) {
		l.beginLocked(first[queue], queue, after)
	}
}

// beginLocked begins to collect for a waiter.
func (l *Ledger) beginLocked(w *waiter, queue string, after time.Duration) {
	c := newCollection(w.uid(), l.wantsLocked(w.uid()), l.now)
	c.queue, c.after = queue, after
	if l.strategyLocked(w.turn.gang.Namespace) == placement.SingleZone {
		c.left = map[string]bool{}
		if c.domain = l.roomiestLocked(w.shape.demand, c.left); c.domain == "" {
			w.passed = l.now
			return
		}
	}
	l.collections = append(l.collections, c)
	l.effects = append(l.effects, Tell{l.objectLocked(w.uid()), gang.Verdict{Reason: gang.Collecting,
		Message: fmt.Sprintf("it waits for more than %s; room that comes back is kept for it now; %s", after, w.shape.verdict)}})
}

// wantsRoomLocked tells whether a waiter lacks nothing but room.
func (l *Ledger) wantsRoomLocked(w *waiter) bool {
	if w.shape.rehearsed || !w.shape.lacksRoom() {
		return false
	}
	return l.queues.Fits(w.asks.Queue, w.asks.Demand).Passes()
}

// wantsLocked is everything a waiter asks for.
func (l *Ledger) wantsLocked(waiter types.UID) []want {
	e := l.gangs[waiter]
	if e == nil {
		p := l.pods[waiter]
		return []want{{p.Requests, placement.Eligibility(p.Object), 1}}
	}
	var wants []want
	if e.upfront == nil {
		wants = append(wants, want{e.leader.Requests, placement.Eligibility(e.leader.Object), 1})
	}
	for _, role := range e.Gang.Definition.Roles {
		wants = append(wants, want{role.Requests, placement.Eligibility(role.Pod), role.Count})
	}
	return wants
}

// roomiestLocked is the domain in which most of a demand is free, of those that could hold it if all their pods ended and
// that have not been left; empty means none.
func (l *Ledger) roomiestLocked(demand resource.Vector, left map[string]bool) string {
	free, all := map[string]resource.Vector{}, map[string]resource.Vector{} // domain -> sum
	for i := range l.nodes.All() {
		if n := l.nodes.At(i); n.Object != nil && n.Domain != "" && !left[n.Domain] {
			free[n.Domain] = free[n.Domain].Add(n.Free.Max(resource.Vector{}))
			all[n.Domain] = all[n.Domain].Add(n.Allocatable)
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

// collectLocked keeps room that has come back on the chosen nodes, and chooses nodes for pods that have none.
func (l *Ledger) collectLocked() {
	if len(l.collections) == 0 {
		return
	}
	touched := l.nodes.Touched()
	for _, c := range l.collections {
		if !c.complete() {
			l.growLocked(c, touched)
		}
	}
}

// growLocked keeps more for one waiter, of what is free on the nodes that an event has touched.
func (l *Ledger) growLocked(c *collection, touched []int) {
	for _, i := range touched {
		for _, k := range c.onNode[l.nodes.At(i).Name] {
			l.keepLocked(c, k)
		}
	}
	if len(c.homeless) == 0 {
		return
	}
	among := slices.Values(touched)
	if c.seeking {
		among = l.nodes.All()
	}
	c.seeking = false
	for w := range c.wants {
		l.chooseLocked(c, w, among)
	}
}

// chooseLocked gives the homeless pods of one kind to some of the nodes: first where they fit as it is, then where most of
// what one asks for is free.
func (l *Ledger) chooseLocked(c *collection, w int, among iter.Seq[int]) {
	mine, others := partition(c.homeless, func(k int) bool { return c.kept[k].want == w })
	want := &c.wants[w]
	var usable []int
	if len(mine) > 0 {
		for i := range among {
			if n := l.nodes.At(i); n.Object != nil && (c.domain == "" || n.Domain == c.domain) && want.eligible(n.Object) && !c.avoided[n.Name] {
				usable = append(usable, i)
			}
		}
	}
	settle := func(i, most int) {
		name := l.nodes.At(i).Name
		for range min(most, len(mine)) {
			l.settleOnLocked(c, mine[0], name)
			mine = mine[1:]
		}
	}
	for _, i := range usable {
		settle(i, want.requests.Count(l.nodes.At(i).Free, len(mine)))
	}
	if len(mine) > 0 {
		permille := map[int]int{} // node -> how much of one request is free there
		for _, i := range usable {
			permille[i] = want.requests.Count(l.nodes.At(i).Free.Scale(1000), 1000)
		}
		slices.SortStableFunc(usable, func(a, b int) int { return cmp.Compare(permille[b], permille[a]) })
		for _, i := range usable {
			settle(i, want.requests.Count(l.emptyLocked(c, i), len(mine)))
		}
	}
	c.homeless = append(others, mine...)
}

// emptyLocked is what a node would have if all its pods ended, less what slots hold and is chosen for the collection.
func (l *Ledger) emptyLocked(c *collection, i int) resource.Vector {
	n := l.nodes.At(i)
	empty := n.Allocatable.Sub(n.Held)
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

// settleOnLocked chooses a node for one pod, and keeps what is free there.
func (l *Ledger) settleOnLocked(c *collection, k int, node string) {
	c.kept[k].node = node
	c.onNode[node] = append(c.onNode[node], k)
	l.keepLocked(c, k)
}

// keepLocked keeps as much for one pod on its node as is free there.
func (l *Ledger) keepLocked(c *collection, k int) {
	if !c.lacks(k) {
		return
	}
	kept := &c.kept[k]
	lacking := c.wants[kept.want].requests.Sub(kept.amount)
	n := l.nodes.Of(kept.node)
	gained := lacking.Sub(lacking.Missing(n.Free.Max(resource.Vector{})))
	if n.Object == nil || gained.IsZero() {
		return
	}
	l.holdLocked([]gang.Change{{Node: kept.node, Amount: gained}})
	kept.amount = kept.amount.Add(gained)
	c.progressed = l.now
	if !c.lacks(k) {
		c.missing--
	}
}

// returnLocked gives back what is kept for one pod, which is homeless then.
func (l *Ledger) returnLocked(c *collection, k int) {
	kept := &c.kept[k]
	if !c.lacks(k) {
		c.missing++
	}
	l.holdLocked([]gang.Change{{Node: kept.node, Amount: resource.Vector{}.Sub(kept.amount)}})
	c.onNode[kept.node] = slices.DeleteFunc(c.onNode[kept.node], func(other int) bool { return other == k })
	if len(c.onNode[kept.node]) == 0 {
		delete(c.onNode, kept.node)
	}
	kept.node, kept.amount = "", resource.Vector{}
	c.homeless = append(c.homeless, k)
	c.seeking = true
}

// chooseOthersLocked leaves the nodes on which the collection does not grow, or its domain. Those that others were to leave
// are not exchanged: who did not leave in time will not.
func (l *Ledger) chooseOthersLocked(c *collection) {
	others := false
	for k := range c.kept {
		switch node := c.kept[k].node; {
		case node == "":
		case c.reclaim != nil:
		case c.domain != "":
			l.returnLocked(c, k)
		case c.lacks(k):
			others, c.avoided[node] = true, true
			l.returnLocked(c, k)
		}
	}
	if c.domain != "" {
		c.left[c.domain] = true
		c.domain = l.roomiestLocked(l.waiting.byPod[c.waiter].shape.demand, c.left)
		others = c.domain != ""
	}
	c.progressed = l.now
	if !others {
		l.waiting.byPod[c.waiter].passed = l.now
		l.abandonLocked(c)
	}
}

// checkCollectionLocked gives back what is kept on nodes of the event that cannot keep it.
func (l *Ledger) checkCollectionLocked() {
	if len(l.collections) == 0 {
		return
	}
	for _, i := range l.nodes.Touched() {
		for _, c := range slices.Backward(l.collections) {
			for _, k := range slices.Clone(c.onNode[l.nodes.At(i).Name]) {
				if n := l.nodes.At(i); n.Object == nil || !n.Keeps(n.Held) || !c.wants[c.kept[k].want].eligible(n.Object) {
					l.returnLocked(c, k)
				}
			}
		}
	}
}

// collectorLocked is a waiter for which everything has been collected; nil means none.
func (l *Ledger) collectorLocked() *waiter {
	for _, c := range l.collections {
		if l.readyLocked(c) {
			return l.waiting.byPod[c.waiter]
		}
	}
	return nil
}

// readyLocked tells whether a waiter has all that is collected for it. For one that takes something back that is also what its
// queue lacks: those who have to go may hold nothing that it wants on nodes, and until they have gone an attempt would fail
// and call them off. One that waits for what comes is tried, and gives back what is kept for it if its queue is full by now.
func (l *Ledger) readyLocked(c *collection) bool {
	if !c.complete() || c.reclaim == nil {
		return c.complete()
	}
	asks := l.waiting.byPod[c.waiter].asks
	return l.fitsLocked(asks.ID, asks.Queue, asks.Demand).Passes()
}

// disappointLocked gives up a complete collection with which the attempt has failed all the same.
func (l *Ledger) disappointLocked(w *waiter) {
	if c := l.collectionOfLocked(w.uid()); c != nil && c.complete() {
		if c.reclaim == nil {
			w.passed, l.vainUntil = l.now, l.now.Add(c.after)
		}
		l.abandonLocked(c)
	}
}

// giveUpLocked ends the collection for a waiter.
func (l *Ledger) giveUpLocked(waiter types.UID) {
	if c := l.collectionOfLocked(waiter); c != nil {
		l.abandonLocked(c)
	}
}

// abandonLocked gives everything back that is collected for one waiter.
func (l *Ledger) abandonLocked(c *collection) {
	for k := range c.kept {
		if c.kept[k].node != "" {
			l.returnLocked(c, k)
		}
	}
	l.collections = slices.DeleteFunc(l.collections, func(other *collection) bool { return other == c })
	l.withdrawLocked(c)
}

// ViewFor is View as a pod may use it: what is collected for its gang is free.
func (l *Ledger) ViewFor(uid types.UID) *inventory.View {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p := l.pods[uid]; p != nil {
		if e := l.gangOfLocked(p); e != nil && e.tries(p) {
			uid = e.leader.UID
		}
	}
	return l.viewForLocked(uid)
}

// viewForLocked is a view as a waiter may use it.
func (l *Ledger) viewForLocked(waiter types.UID) *inventory.View {
	view := l.nodes.View(l.epoch)
	if c := l.collectionOfLocked(waiter); c != nil {
		return view.With(c.amounts())
	}
	return view
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
