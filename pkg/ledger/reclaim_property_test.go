package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
)

// lenders is a cluster in which gangs of pods of one core each run and wait in queues, and whatever the ledger asks for is
// done, sooner or later.
type lenders struct {
	*cluster
	specs []quota.Spec
	// waiting are the drivers that have not been admitted: name -> driver.
	waiting map[string]Pod
	// going are pods that have to go and have not gone, in the order in which they were told to.
	going []string
	// gone is for whom a pod has gone: pod -> preemptor.
	gone map[string]string
	// started is when a gang was bound: driver -> time.
	started map[string]time.Time
}

func drawLenders(t *rapid.T) *lenders {
	names := []string{"a", "b", "c", "d"}[:rapid.IntRange(2, 4).Draw(t, "nodes")]
	l := &lenders{cluster: newCluster(t, names...), waiting: map[string]Pod{}, gone: map[string]string{}, started: map[string]time.Time{}}
	left := int64(len(names) * 4)
	for i := range rapid.IntRange(2, 4).Draw(t, "queues") {
		spec := quota.Spec{Name: fmt.Sprint("q", i), Reclaim: quota.Reclaim{
			Enabled: rapid.IntRange(0, 3).Draw(t, "reclaims") > 0, DryRun: rapid.IntRange(0, 3).Draw(t, "dry run") == 0, Exempt: rapid.IntRange(0, 5).Draw(t, "exempt") == 0,
			Protect: time.Duration(rapid.SampledFrom([]int{0, 0, 1, 7}).Draw(t, "protect")) * time.Second,
		}}
		if guaranteed := rapid.Int64Range(0, left).Draw(t, "guaranteed"); guaranteed > 0 {
			spec.Guaranteed, left = cpu(guaranteed), left-guaranteed
		}
		if rapid.IntRange(0, 3).Draw(t, "limited") == 0 {
			spec.Limit = cpu(rapid.Int64Range(spec.Guaranteed.Vector().CPU/1000, 16).Draw(t, "limit"))
		}
		l.specs = append(l.specs, spec)
	}
	l.arrange(l.specs...)
	return l
}

// submit is a driver of a gang of so many executors, of which it needs some to go on.
func (l *lenders) submit(t *rapid.T, name string) {
	leader := l.pod(rapid.SampledFrom(l.specs).Draw(t, "queue").Name, name, 1, "")
	leader.Kind, leader.Gang = Leader, gang.Key{Namespace: leader.Namespace, Name: name}
	l.tell(PodSeen{leader})
	d := definition(rapid.IntRange(0, 5).Draw(t, "executors"), 1)
	d.Roles[0].Minimum = rapid.IntRange(0, d.Roles[0].Count).Draw(t, "minimum")
	l.waiting[name] = leader
	l.tell(Defined{leader.UID, d})
}

// perform does what the ledger has asked for, but for evictions, which take their time.
func (l *lenders) perform(t *rapid.T) {
	for len(l.said) > 0 {
		effect := l.said[0]
		l.said = l.said[1:]
		switch e := effect.(type) {
		case Activate:
			if p, waits := l.waiting[e.Pod.Name]; waits {
				l.try(p)
			}
		case Evict:
			l.evict(t, e)
		}
	}
}

func (l *lenders) evict(t *rapid.T, e Evict) {
	p := l.Ledger.members.pods[e.Pod.UID]
	require.NotNil(t, p)
	require.False(t, l.specOf(l.Ledger.waiting.Of(p.preemptor).Asks.Queue).Reclaim.DryRun, "a dry run evicts %s", e.Pod.Name)
	if p.Kind == Leader {
		require.GreaterOrEqual(t, l.now.Sub(l.started[e.Pod.Name]), l.specOf(p.Namespace).Reclaim.Protect, "%s has not run for long enough", e.Pod.Name)
		for _, worker := range l.members.apps[p.Gang].workers {
			require.True(t, worker.placed == "" || slices.Contains(l.going, string(worker.UID)) || l.gone[string(worker.UID)] != "", "%s goes before its executor %s", e.Pod.Name, worker.UID)
		}
	}
	l.going = append(l.going, e.Pod.Name)
	staying := l.standing(p.Namespace).Used.CPU
	for _, other := range l.victims.leaving {
		if other.Namespace == p.Namespace {
			staying -= other.Requests.CPU
		}
	}
	require.GreaterOrEqual(t, staying, l.specOf(p.Namespace).Guaranteed.Vector().CPU, "%s is taken of what %s is guaranteed", e.Pod.Name, p.Namespace)
}

func (l *lenders) specOf(queue string) quota.Spec {
	return l.specs[slices.IndexFunc(l.specs, func(s quota.Spec) bool { return s.Name == queue })]
}

