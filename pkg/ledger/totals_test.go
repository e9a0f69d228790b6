package ledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// What is taken back is counted where it was taken, with the time for which it had run.
//
// Seen failing when pods were counted that have ended by themselves.
func TestWhatWasTakenBackIsCounted(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
	c.waits("own", "y", 2)
	own, other := c.standing("own"), c.standing("other")
	assert.Equal(t, cores(4).CPU, own.Guaranteed.Vector().CPU)
	assert.EqualValues(t, 3000, own.Lent.CPU, "the borrower has three cores more than its guarantee")
	assert.Zero(t, other.Lent.CPU)
	assert.EqualValues(t, 3000, own.Asked.CPU)
	assert.Equal(t, c.Ledger.members.pods["y"].Created, own.Oldest)
	assert.Equal(t, map[State]int{Waiting: 1}, own.Crew.States)
	assert.Equal(t, map[State]int{Running: 1}, other.Crew.States)

	c.pass(time.Second)
	require.Equal(t, []string{"x5", "x4"}, c.evicted())
	require.True(t, c.Evicting("x5"))
	began := c.members.pods["x5"].started
	c.pass(30 * time.Second)
	ran := c.now.Sub(began)
	c.ends("x5", "x4", "x3") // nobody has evicted the others
	totals, _ := TotalsOf(c.Ledger)
	assert.Equal(t, map[string]Lost{"other": {Pods: 1, CoreSeconds: ran.Seconds()}}, totals.Reclaimed)

	c.arrange(quota.Spec{Name: "own"})
	totals, _ = TotalsOf(c.Ledger)
	assert.Empty(t, totals.Reclaimed, "of a queue that is gone")
}

// A gang has begun when its leader is bound that was admitted here; of one that ran before this process nobody knows when it had room.
//
// Seen failing with whatever was seen to be bound.
func TestWhatHasBegunIsTold(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.arrange(quota.Spec{Name: "own"})
	c.runs("own", "before", 0, "a")
	y := c.pod("own", "y", 1, "")
	y.Kind, y.Gang = Leader, gang.Key{Namespace: "own", Name: "y"}
	c.tell(PodSeen{y})
	c.tell(Defined{y.UID, definition(1, 1)})
	c.pass(20 * time.Second)
	verdict, _, _ := c.Gate(c.now, y)
	require.True(t, verdict.Passes())
	admitted := c.now
	c.tell(Admitted{Leader: "y", Node: "b", Slots: []gang.Slot{{Node: "b", Requests: cores(1)}}})
	standing := c.standing("own")
	assert.Equal(t, map[State]int{Starting: 1, Running: 1}, standing.Crew.States)
	assert.Equal(t, 1, standing.Crew.Open)
	assert.EqualValues(t, 1000, standing.Crew.Held.CPU)
	c.now = c.now.Add(time.Second)
	y.Node = "b"
	c.tell(PodSeen{y})
	lone := c.pod("own", "lone", 1, "")
	c.tell(PodSeen{lone})
	c.tell(Placed{lone.UID, "a"})
	c.now = c.now.Add(2 * time.Second)
	lone.Node = "a"
	c.tell(PodSeen{lone})
	_, begun := TotalsOf(c.Ledger)
	assert.Equal(t, []Begun{{"own", admitted.Sub(y.Created), time.Second}, {"own", 0, 2 * time.Second}}, begun)
	_, begun = TotalsOf(c.Ledger)
	assert.Empty(t, begun, "once")
}

