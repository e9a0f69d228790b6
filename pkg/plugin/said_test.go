package plugin

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	quotas "retinue.dev/retinue/pkg/quota"
)

// listener counts what a pod is told.
type listener struct {
	*notices
	patches, events int
}

func (l *listener) hear(say saying, reminds bool) {
	said := l.take(&v1.Pod{}, say, reminds)
	if said.patch {
		l.patches++
	}
	if said.event {
		l.events++
	}
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

// count is how many patches and events there were since it was last asked.
func (l *listener) count() [2]int {
	count := [2]int{l.patches, l.events}
	l.patches, l.events = 0, 0
	return count
}

func waits(reason gang.Reason, text string) saying {
	return saying{verdict: gang.Verdict{Reason: reason, Message: text}, condition: reason.Condition(), text: string(reason) + ": " + text}
}

// quiet is a listener in a bubble, to which a reason of another tier always holds, as far as holds says.
func quiet(t *testing.T, holds bool, test func(*listener)) {
	synctest.Test(t, func(*testing.T) {
		test(&listener{notices: newNotices(clock.RealClock{}, false, func(types.UID, gang.Reason) bool { return holds })})
	})
}

// Seen failing when every attempt was told, when a change of the condition alone waited, and when numbers that had waited were forgotten.
func TestAPodHearsWhatIsNews(t *testing.T) {
	nothing, all, patch := [2]int{}, [2]int{1, 1}, [2]int{1, 0}
	quiet(t, false, func(l *listener) {
		l.hear(waits(gang.ClusterFull, "20 of 100 free"), false)
		assert.Equal(t, all, l.count(), "the first time")
		l.hear(waits(gang.ClusterFull, "20 of 100 free"), false)
		assert.Equal(t, nothing, l.count(), "the same")
		pass(firstPause)
		l.hear(waits(gang.ClusterFull, "21 of 100 free"), false)
		assert.Equal(t, nothing, l.count(), "a number that is other by less than a tenth")
		l.hear(waits(gang.ClusterFull, "30 of 100 free"), false)
		assert.Equal(t, patch, l.count(), "by more")
		l.hear(waits(gang.ClusterFull, "40 of 100 free"), false)
		assert.Equal(t, nothing, l.count(), "a moment ago it was another one already")
		pass(2*firstPause - time.Second)
		assert.Empty(t, l.reminded())
		pass(time.Second)
		assert.Len(t, l.reminded(), 1, "what has waited is not forgotten")
		l.hear(waits(gang.ClusterFull, "40 of 100 free"), true)
		assert.Equal(t, patch, l.count())
		l.hear(waits(gang.Fragmented, "40 of 100 free"), false)
		assert.Equal(t, all, l.count(), "another reason, at once: that before is not true any more")
		other := waits(gang.Fragmented, "40 of 100 free")
		other.condition = gang.WaitingForTurn
		l.hear(other, false)
		assert.Equal(t, patch, l.count(), "autoscalers read the condition")
		other.text += "; what others have borrowed is protected"
		l.hear(other, false)
		assert.Equal(t, all, l.count(), "more of the same")
		l.hear(waits(gang.InvalidGang, "minimum 4"), false)
		l.count()
		l.hear(waits(gang.InvalidGang, "minimum 5"), false)
		assert.Equal(t, all, l.count(), "whoever mends something hears what is still wrong")
		l.forget("")
		assert.Empty(t, l.of)
		assert.Empty(t, l.due)
	})
}

// Seen failing when the same was never said again.
func TestTheSameIsSaidAgainAfterAWhile(t *testing.T) {
	quiet(t, false, func(l *listener) {
		began := time.Now()
		l.hear(waits(gang.BehindOthers, "others go first"), false)
		var again []time.Duration
		for time.Since(began) < 4*time.Hour {
			pass(time.Second)
			for range l.reminded() {
				before := l.events
				l.hear(waits(gang.BehindOthers, "others go first"), true)
				if l.events > before {
					again = append(again, time.Since(began))
				}
			}
		}
		minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
		assert.Equal(t, []time.Duration{minutes(5), minutes(15), minutes(45), minutes(105), minutes(165), minutes(225)}, again)
		assert.Equal(t, 1, l.patches)
	})
}

// Two reasons of a queue that are both true take turns as what is counted first changes.
//
// Seen failing when each change was told, and when a reason was kept that was not true any more.
func TestOfTwoTrueReasonsOfOneTierTheOneThatIsKnownStays(t *testing.T) {
	for holds, want := range map[bool][2]int{true: {1, 1}, false: {3, 3}} {
		quiet(t, holds, func(l *listener) {
			for i := range 3 {
				l.hear(waits([]gang.Reason{gang.QueueLimit, gang.UserLimit}[i%2], "x"), false)
				pass(time.Second)
			}
			assert.Equal(t, want, l.count(), "holds: %v", holds)
			l.hear(waits(gang.QueueClosed, "x"), false)
			assert.Equal(t, [2]int{1, 1}, l.count(), "of another tier")
		})
		quiet(t, holds, func(l *listener) {
			l.hear(waits(gang.QueueLimit, "x"), false)
			l.count()
			pass(heldFor)
			l.hear(waits(gang.UserLimit, "x"), false)
			assert.Equal(t, [2]int{1, 1}, l.count(), "not for ever")
		})
	}
}

// Reasons that take turns because each is true for a while are told ever more rarely; what autoscalers go by, and what its user has to mend,
// at once.
//
// Seen failing when each was told.
func TestReasonsThatTakeTurnsAreToldEverMoreRarely(t *testing.T) {
	quiet(t, false, func(l *listener) {
		for second := range 3600 {
			l.hear(waits([]gang.Reason{gang.ClusterFull, gang.Fragmented}[second/20%2], "x"), false)
			pass(time.Second)
		}
		assert.Equal(t, [2]int{9, 4}, l.count())
		pass(time.Hour)
		assert.Len(t, l.reminded(), 1, "what has waited is not forgotten")
		l.hear(waits(gang.Fragmented, "x"), false)
		l.hear(waits(gang.ClusterFull, "x"), false)
		l.hear(waits(gang.Fragmented, "x"), false)
		assert.Equal(t, [2]int{3, 3}, l.count(), "after an hour all is new")
		l.hear(waits(gang.ClusterFull, "x"), false)
		assert.Equal(t, [2]int{}, l.count())
		l.hear(waits(gang.QueueLimit, "x"), false)
		assert.Equal(t, [2]int{1, 1}, l.count(), "nodes do not help any more")
		l.hear(waits(gang.Fragmented, "x"), false)
		l.count()
		l.hear(waits(gang.NeverFitsNode, "x"), false)
		assert.Equal(t, [2]int{1, 1}, l.count(), "its user has to act")
	})
}

func TestTextsDifferByWordsAndByMoreThanATenth(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"", "", false}, {"a", "", true}, {"", "1", true}, {"cpu 100", "cpu 110", false}, {"cpu 100", "cpu 111", true}, {"cpu 100", "cpu 89", true},
		{"cpu 100", "memory 100", true}, {"cpu 1500m", "cpu 2", true}, {"1 of 2", "1 of 2 executors", true}, {"0 free", "1 free", true}, {"9", "10", true},
		{"007 x", "7 x", false}, {"x" + fmt.Sprint(1<<62) + "999999999999", "x2", true},
	} {
		assert.Equal(t, test.want, differs(test.a, test.b), "%q and %q", test.a, test.b)
	}
}

