package waiting

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

var start = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func cores(n int64) resource.Vector { return resource.Vector{CPU: 1000 * n, Pods: 1} }

// asking is a gang of so many pods of the same size, in a queue.
func asking(id string, queue string, pods int, size int64, age int) Request {
	demand := cores(size).Scale(pods)
	created := start.Add(-time.Duration(age) * time.Minute)
	return Request{
		Asks:   quota.Waiter{ID: types.UID(id), Queue: queue, Since: created, Signature: fmt.Sprint(pods, " of ", size), Demand: quota.Demand{Amount: demand, Gangs: 1}},
		Demand: demand, Pods: []resource.Vector{cores(size)}, Turn: Turn{Created: created, ID: types.UID(id)},
	}
}

// story is a Room, and its twin, which remembers what has happened and computes who is next from the beginning.
type story struct {
	*Room
	now      time.Time
	free     resource.Vector
	specs    []quota.Spec
	running  []quota.Waiter
	inFlight []types.UID
	facts    map[types.UID]*fact
	// ended is the last pass in which nobody was left.
	ended uint64
	// changes are what has happened: index is epoch − 1.
	changes []change
}

type change struct {
	nodes bool
	most  resource.Vector
	// opens is the largest pod that may have room now on a node, were it empty, and had none.
	opens resource.Vector
}

// fact is what the twin knows of a waiter.
type fact struct {
	Request
	signature string // its own, if it was refused alone or has missed an attempt
	failed    bool
	epoch     uint64 // by which the last failure of the signature was judged
	verdict   gang.Reason
	notBefore time.Time
	retry     time.Time
}

func (s *story) tree() *quota.Tree {
	tree := quota.New(s.specs)
	for _, w := range s.running {
		tree.Charge(w.Queue, w.Demand)
	}
	return tree
}

// helped tells whether something has happened since a failure that may change it.
func (s *story) helped(f *fact) bool {
	for _, c := range s.changes[f.epoch:] {
		switch {
		case f.verdict == gang.NeverFitsNode:
			if c.nodes && (f.Demand.Pods > 1 || !f.retry.IsZero() || f.Demand.Fits(c.opens)) {
				return true
			}
		case c.nodes && f.verdict == gang.Constraints, f.Pods[0].Fits(c.most):
			return true
		}
	}
	return !f.retry.IsZero() && !s.now.Before(f.retry)
}

// worth tells whether a waiter may be tried, in this pass or a later one.
func (s *story) worth(f *fact) bool {
	if s.now.Before(f.notBefore) {
		return false
	}
	if !f.failed {
		return true
	}
	nodes := slices.ContainsFunc(s.changes[f.epoch:], func(c change) bool { return c.nodes })
	fits := f.Demand.Fits(s.free) || f.verdict == gang.Constraints && nodes || f.verdict == gang.NeverFitsNode && nodes
	return s.helped(f) && fits
}

// candidates are those that may be tried, the first in turn first, if those in flight have started.
func (s *story) candidates() (ids []types.UID) {
	tree := s.tree()
	for _, id := range s.inFlight {
		tree.Charge(s.facts[id].Asks.Queue, s.facts[id].Asks.Demand)
	}
	groups := map[types.UID]*quota.Group{}
	for id, f := range s.facts {
		if !slices.Contains(s.inFlight, id) {
			asks := f.Asks
			asks.Signature = string(id)
			groups[id] = tree.Push(asks)
		}
	}
	for asks, any := tree.Next(); any; asks, any = tree.Next() {
		tree.Park(groups[asks.ID])
		if s.worth(s.facts[asks.ID]) && tree.Fits(asks.Queue, asks.Demand).Passes() {
			ids = append(ids, asks.ID)
		}
	}
	return ids
}

// share lets a failure speak for all of a signature.
func (s *story) share(of *fact, change func(*fact)) {
	for _, f := range s.facts {
		if f.signature == of.signature {
			change(f)
		}
	}
}

