package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/scaleup"
)

// elasticWorld has a node of four CPUs and an autoscaler.
func elasticWorld(limits scaleup.Limits) *world {
	w := newWorld()
	_ = w.apply(NodeSeen{newNode("a", 4)})
	_ = w.apply(Elastic{Limits: &limits})
	_ = w.apply(Synced{})
	return w
}

// lacking lets a driver of one CPU and so many executors wait, after nodes have refused it for a reason.
func (w *world) lacking(app string, executors int, cpu int64, reason gang.Reason) types.UID {
	driver := w.newPod(Leader, app, 1)
	w.see(driver)
	_ = w.apply(Defined{driver.UID, definition(executors, cpu)})
	w.gate(driver)
	attempt := w.attempt(driver.UID)
	_ = w.apply(Refused{UID: driver.UID, Epoch: attempt.View.Epoch, Edition: attempt.Edition, Verdict: gang.Verdict{Reason: reason}})
	return driver.UID
}

// A gang for which all is kept on the nodes that come is tried with every one of them, and rests after a rehearsal in vain like any other: an
// autoscaler that buys small nodes would have it rehearsed once for each.
//
// Seen failing when a collection that was complete knew no rest (seeds 8000231 and 8000678 of test/sim at aa1a2b9).
func TestAGangIsNotRehearsedForEveryNodeThatComes(t *testing.T) {
	w := elasticWorld(scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 1})
	driver := w.newPod(Leader, "x", 1)
	w.see(driver)
	asks := definition(2, 4)
	asks.Rehearsed = true
	_ = w.apply(Defined{driver.UID, asks})
	refuse := func() {
		attempt := w.attempt(driver.UID)
		_ = w.apply(Refused{UID: driver.UID, Epoch: attempt.View.Epoch, Edition: attempt.Edition, Verdict: gang.Verdict{Reason: gang.Constraints}, Rehearsed: true, Took: time.Second})
	}
	w.gate(driver)
	refuse()
	w.later(2 * time.Minute)
	_ = w.apply(NodeSeen{newNode("b", 9)})
	require.NotNil(t, w.collections.of(driver.UID))
	require.True(t, w.waiting.Of(driver.UID).Trying())
	refuse()
	_ = w.apply(NodeSeen{newNode("c", 9)})
	require.True(t, w.collections.of(driver.UID).complete())
	require.False(t, w.waiting.Of(driver.UID).Trying())
	w.later(57 * time.Second) // of its namespace's minute; every event takes another second
	require.False(t, w.waiting.Of(driver.UID).Trying())
	w.later(0)
	require.True(t, w.waiting.Of(driver.UID).Trying())
}

// later lets time pass.
func (w *world) later(d time.Duration) {
	w.clock = w.clock.Add(d)
	_ = w.apply(Tick{})
}

func TestAGangThatNoEndOfOthersHelpsAsksAtOnce(t *testing.T) {
	w := elasticWorld(scaleup.Limits{After: time.Minute, Timeout: time.Hour, PerQueue: 1, Total: 1})
	driver := w.lacking("x", 8, 4, gang.NeverFitsCluster)
	require.Len(t, w.asked[driver].Pods, 1)
	require.Equal(t, 8, w.asked[driver].Pods[0].Count)
	require.Equal(t, v1.PodReasonUnschedulable, w.Condition(driver, gang.NeverFitsCluster))
}

func TestAGangThatWaitsForTheEndOfOthersAsksLater(t *testing.T) {
	w := elasticWorld(scaleup.Limits{After: time.Minute, Timeout: time.Hour, PerQueue: 1, Total: 1})
	driver := w.lacking("x", 3, 1, gang.ClusterFull)
	require.Empty(t, w.asked)
	require.Equal(t, gang.WaitingForTurn, w.Condition(driver, gang.ClusterFull))
	w.later(30 * time.Second)
	require.Empty(t, w.asked)
	w.later(30 * time.Second)
	require.Contains(t, w.asked, driver)
	require.Equal(t, v1.PodReasonUnschedulable, w.Condition(driver, gang.ClusterFull))
	require.Contains(t, show(w.effects), "tell pod-001: ScaleUpRequested: the autoscaler is asked for room for the leader and 3 × executor of cpu 1")
}

