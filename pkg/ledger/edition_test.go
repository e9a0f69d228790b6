package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/waiting"
)

// lonely is a cluster of one node with room for a driver and three executors, and a driver that waits there and is being tried.
func lonely(t *testing.T, executors int) (*cluster, Pod, Attempt) {
	c := started(t, limited("ns", 1<<40), []string{"a"})
	leader := c.pod("ns", "app", 1, "")
	leader.Kind, leader.Gang = Leader, gang.Key{Namespace: "ns", Name: "app"}
	c.tell(PodSeen{leader})
	c.tell(Defined{"app", definition(executors, 1)})
	verdict, _, _ := c.Gate(c.now, leader)
	require.True(t, verdict.Passes())
	attempt, effects := c.Attempt(c.now, "app", 4)
	c.said = append(c.said, effects...)
	require.True(t, attempt.Gang)
	return c, leader, attempt
}

// TestRoomThatWasChosenForAnotherDefinitionIsNotTaken: a user edits what the workers are while the scheduling cycle has room for others.
//
// Seen failing before an attempt had an edition: the first held three cores for a gang that had asked its queue for one, the second
// started a driver with one executor of three, and the third panicked under the ledger's lock.
func TestRoomThatWasChosenForAnotherDefinitionIsNotTaken(t *testing.T) {
	for name, test := range map[string]struct {
		edited gang.Definition
		slots  []gang.Slot
	}{
		"it asks for less":     {definition(0, 1), []gang.Slot{{Node: "a", Requests: cores(1)}, {Node: "a", Requests: cores(1)}}},
		"it asks for more":     {definition(3, 1), []gang.Slot{{Node: "a", Requests: cores(1)}, {Node: "a", Requests: cores(1)}}},
		"it has no such role":  {gang.Definition{}, []gang.Slot{{Node: "a", Requests: cores(1)}, {Node: "a", Requests: cores(1)}}},
		"it asks for the same": {definition(2, 1), []gang.Slot{{Node: "a", Requests: cores(1)}, {Node: "a", Requests: cores(1)}}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, attempt := lonely(t, 2)
			c.tell(Defined{"app", test.edited})
			_, err := c.Apply(c.now, Admitted{Leader: "app", Node: "a", Slots: test.slots, Edition: attempt.Edition})
			require.ErrorIs(t, err, ErrNotWaiting)
			assert.True(t, c.nodes.Of("a").Held.IsZero())
			assert.True(t, c.nodes.Of("a").Used.IsZero())
			assert.Zero(t, c.used("ns").CPU)
			assert.Equal(t, gang.Waiting, c.members.gangs["app"].Phase)
		})
	}
}

// TestAnAnswerThatCameTooLateHasCostAsMuch: whoever edits the workers as often as they are rehearsed gets no more of a minute than others.
func TestAnAnswerThatCameTooLateHasCostAsMuch(t *testing.T) {
	c, _, attempt := lonely(t, 2)
	c.tell(Defined{"app", definition(3, 1)})
	_, err := c.Apply(c.now, Admitted{Leader: "app", Node: "a", Edition: attempt.Edition, Took: time.Second})
	require.ErrorIs(t, err, ErrNotWaiting)
	assert.Equal(t, c.now.Add(9*time.Second), waiting.Rests(c.waiting, "ns"))
}

// TestARehearsalThatHasSucceededHasCostAsMuch when something else refuses the gang then, such as a pod that kube-scheduler has nominated for the
// leader's node, and when the gang asks for something else by then.
//
// Seen failing when only what is admitted, and what rehearsals refuse, was counted.
func TestARehearsalThatHasSucceededHasCostAsMuch(t *testing.T) {
	for name, refused := range map[string]Refused{
		"and something else refuses it":  {UID: "app", Took: time.Second},
		"and the snapshot is behind":     {UID: "app", Took: time.Second, Behind: true},
		"and it asks for something else": {UID: "app", Took: time.Second, Verdict: gang.Verdict{Reason: gang.Fragmented}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, _ := lonely(t, 2)
			asks := definition(2, 1)
			asks.Rehearsed = true
			c.tell(Defined{"app", asks})
			if refused.Edition = c.members.gangs["app"].edition; !refused.Verdict.Passes() {
				c.tell(Defined{"app", definition(1, 1)})
			}
			c.tell(refused)
			assert.Equal(t, c.now.Add(9*time.Second), waiting.Rests(c.waiting, "ns"))
		})
	}
}

// TestAPodThatHasComeToLeadAGangIsNotPlacedAlone: its label came while the scheduling cycle had a node for a pod by itself.
//
// Seen failing when whoever was placed was taken for what it had been: the driver ran without slots.
func TestAPodThatHasComeToLeadAGangIsNotPlacedAlone(t *testing.T) {
	c := started(t, limited("ns", 100), []string{"a"})
	pod := c.pod("ns", "app", 1, "")
	c.tell(PodSeen{pod})
	pod.Kind, pod.Gang = Leader, gang.Key{Namespace: "ns", Name: "app"}
	for _, event := range []Event{PodSeen{pod}, Defined{"app", definition(2, 1)}} {
		c.tell(event)
		_, err := c.Apply(c.now, Placed{"app", "a"})
		require.ErrorIs(t, err, ErrNotWaiting)
		assert.True(t, c.nodes.Of("a").Used.IsZero())
	}
}

