package quota

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/resource"
)

// claimed is a Tree with what runs in it and a claim.
type claimed struct {
	*Tree
	victims []Victim
	claim   Request
}

// drawLenders are queues of which most take back what they lend.
func drawLenders(t *rapid.T) []Spec {
	amounts := func(label string, most int64) Amounts {
		var drawn Amounts
		for _, name := range resourceNames[:2] {
			if rapid.IntRange(0, 3).Draw(t, label+" has "+string(name)) > 0 {
				drawn = append(drawn, resource.Amount{Name: name, Value: even(t, label, 0, most)})
			}
		}
		return drawn
	}
	var specs []Spec
	for i, name := range queueNames {
		spec := Spec{
			Name: name, Guaranteed: amounts("guaranteed", 40), Weight: maybe(t, "weight", 0, 3),
			Reclaim: Reclaim{
				Enabled: rapid.IntRange(0, 7).Draw(t, "reclaims") > 0, Exempt: rapid.IntRange(0, 7).Draw(t, "exempt") == 0,
				DeadZone: rapid.SampledFrom([]int64{0, 0, 0, 50}).Draw(t, "dead zone"), Budget: maybe(t, "budget", 1, 101),
				Protect: time.Duration(rapid.SampledFrom([]int{0, 0, 0, 5, 9}).Draw(t, "protect")) * time.Second,
			},
		}
		if i > 0 && rapid.Bool().Draw(t, "has parent") {
			spec.Parent = queueNames[rapid.IntRange(0, i-1).Draw(t, "parent")]
		}
		specs = append(specs, spec)
	}
	return specs
}

// drawClaimed has gangs of slots, elastic workers and a rest with the leader, and a claim of any kind.
func drawClaimed(t *rapid.T) claimed {
	c := claimed{Tree: New(drawLenders(t))}
	c.SetCapacity(vector(100, 100, 0))
	some := func(most int64) resource.Vector {
		return vector(even(t, "cpu", 0, most), rapid.Int64Range(0, 1).Draw(t, "needs memory")*even(t, "memory", 0, most), 0)
	}
	for i := range rapid.IntRange(2, 8).Draw(t, "gangs") {
		name, queue := fmt.Sprint("gang", i), rapid.SampledFrom([]string{"e", "d", "c", "b", "a"}).Draw(t, "queue")
		priority := rapid.Int32Range(0, 2).Draw(t, "priority")
		total := resource.Vector{}
		victim := func(kind Kind, number int, amount resource.Vector) {
			c.victims = append(c.victims, Victim{
				ID: types.UID(fmt.Sprint(name, " ", kind, number)), Kind: kind, Gang: name, Queue: queue, Priority: priority, Amount: amount, Protected: rapid.IntRange(0, 3).Draw(t, "protected") == 0,
				Since: start.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "since")) * time.Second), Started: start.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "started")) * time.Second),
			})
		}
		for j := range rapid.IntRange(0, 2).Draw(t, "slots") {
			amount := some(6)
			victim(Slot, j, amount)
			total = total.Add(amount)
		}
		for j := range rapid.IntRange(0, 3).Draw(t, "elastic") {
			amount := some(6)
			victim(Elastic, j, amount)
			total = total.Add(amount)
		}
		total = total.Add(some(10))
		victim(Gang, 0, total)
		c.Charge(queue, Demand{Amount: total, Gangs: 1})
	}
	c.claim = Request{
		Queue: rapid.SampledFrom([]string{"a", "b", "c", "d", "e", Unassigned}).Draw(t, "claims"), Demand: some(20), Priority: rapid.Int32Range(0, 2).Draw(t, "claim's priority"),
		Preempts: rapid.Bool().Draw(t, "preempts"), Now: start.Add(8 * time.Second),
	}
	c.settle()
	if n := c.queues[c.claim.Queue]; n != nil && rapid.IntRange(0, 3).Draw(t, "modest") > 0 {
		// Most claims stay within the guarantee, or hardly anything would be taken.
		c.claim.Demand.CPU = even(t, "modest cpu", 1, max(n.guaranteed.or0(v1.ResourceCPU)-n.used.CPU, 1))
		c.claim.Demand.Memory = even(t, "modest memory", 0, max(n.guaranteed.or0(v1.ResourceMemory)-n.used.Memory, 0))
	}
	c.claim.Lacking = resource.Vector{}.Max(c.claim.Demand.Sub(some(3)))
	if rapid.Bool().Draw(t, "taken before") {
		c.claim.Taken = some(10)
	}
	return c
}

// after is what a queue with all below it uses once the victims are gone.
func (c claimed) after(n *node, victims []Victim) resource.Vector {
	used := n.used
	for _, v := range victims {
		if slices.Contains(c.leaf(v.Queue).path, n) {
			used = used.Sub(v.Amount)
		}
	}
	return used
}

