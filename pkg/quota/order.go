package quota

import (
	"cmp"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/heap"
	"retinue.dev/retinue/pkg/resource"
)

// Waiter is something that waits to start. While it waits it does not change: to change it, Remove it and Push it again.
type Waiter struct {
	ID    types.UID
	Queue string
	// Priority of its pods; higher goes first within the queue.
	Priority int32
	// Rank among the whole gangs of one priority, as its user wants it; higher goes first.
	Rank int32
	// Elastic marks a worker beyond those its gang started with: it goes after the whole gangs of its priority.
	Elastic bool
	// Held is what its application holds already; in a Fair queue less goes first. Nothing for a gang that starts.
	Held resource.Vector
	// Since when it waits; earlier goes first.
	Since time.Time
	// Signature is equal for waiters that a verdict on one of them speaks for: same demand on the queue and on nodes.
	Signature string
	Demand    Demand
}

// groupKey is what the waiters of a Group have in common.
type groupKey struct {
	queue, user, signature string
	priority, rank         int32
	elastic                bool
}

// Group is the waiters of one queue, user, priority, rank and signature: what keeps one of them waiting keeps all. Somebody
// who knows why parks it, and it is passed over until it is woken.
type Group struct {
	key     groupKey
	leaf    *node
	lane    *lane
	waiters []*waiter // heap by turn of those that are not being tried
	trying  int       // waiters that are; a Group without either does not exist
	index   int       // in lane.groups; absent while parked, and while all are being tried
	parked  bool
}

type waiter struct {
	Waiter
	group *Group
	index int // in group.waiters; absent while it is being tried
	held  ratio
}

// First of those that are not being tried; false means that there is none.
func (g *Group) First() (Waiter, bool) {
	if len(g.waiters) == 0 {
		return Waiter{}, false
	}
	return g.waiters[0].Waiter, true
}

// Each goes through those that are not being tried, in no order, until f returns false.
func (g *Group) Each(f func(types.UID) bool) {
	for _, w := range g.waiters {
		if !f(w.ID) {
			return
		}
	}
}

// Parked tells whether the group is passed over.
func (g *Group) Parked() bool { return g.parked }

// Gone tells whether nobody of the group waits any more: a later Push makes another.
func (g *Group) Gone() bool { return len(g.waiters)+g.trying == 0 }

// line is the waiters of a leaf.
type line struct {
	users map[string]*lane // user -> its waiters; only users who have some
	lanes []*lane          // heap of those that have an awake one
	// waiting is how many there are, those that are being tried included.
	waiting int
	// uneven: the minimum for each user may have become another.
	uneven bool
	// successor is the leaf whose line it is since another tree has succeeded; nil before.
	successor *node
}

// lane is the waiters of one user in a line.
type lane struct {
	user   string
	groups []*Group // heap by turn of those that are awake
	count  int      // groups, parked ones included
	index  int      // in line.lanes
	share  ratio    // what the user holds of the queue, by its dominant resource
	below  bool     // holds less than the queue's minimum for each user
}

// turn is a queue's place among its siblings.
type turn struct {
	key      key
	first    *waiter // that is next in it; nil means none
	index    int     // in the parent's children; absent when there is no first
	children []*node // heap of those that have a first
}

// key is what siblings are compared by.
type key struct {
	phase    phase
	priority int32 // zero outside of belowGuarantee
	ratio    ratio
}

type phase int

const (
	// belowGuarantee: of all that is guaranteed and that the first asks for there is still some. Less of it used goes first.
	belowGuarantee phase = iota
	// sharing: less used beyond the guarantee goes first, measured by the nodes of the pool and by weight.
	sharing
	// leftover: a weight of zero. As before, after everybody else.
	leftover
)

// keyFor is a queue's key when it uses so much and something is asked for.
func (n *node) keyFor(used, asked resource.Vector) key {
	if _, fulfilled, below := fulfilment(used, n.guaranteed, asked); below {
		return key{belowGuarantee, n.Priority, fulfilled}
	}
	p := sharing
	if n.weight == 0 {
		p = leftover
	}
	_, most := dominant(used, n.guaranteed, n.capacity(), n.weight)
	return key{phase: p, ratio: most}
}