// Seen failing when being held back ended no wait: neither at the change of the annotation nor at the Gate.
func TestWhoIsHeldBackAsksForNoNodes(t *testing.T) {
	w := elasticWorld(scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 1})
	uid := w.lacking("x", 8, 4, gang.NeverFitsCluster)
	require.Contains(t, w.asked, uid)
	hold := func(held bool) {
		driver := w.pods[uid]
		driver.Held = held
		w.see(driver)
		w.gate(driver)
	}
	hold(true)
	require.Empty(t, w.asked)
	require.Equal(t, "HeldByUser", w.Condition(uid, gang.HeldByUser), "no reason to buy nodes")
	attempt := w.attempt(uid)
	_ = w.apply(Refused{UID: uid, Epoch: attempt.View.Epoch, Edition: attempt.Edition, Verdict: gang.Verdict{Reason: gang.NeverFitsCluster}})
	w.later(time.Hour)
	require.Empty(t, w.asked, "an attempt that was under way counts for nothing")
	hold(false)
	attempt = w.attempt(uid)
	_ = w.apply(Refused{UID: uid, Epoch: attempt.View.Epoch, Edition: attempt.Edition, Verdict: gang.Verdict{Reason: gang.NeverFitsCluster}})
	require.Contains(t, w.asked, uid)
}

// Seen failing with Karpenter, whose definitions were installed after the gang had begun to wait.
func TestAnAutoscalerThatComesLaterIsAskedForThoseWhoWait(t *testing.T) {
	w := newWorld()
	_ = w.apply(NodeSeen{newNode("a", 4)})
	_ = w.apply(Synced{})
	driver := w.lacking("x", 8, 4, gang.NeverFitsCluster)
	require.Equal(t, v1.PodReasonUnschedulable, w.Condition(driver, gang.NeverFitsCluster), "as in every cluster that is not elastic")
	_ = w.apply(Elastic{Limits: &scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 1}})
	require.Contains(t, w.asked, driver)
	_ = w.apply(Elastic{})
	require.Empty(t, w.asked, "nobody is left to ask")
}

func TestOneGangOfANamespaceAsksAtATimeAndARefusalLetsTheNextAsk(t *testing.T) {
	w := elasticWorld(scaleup.Limits{Timeout: 5 * time.Minute, PerQueue: 1, Total: 5})
	first := w.lacking("x", 8, 4, gang.NeverFitsCluster)
	second := w.lacking("y", 9, 4, gang.NeverFitsCluster)
	require.Contains(t, w.asked, first)
	require.NotContains(t, w.asked, second)
	require.Equal(t, gang.WaitingForTurn, w.Condition(second, gang.NeverFitsCluster))

	_ = w.apply(ScaleUpAnswered{first, scaleup.Answer{Words: "R: 11/20 required new capacity, 9 failed", Failing: true}})
	w.later(20 * time.Second)
	require.Contains(t, w.asked, first)
	w.later(10 * time.Second)
	require.NotContains(t, w.asked, first)
	require.Contains(t, w.asked, second)
	told := show(w.effects)
	require.Contains(t, strings.Join(told, "\n"), "tell pod-001: ScaleUpRefused: no nodes that hold it have come in 36s; the autoscaler says: R: 11/20 required new capacity, 9 failed; that was attempt 1, the next is at ")
	require.Equal(t, gang.WaitingForTurn, w.Condition(first, gang.ScaleUpRefused))
	require.Equal(t, gang.ScaleUpRefused, w.whyWaits(first))

	w.end(second)
	require.NotContains(t, w.asked, second)
	w.later(time.Minute)
	require.Contains(t, w.asked, first, "its pause is over")
}

// whyWaits is the reason for which a gang waits.
func (w *world) whyWaits(leader types.UID) gang.Reason {
	return w.Ledger.waits.reason(w.waiting.Of(leader))
}

func TestTheNodesThatAreAskedForAreWithinTheLimitOfTheQueues(t *testing.T) {
	w := newWorld()
	_ = w.apply(QueuesSeen{Queues{
		Specs: []quota.Spec{{Name: "top", Limit: cpu(60)}, {Name: "q", Parent: "top"}, {Name: "r", Parent: "top"}}, Namespaces: map[string]string{"ns": "q", "nt": "r"},
	}})
	_ = w.apply(NodeSeen{newNode("a", 4)})
	_ = w.apply(Elastic{Limits: &scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 5}})
	_ = w.apply(Synced{})
	first := w.lacking("x", 8, 4, gang.NeverFitsCluster)
	w.namespace = "nt"
	second := w.lacking("y", 8, 4, gang.NeverFitsCluster)
	require.Contains(t, w.asked, first)
	require.NotContains(t, w.asked, second, "33 and 33 are more than 60")
}

