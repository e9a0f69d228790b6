package ledger

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/reclaim"
	"retinue.dev/retinue/pkg/resource"
)

// cluster is a ledger with queues on which something runs. A namespace is the queue of the same name.
type cluster struct {
	*Ledger
	t   require.TestingT
	now time.Time
	// said are the effects since they were last looked at.
	said []Effect
}

// newCluster has nodes of four cores each, and two queues that are guaranteed half of it each: own takes back what it has
// lent, other does not.
func newCluster(t require.TestingT, nodes ...string) *cluster {
	c := &cluster{Ledger: New("", placement.Pack), t: t, now: start}
	for _, name := range nodes {
		c.tell(NodeSeen{newNode(name, 4)})
	}
	half := quota.Amounts{{Name: v1.ResourceCPU, Value: int64(len(nodes)) * 2000}}
	c.arrange(
		quota.Spec{Name: "own", Guaranteed: half, Reclaim: quota.Reclaim{Enabled: true}},
		quota.Spec{Name: "other", Guaranteed: half},
	)
	c.tell(Synced{})
	return c
}

func (c *cluster) arrange(specs ...quota.Spec) {
	layout := Queues{Specs: specs, Namespaces: map[string]string{}}
	for _, spec := range specs {
		layout.Namespaces[spec.Name] = spec.Name
	}
	c.tell(QueuesSeen{layout})
}

func (c *cluster) tell(event Event) {
	effects, err := c.Apply(c.now, judged(c.Ledger, event))
	require.NoError(c.t, err)
	c.said = append(c.said, effects...)
}

// pass lets time pass second by second, as the plugin does.
func (c *cluster) pass(d time.Duration) {
	for range d / time.Second {
		c.now = c.now.Add(time.Second)
		c.tell(Tick{})
	}
}

func (c *cluster) pod(namespace, name string, cpu int64, node string) Pod {
	c.now = c.now.Add(time.Millisecond) // no two pods are equally old
	return Pod{
		UID: types.UID(name), Namespace: namespace, Requests: cores(cpu), Node: node, Precedence: Precedence{Created: c.now},
		Object: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID(name), Labels: map[string]string{"pod": name}}},
	}
}

// runs is an application that runs: a driver of one core and executors of one core, of which it needs so many to go on.
func (c *cluster) runs(namespace, app string, minimum int, driver string, executors ...string) {
	d := definition(minimum, 1)
	leader := c.pod(namespace, app, 1, driver)
	leader.Kind, leader.Gang, leader.Ready = Leader, gang.Key{Namespace: namespace, Name: app}, true
	leader.Reservation = &Reservation{Definition: d}
	for _, node := range executors[:minimum] {
		leader.Reservation.Slots = append(leader.Reservation.Slots, Run{Node: node, Count: 1})
	}
	c.tell(PodSeen{leader})
	for i, node := range executors {
		worker := c.pod(namespace, fmt.Sprint(app, i), 1, node)
		worker.Kind, worker.Gang, worker.Leader, worker.Role = Worker, leader.Gang, leader.UID, "executor"
		c.tell(PodSeen{worker})
	}
}

// waits is a gang of a driver and executors of one core each that finds no room.
func (c *cluster) waits(namespace, app string, executors int, edit ...func(*Pod)) Pod {
	leader := c.pod(namespace, app, 1, "")
	leader.Kind, leader.Gang = Leader, gang.Key{Namespace: namespace, Name: app}
	for _, e := range edit {
		e(&leader)
	}
	c.tell(PodSeen{leader})
	c.tell(Defined{leader.UID, definition(executors, 1)})
	c.fails(leader)
	return leader
}

// fails is an attempt that finds no room.
func (c *cluster) fails(p Pod) {
	verdict, _, effects := c.Gate(c.now, p)
	c.said = append(c.said, effects...)
	require.True(c.t, verdict.Passes(), "%s", verdict)
	_, waiting := c.Demand(p.UID)
	require.True(c.t, waiting)
	c.tell(Refused{UID: p.UID, Epoch: c.View().Epoch, Verdict: gang.Verdict{Reason: gang.ClusterFull, Message: "no room"}})
}