// attempt plays a scheduling cycle that fails before any filter, and kube-scheduler's failure handler after it: what would be written.
func (h *harness) attempt(namespace, name string) (patch, event bool) {
	pod, err := h.factory.Core().V1().Pods().Lister().Pods(namespace).Get(name)
	require.NoError(h.t, err)
	if !h.plugin.PreEnqueue(h.ctx, pod).IsSuccess() {
		return false, false
	}
	state := framework.NewCycleState()
	_, status, _ := h.fw.RunPreFilterPlugins(h.ctx, state, pod)
	require.False(h.t, status.IsSuccess(), name)
	statuses := framework.NewDefaultNodeToStatus()
	statuses.SetAbsentNodesStatus(status)
	h.fw.RunPostFilterPlugins(h.ctx, state, pod, statuses)
	words, _ := Teller{h.plugin}.Words(pod, VerdictIn(status), "")
	return words.Patch, words.Event
}

// 1,000 applications wait for an hour, in queues of which one is full, while the others' room comes and goes all the time: what is written
// of them is bounded (docs/reasons.md).
//
// Seen failing when every attempt was told, and when reasons that take turns were told each time.
func TestWhatIsWrittenOfThoseWhoWaitIsBounded(t *testing.T) {
	// What one pod hears in an hour: its reason, others at once, and five times what has waited for 1, 2, 4, 8 and 16 minutes.
	const applications, most, mostWritten = 1000, 10, 1 + turnsAtOnce + 5
	bubble(t, "", nodes(64, "a", "b", "c", "d"), func(h *harness) {
		limit := quotas.Amounts{{Name: v1.ResourceCPU, Value: 150_000}}
		h.plugin.tell(ledger.QueuesSeen{Queues: ledger.Queues{
			Specs:      []quotas.Spec{{Name: "open"}, {Name: "full", Limit: limit}},
			Namespaces: map[string]string{"ns": "open", "other": "full"},
		}})
		patches, namespaces, attempts, events := map[string]int{}, map[string]string{}, 0, 0
		for i := range applications {
			name := fmt.Sprint("app-", i)
			pod := driver(name)
			if i%2 == 0 {
				pod.Namespace = "other"
			}
			namespaces[name] = pod.Namespace
			h.create(pod, properties(pod, executors(2+i%3, 45+i%10)...)) // none of them ever fits what is left of a node
			events += len(h.told())
		}
		h.create(on("a", lone("busy-0", 60)), on("b", lone("busy-1", 60)), on("c", lone("busy-2", 60)))
		busy := on("d", lone("busy", 40))
		busy.Namespace = "other"
		h.create(busy)
		h.after(5 * time.Second)
		h.look()
		count := func() {
			events += len(h.told())
			for _, name := range h.woken() {
				if namespaces[name] == "" {
					continue // what takes room
				}
				attempts++
				patch, event := h.attempt(namespaces[name], name)
				patches[name] += map[bool]int{true: 1}[patch]
				events += map[bool]int{true: 1}[event]
			}
		}
		for second := range 3600 {
			if second%10 == 0 { // something ends, and something else of another size starts
				name := fmt.Sprint("busy-", second/10%3)
				h.remove(name)
				h.after(time.Millisecond)
				count()
				h.create(on([]string{"a", "b", "c"}[second/10%3], lone(name, 20+second/10*7%31)))
			}
			h.after(time.Second)
			count()
		}
		byKubeScheduler := 0
		for _, n := range patches {
			byKubeScheduler += n
		}
		for _, action := range h.client.Actions() {
			if patch, is := action.(clienttesting.PatchAction); is && action.GetSubresource() == "status" {
				patches[patch.GetName()]++
			}
		}
		sum, worst := 0, 0
		for _, n := range patches {
			sum, worst = sum+n, max(worst, n)
		}
		t.Logf("%d applications have cost %d patches (%d of them after %d attempts that failed; %d for one at most) and %d events in an hour",
			applications, sum, byKubeScheduler, attempts, worst, events)
		assert.Greater(t, attempts, applications)
		assert.Len(t, patches, applications, "each has heard why it waits")
		assert.LessOrEqual(t, worst, mostWritten, "patches of one")
		assert.LessOrEqual(t, sum+events, most*applications)
	})
}