func TestPodsThatMayStartBesideOneAreReasonsToBuyNodesAsWell(t *testing.T) {
	w := newWorld()
	_ = w.apply(QueuesSeen{Queues{
		Specs: []quota.Spec{{Name: "q", Limit: cpu(24)}}, Namespaces: map[string]string{"ns": "q"},
	}})
	_ = w.apply(NodeSeen{newNode("a", 4)})
	_ = w.apply(Elastic{Limits: &scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 5}})
	_ = w.apply(Synced{})
	var pods []types.UID
	for range 5 {
		pod := w.newPod(Lone, "", 8)
		pods = append(pods, pod.UID)
		w.see(pod)
		if verdict := w.gate(pod); verdict.Passes() {
			attempt := w.attempt(pod.UID)
			_ = w.apply(Refused{UID: pod.UID, Epoch: attempt.View.Epoch, Edition: attempt.Edition, Verdict: gang.Verdict{Reason: gang.NeverFitsNode}})
		}
	}
	w.later(time.Second)
	reasons := 0
	for _, uid := range pods {
		if w.waiting.Of(uid) != nil && w.Condition(uid, w.whyWaits(uid)) == v1.PodReasonUnschedulable {
			reasons++
		}
	}
	require.Equal(t, 3, reasons, "24 CPUs are three of them")
	require.Empty(t, w.asked, "they exist")
}

// Seen failing without arrives: a pod by itself has all of the first node that comes.
func TestNodesThatComeForAGangAreNotTakenByWhoeverIsSmaller(t *testing.T) {
	w := elasticWorld(scaleup.Limits{Timeout: 5 * time.Minute, PerQueue: 1, Total: 1})
	driver := w.lacking("x", 4, 4, gang.NeverFitsCluster) // of 1 + 4 × 4 CPUs, on a node of 4 and those that come
	pod := w.newPod(Lone, "", 8)
	w.see(pod)
	_ = w.apply(NodeSeen{newNode("b", 9)})
	room := func(uid types.UID, node string) int64 {
		view := w.attempt(uid).View
		i, known := view.Index(node)
		require.True(t, known)
		return view.Free(i).CPU / 1000
	}
	require.Zero(t, room(pod.UID, "b"), "it is kept")
	require.Equal(t, int64(9), room(driver, "b"), "for the gang: its leader and two executors")
	require.Equal(t, int64(4), room(pod.UID, "a"), "and not what was there before")
	_ = w.apply(NodeSeen{newNode("c", 16)})
	require.Equal(t, int64(16-8), room(pod.UID, "c"), "no more than it lacks")

	w.later(5 * time.Minute)
	require.Equal(t, gang.ScaleUpRefused, w.whyWaits(driver))
	require.Equal(t, int64(9), room(pod.UID, "b"), "nothing is kept when the request has ended")
	require.Equal(t, int64(16), room(pod.UID, "c"))
}

// What could be taken back and what could be bought know each other: one comes first, and it is an argument which.
func TestOneOfReclaimAndScaleUpComesFirst(t *testing.T) {
	start := func(limits scaleup.Limits) (*world, types.UID) {
		w := newWorld()
		reclaims := quota.Reclaim{Enabled: true, After: 30 * time.Second}
		_ = w.apply(QueuesSeen{Queues{
			Specs: []quota.Spec{{Name: "q", Guaranteed: cpu(4), Reclaim: reclaims}, {Name: "r"}}, Namespaces: map[string]string{"ns": "q", "nt": "r"},
		}})
		_ = w.apply(NodeSeen{newNode("a", 4)})
		_ = w.apply(Elastic{Limits: &limits})
		_ = w.apply(Synced{})
		w.namespace = "nt"
		borrower := w.newPod(Lone, "", 4)
		borrower.Node = "a"
		w.see(borrower)
		w.namespace = "ns"
		return w, w.lacking("x", 1, 3, gang.ClusterFull)
	}
	t.Run("reclaim", func(t *testing.T) {
		w, driver := start(scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 1})
		require.Empty(t, w.asked, "others may have to leave")
		w.later(20 * time.Second)
		require.Empty(t, w.asked)
		w.later(14 * time.Second)
		require.Equal(t, gang.Reclaiming, w.whyWaits(driver))
		w.later(time.Minute)
		require.Empty(t, w.asked, "others leave")
	})
	t.Run("scale-up", func(t *testing.T) {
		w, driver := start(scaleup.Limits{Timeout: time.Minute, PerQueue: 1, Total: 1, BeforeReclaim: true})
		require.Contains(t, w.asked, driver)
		w.later(40 * time.Second)
		_ = w.Ledger.Look(w.clock)
		require.NotEqual(t, gang.Reclaiming, w.whyWaits(driver), "nodes may come")
		w.later(20 * time.Second)
		require.Equal(t, gang.ScaleUpRefused, w.whyWaits(driver))
		_ = w.Ledger.Look(w.clock)
		require.Equal(t, gang.Reclaiming, w.whyWaits(driver))
	})
}