// The first real worker is compared with the prediction, and slots that nobody claims are counted.
//
// Seen failing when every worker was compared, and when gangs were counted instead of slots.
func TestPredictionsAreCompared(t *testing.T) {
	c := newCluster(t, "a", "b", "d")
	c.arrange(quota.Spec{Name: "own"})
	grow := func(app string, cpu int64) {
		c.carriedWith(app, 2)
		for _, name := range []string{"0", "1"} {
			worker := c.pod("own", app+name, cpu, "")
			worker.Kind, worker.Gang, worker.Leader, worker.Role = Worker, gang.Key{Namespace: "own", Name: app}, c.members.apps[gang.Key{Namespace: "own", Name: app}].leaders[0].leader.UID, "executor"
			c.tell(PodSeen{worker})
		}
	}
	grow("right", 1)
	grow("large", 2)
	totals, _ := TotalsOf(c.Ledger)
	assert.Equal(t, map[Prediction]int{Right: 1, Larger: 1}, totals.Predictions)

	c.carriedWith("idle", 2)
	require.Equal(t, 2, c.standing("own").Crew.Open-4)
	c.now = c.now.Add(time.Hour)
	c.tell(Tick{Unclaimed: time.Minute})
	totals, _ = TotalsOf(c.Ledger)
	assert.Equal(t, 6, totals.Released[Unclaimed])
}

// carriedWith is a driver that runs with open slots.
func (c *cluster) carriedWith(app string, slots int) {
	leader := c.carrying("own", app, "a", cores(1), map[string]int{"b": slots})
	leader.Ready, leader.Requests = true, resource.Vector{Pods: 1}
	c.tell(PodSeen{leader})
	c.tell(Defined{leader.UID, definition(slots, 1)})
}

// A slot that its node cannot keep is counted as repaired, or as one without a node.
//
// Seen failing before it was.
func TestRepairsAreCounted(t *testing.T) {
	c := newCluster(t, "a", "b", "d")
	c.arrange(quota.Spec{Name: "own"})
	c.carriedWith("x", 2)
	c.tell(NodeGone{"b"})
	totals, _ := TotalsOf(c.Ledger)
	assert.Equal(t, map[Repair]int{SlotMoved: 2}, totals.Repairs)
	c.tell(NodeGone{"d"})
	c.tell(NodeGone{"a"})
	totals, _ = TotalsOf(c.Ledger)
	assert.Equal(t, map[Repair]int{SlotMoved: 2, SlotHomeless: 2}, totals.Repairs)
	assert.Equal(t, map[State]int{Degraded: 1}, c.standing("own").Crew.States)
}

// A gang of which only some pods are bound when they are first seen is partial until the others are; when it has been whole, a pod that
// ends does not make it partial.
//
// Seen failing when every gang with fewer pods than start together was.
func TestAGangIsPartialUntilItHasBeenWhole(t *testing.T) {
	key := groupKey("own", "g")
	member := func(name, node string) func(*cluster) Pod {
		return func(c *cluster) Pod {
			p := c.pod("own", name, 1, node)
			p.Kind, p.Gang, p.Role, p.Upfront = Worker, key, "of 1", true
			return p
		}
	}
	c := started(t, []quota.Spec{{Name: "above"}, {Name: "own", Parent: "above"}}, []string{"a", "b"}, func(c *cluster) Pod {
		c.tell(GroupSeen{Group{Key: key, Minimum: 2}})
		return member("p1", "a")(c)
	}, member("p2", ""))
	partial := func() (int, int) { return c.standing("own").Crew.Partial, c.standing("above").Crew.Partial }
	own, above := partial()
	require.Equal(t, []int{1, 1}, []int{own, above}, "with all below it")
	totals, _ := TotalsOf(c.Ledger)
	require.Equal(t, 1, totals.Repairs[GangCompleted])
	p2 := c.members.pods["p2"].Pod
	c.tell(Placed{p2.UID, "b"})
	p2.Node = "b"
	c.tell(PodSeen{p2})
	own, above = partial()
	require.Equal(t, []int{0, 0}, []int{own, above})
	c.ends("p1")
	own, _ = partial()
	require.Zero(t, own)
}

// The lock tells for how long it was held when others can have it again.
//
// Seen failing when it told before.
func TestTheLockTellsForHowLongItWasHeld(t *testing.T) {
	l := New("", "")
	now, told := start, []time.Duration{}
	WatchLock(l, func() time.Time {
		now = now.Add(time.Millisecond)
		return now
	}, func(held time.Duration) {
		require.True(t, l.mu.TryLock())
		l.mu.Mutex.Unlock()
		told = append(told, held)
	})
	l.Census()
	l.View()
	assert.Equal(t, []time.Duration{time.Millisecond, time.Millisecond}, told)
}