// evicted are the pods that had to go since this was last asked.
func (c *cluster) evicted() []string {
	var names []string
	for _, effect := range c.said {
		if e, is := effect.(Evict); is {
			name := e.Pod.Name
			if e.Forced {
				name += " by force"
			}
			names = append(names, name)
		}
	}
	c.said = nil
	return names
}

// ends are pods that have gone.
func (c *cluster) ends(names ...string) {
	for _, name := range names {
		c.tell(PodGone{types.UID(name)})
	}
}

func (c *cluster) free() string {
	var free resource.Vector
	for i := range c.View().Len() {
		free = free.Add(*c.View().Free(i))
	}
	return fmt.Sprint(free.CPU / 1000)
}

// Expendable executors go first, the youngest first, and no more of them than the gang needs. The room that comes free is
// kept, and the gang is tried when it is all there.
func TestLentRoomComesBackFromExpendableWorkers(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
	c.waits("own", "y", 2)
	c.pass(time.Second)
	require.Equal(t, []string{"x5", "x4"}, c.evicted(), "one core is free, two are missing")
	require.Equal(t, "0", c.free(), "it is kept at once")

	c.pass(10 * time.Second)
	assert.Empty(t, c.evicted(), "once is enough")
	assert.True(t, leaves(c.Ledger, "x5"))
	c.ends("x5")
	assert.Equal(t, "0", c.free())
	c.ends("x4")
	require.True(t, slices.Contains(show(c.said), "activate y"), "%v", show(c.said))
	verdict, _, _ := c.Gate(c.now, c.Ledger.members.pods["y"].Pod)
	require.True(t, verdict.Passes())
	view := c.ViewFor("y")
	free := view.Free(0).Add(*view.Free(1))
	assert.EqualValues(t, 3000, free.CPU, "what is kept is free for whom it is kept")
	c.tell(Admitted{Leader: "y", Node: "b", Slots: []gang.Slot{{Node: "b", Requests: cores(1)}, {Node: "b", Requests: cores(1)}}})
	assert.Empty(t, c.collections.list)
	assert.Empty(t, c.victims.leaving)
	standing := c.standing("own")
	assert.EqualValues(t, 3000, standing.Used.CPU)
	assert.Zero(t, standing.Waiting)
}

func (c *cluster) standing(queue string) QueueStanding {
	standings, _ := c.Queues()
	return standings[slices.IndexFunc(standings, func(s QueueStanding) bool { return s.Name == queue })]
}

// takenBackWhole is a cluster in which the gang young is being taken back for y of another queue, and an executor that young asks for
// meanwhile.
func takenBackWhole(t *testing.T) (c *cluster, executor Pod) {
	t.Helper()
	c = newCluster(t, "a", "b")
	c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(4), Reclaim: quota.Reclaim{Enabled: true}}, quota.Spec{Name: "other", Guaranteed: cpu(3)})
	c.runs("other", "old", 2, "a", "a", "a")
	c.runs("other", "young", 3, "a", "b", "b", "b")
	c.waits("own", "y", 1)
	c.pass(time.Second)
	require.Equal(t, []string{"young0", "young1", "young2", "young"}, c.evicted())
	executor = c.pod("other", "young9", 1, "")
	executor.Kind, executor.Gang, executor.Leader, executor.Role = Worker, gang.Key{Namespace: "other", Name: "young"}, "young", "executor"
	return c, executor
}

// When expendable workers are not enough a whole gang goes, its driver after all of its executors, and its executors are not
// replaced.
func TestAWholeGangGoesWithItsLeaderLast(t *testing.T) {
	c, replacement := takenBackWhole(t)
	c.ends("young0")
	verdict, _, _ := c.Gate(c.now, replacement)
	assert.Equal(t, gang.Reclaimed, verdict.Reason)
}