func (k key) compare(other key) int {
	return cmp.Or(cmp.Compare(k.phase, other.phase), cmp.Compare(other.priority, k.priority), k.ratio.compare(other.ratio))
}

// before tells whether a queue goes before a sibling: by key, then the one whose first waits longer, then by name.
func (n *node) before(other *node) bool {
	return cmp.Or(n.turn.key.compare(other.turn.key), n.turn.first.Since.Compare(other.turn.first.Since), cmp.Compare(n.Name, other.Name)) < 0
}

// before tells whether a user goes before another: the first waiters by priority, gangs before elastic workers, and rank, then
// whoever is below the minimum, then, in a Fair queue, whoever holds less, then as waiters.
func (l *lane) before(other *lane) bool {
	a, b := l.groups[0].waiters[0], other.groups[0].waiters[0]
	return cmp.Or(a.compareRank(&b.Waiter), compareBool(other.below, l.below), l.share.compare(other.share), a.compareAge(b)) < 0
}

func (w *waiter) before(other *waiter) bool {
	return cmp.Or(w.compareRank(&other.Waiter), w.compareAge(other)) < 0
}

func (w *waiter) compareAge(other *waiter) int {
	return cmp.Or(w.held.compare(other.held), w.compareArrival(&other.Waiter))
}

// Compare orders the waiters of one queue as it would call them if it had given nobody anything yet. That is a total order.
func (w *Waiter) Compare(other *Waiter) int {
	return cmp.Or(w.compareRank(other), w.compareArrival(other))
}

func (w *Waiter) compareRank(other *Waiter) int {
	return cmp.Or(cmp.Compare(other.Priority, w.Priority), compareBool(w.Elastic, other.Elastic), cmp.Compare(other.Rank, w.Rank))
}

func (w *Waiter) compareArrival(other *Waiter) int {
	return cmp.Or(w.Since.Compare(other.Since), cmp.Compare(w.ID, other.ID))
}

// compareBool puts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// Push makes something wait, in the Group that is returned; what waits already under its ID keeps its place. If the Group is
// parked, it is as well.
func (t *Tree) Push(w Waiter) *Group {
	if known := t.waiters[w.ID]; known != nil {
		return known.group
	}
	t.settle()
	leaf := t.leaf(w.Queue)
	k := groupKey{leaf.Name, w.Demand.User, w.Signature, w.Priority, w.Rank, w.Elastic}
	g := t.groups[k]
	if g == nil {
		l := leaf.line.users[k.user]
		if l == nil {
			l = &lane{user: k.user, index: heap.Absent}
			leaf.line.users[k.user] = l
		}
		l.count++
		g = &Group{key: k, leaf: leaf, lane: l, index: heap.Absent}
		t.groups[k] = g
	}
	added := &waiter{Waiter: w, group: g, index: heap.Absent}
	leaf.weigh(added)
	t.waiters[w.ID] = added
	waitersInTurn.Put(&g.waiters, added)
	leaf.line.waiting++
	g.moved()
	return g
}

// Remove ends a wait, and a Try; for what does not wait it does nothing.
func (t *Tree) Remove(id types.UID) {
	w := t.waiters[id]
	if w == nil {
		return
	}
	t.settle()
	g := w.group
	leaf := g.leaf
	delete(t.waiters, id)
	leaf.line.waiting--
	tried := w.index == heap.Absent
	if tried {
		g.trying--
	} else {
		waitersInTurn.Remove(&g.waiters, w)
	}
	if g.Gone() {
		leaf.leave(g) // before its user is forgotten
		delete(t.groups, g.key)
		if g.lane.count--; g.lane.count == 0 {
			delete(leaf.line.users, g.key.user)
		}
	}
	g.moved()
	if tried {
		w.suppose(-1)
	}
}

// Try supposes that a waiter starts: its queue is charged what it asks for until Return or Remove, and somebody else is next.
func (t *Tree) Try(id types.UID) {
	w := t.waiters[id]
	if w == nil || w.index == heap.Absent {
		return
	}
	t.settle()
	waitersInTurn.Remove(&w.group.waiters, w)
	w.group.trying++
	w.group.moved()
	w.suppose(1)
}

// Return ends a Try: the waiter waits where it did before.
func (t *Tree) Return(id types.UID) {
	w := t.waiters[id]
	if w == nil || w.index != heap.Absent {
		return
	}
	t.settle()
	w.group.trying--
	waitersInTurn.Put(&w.group.waiters, w)
	w.group.moved()
	w.suppose(-1)
}

