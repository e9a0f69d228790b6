package waiting

import (
	"fmt"
	"iter"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/heap"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// Request is what a gang, or a pod by itself, asks for that has to wait.
type Request struct {
	// Asks is what it asks its queue for. ID is that of the leader; Signature is equal for those that ask nodes for exactly the
	// same, whatever their queues.
	Asks quota.Waiter
	// Demand is what has to be free in all.
	Demand resource.Vector
	// Pods are what its pods ask for, each size once; empty counts as the Demand.
	Pods []resource.Vector
	// Turn is its place where queues do not matter.
	Turn Turn
	// NeverPreempts as in its pod's preemptionPolicy.
	NeverPreempts bool
	// Rehearsed means that the framework's filters have to be asked about the whole gang, which keeps everybody else waiting, and Costly
	// that laying it out may: its namespace rests after that. Signature then names the namespace as well.
	Rehearsed, Costly bool
}

// Waiter is a gang or a pod by itself that waits, for room or for its turn.
type Waiter struct {
	Request
	// Since when it waits.
	Since time.Time
	// Claimed is when it was last tried to take something back for it; zero means never.
	Claimed time.Time
	// Protection is for how long those are protected who would have to go for it, when that was last tried; zero means that it is not why
	// nobody goes.
	Protection quota.Protection
	// Passed is when room was last collected for it in vain; zero means never.
	Passed time.Time
	// Told is the reason that its user has heard last; empty means none.
	Told gang.Reason
	// ToldLess means that this was BehindOthers, and who goes first, but not what they wait for: nobody of its signature had been
	// tried, or it was tried out of turn.
	ToldLess bool
	// Turned means that it was tried out of turn: kube-scheduler is writing that, and would write over anything that it is told
	// at once.
	Turned bool
	// Foretold is the same for what would be taken back for it where nothing is.
	Foretold gang.Reason

	signature *signature
	group     *quota.Group
	// failed means that it was tried itself, and not only another of its signature.
	failed bool
	// Promised means that others leave for it, and that its queue keeps what it asks for.
	Promised bool
	attempt
}

// attempt is one that is on its way; the zero attempt means that there is none.
type attempt struct {
	// missed is how many of the waiter's attempts in a row have not reported an end.
	missed int
	// began is when it was let through, since in which epoch and pass in which pass; zero while it is not tried.
	began time.Time
	since uint64
	pass  uint64
	// deferred is until when its attempt stays open, because the last one was made too early to tell anything; zero means that it does
	// not. provided means that its room is kept for it meanwhile, so that nobody else could take it.
	deferred time.Time
	provided bool
	// through means that the scheduler has been told of its turn, and that nothing has come of it yet.
	through bool
	// place is its place among all that are let through, since it was last, and number the same once it has passed the Gate; zero means that
	// it has not.
	place, number uint64
}

// ID of the leader, or of the pod by itself.
func (w *Waiter) ID() types.UID { return w.Asks.ID }

// Trying tells whether it is being tried.
func (w *Waiter) Trying() bool { return !w.began.IsZero() }

// Began is when it was let through to be tried; zero while it is not.
func (w *Waiter) Began() time.Time { return w.began }

// Pass is in which pass it was let through.
func (w *Waiter) Pass() uint64 { return w.pass }

// Failed tells whether it, or one of its signature, was tried in vain.
func (w *Waiter) Failed() bool { return !w.signature.failed.IsZero() }

// Hears takes that its user is told a reason, and whether all that may be known of it.
func (w *Waiter) Hears(reason gang.Reason, all bool) {
	w.Told, w.ToldLess, w.Turned = reason, reason == gang.BehindOthers && !all, false
}

// Outdated tells whether its user has heard something else than that reason, or less than is known of it now.
func (w *Waiter) Outdated(reason gang.Reason) bool {
	return w.Told != reason || w.ToldLess && w.Failed()
}

// TurnedAway takes that it was tried out of turn, and that kube-scheduler tells its user so.
func (w *Waiter) TurnedAway() {
	w.Hears(gang.BehindOthers, false)
	w.Turned = true
}

// Rehearsed tells whether the framework's filters have refused it.
func (w *Waiter) Rehearsed() bool { return w.signature.rehearsed }

// First tells whether nobody who asks for the same in its queue goes before it.
func (w *Waiter) First() bool {
	first, any := w.group.First()
	return any && first.ID == w.ID()
}

// LacksRoom tells whether it lacks nothing but room, as far as the last attempt has shown.
func (w *Waiter) LacksRoom() bool { return !w.signature.rehearsed && w.signature.lacksRoom() }

// Verdict of the last attempt of its signature; zero if there was none.
func (w *Waiter) Verdict() gang.Verdict { return w.signature.verdict }

// Room holds all that wait. It is not safe for concurrent use.
type Room struct {
	tree    *quota.Tree
	waiters map[types.UID]*Waiter
	// signatures are the signatures of waiters: key -> signature. Those without waiters do not exist.
	signatures map[string]*signature
	// priorities counts the waiters.
	priorities quota.Priorities
	// parked are the groups that Next passes over, and why.
	parked map[*quota.Group]*place
	// blocked are those of them that a queue keeps: queue -> groups.
	blocked map[string]*list

	epochs epochs
	// stirred means that something has happened since Next found nobody: there may be somebody now.
	stirred bool

	shelves shelves
	work    work
	passes  passes
	flight  flight
}

// epochs count how often something happened that may let a waiter start; 0 is before anything did.
type epochs struct {
	room  uint64 // the present one: it began when room came back, or a node changed
	nodes uint64 // the latest that began when a node changed
}

// New is a Room without waiters.
func New(tree *quota.Tree) *Room {
	return &Room{
		tree: tree, waiters: map[types.UID]*Waiter{}, signatures: map[string]*signature{}, priorities: quota.Priorities{},
		parked: map[*quota.Group]*place{}, blocked: map[string]*list{},
		shelves: shelves{later: &pile{}, former: &pile{}}, work: work{most: mostMoved, queued: map[string]bool{}},
		passes: passes{number: 1, last: map[string]time.Time{}, ofNamespace: map[string]time.Time{}, timed: map[string]int{}}, flight: flight{window: 1}, stirred: true,
	}
}

// Of is a waiter by its ID; nil if nobody waits under it.
func (r *Room) Of(id types.UID) *Waiter { return r.waiters[id] }

// All waiters, in no order.
func (r *Room) All() iter.Seq[*Waiter] { return maps.Values(r.waiters) }

// Len is how many wait.
func (r *Room) Len() int { return len(r.waiters) }

// Known tells whether somebody of a signature waits.
func (r *Room) Known(signature string) bool { return r.signatures[signature] != nil }

// Highest is the highest priority of those that wait; where nobody does, the lowest that there can be.
func (r *Room) Highest() int32 { return r.priorities.Highest() }

// Pass counts how often everybody was tried who was due.
func (r *Room) Pass() uint64 { return r.passes.number }

// Epoch counts how often room came back.
func (r *Room) Epoch() uint64 { return r.epochs.room }

// Same tells whether a waiter asks for what it asked for already: then Put keeps its place.
func (w *Waiter) Same(asked Request) bool {
	return w.Request.Asks.Signature == asked.Asks.Signature && w.Asks.Rank == asked.Asks.Rank && w.Asks.Demand.Equal(asked.Asks.Demand)
}

// Put makes a gang or pod wait. One that waits already keeps its place; if it asks for something else now, it has to be
// dropped before.
func (r *Room) Put(now time.Time, asked Request) *Waiter {
	if known := r.waiters[asked.Asks.ID]; known != nil {
		return known
	}
	if len(asked.Pods) == 0 {
		asked.Pods = []resource.Vector{asked.Demand}
	}
	w := &Waiter{Request: asked, Since: now}
	r.waiters[w.ID()] = w
	r.priorities.Add(w.Asks.Priority)
	r.join(w, asked.Asks.Signature)
	return w
}

// Drop ends a wait; for what does not wait it does nothing.
func (r *Room) Drop(id types.UID) {
	w := r.waiters[id]
	if w == nil {
		return
	}
	if w.Trying() {
		r.recall(w)
	}
	r.land(w)
	r.leave(w)
	delete(r.waiters, id)
	r.priorities.Remove(w.Asks.Priority)
}

// join puts a waiter among those of a signature, and into the tree.
func (r *Room) join(w *Waiter, key string) {
	s := r.signatures[key]
	if s == nil {
		s = &signature{key: key, demand: w.Demand, pods: w.Pods, due: true, standing: standing{rung: heap.Absent}}
		if s.rehearses = w.Request.Rehearsed; s.rehearses || w.Costly {
			s.costlyIn = w.Turn.Gang.Namespace
		}
		r.signatures[key] = s
		r.shelves.put(s, inTurn)
	}
	s.waiters++
	w.signature = s
	asks := w.Asks
	asks.Signature = key
	w.group = r.tree.Push(asks)
	r.stir()
}

// leave is the inverse of join.
func (r *Room) leave(w *Waiter) {
	r.tree.Remove(w.ID())
	r.stir()
	if w.group.Gone() {
		r.unpark(w.group)
	}
	s := w.signature
	if s.waiters--; s.waiters == 0 {
		delete(r.signatures, s.key)
		r.passes.retryIn(s, "")
		r.shelves.drop(s)
	}
}

// move gives a waiter another signature, of which it brings what it knows.
func (r *Room) move(w *Waiter, key string) *signature {
	former := w.signature
	if former.key == key {
		return former
	}
	r.leave(w)
	r.join(w, key)
	s := w.signature
	s.gained = max(s.gained, former.gained)
	if s.waiters == 1 && w.failed {
		s.verdict, s.failed, s.tried, s.pass = former.verdict, former.failed, former.tried, former.pass
	}
	return s
}

// own is the signature of a waiter that shares none.
func (w *Waiter) own() string { return fmt.Sprintf("%s of %s alone", w.Request.Asks.Signature, w.ID()) }

// Siblings are at most so many waiters besides one that are not being tried and that a verdict on it, by nodes and by its queue, speaks
// for.
func Siblings(r *Room, w *Waiter, most int) []*Waiter {
	var siblings []*Waiter
	w.group.Each(func(id types.UID) bool {
		if id != w.ID() && len(siblings) < most {
			siblings = append(siblings, r.waiters[id])
		}
		return len(siblings) < most
	})
	return siblings
}

// Arrange takes another tree, which succeeds the former: everybody waits in it, in the queue that queueOf says, and whoever a
// queue kept is looked at again. Who is being tried goes on. A nil queueOf means that nobody moves to another queue, and that the new tree
// keeps all in which somebody waits.
func (r *Room) Arrange(tree *quota.Tree, queueOf func(*Waiter) string) {
	for _, kept := range r.blocked {
		for len(*kept) > 0 {
			r.unpark((*kept)[len(*kept)-1])
		}
	}
	clear(r.blocked)
	var moved []*Waiter
	if queueOf != nil {
		for _, w := range r.waiters {
			if queue := queueOf(w); queue != w.Asks.Queue || !quota.Keeps(r.tree, tree, queue) {
				r.tree.Remove(w.ID())
				if w.group.Gone() {
					r.unpark(w.group)
				}
				moved = append(moved, w)
			}
		}
	}
	quota.Succeed(r.tree, tree)
	r.tree = tree
	for _, w := range moved {
		w.Asks.Queue = queueOf(w)
		asks := w.Asks
		asks.Signature = w.signature.key
		w.group = tree.Push(asks)
		if w.Trying() {
			tree.Try(w.ID())
		}
	}
	r.stir()
}

// Fits asks a waiter's queue whether it may start: what is supposed of itself does not stand in its own way.
func (r *Room) Fits(id types.UID, queue string, d quota.Demand) quota.Verdict {
	return r.tree.FitsIfTried(id, queue, d)
}