// Unclaimed slots of a gang that nobody has come to for a while go before any pod.
func TestSlotsThatNobodyClaimsGoFirst(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.runs("other", "x", 2, "a", "a", "a", "a")
	c.ends("x0", "x1") // two of three are left to be replaced, one lives
	c.runs("other", "z", 0, "b", "b", "b", "b")
	c.waits("own", "y", 1)
	c.pass(time.Second)
	require.Equal(t, []string{"z2"}, c.evicted(), "they may still come")
	c.ends("y")
	c.now = c.now.Add(reclaim.SlotPatience)
	c.waits("own", "w", 1)
	c.pass(time.Second)
	assert.Empty(t, c.evicted())
	assert.Equal(t, "0", c.free())
	assert.Contains(t, c.collections.list[0].preemption.verdict.Text(true), "gangs whose slots nobody has claimed: 1")
}

func TestNothingIsTakenBack(t *testing.T) {
	tests := map[string]func(*cluster){
		"before the queue wants it": func(c *cluster) {
			c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(4), Reclaim: quota.Reclaim{Enabled: true, After: time.Hour}}, quota.Spec{Name: "other"})
		},
		"in a dry run": func(c *cluster) {
			c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(4), Reclaim: quota.Reclaim{Enabled: true, DryRun: true}}, quota.Spec{Name: "other"})
		},
		"if the queue does not reclaim": func(c *cluster) { c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(4)}, quota.Spec{Name: "other"}) },
		"beyond the guarantee": func(c *cluster) {
			c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(2), Reclaim: quota.Reclaim{Enabled: true}}, quota.Spec{Name: "other"})
		},
		"of what others are guaranteed": func(c *cluster) {
			c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(3), Reclaim: quota.Reclaim{Enabled: true}}, quota.Spec{Name: "other", Guaranteed: cpu(7)})
		},
		"of a queue that gives nothing": func(c *cluster) {
			c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(4), Reclaim: quota.Reclaim{Enabled: true}}, quota.Spec{Name: "other", Reclaim: quota.Reclaim{Exempt: true}})
		},
		"while something is leaving anyway":  func(c *cluster) { c.leave("x4"); c.leave("x5") },
		"if no node would have enough of it": func(c *cluster) { c.tell(NodeGone{"b"}) },
		"if its queue lets it in with nobody": func(c *cluster) {
			c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(4), State: quota.Stopped, Reclaim: quota.Reclaim{Enabled: true}}, quota.Spec{Name: "other"})
		},
	}
	for name, edit := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "a", "b")
			c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
			c.victims.early = workAtOnce // nobody looks before the next tick
			c.waits("own", "y", 2)
			edit(c)
			c.said = nil
			c.pass(time.Minute)
			words := show(c.said)
			assert.Empty(t, c.evicted())
			if name != "while something is leaving anyway" { // which it claims
				assert.Empty(t, c.collections.list)
			}
			if name == "in a dry run" {
				assert.Contains(t, words, "tell y: WouldReclaim: would take back cpu 2 from queue other (expendable workers: 2)")
			}
		})
	}
}

func cpu(cores int64) quota.Amounts {
	return quota.Amounts{{Name: v1.ResourceCPU, Value: cores * 1000}}
}

// leave is what the informer tells of a pod that is being deleted.
func (c *cluster) leave(name string) {
	p := c.Ledger.members.pods[types.UID(name)].Pod
	p.Object = p.Object.DeepCopy()
	p.Object.DeletionTimestamp = &metav1.Time{Time: c.now}
	c.tell(PodSeen{p})
}

