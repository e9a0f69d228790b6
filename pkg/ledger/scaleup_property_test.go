package ledger

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/scaleup"
)

// scaleLimits are small, so that they stand in the way.
var scaleLimits = scaleup.Limits{After: 10 * time.Second, Timeout: 3 * time.Minute, PerQueue: 1, Total: 2}

// elasticHappened makes gangs wait for nodes.
var elasticHappened = []string{
	"node", "node lost", "want", "want", "want", "want", "leader", "leader", "define", "define", "define", "worker", "lone", "member", "member", "group", "relabel",
	"schedule", "schedule", "schedule", "schedule", "schedule", "schedule", "schedule", "schedule", "bind", "bind", "fail", "end", "tick", "autoscaler", "autoscaler", "autoscaler", "autoscaler",
}

// elastic gives the world an autoscaler.
func (w *world) elastic() {
	if w.happens = elasticHappened; len(w.namespaces) > 0 {
		w.happens = append(slices.Clone(elasticHappened), "queues", "user", "large")
	}
	_ = w.apply(Elastic{Limits: &scaleLimits})
}

// checkLimits asserts that the queues of those for whom requests were opened since it was called last let them in besides what runs, by
// the tests' own sums.
func (w *world) checkLimits(t require.TestingT, before map[types.UID]ScaleUp) {
	for leader := range w.asked {
		if _, former := before[leader]; !former {
			e := w.members.gangs[leader]
			require.True(t, w.tree(w.charges()).Fits(w.accounts.queueOf(e.Key.Namespace), demandOnQueue(e)).Passes(), "nodes are asked for a gang that waits for its queue")
		}
	}
}

// hear is the autoscaler, which takes what it is asked for.
func (w *world) hear(effect Effect) {
	switch effect := effect.(type) {
	case ScaleUp:
		if _, twice := w.asked[effect.Leader.UID]; twice {
			w.trespasses = append(w.trespasses, fmt.Sprintf("for %s is asked twice", effect.Leader.UID))
		}
		w.asked[effect.Leader.UID] = effect
	case ScaleUpEnded:
		delete(w.asked, effect.Leader)
	}
}

// autoscale lets the autoscaler say something, or come and go.
func (w *world) autoscale(t *rapid.T) {
	switch rapid.IntRange(0, 9).Draw(t, "autoscaler") {
	case 0:
		_ = w.apply(Elastic{})
		_ = w.apply(Elastic{Limits: &scaleLimits})
	case 1, 2, 3:
		leaders := make([]types.UID, 0, len(w.asked))
		for leader := range w.asked {
			leaders = append(leaders, leader)
		}
		if slices.Sort(leaders); len(leaders) > 0 {
			leader := rapid.SampledFrom(leaders).Draw(t, "leader")
			_ = w.apply(ScaleUpAnswered{leader, scaleup.Answer{Words: "no", Failing: rapid.Bool().Draw(t, "failing")}})
		}
	default:
		w.clock = w.clock.Add(time.Second)
		_ = w.apply(Tick{})
	}
}

// checkScaleUps asserts that what the autoscaler is asked for is what is missing: all workers of the start, and the leader only where all have to be in one domain, of gangs
// that wait, that their queues let in, and of no others; and that a pod of a gang is a reason to buy nodes while that is so, and never else.
func (w *world) checkScaleUps(t require.TestingT) {
	require.Empty(t, w.trespasses)
	perQueue := map[string]int{}
	for id, waiter := range w.scaleUps.gangs {
		e := w.members.gangs[id]
		require.NotNil(t, e, "nodes are asked for a gang that has gone")
		require.Equal(t, gang.Waiting, e.Phase)
		require.Empty(t, e.leader.placed)
		require.Same(t, w.waiting.Of(id), waiter.Waiter)
		require.True(t, waiter.Verdict().Passes() || waiter.Verdict().Reason.Trait().Nodes, "nodes are asked for a gang that waits for %s", waiter.Verdict())
		request, _ := w.scaleUps.requests.Of(id)
		perQueue[request.Queue]++ // as it was when the request was opened: namespaces move
		asked, any := w.asked[id]
		missing := map[string]int{}
		if defined, ok := w.defined[id].(Defined); ok && e.upfront == nil {
			for _, role := range defined.Definition.Roles {
				if role.Count > 0 {
					missing[role.Name+" "+role.Requests.String()] = role.Count
				}
			}
		}
		if asked.Strategy == placement.SingleZone { // all in one domain, of which the pending leader does not know
			missing[leaderName+" "+e.leader.Requests.String()] = 1
		}
		require.Equal(t, len(missing) > 0, any)
		require.Len(t, asked.Pods, len(missing))
		for _, pods := range asked.Pods {
			require.Equal(t, missing[pods.Name+" "+pods.Requests.String()], pods.Count)
		}
	}
	for queue, open := range perQueue {
		require.LessOrEqual(t, open, scaleLimits.PerQueue, queue)
	}
	require.LessOrEqual(t, len(w.scaleUps.gangs), scaleLimits.Total)
	for leader := range w.asked {
		require.Contains(t, w.scaleUps.gangs, leader, "what was asked for %s was not taken back", leader)
	}
	for uid, p := range w.members.pods {
		e := w.members.gangOf(p)
		if p.placed != "" || e == nil || e.Phase.Admitted() || p.Kind != Leader && e.upfront == nil {
			continue
		}
		want := gang.WaitingForTurn
		if asked := w.asked[e.leader.UID].Pods; w.scaleUps.gangs[e.leader.UID].Waiter != nil && (len(asked) == 0 || asked[0].Name != leaderName) {
			want = v1.PodReasonUnschedulable
		}
		for _, reason := range []gang.Reason{gang.ClusterFull, gang.NeverFitsCluster, gang.BehindOthers, gang.Collecting, ""} {
			require.Equal(t, want, w.Condition(uid, reason), "%s of %s", reason, uid)
		}
		require.Equal(t, gang.WaitingForTurn, w.Condition(uid, gang.QueueLimit))
	}
}

// TestWhatIsAskedForIsWhatIsMissingWhateverHappens, and in the end nothing is asked for and nothing remembered.
func TestWhatIsAskedForIsWhatIsMissingWhateverHappens(t *testing.T) {
	asked := 0
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		w.elastic()
		_ = w.apply(Synced{})
		for range w.drawEvents(t) {
			before := maps.Clone(w.asked)
			w.step(t)
			w.checkScaleUps(t)
			w.checkLimits(t, before)
			asked += len(w.asked)
		}
		for _, p := range sortedPods(slices.Collect(func(yield func(Pod) bool) {
			for _, p := range w.pods {
				if !yield(p) {
					return
				}
			}
		})) {
			w.end(p.UID)
			w.checkScaleUps(t)
		}
		_ = w.apply(Tick{})
		require.Empty(t, w.asked)
		require.Empty(t, w.scaleUps.gangs)
		require.Empty(t, w.scaleUps.singles)
		require.Empty(t, w.scaleUps.reasons)
		require.Empty(t, w.scaleUps.stale)
		needs, open, refusals := w.scaleUps.requests.Len()
		require.Equal(t, []int{0, 0, 0}, []int{needs, open, refusals}, "needs, open, refusals")
	})
	t.Logf("requests were open in %d states", asked)
	require.Positive(t, asked, "nothing was ever asked for")
}