func drawStory(t *rapid.T) *story {
	limit := func(label string) quota.Amounts {
		if rapid.Bool().Draw(t, label) {
			return quota.Amounts{{Name: "cpu", Value: 1000 * rapid.Int64Range(2, 12).Draw(t, label)}}
		}
		return nil
	}
	specs := []quota.Spec{{Name: "p", Limit: limit("limit of p"), Guaranteed: limit("guarantee of p")}, {Name: "q", Limit: limit("limit of q")}}
	s := &story{now: start, free: cores(rapid.Int64Range(0, 12).Draw(t, "free")), specs: specs, facts: map[types.UID]*fact{}}
	s.free.Pods = 100
	s.Room = New(s.tree())
	s.Room.work.most = rapid.SampledFrom([]int{1, 2, 3, mostMoved}).Draw(t, "at once")
	return s
}

// step lets one random thing happen.
func (s *story) step(t *rapid.T) {
	id := types.UID(fmt.Sprint(rapid.IntRange(0, 7).Draw(t, "whom")))
	trying := func() *Waiter {
		if flying := s.Trying(); len(flying) > 0 {
			return rapid.SampledFrom(flying).Draw(t, "of those being tried")
		}
		return nil
	}
	switch rapid.SampledFrom([]string{"put", "put", "put", "drop", "room", "room", "nodes", "fail", "fail", "fail", "start", "start", "end", "miss", "alone", "time"}).Draw(t, "event") {
	case "put":
		if s.Of(id) == nil {
			asked := asking(string(id), rapid.SampledFrom([]string{"p", "q"}).Draw(t, "queue"), rapid.IntRange(1, 3).Draw(t, "pods"), rapid.Int64Range(1, 3).Draw(t, "size"), rapid.IntRange(0, 9).Draw(t, "age"))
			f := &fact{Request: asked, signature: asked.Asks.Signature}
			for _, other := range s.facts {
				if other.signature == f.signature {
					f.failed, f.epoch, f.verdict, f.notBefore, f.retry = other.failed, other.epoch, other.verdict, other.notBefore, other.retry
				}
			}
			s.facts[id] = f
			s.Put(s.now, asked)
		}
	case "drop":
		s.Drop(id)
		delete(s.facts, id)
	case "room", "nodes":
		s.free = cores(rapid.Int64Range(0, 12).Draw(t, "free"))
		s.free.Pods = 100
		most := cores(rapid.Int64Range(0, 3).Draw(t, "most on a node"))
		nodes := rapid.IntRange(0, 2).Draw(t, "nodes") == 0
		kind := Freed
		if nodes {
			kind = Nodes
		}
		opens := cores(rapid.Int64Range(0, 3).Draw(t, "opens"))
		s.changes = append(s.changes, change{nodes, most, opens})
		s.Changed(kind, most, func(pod resource.Vector) bool { return pod.Fits(opens) })
	case "fail", "alone":
		if w := trying(); w != nil {
			alone := rapid.IntRange(0, 3).Draw(t, "alone") == 0
			f := s.facts[w.ID()]
			f.signature = w.Request.Asks.Signature
			if alone {
				f.signature = w.own()
			}
			reason := rapid.SampledFrom([]gang.Reason{gang.ClusterFull, gang.Fragmented, gang.Constraints, gang.NeverFitsNode}).Draw(t, "reason")
			s.Failed(w, Failure{Epoch: s.Epoch(), Verdict: gang.Verdict{Reason: reason, Message: "x"}, Alone: alone}, s.now)
			s.share(f, func(f *fact) {
				f.failed, f.epoch, f.verdict, f.notBefore, f.retry = true, s.Epoch(), reason, time.Time{}, w.signature.retry
			})
		}
	case "start":
		if w := trying(); w != nil {
			s.running = append(s.running, s.facts[w.ID()].Asks)
			delete(s.facts, w.ID())
			s.Started(w.ID())
			s.Room.tree.Charge(w.Request.Asks.Queue, w.Request.Asks.Demand)
		}
	case "end":
		if len(s.running) > 0 {
			at := rapid.IntRange(0, len(s.running)-1).Draw(t, "which")
			w := s.running[at]
			s.running = slices.Delete(s.running, at, at+1)
			s.Room.tree.Release(w.Queue, w.Demand)
		}
	case "miss":
		if w := trying(); w != nil {
			s.miss(w)
		}
	case "time":
		for _, w := range slices.Clone(s.Trying()) {
			s.miss(w) // sooner or later
		}
		s.now = s.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second)
	}
	s.let(t)
}