// Within a queue the PriorityClass decides, at once and without a guarantee, unless it says that it takes nobody's place.
func TestHigherPrioritiesTakeThePlaceOfLowerOnesInTheirQueue(t *testing.T) {
	vip := func(p *Pod) { p.Priority = 10 }
	meek := func(p *Pod) { p.Priority, p.NeverPreempts = 10, true }
	for name, test := range map[string]struct {
		namespace string
		edit      func(*Pod)
		want      []string
	}{
		"of the same queue":    {"other", vip, []string{"x5", "x4"}},
		"of another queue":     {"nobody's", vip, nil},
		"if it is meek":        {"other", meek, nil},
		"of the same priority": {"other", func(*Pod) {}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "a", "b")
			c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
			c.waits(test.namespace, "y", 2, test.edit)
			c.pass(time.Second)
			assert.Equal(t, test.want, c.evicted())
		})
	}
	t.Run("where there are no queues", func(t *testing.T) {
		c := newCluster(t, "a", "b")
		c.arrange()
		c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
		c.waits("somebody's", "y", 2, vip)
		c.pass(time.Second)
		assert.Equal(t, []string{"x5", "x4"}, c.evicted())
	})
}

// What a PodDisruptionBudget protects goes last, and by force.
func TestProtectedPodsGoLast(t *testing.T) {
	c := newCluster(t, "a", "b")
	budget := func(name string) Event {
		return BudgetSeen{Budget{Namespace: "other", Name: name, Selector: labels.SelectorFromSet(labels.Set{"pod": name})}}
	}
	c.tell(budget("x5"))
	c.tell(budget("x4"))
	c.tell(budget("x4"))
	c.tell(BudgetGone{"other", "x4"})
	c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
	c.waits("own", "y", 2)
	c.pass(time.Second)
	assert.Equal(t, []string{"x4", "x3"}, c.evicted())
	c.ends("y")
	for i := range 5 {
		c.tell(budget(fmt.Sprint("x", i)))
	}
	c.waits("own", "z", 2)
	c.pass(10 * time.Second)
	assert.Equal(t, []string{"x5 by force", "x4 by force"}, c.evicted())
}

// Pods of other schedulers are charged and never taken back.
func TestPodsOfOtherSchedulersStay(t *testing.T) {
	c := newCluster(t, "a", "b")
	for i := range 8 {
		p := c.pod("other", fmt.Sprint("f", i), 1, string("ab"[i%2]))
		p.Foreign = true
		c.tell(PodSeen{p})
	}
	c.waits("own", "y", 2)
	c.pass(time.Minute)
	assert.Empty(t, c.evicted())
	assert.EqualValues(t, 8000, c.standing("other").Used.CPU)
	assert.Zero(t, c.standing("other").Gangs)
}

// Who has to go for somebody who has gone himself may stay, and is not counted as leaving any more.
func TestWhoNeedNotGoStays(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
	c.waits("own", "y", 2)
	c.pass(time.Second)
	c.leave("x5")
	c.ends("y")
	assert.False(t, leaves(c.Ledger, "x4"))
	assert.False(t, leaves(c.Ledger, "x5"), "it goes, but nobody has to see to it")
	assert.Empty(t, c.collections.list)
	assert.Len(t, c.victims.leaving, 1)
	assert.Equal(t, "1", c.free())
}

// Who does not leave in time is not waited for.
func TestAReclaimThatDoesNotComeIsGivenUp(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
	c.waits("own", "y", 2)
	c.pass(time.Second)
	require.Len(t, c.evicted(), 2)
	c.now = c.now.Add(evictionPatience + defaultGrace)
	c.tell(Tick{Collect: time.Hour})
	assert.Empty(t, c.collections.list)
	assert.False(t, leaves(c.Ledger, "x5"))
	c.pass(reclaimPause)
	assert.Len(t, c.evicted(), 2, "and it is tried again")
}

// What is within a parent's limit comes back from those below it, although the nodes have room.
func TestALimitAboveIsMadeRoomBelow(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.arrange(quota.Spec{Name: "top", Guaranteed: cpu(8), Limit: cpu(8)},
		quota.Spec{Name: "own", Parent: "top", Guaranteed: cpu(4), Reclaim: quota.Reclaim{Enabled: true}}, quota.Spec{Name: "other", Parent: "top", Guaranteed: cpu(4)})
	c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
	leader := c.pod("own", "y", 1, "")
	leader.Kind, leader.Gang = Leader, gang.Key{Namespace: "own", Name: "y"}
	c.tell(PodSeen{leader})
	c.tell(Defined{"y", definition(2, 1)})
	verdict, _, effects := c.Gate(c.now, leader)
	require.Equal(t, gang.QueueLimit, verdict.Reason)
	c.said = append(c.said, effects...)
	c.pass(time.Second)
	require.Equal(t, []string{"x5", "x4"}, c.evicted())
	c.ends("x4", "x5")
	assert.Contains(t, show(c.said), "activate y")
}