// suppose charges what a waiter asks for, or takes that off again.
func (w *waiter) suppose(sign int64) {
	t := w.group.leaf.tree
	if sign > 0 {
		t.tried[w.ID] = w
	} else {
		delete(t.tried, w.ID)
	}
	t.account(w.Queue, w.Demand, sign)
}

// FitsIfTried is Fits for a waiter that may be being tried: then what is supposed of it does not stand in its own way.
func (t *Tree) FitsIfTried(id types.UID, queue string, d Demand) Verdict {
	w := t.waiters[id]
	if w == nil || w.index != heap.Absent {
		return t.Fits(queue, d)
	}
	return w.without(func() Verdict { return t.Fits(queue, d) })
}

// FitsAlone is Fits as if nobody were being tried.
func (t *Tree) FitsAlone(queue string, d Demand) Verdict {
	answer := func() Verdict { return t.Fits(queue, d) }
	for _, w := range t.tried {
		inner := answer
		answer = func() Verdict { return w.without(inner) }
	}
	return answer()
}

// without answers as if a waiter that is being tried had not been supposed to start. Turns do not change meanwhile.
func (w *waiter) without(answer func() Verdict) Verdict {
	for _, n := range w.group.leaf.path {
		n.account(w.Demand, -1)
	}
	v := answer()
	for _, n := range w.group.leaf.path {
		n.account(w.Demand, 1)
	}
	return v
}

// Park passes a group over until Wake.
func (t *Tree) Park(g *Group) {
	if !g.parked {
		g.parked = true
		g.moved()
	}
}

// Wake ends Park.
func (t *Tree) Wake(g *Group) {
	if g.parked {
		g.parked = false
		g.moved()
	}
}

// moved puts a group where it belongs in its user's lane, or takes it out, and its queue where that belongs then.
func (g *Group) moved() {
	if g.parked || len(g.waiters) == 0 {
		g.leaf.leave(g)
	} else {
		g.leaf.enter(g)
	}
	if g.leaf.line.first() != g.leaf.turn.first { // else the queue's turn is what it was
		g.leaf.tree.refresh(g.leaf)
	}
}

// Next is who should start before all others that are not parked. Whether it fits its queue is for Fits to say, and whether
// it fits the nodes for somebody else; what does not is parked, or Next would name it forever. false means that there is
// none.
func (t *Tree) Next() (Waiter, bool) {
	t.settle()
	t.even()
	if first := t.root.turn.first; first != nil {
		return first.Waiter, true
	}
	return Waiter{}, false
}

// Released are the queues that have released something, or whose limits may have changed, since it was asked last.
func (t *Tree) Released() []string {
	t.settle()
	var released []string
	for _, n := range t.freed {
		n.freed = false
		released = append(released, n.Name)
	}
	t.freed = t.freed[:0]
	return released
}

// Blocks tells whether what a Verdict says still stands in the way of a Demand.
func (t *Tree) Blocks(v Verdict, d Demand) bool {
	t.settle()
	n := t.queues[v.Queue]
	if n == nil {
		return false
	}
	return n.blocks(v.Reason, d)
}

// blocks tells whether a queue still refuses a Demand for a reason.
func (n *node) blocks(reason Reason, d Demand) bool {
	switch reason {
	case QueueMaxGangs:
		return !n.countFits(d).Passes()
	case LeaderShare:
		return !n.leaderFits(d).Passes()
	case QueueLimit:
		return !n.limitFits(d).Passes()
	case UserLimit:
		return !n.userFits(d).Passes()
	default:
		return true // only another tree changes it
	}
}

// enter puts a group, or one whose first has changed, into its user's lane.
func (n *node) enter(g *Group) {
	groupsInTurn.Put(&g.lane.groups, g)
	n.userMoved(g.key.user)
}

// leave takes a group out of its user's lane, if it is there.
func (n *node) leave(g *Group) {
	groupsInTurn.Remove(&g.lane.groups, g)
	n.userMoved(g.key.user)
}

