package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// trial tries what a waiter would have if some had gone.
type trial struct {
	ledger *Ledger
	waiter *waiter
	wants  []want
	gang   placement.Gang
	view   *inventory.View
	all    map[types.UID]*victim
	// leaving is what comes free without anybody's doing: node -> amount.
	leaving map[string]resource.Vector
	// counts are how many pods of each want the nodes take as they are with that, if they take nothing else.
	counts []int
	choice quota.Choice
}

func (l *Ledger) trialLocked(w *waiter, all map[types.UID]*victim) *trial {
	t := &trial{ledger: l, waiter: w, wants: l.wantsLocked(w.uid()), view: l.viewForLocked(w.uid()), all: all, leaving: map[string]resource.Vector{}}
	t.gang.Strategy = l.strategyLocked(w.turn.gang.Namespace)
	for _, want := range t.wants {
		eligible := func(node int) bool { return want.eligible(t.view.Object(node)) }
		t.gang.Roles = append(t.gang.Roles, placement.Role{Member: placement.Member{Request: want.requests, Eligible: eligible}, Count: want.count})
	}
	for _, p := range l.leaving {
		if p.taker == "" {
			t.leaving[p.placed] = t.leaving[p.placed].Add(p.Requests)
		}
	}
	t.counts = make([]int, len(t.wants))
	for i := range t.view.Len() {
		free := t.view.Free(i).Add(t.leaving[t.view.Name(i)])
		for w := range t.wants {
			t.counts[w] += t.takes(w, i, free)
		}
	}
	return t
}

// takes is how many pods of a want a node takes that has so much free.
func (t *trial) takes(w, node int, free resource.Vector) int {
	if object := t.view.Object(node); object == nil || !t.wants[w].eligible(object) {
		return 0
	}
	return t.wants[w].requests.Count(free, t.wants[w].count)
}

// without is the cluster when some have gone, and what then comes free on which nodes: index -> amount.
func (t *trial) without(gone []quota.Victim) (*inventory.View, map[string]resource.Vector) {
	freed := maps.Clone(t.leaving)
	for _, victim := range gone {
		t.all[victim.ID].eachRoom(func(node string, amount resource.Vector) { freed[node] = freed[node].Add(amount) })
	}
	return t.view.With(freed), freed
}

// enough tells whether the waiter fits when some have gone: its queue, and the nodes.
func (t *trial) enough(gone []quota.Victim) bool {
	view, freed := t.without(gone)
	for w := range t.wants {
		count := t.counts[w]
		for node := range freed {
			if i, known := view.Index(node); known {
				count += t.takes(w, i, *view.Free(i)) - t.takes(w, i, t.view.Free(i).Add(t.leaving[node]))
			}
		}
		if count < t.wants[w].count {
			return false
		}
	}
	if !t.allowed(gone) {
		return false
	}
	_, shortage := t.ledger.solver.Fit(view, t.gang)
	return shortage == nil
}

// allowed tells whether the queue would let the waiter start. What a gang holds is all charged to its own queue.
func (t *trial) allowed(gone []quota.Victim) bool {
	queues, asks := t.ledger.queues, t.waiter.asks
	for _, v := range gone {
		queues.Release(v.Queue, quota.Demand{Amount: v.Amount})
	}
	verdict := queues.Fits(asks.Queue, asks.Demand)
	for _, v := range gone {
		queues.Charge(v.Queue, quota.Demand{Amount: v.Amount})
	}
	return verdict.Passes()
}

// plan is where the waiter's pods go when the chosen ones have gone; a Role is an index into wants.
func (t *trial) plan() ([]placement.Slots, bool) {
	view, _ := t.without(t.choice.Victims)
	fit, shortage := t.ledger.solver.Fit(view, t.gang)
	if shortage != nil {
		return nil, false
	}
	return fit.Plan(placement.NoNode)
}

// summary is what is taken from whom.
func (t *trial) summary() string {
	type part struct {
		amount resource.Vector
		kinds  [quota.Gang + 1]int
	}
	from := map[string]*part{} // queue -> what it gives
	for _, v := range t.choice.Victims {
		if from[v.Queue] == nil {
			from[v.Queue] = &part{}
		}
		from[v.Queue].amount = from[v.Queue].amount.Add(v.Amount)
		from[v.Queue].kinds[v.Kind]++
	}
	var parts []string
	for _, queue := range slices.Sorted(maps.Keys(from)) {
		p := from[queue]
		var kinds []string
		for kind, word := range []string{quota.Slot: "gangs whose slots nobody has claimed", quota.Elastic: "expendable workers", quota.Gang: "whole gangs"} {
			if p.kinds[kind] > 0 {
				kinds = append(kinds, fmt.Sprintf("%s: %d", word, p.kinds[kind]))
			}
		}
		parts = append(parts, fmt.Sprintf("%s from %s (%s)", p.amount, titleOf(queue), strings.Join(kinds, ", ")))
	}
	return strings.Join(parts, "; ")
}

// titleOf is a queue's name for people.
func titleOf(queue string) string {
	if queue == quota.Unassigned {
		return "namespaces without a queue"
	}
	return "queue " + queue
}

// why is what the user of a victim reads; of a pod of it, or of its slots if that is nil.
func (t *trial) why(v *victim, p *pod) string {
	what, taker := "its slots that nobody has claimed", t.waiter
	if p != nil {
		what = "this pod"
		if v.Kind == quota.Gang && v.entry != nil {
			what = "this pod, with its whole gang,"
		}
	}
	who := taker.turn.gang.String()
	if object := t.ledger.objectLocked(taker.uid()); object != nil {
		who = object.Namespace + "/" + object.Name
	}
	if v.Queue == taker.asks.Queue {
		return fmt.Sprintf("%s of %s makes place for %s, whose priority is %d; this one has %d", what, v.Amount, who, taker.asks.Priority, v.Priority)
	}
	return fmt.Sprintf("%s was borrowed (%s) by %s, and goes back to %s for %s, which is within its guarantee",
		what, v.Amount, titleOf(v.Queue), titleOf(taker.asks.Queue), who)
}
