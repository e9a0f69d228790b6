package quota

import (
	"retinue.dev/retinue/pkg/resource"
)

// Demand is something to start in a queue, or something that runs there and is charged: a whole gang with the slots of its
// workers, or one worker beyond them. What is released must be what was charged, in whatever parts: the leader's with the
// gang, of which there is one.
type Demand struct {
	// User whose it is; empty is a user like any other.
	User string
	// Amount is everything, the leader's part included.
	Amount resource.Vector
	// Leader is the part of Amount that its leader holds while workers come. It is zero for what has no such leader: a
	// worker, a lone pod, a gang whose pods all exist up front.
	Leader resource.Vector
	// Gangs is 1 for a gang and 0 for a worker.
	Gangs int64
	// Promised tells Fits that exactly this was promised: nobody else can have it.
	Promised bool
}

// Equal tells whether both ask their queue for the same, promised or not.
func (d Demand) Equal(other Demand) bool {
	return d.User == other.User && d.Gangs == other.Gangs && d.Amount.Equal(other.Amount) && d.Leader.Equal(other.Leader)
}

// Promise keeps others from what a queue, and all above it, will hold when somebody for whom others leave has started. It is
// not used, and not charged.
func (t *Tree) Promise(queue string, d Demand) {
	for _, n := range t.leaf(queue).path {
		n.promise(d, 1)
	}
}

// Retract takes off what was promised.
func (t *Tree) Retract(queue string, d Demand) {
	for _, n := range t.leaf(queue).path {
		n.promise(d, -1)
		t.free(n)
	}
}

// free notes that a queue has released something that somebody may wait for.
func (t *Tree) free(n *node) {
	if !n.freed {
		n.freed = true
		t.freed = append(t.freed, n)
	}
}

// Charge adds to the usage of a queue and of all above it.
func (t *Tree) Charge(queue string, d Demand) {
	t.account(queue, d, 1)
}

// Release takes off what was charged.
func (t *Tree) Release(queue string, d Demand) {
	t.account(queue, d, -1)
}

func (t *Tree) account(queue string, d Demand, sign int64) {
	leaf := t.leaf(queue)
	for _, n := range leaf.path {
		n.account(d, sign)
		if sign < 0 {
			t.free(n)
		}
	}
	leaf.userMoved(d.User)
	t.refresh(leaf)
}

// Usage is what a queue and all below it hold, and what they may.
type Usage struct {
	Used, Leaders resource.Vector
	// Own is the part of Used that the queue's own gangs hold, and not those below it.
	Own   resource.Vector
	Gangs int64
	// Guaranteed is what the cluster can keep of what the spec says.
	Guaranteed, Limit Amounts
	// Borrowed is what is used beyond the guarantee.
	Borrowed resource.Vector
	// Waiting gangs and workers.
	Waiting int
	// Users by name, as far as they hold something.
	Users map[string]resource.Vector
}

// Usage of a queue, without what is only supposed; false means that there is no such queue.
func (t *Tree) Usage(queue string) (Usage, bool) {
	t.settle()
	n := t.queues[queue]
	if n == nil {
		return Usage{}, false
	}
	suppose(t, -1)
	defer suppose(t, 1)
	u := Usage{
		Used: n.used, Leaders: n.leaders, Own: t.leaves[queue].used, Gangs: n.gangs, Guaranteed: n.guaranteed, Limit: n.Limit,
		Borrowed: n.borrowed(), Users: map[string]resource.Vector{},
	}
	n.eachLeaf(func(leaf *node) { u.Waiting += leaf.line.waiting })
	for user, a := range n.users {
		u.Users[user] = a.used
	}
	return u, true
}

// suppose charges what those who are tried would be charged for, or takes it off if sign is −1.
func suppose(t *Tree, sign int64) {
	for _, w := range t.tried {
		for _, above := range w.group.leaf.path {
			above.account(w.Demand, sign)
		}
	}
}

// Room is how many copies of an amount, at most so many, the limits of a queue, of all above it, and of each of their users leave
// somebody who runs there already. What is only supposed takes nothing of it; what is promised does.
func Room(t *Tree, queue, user string, each resource.Vector, most int) int {
	t.settle()
	suppose(t, -1)
	defer suppose(t, 1)
	for _, n := range t.leaf(queue).path {
		taken := n.used.Add(n.promised)
		most = copies(n.Limit, &taken, &each, most)
		account := n.users[user]
		most = copies(n.Users.Limit, &account.used, &each, most)
	}
	return most
}

// copies is how often an amount, at most so many times, goes into what a limit leaves of all that it limits.
func copies(limits Amounts, taken, each *resource.Vector, most int) int {
	for _, limit := range limits {
		most = resource.Copies(each.Of(limit.Name), max(limit.Value-taken.Of(limit.Name), 0), most)
	}
	return most
}

// borrowed is what a queue uses beyond its guarantee.
func (n *node) borrowed() resource.Vector {
	return resource.Vector{}.Max(n.used.Sub(n.guaranteed.Vector()))
}

func (n *node) eachLeaf(visit func(*node)) {
	if len(n.children) == 0 {
		visit(n)
		return
	}
	for _, child := range n.children {
		child.eachLeaf(visit)
	}
}