// Every pod that waits says why, whatever for.
//
// Seen failing when an executor whose driver does not run said nothing.
func TestEveryPodThatWaitsSaysWhy(t *testing.T) {
	early := executor("early", "late", 1)
	bubble(t, "", nodes(2, "a"), func(h *harness) {
		h.create(driver("late"), early)
		h.plugin.PreEnqueue(h.ctx, h.pod("late"))
		h.plugin.PreEnqueue(h.ctx, h.pod("early"))
		h.after(2 * time.Second)
		assert.Empty(t, h.condition("early"), "most leaders run in a moment")
		h.after(6 * time.Second)
		assert.Equal(t, "GangIncomplete: leader late of application ns/late does not run yet", h.condition("early"))
		h.after(6 * time.Minute)
		for name, want := range map[string]string{
			"late":  "GangIncomplete: the configuration of the application is missing for 1m0s: ConfigMap ns/late-conf is not there yet",
			"early": "GangIncomplete: leader late of application ns/late does not run yet",
		} {
			assert.Equal(t, want, h.condition(name), name)
			status, _ := h.status(name)
			assert.Equal(t, gang.GangIncomplete, status.Reason, name)
		}
		requests := h.requests()
		for range 10 {
			h.plugin.PreEnqueue(h.ctx, h.pod("early"))
			h.after(time.Second)
		}
		assert.Equal(t, requests["patch pods/status"], h.requests()["patch pods/status"], "once")
	})
}