// Where all have to be in one zone the leader is asked for as well, and is not counted twice: by itself it would get a node in any.
func TestTheLeaderOfAGangOfOneZoneIsAskedForWithTheOthers(t *testing.T) {
	w := newWorld()
	w.Ledger = New("zone", placement.SingleZone)
	_ = w.apply(NodeSeen{newNode("a", 4)})
	_ = w.apply(Elastic{Limits: &scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 1}})
	_ = w.apply(Synced{})
	driver := w.lacking("x", 8, 4, gang.NeverFitsCluster)
	asked := w.asked[driver].Pods
	require.Len(t, asked, 2)
	require.Equal(t, []int{1, 8}, []int{asked[0].Count, asked[1].Count})
	require.Equal(t, int64(1000), asked[0].Requests.CPU)
	require.Equal(t, gang.WaitingForTurn, w.Condition(driver, gang.NeverFitsCluster), "an autoscaler counts it among those that are asked for")
}

// crowd lets so many gangs lack nodes, in queues that take turns, while nobody is asked for. The queue above lets in one of them.
func (w *world) crowd(gangs, queues int) (leaders []types.UID) {
	layout := Queues{Namespaces: map[string]string{}, Specs: []quota.Spec{{Name: "top", Limit: cpu(60)}}}
	for i := range queues {
		name := fmt.Sprintf("q%02d", i)
		layout.Specs = append(layout.Specs, quota.Spec{Name: name, Parent: "top"})
		layout.Namespaces[name] = name
	}
	_ = w.apply(QueuesSeen{layout})
	_ = w.apply(NodeSeen{newNode("a", 4)})
	_ = w.apply(Synced{})
	for i := range gangs {
		w.namespace = fmt.Sprintf("q%02d", i%queues)
		leaders = append(leaders, w.lacking(fmt.Sprint("x", i), 8, 4, gang.NeverFitsCluster))
	}
	return leaders
}

// Whose turn it is among thousands takes longer than the lock may be held.
//
// Seen failing when all were gone through in one part.
func TestThoseWhoLackNodesAreGoneThroughInParts(t *testing.T) {
	holds := map[int]int{} // gangs -> how often a tick takes the lock
	for _, gangs := range []int{7, 2*needsAtOnce + 7} {
		w := newWorld()
		w.crowd(gangs, 7)
		_ = w.apply(Elastic{Limits: &scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 5}})
		w.mu.watch = func(held bool) {
			if held {
				holds[gangs]++
			}
		}
		w.later(time.Second)
	}
	require.Equal(t, holds[7]+2, holds[2*needsAtOnce+7])
}

// Seen failing when the first was taken of those gone through last, and when one was asked for besides whom the others were not looked at again.
func TestOfManyWhoLackNodesTheFirstInTurnIsAskedFor(t *testing.T) {
	w := newWorld()
	leaders := w.crowd(fewNeeds+7, 7)
	_ = w.apply(Elastic{Limits: &scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 5}})
	require.Equal(t, []types.UID{leaders[0]}, slices.Collect(maps.Keys(w.asked)), "33 and 33 are more than 60")
	w.end(leaders[0])
	w.namespace = "q00"
	w.lacking("late", 8, 4, gang.NeverFitsCluster)
	require.Empty(t, w.asked, "the next tick finds out whose turn it is")
	w.later(time.Second)
	require.Equal(t, []types.UID{leaders[7]}, slices.Collect(maps.Keys(w.asked)), "the first of the first queue")
}

// Of few it is found out at once.
//
// Seen failing when who is chosen was not looked at again besides those chosen before.
func TestThoseWhoAreChosenTogetherAreWithinTheLimit(t *testing.T) {
	w := newWorld()
	leaders := w.crowd(3, 3)
	_ = w.apply(Elastic{Limits: &scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 5}})
	require.Equal(t, leaders[:1], slices.Collect(maps.Keys(w.asked)))
	w.end(leaders[0])
	w.namespace = "q00"
	small := w.lacking("small", 2, 4, gang.NeverFitsCluster)
	require.ElementsMatch(t, []types.UID{leaders[1], small}, slices.Collect(maps.Keys(w.asked)), "9, and 33 besides it, but not 33 more")
}

// Seen failing when only the first of a queue was looked at: it lacks room in its queue, and nothing is asked for.
func TestWhoIsOverALimitBesideOthersKeepsNobodyWaitingForNodes(t *testing.T) {
	w := newWorld()
	leaders := w.crowd(3, 2)
	_ = w.apply(Elastic{Limits: &scaleup.Limits{Timeout: time.Hour, PerQueue: 1, Total: 5}})
	require.Equal(t, leaders[:1], slices.Collect(maps.Keys(w.asked)))
	w.namespace = "q01"
	small := w.lacking("small", 2, 4, gang.NeverFitsCluster)
	require.Contains(t, w.asked, small, "the first of its queue would be over the limit")
}