// Of every queue within its guarantee one gang collects at a time, and one of all the others.
func TestEveryQueueCollectsForOne(t *testing.T) {
	c := newCluster(t, "a", "b")
	c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(4)}, quota.Spec{Name: "other", Guaranteed: cpu(4)}, quota.Spec{Name: "poor"})
	c.runs("nobody's", "x", 1, "a", "a", "a", "a")
	c.runs("nobody's", "w", 1, "b", "b", "b", "b")
	c.waits("own", "first", 1)
	c.waits("own", "second", 2)
	c.waits("own", "large", 4)
	c.waits("other", "third", 3)
	c.waits("poor", "fourth", 5)
	c.now = c.now.Add(time.Hour)
	c.tell(Tick{Collect: time.Hour})
	c.tell(Tick{Collect: time.Hour})
	collecting := map[string]string{} // queue -> for whom
	for _, collection := range c.collections.list {
		collecting[collection.queue] = string(collection.waiter)
	}
	assert.Equal(t, map[string]string{"own": "first", "other": "third", "": "large"}, collecting)
}

// Who has waited so long that room is collected for him may take back what he lacks as soon as he may at all, and what was
// collected is not lost by that.
func TestWhoCollectsMayTakeBack(t *testing.T) {
	c := newCluster(t, "a", "b")
	own := func(after time.Duration) quota.Spec {
		return quota.Spec{Name: "own", Guaranteed: cpu(4), Reclaim: quota.Reclaim{Enabled: true, After: after}}
	}
	c.arrange(own(2*time.Hour), quota.Spec{Name: "other"})
	c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b")
	c.waits("own", "y", 2)
	c.now = c.now.Add(time.Hour)
	c.tell(Tick{Collect: time.Hour})
	require.Len(t, c.collections.list, 1)
	require.Equal(t, "0", c.free(), "the only free core is collected")
	c.arrange(own(0), quota.Spec{Name: "other"})
	c.pass(time.Second)
	assert.Equal(t, []string{"x5", "x4"}, c.evicted())
	assert.Len(t, c.collections.list, 1)
	assert.Equal(t, "0", c.free())
}

// What leaves a queue at its limit is promised to whom it leaves for: otherwise those who were taken back and are made again
// would start before all have left, and so for ever.
//
// Seen failing when nothing was promised.
func TestWhatLeavesAFullQueueIsPromised(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	c.arrange(quota.Spec{Name: "own", Limit: cpu(6)})
	c.runs("own", "x", 2, "a", "a", "a")
	c.runs("own", "z", 2, "b", "b", "b")
	vip := c.pod("own", "vip", 1, "")
	vip.Kind, vip.Gang, vip.Priority = Leader, gang.Key{Namespace: "own", Name: "vip"}, 10
	c.tell(PodSeen{vip})
	c.tell(Defined{"vip", definition(5, 1)})
	verdict, _, _ := c.Gate(c.now, vip)
	require.Equal(t, gang.QueueLimit, verdict.Reason)
	c.pass(time.Second)
	require.Len(t, c.evicted(), 6)
	c.ends("x0", "x1", "x")

	again := c.pod("own", "again", 1, "")
	again.Kind, again.Gang = Leader, gang.Key{Namespace: "own", Name: "again"}
	c.tell(PodSeen{again})
	c.tell(Defined{"again", definition(2, 1)})
	verdict, _, _ = c.Gate(c.now, again)
	assert.Equal(t, gang.QueueLimit, verdict.Reason)
	c.ends("z0", "z1", "z")
	assert.Contains(t, show(c.said), "activate vip")
	demand, waits := c.Demand("vip")
	assert.True(t, waits && demand.Verdict.Passes(), "%s", demand.Verdict)

	c.ends("vip")
	verdict, _, _ = c.Gate(c.now, again)
	assert.True(t, verdict.Passes(), "%s", verdict)
}