func (s *story) miss(w *Waiter) {
	if !w.Trying() {
		return // it was taken back
	}
	s.Missed(w.ID(), s.now)
	f := s.facts[w.ID()]
	f.signature, f.notBefore, f.failed, f.verdict, f.epoch = w.own(), w.signature.notBefore, true, w.signature.verdict.Reason, 0
}

// let lets everybody through whose turn it is, and compares each with the twin.
func (s *story) let(t *rapid.T) {
	for {
		s.inFlight = nil
		for _, w := range s.Trying() {
			s.inFlight = append(s.inFlight, w.ID())
		}
		next, _ := s.NextSoon(s.now, s.free)
		for parts := 1; s.Busy(); parts++ {
			require.Nil(t, next)
			require.Less(t, parts, 1000, "what is done is done again")
			next, _ = s.NextSoon(s.now, s.free)
		}
		s.inFlight = nil
		for _, w := range s.Trying() {
			s.inFlight = append(s.inFlight, w.ID())
		}
		if next == nil {
			break
		}
		s.compare(t, next)
		s.Began(next, s.now)
	}
	if len(s.Trying()) == 0 && !s.now.Before(s.passes.rest) {
		s.ended = s.passes.number
	}
	require.NoError(t, s.Check(s.now, s.free))
	require.Equal(t, len(s.facts), s.Len())
	for id, f := range s.facts {
		w := s.Of(id)
		require.Equal(t, f.signature, w.signature.key)
		require.Equal(t, f.failed, w.Failed(), "%s %+v %+v", id, *f, *w.signature)
	}
}

// compare checks that nobody goes before who is named, but those who were tried in this pass, which goes on.
func (s *story) compare(t *rapid.T, next *Waiter) {
	candidates := s.candidates()
	missed := slices.ContainsFunc(candidates, func(id types.UID) bool { return s.Of(id).missed > 0 })
	if missed || next.missed > 0 {
		return // what those lack, of whose attempts nothing is known, the twin does not know either
	}
	for _, id := range candidates {
		if id == next.ID() {
			return
		}
		w := s.Of(id)
		require.True(t, w.Failed() && s.passes.number == w.signature.pass && s.passes.number > s.ended, "%s goes before %s, and was not tried in this pass %+v next %+v passes %+v", id, next.ID(), *w.signature, s.dbg(w), s.dbg(next))
	}
	require.Fail(t, "nobody is named who may be tried", "%s of %v %s fact %+v", next.ID(), candidates, s.dbg(next), *s.facts[next.ID()])
}

// TestTheNextIsTheFirstInTurnOfThoseWhoseVerdictMayHaveChanged, compared with a twin that looks at everybody and at all that has
// happened; and nobody who may be tried is forgotten.
//
// Seen failing when a signature that changed hands forgot what had happened during its attempt, when an own signature was not given
// up after another failure, when what failed for something else than room was not looked at after the nodes had changed, when
// those that are being tried were not charged, when a pass in which nobody was left went on, and when a change of nodes helped whoever is too large for them or nobody of those.
func TestTheNextIsTheFirstInTurnOfThoseWhoseVerdictMayHaveChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawStory(t)
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			s.step(t)
		}
	})
}

// What no node could hold is tried again when nodes have changed: a pod by itself only if one of them opens to it, as with kube-scheduler's own
// hints; a gang in any case, and who was refused for something of its own as well.
//
// Seen failing when every change of a node counted, when a gang was taken for a pod by itself, and when it did not matter that somebody
// was refused alone.
func TestWhatIsTooLargeIsTriedAgainWhenItMayHaveRoom(t *testing.T) {
	for name, test := range map[string]struct {
		pods         int
		alone, opens bool
		want         bool
	}{
		"a pod, and no node opens to it":  {1, false, false, false},
		"a pod, and a node opens to it":   {1, false, true, true},
		"a gang, and no node opens to it": {2, false, false, true},
		"a pod that was refused alone":    {1, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			room := New(quota.New(nil))
			free := cores(9)
			free.Pods = 100
			asked := asking("x", "", test.pods, 3, 0)
			asked.Turn.Gang.Namespace = "ns"
			room.Put(start, asked)
			w, _ := room.Next(start, free)
			room.Began(w, start)
			room.Failed(w, Failure{Epoch: room.Epoch(), Verdict: gang.Verdict{Reason: gang.NeverFitsNode}, Alone: test.alone}, start)
			room.Changed(Nodes, cores(2), func(resource.Vector) bool { return test.opens })
			next, _ := room.Next(start, free)
			require.Equal(t, test.want, next != nil)
		})
	}
}