// TestAVerdictOnWhatNobodyAsksForAnyMoreSaysNothing: the attempt failed with 2,000,000 workers, and by then there are two.
//
// Seen failing when a verdict was taken for the present definition's: the gang of two waited for room that was there.
func TestAVerdictOnWhatNobodyAsksForAnyMoreSaysNothing(t *testing.T) {
	c, leader, attempt := lonely(t, 2_000_000)
	c.tell(Defined{"app", definition(2, 1)})
	c.said = nil
	c.tell(Refused{UID: "app", Epoch: attempt.View.Epoch, Edition: attempt.Edition, Verdict: gang.Verdict{Reason: gang.ClusterFull, Message: "no room"}})
	assert.Equal(t, []string{"activate app"}, show(c.said))
	verdict, _, _ := c.Gate(c.now, leader)
	require.True(t, verdict.Passes(), "%s", verdict)
	again, _ := c.Attempt(c.now, "app", 4)
	assert.Greater(t, again.Edition, attempt.Edition)
	assert.Equal(t, 2, again.Demand.Workers())
}

// TestNobodyIsJudgedBeforeItsAttemptForWhatItsUserWasNotTold: a user edits the count of a gang that was told that the cluster is full.
//
// Seen failing when the reason came with the Activate: the gang of 2,000,000, which can never fit, was told nothing of it.
func TestNobodyIsJudgedBeforeItsAttemptForWhatItsUserWasNotTold(t *testing.T) {
	c, leader, attempt := lonely(t, 5)
	full := Refused{UID: "app", Epoch: attempt.View.Epoch, Edition: attempt.Edition, Verdict: gang.Verdict{Reason: gang.ClusterFull, Message: "no room"}}
	c.tell(full)
	c.now = c.now.Add(time.Minute)
	c.tell(NodeSeen{newNode("b", 2)})
	_, told := c.Precheck("app")
	require.Equal(t, gang.ClusterFull, told, "it is its turn again, and it may be judged by what it was told")

	c.tell(Defined{"app", definition(2_000_000, 1)})
	verdict, _, _ := c.Gate(c.now, leader)
	require.True(t, verdict.Passes(), "%s", verdict)
	_, told = c.Precheck("app")
	assert.Empty(t, told)
}

// TestNoCollectionIsLargerThanThePlacesThatThereAre: what is kept is listed pod by pod, and no node could hold so many.
//
// Seen failing when whoever had waited long enough was collected for: a list of two million.
func TestNoCollectionIsLargerThanThePlacesThatThereAre(t *testing.T) {
	for name, test := range map[string]struct {
		workers     int
		wantCollect bool
	}{
		"as many as there are": {109, true}, // and the driver
		"one more":             {110, false},
		"very many":            {2_000_000, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := started(t, limited("ns", 1<<40), []string{"a"})
			c.tell(NodeSeen{newNode("a", 1000)})
			require.EqualValues(t, 110, c.nodes.Capacity().Pods)
			foreign := c.pod("other", "foreign", 999, "a")
			foreign.Foreign = true
			c.tell(PodSeen{foreign})
			c.waits("ns", "app", test.workers)
			c.now = c.now.Add(time.Hour)
			c.tell(Tick{Collect: time.Minute})
			assert.Equal(t, test.wantCollect, c.collections.of("app") != nil)
		})
	}
}

// TestAnUpfrontGangOfVeryManyKindsIsToldSo: every pod is a role of its own, and what is counted for all of them is counted for each.
//
// Seen failing when any number was laid out: 501 roles.
func TestAnUpfrontGangOfVeryManyKindsIsToldSo(t *testing.T) {
	for _, kinds := range []int{mostKinds, mostKinds + 1} {
		c := started(t, limited("ns", 1<<40), []string{"a"})
		for i := range mostKinds + 1 {
			pod := c.pod("ns", fmt.Sprint("pod-", i), 1, "")
			pod.Kind, pod.Gang, pod.Upfront, pod.Together = Worker, gang.Key{Namespace: "ns", Name: "many"}, true, mostKinds+1
			pod.Role = fmt.Sprint("of ", i%kinds)
			c.tell(PodSeen{pod})
		}
		e := c.members.gangs["group:ns/many"]
		require.NotNil(t, e)
		if kinds == mostKinds {
			assert.Equal(t, gang.Waiting, e.Phase)
			assert.Len(t, e.Definition.Roles, kinds)
			continue
		}
		assert.Equal(t, gang.Invalid, e.Phase)
		assert.Contains(t, e.Problem, "its pods are of 501 kinds, more than 500")
		assert.Empty(t, e.Definition.Roles)
	}
}
