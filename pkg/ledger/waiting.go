package ledger

import (
	"cmp"
	"container/heap"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// retryPeriod is after how long a shape that the framework's filters have refused is tried again although nothing has
// happened that the ledger hears of: claims, volumes and namespaces change, and the scheduler's snapshot may not have
// known yet what the ledger knew.
const retryPeriod = time.Minute

// restFactor is how many times as long as a rehearsal took nobody who waits is rehearsed after it: those who fail again
// and again keep the scheduler from everybody else for a twentieth of the time at most.
const restFactor = 19

// waiter is a pod, with its gang if it leads one, that was tried and did not fit.
type waiter struct {
	uid   types.UID
	shape *shape
	turn  turn
	index int // in shape.queue
	// passed is when room was last collected for it in vain; zero means never.
	passed time.Time
}

// turn is the order in which waiters are tried: higher priority, then older, then by name.
type turn struct {
	priority int32
	created  time.Time
	gang     gang.Key
	uid      types.UID
}

func (t turn) compare(other turn) int {
	if order := cmp.Or(cmp.Compare(other.priority, t.priority), t.created.Compare(other.created)); order != 0 {
		return order
	}
	return cmp.Or(cmp.Compare(t.gang.Namespace, other.gang.Namespace), cmp.Compare(t.gang.Name, other.gang.Name), cmp.Compare(t.uid, other.uid))
}

// shape is the set of waiters that ask for exactly the same.
type shape struct {
	key    string
	demand resource.Vector // of a whole gang
	queue  turns
	index  int // in waiting.order
	// tried is the latest epoch in which one of them was tried and failed.
	tried uint64
	// verdict of that attempt.
	verdict gang.Verdict
	// rehearsed and company are those of that attempt's Refused, and failed is when it was told.
	rehearsed, company bool
	failed             time.Time
	// stalls is how many of its attempts in a row have not reported an end. A shape that stalls goes behind all that do
	// not: whatever keeps its attempts from ending must not keep the others from theirs.
	stalls int
}

// waiting holds all waiters. Shapes without waiters do not exist.
type waiting struct {
	shapes map[string]*shape     // shape key -> its waiters
	order  []*shape              // the same in no order, quicker to go through
	byPod  map[types.UID]*waiter // leader or lone pod -> its wait
	// rehearsed is how many shapes are.
	rehearsed int
	// rests is until when no shape is rehearsed again.
	rests time.Time
	// idle means that next found nobody, and that nothing has happened since that could change its answer.
	idle bool
}

// add makes a pod wait that has failed, or whose shape has; one that waits already keeps its place.
func (w *waiting) add(uid types.UID, key string, demand resource.Vector, turn turn) *waiter {
	if known := w.byPod[uid]; known != nil {
		return known
	}
	s := w.shapes[key]
	if s == nil {
		s = &shape{key: key, demand: demand, index: len(w.order)}
		w.shapes[key] = s
		w.order = append(w.order, s)
	}
	added := &waiter{uid: uid, shape: s, turn: turn}
	heap.Push(&s.queue, added)
	w.byPod[uid] = added
	return added
}

// remove ends a pod's wait; for one that does not wait it does nothing.
func (w *waiting) remove(uid types.UID) {
	gone := w.byPod[uid]
	if gone == nil {
		return
	}
	delete(w.byPod, uid)
	gone.shape.stalls = 0
	heap.Remove(&gone.shape.queue, gone.index)
	if len(gone.shape.queue) == 0 {
		w.forget(gone.shape)
	}
}

func (w *waiting) forget(s *shape) {
	w.rehearse(s, false)
	delete(w.shapes, s.key)
	last := len(w.order) - 1
	w.order[s.index] = w.order[last]
	w.order[s.index].index = s.index
	w.order[last] = nil
	w.order = w.order[:last]
}

// fail notes that an attempt of a waiter has failed, judged in an epoch.
func (w *waiting) fail(s *shape, r Refused, now time.Time) {
	s.tried, s.verdict, s.stalls, s.failed, s.company = max(s.tried, r.Epoch), r.Verdict, 0, now, r.Company
	w.rehearse(s, r.Rehearsed)
	if r.Took > 0 {
		w.rests = now.Add(restFactor * r.Took)
	}
}

func (w *waiting) rehearse(s *shape, rehearsed bool) {
	if s.rehearsed {
		w.rehearsed--
	}
	if s.rehearsed = rehearsed; rehearsed {
		w.rehearsed++
	}
}

// retry lets shapes be tried again that were rehearsed long ago.
func (w *waiting) retry(now time.Time) {
	if w.rehearsed == 0 {
		return
	}
	for _, s := range w.order {
		if s.rehearsed && now.Sub(s.failed) >= retryPeriod {
			s.tried, w.idle = 0, false
		}
	}
}

// stall notes that an attempt of a waiter has not ended in time.
func (w *waiting) stall(uid types.UID) {
	if stalled := w.byPod[uid]; stalled != nil {
		stalled.shape.stalls++
	}
}

// epochs are those in which something last happened; 0 is before anything did.
type epochs struct {
	room    uint64 // room came back, or a node changed
	nodes   uint64 // a node changed
	company uint64 // a pod came to a node, or which pods are there changed in another way without giving room back
}

// due tells whether something has happened since the shape failed that may change the verdict. What can never fit is
// tried again only after the nodes have changed.
func (s *shape) due(since epochs) bool {
	switch {
	case s.verdict.Permanent():
		return s.tried < since.nodes
	case s.company:
		return s.tried < max(since.room, since.company)
	default:
		return s.tried < since.room
	}
}

// next is the first in turn among the waiters whose shape is due and whose demand is at most what is free in all, which
// is necessary though not sufficient. nil means there is none.
func (w *waiting) next(now time.Time, since epochs, free resource.Vector) *waiter {
	if w.idle {
		return nil
	}
	var best *waiter
	rests := false
	for _, s := range w.order {
		if s.rehearsed && now.Before(w.rests) {
			rests = true
			continue
		}
		if s.due(since) && s.demand.Fits(free) && (best == nil || s.queue[0].before(best)) {
			best = s.queue[0]
		}
	}
	w.idle = best == nil && !rests
	return best
}

// before tells whether a waiter is tried before one of another shape.
func (w *waiter) before(other *waiter) bool {
	return cmp.Or(cmp.Compare(w.shape.stalls, other.shape.stalls), w.turn.compare(other.turn)) < 0
}

// turns is a heap of waiters, the first in turn on top.
type turns []*waiter

func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return t[i].turn.compare(t[j].turn) < 0 }
func (t turns) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

func (t *turns) Push(x any) {
	added := x.(*waiter)
	added.index = len(*t)
	*t = append(*t, added)
}

func (t *turns) Pop() any {
	last := len(*t) - 1
	popped := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	return popped
}
