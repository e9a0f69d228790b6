package quota

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

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
	// Shape is equal for waiters that a verdict on one of them speaks for: same demand on the queue and on nodes.
	Shape  string
	Demand Demand
}

// cause is what a parked group waits for.
type cause int

const (
	awake cause = iota
	forRoom
	forQuota
)

// groupKey is what the waiters of a group have in common.
type groupKey struct {
	queue, user, shape string
	priority, rank     int32
	elastic            bool
}

// group is the waiters of one queue, user and shape. They are parked and wake together.
type group struct {
	key     groupKey
	leaf    *node
	lane    *lane
	waiters []*waiter // heap by turn; never empty
	index   int       // in lane.groups; absent while parked
	cause   cause
	// verdict it is parked with, and where: the list that holds it, and its index there.
	verdict Verdict
	list    *[]*group
	at      int
}

type waiter struct {
	Waiter
	group *group
	index int // in group.waiters
	held  ratio
}

// line is the waiters of a leaf.
type line struct {
	users map[string]*lane // user -> its waiters; only users who have some
	lanes []*lane          // heap of those that have an awake one
	// waiting is how many there are, parked how many of them are not awake.
	waiting, parked int
	// uneven: the minimum for each user may have become another.
	uneven bool
}

// lane is the waiters of one user in a line.
type lane struct {
	user   string
	groups []*group // heap by turn of those that are awake
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
	// sharing: less used beyond the guarantee goes first, measured by the cluster and by weight.
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
	_, most := dominant(used, n.guaranteed, n.tree.capacity, n.weight)
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
	return cmp.Or(a.compareRank(b), compareBool(other.below, l.below), l.share.compare(other.share), a.compareAge(b)) < 0
}

func (w *waiter) before(other *waiter) bool {
	return cmp.Or(w.compareRank(other), w.compareAge(other)) < 0
}

func (w *waiter) compareRank(other *waiter) int {
	return cmp.Or(cmp.Compare(other.Priority, w.Priority), compareBool(w.Elastic, other.Elastic), cmp.Compare(other.Rank, w.Rank))
}