// letsGive tells whether somebody among all gives only because those besides the rest do.
func (c claimed) letsGive(rest, all []Victim) bool {
	for _, n := range c.leaf(c.claim.Queue).path {
		for _, name := range resourceNames {
			if c.claim.Lacking.Of(name) > 0 && c.after(n, rest).Of(name)+c.claim.Demand.Of(name) > n.guaranteed.or0(name) &&
				slices.ContainsFunc(all, func(v Victim) bool { return !slices.Contains(c.leaf(v.Queue).path, n) }) {
				return true
			}
		}
	}
	return false
}

// protected tells whether a gang has not run for as long as its queue, or one above it, says.
func (c claimed) protected(v Victim, now time.Time) bool {
	longest := time.Duration(0)
	for _, n := range c.leaf(v.Queue).path {
		for _, spec := range c.specs {
			if spec.Name == n.Name {
				longest = max(longest, spec.Reclaim.Protect)
			}
		}
	}
	return v.Kind == Gang && now.Sub(v.Started) < longest
}

// No gang goes as a whole for another queue before its time. Where that is all that stands in the way, it is known when the first of them
// may go, and by when enough of them may.
//
// Seen failing when take did not ask, when a queue had its own protection only, and when Until was the end of the last protection.
func TestNothingProtectedIsTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		choice := c.SelectVictims(c.claim, c.victims, nil)
		for _, v := range choice.Victims {
			require.False(t, c.leaf(v.Queue) != c.leaf(c.claim.Queue) && c.protected(v, c.claim.Now), "%+v, which began to run at %s, goes at %s", v, v.Started, c.claim.Now)
		}
		if choice.Obstacle != TooYoung {
			require.Zero(t, choice.Protection)
			return
		}
		at := func(now time.Time) Obstacle {
			claim := c.claim
			claim.Now = now
			return c.SelectVictims(claim, c.victims, nil).Obstacle
		}
		p := choice.Protection
		require.True(t, p.Next.After(c.claim.Now) && !p.Until.Before(p.Next), "%+v", p)
		require.Contains(t, []Obstacle{"", BudgetSpent}, at(p.Until), "there is enough then")
		require.Equal(t, TooYoung, at(p.Until.Add(-time.Nanosecond)), "and not before")
		require.False(t, slices.ContainsFunc(c.victims, func(v Victim) bool {
			return c.protected(v, c.claim.Now) && !c.protected(v, p.Next.Add(-time.Nanosecond)) && c.mayBeAsked(v)
		}), "nobody may go before %s", p.Next)
	})
}

// mayBeAsked tells whether something may be taken for the claim but for its age.
func (c claimed) mayBeAsked(v Victim) bool {
	return newSelection(c.Tree, c.claim, nil).mayGive(c.leaf(v.Queue), v) && c.leaf(v.Queue) != c.leaf(c.claim.Queue)
}

// Seen failing when leavesGuarantees looked at the leaf only, when mayGive asked for the same priority at most, and when
// exempt queues gave.
func TestWhoGivesBackKeepsItsGuaranteeAndNobodyElseGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		own := c.leaf(c.claim.Queue)
		choice := c.SelectVictims(c.claim, c.victims, nil)
		for _, v := range choice.Victims {
			leaf := c.leaf(v.Queue)
			if leaf == own {
				require.True(t, c.claim.Preempts && v.Priority < c.claim.Priority, "%+v for %+v", v, c.claim)
				continue
			}
			require.False(t, leaf.Reclaim.Exempt)
			for n := leaf; n != c.root && !slices.Contains(own.path, n); n = n.parent {
				for _, name := range resourceNames {
					if c.claim.Lacking.Of(name) > 0 && v.Amount.Of(name) > 0 {
						require.GreaterOrEqual(t, c.after(n, choice.Victims).Of(name), n.guaranteed.or0(name), "%s of %s, for %+v: %+v", name, n.Name, c.claim, choice)
					}
				}
			}
		}
	})
}

// Seen failing when the search stopped before sums sufficed, when spare went through the victims once from the front, and
// when a whole gang was named beside its workers.
func TestWhatIsTakenSufficesAndNothingOfItIsSpare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		choice := c.SelectVictims(c.claim, c.victims, nil)
		require.False(t, choice.Obstacle != "" && len(choice.Victims) > 0, "all or nothing")
		require.NotEmpty(t, choice.String())
		if len(choice.Victims) == 0 {
			return
		}
		require.True(t, c.claim.Lacking.Fits(sum(choice.Victims)), "%v of %v", sum(choice.Victims), c.claim.Lacking)
		for at, v := range choice.Victims {
			rest := slices.Delete(slices.Clone(choice.Victims), at, at+1)
			require.True(t, !c.claim.Lacking.Fits(sum(rest)) || c.letsGive(rest, choice.Victims), "%+v is spare", v)
			if v.Kind == Gang {
				require.False(t, slices.ContainsFunc(rest, func(part Victim) bool { return part.Gang == v.Gang }), "%s is named twice", v.Gang)
			}
		}
	})
}

// Seen failing when victims of the same priority and age were taken in the order given.
func TestTheChoiceDoesNotDependOnTheOrderOfVictims(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		shuffled := rapid.Permutation(c.victims).Draw(t, "shuffled")
		require.Empty(t, cmp.Diff(c.SelectVictims(c.claim, c.victims, nil), c.SelectVictims(c.claim, shuffled, nil)))
	})
}