// A scheduler that cannot read the cluster says so, but not while what pods have been told by the one before it is still true.
//
// Seen failing when nothing was said, and when it was said at once.
func TestASchedulerThatKnowsTooLittleSaysSo(t *testing.T) {
	l := ledger.New("", placement.Pack)
	now := time.Now()
	pod := lone("late", 1)
	seen := ledger.Pod{UID: pod.UID, Namespace: pod.Namespace, Object: pod}
	_, _, effects := l.Gate(now, seen)
	for _, wait := range []time.Duration{6 * time.Second, 25 * time.Second} {
		require.Empty(t, effects)
		now = now.Add(wait)
		var err error
		effects, err = l.Apply(now, ledger.Tick{})
		require.NoError(t, err)
	}
	require.Len(t, effects, 1)
	require.Equal(t, gang.NotSynced, effects[0].(ledger.Tell).Verdict.Reason)
}

// Executors that the API server refuses leave no object and no event: that they are missing is seen, and why is guessed.
//
// Seen failing when only the ledger was asked, and when it was told with every sweep.
func TestALeaderHearsWhyItsWorkersDoNotCome(t *testing.T) {
	start := func(h *harness) {
		h.submit("app", 2, 1)
		require.True(t, h.schedule("app").status.IsSuccess())
		running := h.pod("app")
		running.Status.Conditions = append(running.Status.Conditions, v1.PodCondition{Type: v1.PodReady, Status: v1.ConditionTrue})
		h.update(running)
	}
	limited(t, append(nodes(16, "a"), quota("20", "1")), func(h *harness) {
		start(h)
		h.updateQuota(quota("20", "20")) // others were faster
		h.after(25 * time.Second)
		require.Empty(t, h.told())
		h.after(20 * time.Second)
		require.Equal(t, []string{"Warning WorkersMissing 2 of 2 workers have not come within 30s, although room is kept for them: " +
			"most likely because ResourceQuota ns/compute has requests.cpu 0 of 20 left, and the workers ask for 1"}, h.told())
		h.after(time.Minute)
		require.Empty(t, h.told(), "once")
		h.create(executor("exec-1", "app", 1))
		require.True(t, h.schedule("exec-1").status.IsSuccess())
		h.after(time.Minute)
		require.Contains(t, h.told()[0], "Warning WorkersMissing 1 of 2 workers have not come")
	})
	limited(t, append(nodes(16, "a"), []runtime.Object{}...), func(h *harness) {
		start(h)
		h.after(time.Minute)
		require.Equal(t, []string{"Warning WorkersMissing 2 of 2 workers have not come within 30s, although room is kept for them: " +
			"the API server may refuse them, see the log of pod app"}, h.told())
	})
}