// planned is a plan that has been found and not carried out yet.
func (c *cluster) planned(waiter string) reclaim.Plan {
	looked, waits := c.look(c.now, types.UID(waiter))
	require.True(c.t, waits)
	for !c.refreshHolders() {
	}
	cluster := c.Ledger.cluster(c.now)
	request, may := cluster.Request(&looked.Waiter)
	require.True(c.t, may)
	plan, _, found := cluster.Plan(&placement.Solver{}, &looked, request)
	require.True(c.t, found)
	return plan
}

// A plan is made while the cluster goes on. It is carried out only if it would still be made of what is there by then.
//
// Seen failing with a check of nothing but the waiter.
func TestAPlanThatDoesNotHoldAnyMoreIsNotCarriedOut(t *testing.T) {
	tests := map[string]struct {
		meanwhile func(*cluster)
		holds     bool
	}{
		"nothing happens":    {func(*cluster) {}, true},
		"somebody else ends": {func(c *cluster) { c.ends("v1") }, true},
		"a victim ends":      {func(c *cluster) { c.ends("x6") }, false},
		"a victim leaves":    {func(c *cluster) { c.leave("x6") }, false},
		"the waiter ends":    {func(c *cluster) { c.ends("y") }, false},
		"the node goes":      {func(c *cluster) { c.tell(NodeGone{"b"}) }, false},
		"the node is cordoned": {func(c *cluster) {
			cordoned := newNode("b", 4)
			cordoned.Spec.Unschedulable = true
			c.tell(NodeSeen{cordoned})
		}, false},
		"queues keep what they had": {func(c *cluster) { c.arrange(quota.Spec{Name: "own"}, quota.Spec{Name: "other"}) }, false},
		"others give it back": {func(c *cluster) {
			guaranteed := quota.Amounts{{Name: v1.ResourceCPU, Value: 8000}}
			c.arrange(quota.Spec{Name: "own", Reclaim: quota.Reclaim{Enabled: true}}, quota.Spec{Name: "other", Guaranteed: guaranteed})
		}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "a", "b", "c")
			c.runs("third", "v", 0, "c", "c")
			c.runs("other", "x", 1, "a", "a", "a", "a", "b", "b", "b", "b")
			c.victims.early = workAtOnce // nobody looks before the test does
			c.waits("own", "y", 3)
			plan := c.planned("y")
			test.meanwhile(c)
			c.said = nil
			done, effects := c.execute(c.now, "y", plan)
			c.said = append(c.said, effects...)
			require.Equal(t, test.holds, done)
			assert.Equal(t, test.holds, len(c.evicted()) > 0)
		})
	}
}

// Who borrows does not keep what it has to give back for as long as it likes: the time that a pod says it needs to end has a bound,
// unless its queue says another.
//
// Seen failing when the pod's own word was taken: the eviction waited a day, and so did whoever the room was for.
func TestAPodDoesNotEndForAsLongAsItLikes(t *testing.T) {
	hour := time.Hour
	for name, test := range map[string]struct {
		own   int64
		queue *time.Duration
		said  *time.Duration // by the eviction; nil means that the pod's own holds
		waits time.Duration
	}{
		"a minute":             {60, nil, nil, time.Minute},
		"ten minutes":          {600, nil, nil, 10 * time.Minute},
		"a day":                {86400, nil, ptr.To(longestGrace), longestGrace},
		"more than a number":   {math.MaxInt64, nil, ptr.To(longestGrace), longestGrace},
		"its queue allows one": {86400, &hour, &hour, time.Hour},
	} {
		p := &pod{Pod: Pod{Object: &v1.Pod{Spec: v1.PodSpec{TerminationGracePeriodSeconds: &test.own}}}}
		require.Equal(t, test.said, p.cappedGrace(test.queue), name)
		require.Equal(t, test.waits, p.grace(test.queue), name)
	}
}