// Choosing is a question: the Tree does not change.
//
// Seen failing when taken was subtracted from used.
func TestChoosingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		var before []resource.Vector
		for _, n := range c.all {
			before = append(before, n.used)
		}
		victims := slices.Clone(c.victims)
		first := c.SelectVictims(c.claim, c.victims, nil)
		require.Empty(t, cmp.Diff(first, c.SelectVictims(c.claim, c.victims, nil)))
		require.Empty(t, cmp.Diff(victims, c.victims))
		for i, n := range c.all {
			require.Empty(t, cmp.Diff(before[i], n.used))
		}
	})
}

// Nobody makes a claim that goes beyond its guarantee, or that its administrator did not allow, on other queues.
//
// Seen failing when the demand was left out of what the queue would use.
func TestAClaimOnOthersStaysWithinTheGuarantee(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		queue := c.queues[c.leaf(c.claim.Queue).Name]
		for _, v := range c.SelectVictims(c.claim, c.victims, nil).Victims {
			if c.leaf(v.Queue) == c.leaf(c.claim.Queue) {
				continue
			}
			require.True(t, queue.Reclaim.Enabled)
			for _, name := range resourceNames {
				if c.claim.Lacking.Of(name) > 0 {
					require.LessOrEqual(t, queue.used.Of(name)+c.claim.Demand.Of(name), queue.guaranteed.or0(name))
				}
			}
		}
	})
}

// What is lent comes back: where everything is made of single units and nothing is exempt, a gang within its queue's
// guarantee gets all it lacks, whoever has it.
//
// Seen failing when a claim ended at the first queue above it that exceeds its guarantee, and when givers were tried once.
func TestLendingIsReturned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := even(t, "capacity", 1, 100)
		specs := drawLenders(t)
		for i := range specs {
			specs[i].Reclaim = Reclaim{Enabled: true}
		}
		tree := New(specs)
		tree.SetCapacity(resource.Vector{CPU: capacity})
		var victims []Victim
		for i := range capacity - rapid.Int64Range(0, min(capacity, 3)).Draw(t, "free") {
			queue := rapid.SampledFrom([]string{"e", "d", "c", "b", "a"}).Draw(t, "queue")
			victims = append(victims, Victim{ID: types.UID(fmt.Sprint(i)), Kind: Kind(rapid.IntRange(0, 2).Draw(t, "kind")), Gang: fmt.Sprint(i), Queue: queue, Amount: resource.Vector{CPU: 1}})
			tree.Charge(queue, Demand{Amount: resource.Vector{CPU: 1}})
		}
		tree.settle()
		queue := rapid.SampledFrom(queueNames).Draw(t, "claims")
		n := tree.queues[queue]
		if n == nil || n.used.CPU >= n.guaranteed.or0(v1.ResourceCPU) {
			return
		}
		demand := even(t, "demand", 1, n.guaranteed.or0(v1.ResourceCPU)-n.used.CPU)
		lacking := demand - (capacity - int64(len(victims)))
		if lacking <= 0 {
			return
		}
		choice := tree.SelectVictims(Request{Queue: queue, Demand: resource.Vector{CPU: demand}, Lacking: resource.Vector{CPU: lacking}}, victims, nil)
		require.Empty(t, choice.Obstacle, "%s is guaranteed %v, uses %v, and its gang of %d lacks %d", queue, n.guaranteed, n.used, demand, lacking)
		require.Len(t, choice.Victims, int(lacking))
	})
}

// While a queue above the claim's would exceed its guarantee, nobody outside of it gives: it has its part already, and its
// own queues have to share it.
//
// Seen failing when reaches found everything.
func TestNobodyGivesToAQueueThatHasItsPart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		choice := c.SelectVictims(c.claim, c.victims, nil)
		for _, n := range c.leaf(c.claim.Queue).path {
			outside := slices.ContainsFunc(choice.Victims, func(v Victim) bool { return !slices.Contains(c.leaf(v.Queue).path, n) })
			if n.ofParent() || !outside {
				continue
			}
			for _, name := range resourceNames {
				if c.claim.Lacking.Of(name) > 0 {
					require.LessOrEqual(t, c.after(n, choice.Victims).Of(name)+c.claim.Demand.Of(name), n.guaranteed.or0(name), "%s of %s, for %+v: %+v", name, n.Name, c.claim, choice)
				}
			}
		}
	})
}

// Whoever knows the nodes has the last word, and is asked about nothing that is not enough in sums.
//
// Seen failing when spare asked for sums only.
func TestNothingIsTakenUnlessTheGangFitsThen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawClaimed(t)
		needed := rapid.SampledFrom([]string{"gang0", "gang1", "gang2"}).Draw(t, "needed")
		enough := func(chosen []Victim) bool {
			require.True(t, c.claim.Lacking.Fits(sum(chosen)))
			return slices.ContainsFunc(chosen, func(v Victim) bool { return v.Gang == needed })
		}
		choice := c.SelectVictims(c.claim, c.victims, enough)
		require.True(t, len(choice.Victims) == 0 || enough(choice.Victims))
	})
}