func (w *waiter) compareAge(other *waiter) int {
	return cmp.Or(w.held.compare(other.held), w.Since.Compare(other.Since), cmp.Compare(w.ID, other.ID))
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

// Push makes something wait; what waits already under its ID keeps its place. If one like it is parked, it is as well.
func (t *Tree) Push(w Waiter) {
	if t.waiters[w.ID] != nil {
		return
	}
	t.settle()
	leaf := t.leaf(w.Queue)
	k := groupKey{leaf.Name, w.Demand.User, w.Shape, w.Priority, w.Rank, w.Elastic}
	g := t.groups[k]
	if g == nil {
		l := leaf.line.users[k.user]
		if l == nil {
			l = &lane{user: k.user, index: absent}
			leaf.line.users[k.user] = l
		}
		l.count++
		g = &group{key: k, leaf: leaf, lane: l, index: absent}
		t.groups[k] = g
	}
	added := &waiter{Waiter: w, group: g}
	leaf.weigh(added)
	t.waiters[w.ID] = added
	heap.Push((*waiterHeap)(&g.waiters), added)
	leaf.line.waiting++
	if g.cause != awake {
		leaf.line.parked++
		return
	}
	leaf.enter(g)
	t.refresh(leaf)
}

// Remove ends a wait; for what does not wait it does nothing.
func (t *Tree) Remove(id types.UID) {
	w := t.waiters[id]
	if w == nil {
		return
	}
	t.settle()
	g := w.group
	leaf := g.leaf
	delete(t.waiters, id)
	heap.Remove((*waiterHeap)(&g.waiters), w.index)
	leaf.line.waiting--
	if g.cause != awake {
		leaf.line.parked--
	}
	if len(g.waiters) == 0 {
		g.unlist()
		leaf.leave(g)
		delete(t.groups, g.key)
		if g.lane.count--; g.lane.count == 0 {
			delete(leaf.line.users, g.key.user)
		}
	} else if g.cause == awake {
		leaf.enter(g)
	}
	t.refresh(leaf)
}

// Next is who should start before all others that are awake. Whether it fits its queue is for Fits to say, and whether it
// fits the nodes for somebody else; what does not is parked, or Next would name it forever. false means that nobody is
// awake.
func (t *Tree) Next() (Waiter, bool) {
	t.settle()
	t.wakeFreed()
	t.even()
	if first := t.root.turn.first; first != nil {
		return first.Waiter, true
	}
	return Waiter{}, false
}

// Firsts are the first of every queue, user and shape, parked ones included, of those that somebody asks for: first those of
// the queue that is next, and within a queue in turn.
func (t *Tree) Firsts(wanted func(Waiter) bool) []Waiter {
	t.settle()
	t.even()
	var firsts []*waiter
	for _, g := range t.groups {
		var first *waiter
		for _, w := range g.waiters { // a heap: as a rule the first is the one
			if wanted(w.Waiter) && (first == nil || w.before(first)) {
				first = w
			}
			if first == g.waiters[0] {
				break
			}
		}
		if first != nil {
			firsts = append(firsts, first)
		}
	}
	// Queues are compared by what their waiters ask for, which makes circles among more than two: so that the order is the same
	// every time, it has to begin with one.
	slices.SortFunc(firsts, func(a, b *waiter) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortStableFunc(firsts, func(a, b *waiter) int {
		if a.group.leaf != b.group.leaf {
			n, m := siblings(a.group.leaf, b.group.leaf)
			return cmp.Or(n.keyFor(n.used, a.Demand.Amount).compare(m.keyFor(m.used, b.Demand.Amount)), cmp.Compare(n.Name, m.Name))
		}
		la, lb := a.group.lane, b.group.lane
		return cmp.Or(a.compareRank(b), compareBool(lb.below, la.below), la.share.compare(lb.share), a.compareAge(b))
	})
	named := make([]Waiter, len(firsts))
	for i, w := range firsts {
		named[i] = w.Waiter
	}
	return named
}

// Park lets a waiter sleep, and all of its shape: after a Verdict of Fits until its queue has released what it lacks, after
// the zero Verdict, which means that it found no room on nodes, until Wake.
func (t *Tree) Park(id types.UID, v Verdict) {
	w := t.waiters[id]
	if w == nil {
		return
	}
	t.settle()
	g := w.group
	t.wake(g)
	g.verdict = v
	if v.Passes() {
		g.cause, g.list = forRoom, &t.roomless
	} else {
		g.cause, g.list = forQuota, &t.leaf(v.Queue).blocked
		if n := t.queues[v.Queue]; n != nil {
			g.list = &n.blocked
		}
	}
	g.at = len(*g.list)
	*g.list = append(*g.list, g)
	g.leaf.line.parked += len(g.waiters)
	g.leaf.leave(g)
	t.refresh(g.leaf)
}

// Parked is the verdict a waiter was parked with, its own or that of one of its shape. false means that it is awake, or
// does not wait.
func (t *Tree) Parked(id types.UID) (Verdict, bool) {
	w := t.waiters[id]
	if w == nil || w.group.cause == awake {
		return Verdict{}, false
	}
	return w.group.verdict, true
}

// Wake wakes those who were parked for room, as far as somebody who knows the nodes thinks that one of a shape may fit now.
func (t *Tree) Wake(may func(Waiter) bool) {
	t.settle()
	for at := len(t.roomless) - 1; at >= 0; at-- {
		if g := t.roomless[at]; may(g.waiters[0].Waiter) {
			t.wake(g)
			t.refresh(g.leaf)
		}
	}
}

// Freed tells whether something was released since Next that somebody may be parked for.
func (t *Tree) Freed() bool { return len(t.freed) > 0 }

// wakeFreed wakes whom a queue kept that has released something since, as far as it would let them start now.
func (t *Tree) wakeFreed() {
	for _, n := range t.freed {
		n.freed = false
		for at := len(n.blocked) - 1; at >= 0; at-- {
			if g := n.blocked[at]; !n.blocks(g) {
				t.wake(g)
				t.refresh(g.leaf)
			}
		}
	}
	t.freed = t.freed[:0]
}

// blocks tells whether what a group was parked for still stands in its way.
func (n *node) blocks(g *group) bool {
	d := g.waiters[0].Demand
	switch g.verdict.Reason {
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

// wake makes a group awake; the caller refreshes its leaf.
func (t *Tree) wake(g *group) {
	if g.cause == awake {
		return
	}
	g.unlist()
	g.cause, g.verdict = awake, Verdict{}
	g.leaf.line.parked -= len(g.waiters)
	g.leaf.enter(g)
}

// unlist takes a group off the list of those it is parked with.
func (g *group) unlist() {
	if g.list == nil {
		return
	}
	list := *g.list
	last := len(list) - 1
	list[g.at] = list[last]
	list[g.at].at = g.at
	list[last] = nil
	*g.list = list[:last]
	g.list = nil
}

// enter puts an awake group, or one whose first has changed, into its user's lane.
func (n *node) enter(g *group) {
	put((*groupHeap)(&g.lane.groups), g, g.index)
	n.userMoved(g.key.user)
}

// leave takes a group out of its user's lane, if it is there.
func (n *node) leave(g *group) {
	if g.index != absent {
		heap.Remove((*groupHeap)(&g.lane.groups), g.index)
	}
	n.userMoved(g.key.user)
}

// userMoved puts a user's lane where it belongs, after what it holds or who waits in it has changed.
func (n *node) userMoved(user string) {
	if l := n.line.users[user]; l != nil {
		n.measureUser(l)
		if len(l.groups) > 0 {
			put((*laneHeap)(&n.line.lanes), l, l.index)
		} else if l.index != absent {
			heap.Remove((*laneHeap)(&n.line.lanes), l.index)
		}
	}
	if n.Users.MinimumShare != nil && n.Order == FIFO && !n.line.uneven {
		// An equal part of the queue is another one when the queue or the number of users is. That concerns everybody,
		// so it is looked at when somebody asks who is next.
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
		heap.Init((*laneHeap)(&n.line.lanes))
		t.refresh(n)
	}
	t.uneven = t.uneven[:0]
}

// measureUser computes what a user's turn depends on, as far as the queue's order asks for it.
func (n *node) measureUser(l *lane) {
	var used resource.Vector
	if a := n.users[l.user]; a != nil {
		used = a.used
	}
	switch {
	case n.Order == Fair:
		_, l.share = dominant(used, nil, n.tree.capacity, 1)
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
	if n.Order == Fair && !w.Held.IsZero() {
		n.tree.weighed = true
		_, w.held = dominant(w.Held, nil, n.tree.capacity, 1)
	}
}

// refresh puts a leaf and all above it where they belong among their siblings.
func (t *Tree) refresh(leaf *node) {
	leaf.turn.first = leaf.line.first()
	for _, n := range leaf.path {
		if len(n.children) > 0 {
			n.turn.first = n.firstOfChildren()
		}
		siblings := (*nodeHeap)(&n.parent.turn.children)
		if n.turn.first == nil {
			if n.turn.index != absent {
				heap.Remove(siblings, n.turn.index)
			}
			continue
		}
		n.turn.key = n.keyFor(n.used, n.turn.first.Demand.Amount)
		put(siblings, n, n.turn.index)
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
			heap.Init((*waiterHeap)(&g.waiters))
		}
	}
	for j := len(t.all) - 1; j >= 0; j-- { // children before parents
		n := t.all[j]
		for _, l := range n.line.users {
			n.measureUser(l)
			heap.Init((*groupHeap)(&l.groups))
		}
		heap.Init((*laneHeap)(&n.line.lanes))
		n.turn.first = n.line.first()
		if len(n.children) > 0 {
			heap.Init((*nodeHeap)(&n.turn.children))
			n.turn.first = n.firstOfChildren()
		}
		if n.turn.first != nil {
			n.turn.key = n.keyFor(n.used, n.turn.first.Demand.Amount)
		}
		t.free(n) // what leaders may hold has changed
	}
	heap.Init((*nodeHeap)(&t.root.turn.children))
	t.root.turn.first = t.root.firstOfChildren()
}