// An eviction that is on its way cannot be called back: a driver that need not go any more may end all the same, so no executor follows
// it until that has turned out. Seen failing when executors were let in as soon as nobody had to go.
func TestNoWorkerFollowsALeaderWhoseEvictionIsOnItsWay(t *testing.T) {
	for name, fails := range map[string]bool{"it is carried out": false, "it comes to nothing": true} {
		t.Run(name, func(t *testing.T) {
			c, worker := takenBackWhole(t)
			c.ends("young0", "young1", "young2")
			reason := func() gang.Reason {
				verdict, _, _ := c.Gate(c.now, worker)
				return verdict.Reason
			}
			require.Equal(t, gang.Reclaimed, reason())

			require.True(t, c.Evicting("young"))
			c.ends("y") // for which it was to go
			assert.False(t, c.Evicting("young"), "it need not go any more")
			assert.Equal(t, gang.Reclaimed, reason(), "the call is on its way")
			c.said = nil
			if !fails {
				c.pass(time.Minute)
				assert.Equal(t, gang.Reclaimed, reason())
				c.ends("young")
				assert.Equal(t, gang.LeaderGone, reason())
				return
			}
			c.tell(EvictionFailed{"young"})
			assert.Contains(t, show(c.said), "activate young9")
			assert.Empty(t, reason())
		})
	}
}

// An executor whose attempt has begun before its gang is taken back does not join it: the driver, who goes last, would go before it.
//
// Seen failing at seed 22806 of the simulation (driver first), where a snapshot that was late made the attempt long.
func TestNobodyJoinsAGangThatIsTakenBackMeanwhile(t *testing.T) {
	c := newCluster(t, "a")
	c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(4), Reclaim: quota.Reclaim{Enabled: true}}, quota.Spec{Name: "other"})
	c.runs("other", "x", 3, "a", "a", "a", "a")
	c.ends("x2")
	late := c.pod("other", "late", 1, "")
	late.Kind, late.Gang, late.Leader, late.Role = Worker, gang.Key{Namespace: "other", Name: "x"}, "x", "executor"
	c.tell(PodSeen{late})
	verdict, _, _ := c.Gate(c.now, late)
	require.True(t, verdict.Passes(), "%s", verdict)
	attempt, _ := c.Attempt(c.now, late.UID, 1)
	require.NotEmpty(t, attempt.Seats.Slots)

	c.waits("own", "y", 3)
	require.Equal(t, []string{"x0", "x1", "x"}, c.evicted())
	_, err := c.Apply(c.now, Placed{UID: late.UID, Node: "a"})
	require.ErrorIs(t, err, ErrTakenBack)
	verdict, _, _ = c.Gate(c.now, late)
	require.Equal(t, gang.Reclaimed, verdict.Reason)
}

// An executor whose binding nobody knew of, since the answer was lost, goes with its gang: the driver, who goes last, would go before it.
//
// Seen failing at seed 46001200 of the simulation (driver first).
func TestAnExecutorThatTurnsOutToBeBoundGoesWithItsGang(t *testing.T) {
	c := newCluster(t, "a")
	c.arrange(quota.Spec{Name: "own", Guaranteed: cpu(4), Reclaim: quota.Reclaim{Enabled: true}}, quota.Spec{Name: "other"})
	c.runs("other", "x", 3, "a", "a", "a", "a")
	c.ends("x2")
	late := c.pod("other", "late", 1, "")
	late.Kind, late.Gang, late.Leader, late.Role = Worker, gang.Key{Namespace: "other", Name: "x"}, "x", "executor"
	c.tell(PodSeen{late})

	c.waits("own", "y", 3)
	require.Equal(t, []string{"x0", "x1", "x"}, c.evicted())
	late.Node = "a"
	c.said = nil
	c.tell(PodSeen{late})
	assert.Equal(t, []string{"late"}, c.evicted())
	assert.True(t, c.Evicting("late"))
}
