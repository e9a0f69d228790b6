package ledger

import (
	"cmp"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// retryPeriod is after how long a shape that the framework's filters have refused is tried again although nothing has
// happened that the ledger hears of: claims, volumes and namespaces change, and the scheduler's snapshot may not have
// known yet what the ledger knew.
const retryPeriod = time.Minute

// restFactor is how many times as long as a rehearsal took nobody who waits is rehearsed after it: those who fail again
// and again keep the scheduler from everybody else for a twentieth of the time at most.
const restFactor = 19

// waiter is a gang or a pod by itself that has to wait, for room or for its turn. Whose turn it is, the tree of queues says.
type waiter struct {
	// asks is what it asks its queue for. ID is that of the leader.
	asks  quota.Waiter
	shape *shape
	turn  turn
	// since is when it began to wait.
	since time.Time
	// meek ones take nobody's place by priority.
	meek bool
	// claimed is when it was last tried to take something back for it; zero means never.
	claimed time.Time
	// passed is when room was last collected for it in vain; zero means never.
	passed time.Time
	// failed means that it was tried itself, and not only another of its shape.
	failed bool
	// told is the reason that its user has heard last; empty means none.
	told gang.Reason
	// foretold is the same for what would be taken back for it where nothing is.
	foretold gang.Reason
}

func (w *waiter) uid() types.UID { return w.asks.ID }

// turn is the order of leaders, and of waiters where queues do not matter: higher priority, then older, then by name.
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

// shape is the set of waiters that ask nodes for exactly the same, whatever their queues.
type shape struct {
	key    string
	demand resource.Vector // of a whole gang
	count  int             // waiters
	index  int             // in waiting.order
	// tried is the latest epoch in which one of them was tried and failed; zero if failed is.
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
	// priorities counts the waiters.
	priorities tally
	// rehearsed is how many shapes are.
	rehearsed int
	// rests is until when no shape is rehearsed again.
	rests time.Time
	// idle means that nobody was found to be tried, and that nothing has happened since that could change that.
	idle bool
}

// add makes a gang or pod wait; one that waits already keeps its place.
func (w *waiting) add(added *waiter, key string, demand resource.Vector) *waiter {
	if known := w.byPod[added.uid()]; known != nil {
		return known
	}
	s := w.shapes[key]
	if s == nil {
		s = &shape{key: key, demand: demand, index: len(w.order)}
		w.shapes[key] = s
		w.order = append(w.order, s)
	}
	s.count++
	added.shape = s
	w.byPod[added.uid()] = added
	w.priorities.add(added.asks.Priority)
	w.idle = false
	return added
}

// remove ends a pod's wait; for one that does not wait it does nothing.
func (w *waiting) remove(uid types.UID) {
	gone := w.byPod[uid]
	if gone == nil {
		return
	}
	delete(w.byPod, uid)
	w.priorities.remove(gone.asks.Priority)
	gone.shape.stalls = 0
	if gone.shape.count--; gone.shape.count == 0 {
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

// ready tells whether it may be worth while to try a shape: something has happened since it failed, and its demand is at
// most what is free in all, which is necessary though not sufficient. One that was never tried is, so that its users hear
// what it lacks; and so is one that lacked something else than room on the nodes as they were: room is made only for who
// lacks nothing but that.
func (w *waiting) ready(s *shape, now time.Time, since epochs, free resource.Vector) bool {
	return s.failed.IsZero() || !w.restsNow(s, now) && s.due(since) && (s.demand.Fits(free) || !s.lacksRoom() && s.tried < since.nodes)
}

// lacksRoom tells whether the shape lacks nothing but room, as far as the last attempt has shown.
func (s *shape) lacksRoom() bool {
	return s.verdict.Reason == gang.ClusterFull || s.verdict.Reason == gang.Fragmented
}

// restsNow tells whether a shape is not rehearsed yet.
func (w *waiting) restsNow(s *shape, now time.Time) bool { return s.rehearsed && now.Before(w.rests) }

// levels are the numbers of stalls of the shapes that are ready, ascending, and whether some shape rests that will be ready
// although nothing happens.
func (w *waiting) levels(now time.Time, since epochs, free resource.Vector) (levels []int, rest bool) {
	for _, s := range w.order {
		rest = rest || w.restsNow(s, now)
		if w.ready(s, now, since, free) && !slices.Contains(levels, s.stalls) {
			levels = append(levels, s.stalls)
		}
	}
	slices.Sort(levels)
	return levels, rest
}
