package quota

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/resource"
)

// standings is what a tree says of every queue.
func standings(t *Tree) map[string]Usage {
	standings := map[string]Usage{}
	for _, name := range t.Names() {
		standings[name], _ = t.Usage(name)
	}
	return standings
}

// Seen failing when both had the same accounts of users, when a copy kept the guarantees of before the capacity was known, when it
// was made of what the tree holds by then, and when what is only supposed was taken off no account.
func TestWhatIsFrozenAnswersAsItsTreeDidWhateverBecomesOfEither(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		for i := range rapid.IntRange(0, 3).Draw(t, "waiters") {
			w := Waiter{ID: types.UID(fmt.Sprintf("waits-%d", i)), Queue: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "waits in"), Demand: Demand{Amount: resource.Vector{CPU: 1000}, Gangs: 1}}
			if c.Push(w); rapid.Bool().Draw(t, "tried") {
				c.Try(w.ID)
			}
		}
		choice, before := c.SelectVictims(c.claim, c.victims, nil), standings(c.Tree)
		frozen, charged := Freeze(c.Tree), FreezeCharged(c.Tree)
		require.Empty(t, cmp.Diff(before, standings(c.Tree)))
		for i := range rapid.IntRange(1, 4).Draw(t, "charges") {
			d := Demand{User: rapid.SampledFrom([]string{"", "u", "v"}).Draw(t, "user"), Amount: resource.Vector{CPU: int64(1000 * (i + 1))}, Gangs: 1}
			c.Charge(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "queue"), d)
		}
		snapshot := frozen.Tree()
		require.Empty(t, cmp.Diff(before, standings(charged.Tree())))
		require.Empty(t, cmp.Diff(choice, snapshot.SelectVictims(c.claim, c.victims, nil)))
		now := standings(c.Tree)
		snapshot.Charge("a", Demand{User: "u", Amount: resource.Vector{CPU: 5000}, Gangs: 1})
		require.Empty(t, cmp.Diff(now, standings(c.Tree)))
	})
}

// A tree is made of what is frozen, asked and changed by one who does not hold the lock under which the other one goes on. The race detector
// (make race) sees whether the two share anything that changes.
//
// Seen failing under it when what was frozen handed out the tree that it is of.
func TestATreeIsMadeOfWhatIsFrozenWhileTheOtherGoesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		queue := func(label string) string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, label) }
		waits := Waiter{ID: "waits", Queue: queue("waits in"), Demand: Demand{User: "v", Amount: resource.Vector{CPU: 1000}, Gangs: 1}}
		charged, d := queue("charges"), Demand{User: "u", Amount: resource.Vector{CPU: 1000}, Gangs: 1}
		capacity := vector(even(t, "cpu", 0, 100), 100, 0)
		before, frozen := standings(c.Tree), Freeze(c.Tree)

		var outside sync.WaitGroup
		var made map[string]Usage
		outside.Go(func() {
			snapshot := frozen.Tree()
			made = standings(snapshot)
			snapshot.SelectVictims(c.claim, c.victims, nil)
			snapshot.Charge(charged, d)
		})
		c.Charge(charged, d)
		c.Promise(charged, d)
		c.SetCapacity(capacity)
		c.Push(waits)
		c.Try(waits.ID)
		c.Next()
		c.Release(charged, d)
		c.Retract(charged, d)
		outside.Wait()
		require.Empty(t, cmp.Diff(before, made))
	})
}

// Seen failing when undo did not take promises back, and when what was released was added.
func TestASimulationIsWhatWouldBeAndLeavesNoTrace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		twin := Freeze(c.Tree).Tree()
		var changes []Change
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			change := Change{
				Queue: rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "queue"), Demand: Demand{Amount: resource.Vector{CPU: rapid.Int64Range(1, 9).Draw(t, "cpu") * 1000}, Gangs: 1},
				Charged: rapid.Int64Range(-1, 1).Draw(t, "charged"), Promised: rapid.Int64Range(-1, 1).Draw(t, "promised"),
			}
			changes = append(changes, change)
			switch change.Charged {
			case 1:
				twin.Charge(change.Queue, change.Demand)
			case -1:
				twin.Release(change.Queue, change.Demand)
			}
			switch change.Promised {
			case 1:
				twin.Promise(change.Queue, change.Demand)
			case -1:
				twin.Retract(change.Queue, change.Demand)
			}
		}
		asked := Demand{Amount: c.claim.Demand, Gangs: 1}
		before, fits := standings(c.Tree), c.Fits(c.claim.Queue, asked)
		undo := c.Simulate(changes)
		require.Equal(t, twin.Fits(c.claim.Queue, asked), c.Fits(c.claim.Queue, asked))
		require.Empty(t, cmp.Diff(standings(twin), standings(c.Tree)))
		undo()
		require.Empty(t, cmp.Diff(before, standings(c.Tree)))
		require.Equal(t, fits, c.Fits(c.claim.Queue, asked))
	})
}

// Seen failing when leavesGuarantees was not asked, and when MayGive looked at priorities of the request's own.
func TestWhatWasSelectedIsAllowedUntilSomebodyElseGivesBackWhatItBorrowed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		choice := c.SelectVictims(c.claim, c.victims, nil)
		if len(choice.Victims) == 0 {
			return
		}
		require.True(t, c.Allows(c.claim, choice.Victims))
		for _, v := range choice.Victims {
			require.True(t, c.MayGive(c.claim, v.Queue), "%+v", v)
		}
		v := choice.Victims[0]
		leaf := c.leaf(v.Queue)
		if leaf == c.leaf(c.claim.Queue) || leaf.guaranteed.or0(v1.ResourceCPU) == 0 {
			return
		}
		c.Release(v.Queue, Demand{Amount: resource.Vector{}.Max(leaf.used.Sub(leaf.guaranteed.Vector()))})
		require.False(t, c.Allows(c.claim, choice.Victims), "%s uses what it is guaranteed, and no more", v.Queue)
	})
}