// Whoever may be tried is tried within one pass, however often room comes back meanwhile.
//
// Seen failing when a signature that failed was due again in the same pass.
func TestEverybodyIsTriedOnceBeforeAnybodyIsTriedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		room := New(quota.New(nil))
		n := rapid.IntRange(2, 30).Draw(t, "waiters")
		for i := range n {
			room.Put(start, asking(fmt.Sprint(i), "", 1+i, 1, rapid.IntRange(0, 99).Draw(t, "age")))
		}
		free := cores(int64(2 * n))
		free.Pods = 1000
		for range 3 {
			tried := map[types.UID]int{}
			for range n {
				w, _ := room.Next(start, free)
				require.NotNil(t, w)
				room.Began(w, start)
				if rapid.Bool().Draw(t, "room comes back during the attempt") {
					room.Changed(Freed, cores(1), nil)
				}
				tried[w.ID()]++
				room.Failed(w, Failure{Epoch: room.Epoch(), Verdict: gang.Verdict{Reason: gang.Fragmented}}, start)
				room.Changed(Freed, cores(1), nil)
			}
			require.Len(t, tried, n)
		}
	})
}

// When everybody was tried who was due, the pass is over: when room comes back later, the first in turn goes first, whether it was tried in
// that pass or not.
//
// Seen failing when a pass ended only when somebody waited for the next: the second was tried, because the first had failed again for less.
func TestTheFirstInTurnGoesFirstWhenNobodyIsLeft(t *testing.T) {
	room, free := New(quota.New(nil)), cores(9)
	free.Pods = 100
	room.Put(start, asking("first", "", 3, 1, 2))
	room.Put(start, asking("second", "", 1, 3, 1))
	try := func(want types.UID) {
		w, _ := room.Next(start, free)
		require.NotNil(t, w)
		require.Equal(t, want, w.ID())
		room.Began(w, start)
		room.Failed(w, Failure{Epoch: room.Epoch(), Verdict: gang.Verdict{Reason: gang.Fragmented}}, start)
	}
	try("first")
	try("second")
	room.Changed(Freed, cores(1), nil)
	try("first")
	nobody, _ := room.Next(start, free)
	require.Nil(t, nobody)
	room.Changed(Freed, cores(3), nil)
	try("first")
	try("second")
}