// try is a scheduling cycle of a driver, and if it ends well all its executors come at once.
func (l *lenders) try(p Pod) {
	verdict, _, effects := l.Gate(l.now, p)
	l.said = append(l.said, effects...)
	if !verdict.Passes() {
		return
	}
	demand, _ := l.Demand(p.UID)
	verdict = demand.Verdict
	node, slots, fits := (&world{}).plan(l.ViewFor(p.UID), p, demand)
	if !fits && verdict.Passes() {
		verdict = gang.Verdict{Reason: gang.ClusterFull, Message: "no room"}
	}
	if !verdict.Passes() {
		l.tell(Refused{UID: p.UID, Epoch: l.View().Epoch, Verdict: verdict})
		return
	}
	l.tell(Admitted{Leader: p.UID, Node: node, Slots: slots})
	delete(l.waiting, string(p.UID))
	p.Node, p.Ready = node, true
	l.started[string(p.UID)] = l.now
	l.tell(PodSeen{p})
	for i, slot := range slots {
		worker := l.pod(p.Namespace, fmt.Sprint(p.UID, "-", i), 1, slot.Node)
		worker.Kind, worker.Gang, worker.Leader, worker.Role = Worker, p.Gang, p.UID, "executor"
		l.tell(PodSeen{worker})
	}
}

// leaves tells whether a pod still has to go.
func leaves(l *Ledger, uid types.UID) bool {
	_, preemptor := l.Situation(uid)
	return preemptor != ""
}

// leaveOne lets one of those go that have to, drivers after their executors.
func (l *lenders) leaveOne(t *rapid.T) {
	name := l.going[0]
	if i := rapid.IntRange(0, len(l.going)-1).Draw(t, "who"); l.Ledger.members.pods[types.UID(l.going[i])] != nil && l.Ledger.members.pods[types.UID(l.going[i])].Kind != Leader {
		name = l.going[i]
	}
	l.going = slices.DeleteFunc(l.going, func(other string) bool { return other == name })
	if p := l.Ledger.members.pods[types.UID(name)]; p != nil && leaves(l.Ledger, p.UID) {
		l.gone[name] = string(p.preemptor)
		l.tell(PodGone{p.UID})
	}
}

// TestLentRoomIsReturned: whatever runs where, once everything has happened that was asked for, whoever had somebody leave has
// started, nobody has left for a dry run, no driver before its executors or while its queue
// protects it, nobody of a queue within its guarantee, and nobody waits
// who is within the guarantee of a queue that takes back while expendable executors of those who borrow would do.
//
// Seen failing when protects did not ask, when coming did not count those who leave already, when expendable did count them, when a dry run was one
// in words only, when drivers stood before their executors, when the room that was kept was not on the
// nodes of the plan, and when a claim went on waiting whose room another claim had got.
func TestLentRoomIsReturned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLenders(t)
		for i := range rapid.IntRange(2, 9).Draw(t, "gangs") {
			l.submit(t, fmt.Sprint("g", i))
			l.perform(t)
			if rapid.Bool().Draw(t, "later") {
				l.pass(time.Second)
				l.perform(t)
			}
			if len(l.going) > 0 && rapid.Bool().Draw(t, "leaves") {
				l.leaveOne(t)
				l.perform(t)
			}
		}
		for quiet := time.Duration(0); quiet < 3*reclaimPause; quiet += time.Second {
			l.pass(time.Second)
			l.perform(t)
			if len(l.going) == 0 {
				continue
			}
			quiet = 0
			for len(l.going) > 0 && rapid.Bool().Draw(t, "one leaves") {
				l.leaveOne(t)
				l.perform(t)
			}
		}
		require.Empty(t, l.collections.list)
		require.Empty(t, l.victims.leaving)
		for pod, preemptor := range l.gone {
			_, waits := l.waiting[preemptor]
			require.False(t, waits, "%s has left for %s in vain", pod, preemptor)
		}
		for _, p := range l.waiting {
			l.requireNothingToTake(t, p)
		}
	})
}

// requireNothingToTake asserts that a gang does not wait for what expendable executors of others have borrowed.
func (l *lenders) requireNothingToTake(t *rapid.T, p Pod) {
	spec, own := l.specOf(p.Namespace), l.standing(p.Namespace)
	asked := l.members.gangs[p.UID].Definition.Workers() + 1
	within := own.Used.CPU/1000+int64(asked) <= spec.Guaranteed.Vector().CPU/1000
	if !spec.Reclaim.Enabled || spec.Reclaim.DryRun || !within {
		return
	}
	free := int64(0)
	for i := range l.View().Len() {
		free += l.View().Free(i).CPU / 1000
	}
	for _, giver := range l.specs {
		if giver.Name == p.Namespace || giver.Reclaim.Exempt {
			continue
		}
		expendable := int64(0)
		for _, e := range l.members.gangs {
			if e.Key.Namespace == giver.Name && e.Phase == gang.Running {
				live := map[string]int{} // role -> executors
				for _, p := range l.members.apps[e.Key].workers {
					if p.placed != "" {
						live[p.Role]++
					}
				}
				for _, role := range e.Definition.Roles {
					expendable += int64(max(live[role.Name]-role.Minimum, 0))
				}
			}
		}
		borrowed := l.standing(giver.Name).Used.CPU/1000 - giver.Guaranteed.Vector().CPU/1000
		free += max(min(expendable, borrowed), 0)
	}
	require.Less(t, free, int64(asked), "%s of queue %s waits for %d cores", p.UID, p.Namespace, asked)
}