// userMoved puts a user's lane where it belongs, after what it holds or who waits in it has changed.
func (n *node) userMoved(user string) {
	if l := n.line.users[user]; l != nil {
		n.measureUser(l)
		if len(l.groups) > 0 {
			lanesInTurn.Put(&n.line.lanes, l)
		} else {
			lanesInTurn.Remove(&n.line.lanes, l)
		}
	}
	n.unevenIfMinimum()
}

// unevenIfMinimum notes that an equal part of the queue may have become another one, as it does when the queue or the number of
// users does. That concerns everybody, so it is looked at when somebody asks who is next.
func (n *node) unevenIfMinimum() {
	if n.Users.MinimumShare != nil && n.Order == FIFO && !n.line.uneven {
		n.line.uneven = true
		n.tree.uneven = append(n.tree.uneven, n)
	}
}

// even puts all users where they belong of queues in which the minimum for each may have become another.
func (t *Tree) even() {
	for _, n := range t.uneven {
		n.line.uneven = false
		for _, l := range n.line.lanes {
			n.measureUser(l)
		}
		lanesInTurn.Init(n.line.lanes)
		t.refresh(n)
	}
	t.uneven = t.uneven[:0]
}

// measureUser computes what a user's turn depends on, as far as the queue's order asks for it.
func (n *node) measureUser(l *lane) {
	used := n.users[l.user].used
	switch {
	case n.Order == Fair:
		_, l.share = dominant(used, nil, n.capacity(), 1)
	case n.Users.MinimumShare != nil:
		users := int64(len(n.line.users))
		l.below = n.partOf(used).compare(ratioOf(max(*n.Users.MinimumShare*users, 100), 100, users)) < 0
	}
}

// partOf is which part of the queue used is, by its dominant resource. A queue that borrows is as large as it uses.
func (n *node) partOf(used resource.Vector) ratio {
	var most ratio
	for _, amount := range n.size {
		if r := ratioOf(used.Of(amount.Name), max(amount.Value, n.used.Of(amount.Name)), 1); r.compare(most) > 0 {
			most = r
		}
	}
	return most
}

// weigh computes what a waiter's turn depends on.
func (n *node) weigh(w *waiter) {
	w.held = ratio{}
	if n.Order == Fair && !w.Held.IsZero() {
		n.tree.weighed = true
		_, w.held = dominant(w.Held, nil, n.capacity(), 1)
	}
}

// refresh puts a leaf and all above it where they belong among their siblings.
func (t *Tree) refresh(leaf *node) {
	leaf.turn.first = leaf.line.first()
	for _, n := range leaf.path {
		if len(n.children) > 0 {
			n.turn.first = n.firstOfChildren()
		}
		siblings := &n.parent.turn.children
		if n.turn.first == nil {
			nodesInTurn.Remove(siblings, n)
			continue
		}
		n.turn.key = n.keyFor(n.used, n.turn.first.Demand.Amount)
		nodesInTurn.Put(siblings, n)
	}
	t.root.turn.first = t.root.firstOfChildren()
}

func (n *node) firstOfChildren() *waiter {
	if len(n.turn.children) == 0 {
		return nil
	}
	return n.turn.children[0].turn.first
}

func (l *line) first() *waiter {
	if len(l.lanes) == 0 {
		return nil
	}
	return l.lanes[0].groups[0].waiters[0]
}

// reorder puts everybody where they belong, after the capacity has changed.
func (t *Tree) reorder() {
	if t.weighed {
		for _, g := range t.groups {
			for _, w := range g.waiters {
				g.leaf.weigh(w)
			}
			waitersInTurn.Init(g.waiters)
		}
	}
	for j := len(t.all) - 1; j >= 0; j-- { // children before parents
		n := t.all[j]
		for _, l := range n.line.users {
			n.measureUser(l)
			if t.weighed { // else the order of its waiters depends on no capacity
				groupsInTurn.Init(l.groups)
			}
		}
		lanesInTurn.Init(n.line.lanes)
		n.turn.first = n.line.first()
		if len(n.children) > 0 {
			nodesInTurn.Init(n.turn.children)
			n.turn.first = n.firstOfChildren()
		}
		if n.turn.first != nil {
			n.turn.key = n.keyFor(n.used, n.turn.first.Demand.Amount)
		}
		t.free(n) // what leaders may hold has changed
	}
	nodesInTurn.Init(t.root.turn.children)
	t.root.turn.first = t.root.firstOfChildren()
}