// Whoever was tried out of turn, and is let through later, has yet to be tried: the cycle of another says nothing of that.
//
// Seen failing when the end of a cycle was noted only of those who had been let through: the waiter paused for an attempt that had not been
// made, and others were tried meanwhile.
func TestACycleThatHasEndedIsNoAttemptThatIsMissed(t *testing.T) {
	for name, end := range map[string]func(*Room, *Waiter){
		"in a failure": func(room *Room, w *Waiter) {
			room.Failed(w, Failure{Epoch: room.Epoch(), Verdict: gang.Verdict{Reason: gang.Fragmented}}, start)
			room.Changed(Freed, cores(1), nil)
		},
		"with the wait": func(room *Room, w *Waiter) {
			room.Drop(w.ID())
			room.Put(start, asking("x", "", 1, 1, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			room, free := New(quota.New(nil)), cores(9)
			room.Entered("x", 0, start)
			end(room, room.Put(start, asking("x", "", 1, 1, 0)))
			w, _ := room.Next(start, free)
			room.Began(w, start)
			room.Entered("other", 0, start)
			require.True(t, w.Trying())
		})
	}
}

// Several are let through at once, and kube-scheduler activates them in no order: they are tried in that of their turns.
//
// Seen failing when the order in which they passed the Gate counted (seed 31000005 of test/sim at 598add0).
func TestWhoIsLetThroughFirstIsTriedFirst(t *testing.T) {
	room, free := New(quota.New(nil)), cores(9)
	room.flight.window = 2
	for age, id := range []string{"second", "first"} {
		room.Put(start, asking(id, "", 1, 1, age))
	}
	for range 2 {
		w, _ := room.Next(start, free)
		room.Began(w, start)
	}
	require.True(t, room.Of("second").Trying())
	second, first := room.Passed("second"), room.Passed("first")
	require.Less(t, first, second)
	require.Less(t, second, room.Passed("executor"))
	require.Equal(t, first, room.Passed("first"), "it may pass once more")
}

// Whoever does not come to the Gate when its turn has come, as another plugin keeps its pod, costs the others seconds, however many cycles
// begin meanwhile.
//
// Seen failing when only a scheduler without cycles ended such an attempt: nobody else was let through while executors started.
func TestWhoDoesNotComeToTheGateKeepsNobody(t *testing.T) {
	room, free, now := New(quota.New(nil)), cores(9), start
	for age, id := range []string{"behind", "gated"} {
		room.Put(now, asking(id, "", 1, 1, age))
	}
	w, _ := room.Next(now, free)
	require.Equal(t, "gated", string(w.ID()))
	room.Began(w, now)
	for !room.Of("behind").Trying() {
		require.LessOrEqual(t, now.Sub(start), attemptTimeout, "somebody behind it is still not tried")
		now = now.Add(time.Second)
		room.Entered("executor", room.Passed("executor"), now)
		room.Expire(now)
		for w, _ := room.Next(now, free); w != nil; w, _ = room.Next(now, free) {
			room.Began(w, now)
		}
	}
	require.False(t, room.Of("gated").Trying())
}

// A pass in which nobody was left goes on if somebody comes while the next has to rest: all that are due have their turn before those who
// have had it.
//
// Seen failing when the next began with the end of its rest.
func TestAPassGoesOnWhileTheNextRests(t *testing.T) {
	room, free := New(quota.New(nil)), cores(9)
	free.Pods = 100
	room.Put(start, asking("first", "", 1, 1, 3))
	next := func(now time.Time) *Waiter {
		w, _ := room.Next(now, free)
		return w
	}
	fail := func(w *Waiter, now time.Time) {
		room.Failed(w, Failure{Epoch: room.Epoch(), Verdict: gang.Verdict{Reason: gang.Fragmented}, Took: time.Millisecond}, now)
	}
	room.Began(next(start), start)
	fail(room.Of("first"), start)
	require.Nil(t, next(start))
	room.Put(start, asking("second", "", 1, 2, 2))
	room.Put(start, asking("third", "", 1, 3, 1))
	room.Changed(Freed, cores(3), nil)
	second := next(start)
	require.Equal(t, types.UID("second"), second.ID())
	room.Began(second, start)
	later := start.Add(time.Second)
	fail(second, later)
	require.Equal(t, types.UID("third"), next(later).ID())
}

// Turns are an order: of any two one goes first, whoever asks, and priority counts before age.
//
// Seen failing when the order ended with the gang's name.
func TestTurnsAreAnOrder(t *testing.T) {
	draw := func(t *rapid.T, id types.UID) Turn {
		return Turn{
			Priority: rapid.Int32Range(0, 2).Draw(t, "priority"),
			Created:  start.Add(time.Duration(rapid.IntRange(0, 2).Draw(t, "age")) * time.Second),
			Gang:     gang.Key{Namespace: rapid.SampledFrom([]string{"n", "m"}).Draw(t, "namespace"), Name: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "name")},
			ID:       id,
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := draw(t, "1"), draw(t, "2"), draw(t, "3")
		require.Zero(t, a.Compare(a))
		require.NotZero(t, a.Compare(b))
		require.Equal(t, a.Compare(b), -b.Compare(a))
		if a.Compare(b) < 0 && b.Compare(c) < 0 {
			require.Negative(t, a.Compare(c))
		}
		if order := cmp.Or(cmp.Compare(b.Priority, a.Priority), a.Created.Compare(b.Created)); order != 0 {
			require.Equal(t, order, a.Compare(b))
		}
	})
}

func (s *story) dbg(w *Waiter) string {
	v, kept := s.KeptBy(w)
	return fmt.Sprintf("kept %v %+v parked %v trying %v specs %+v running %d flight %v candidates %v cap", kept, v, w.group.Parked(), w.Trying(), s.specs, len(s.running), s.inFlight, s.candidates())
}
