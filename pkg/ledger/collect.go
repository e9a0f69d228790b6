package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/waiting"
)

// tickCollectionLocked begins to collect for the first in turn of those that have waited longer than after for want of
// room. Where nothing has come back for as long, other nodes are chosen, and when there are no others, somebody else's
// turn comes. When all was collected and the waiter does not fit all the same, all is given back and everybody tried
// again: so that this does not go on all the time, nothing is collected for as long after it.
func (l *Ledger) tickCollectionLocked(after time.Duration) {
	taken := map[string]bool{} // queue -> collects already
	for _, c := range l.collections.patient() {
		taken[c.queue] = true
	}
	for _, c := range slices.Clone(l.collections.list) {
		if !l.readyLocked(c) && l.now.Sub(c.progressed) >= c.after {
			l.chooseOthersLocked(c)
		}
	}
	if len(l.degraded) > 0 || l.now.Before(l.collections.vainUntil) {
		return
	}
	first := map[string]*waiting.Waiter{} // queue -> the first of those who may collect for it
	for w := range l.waiting.All() {
		waited, lately := l.now.Sub(w.Turn.Created) >= after, l.now.Sub(w.Passed) < after
		if !waited || lately || !l.wantsRoomLocked(w) || l.collections.of(w.ID()) != nil {
			continue
		}
		queue := quota.Unassigned
		if l.queues.WithinGuarantee(w.Asks.Queue, w.Asks.Demand) {
			queue = w.Asks.Queue
		}
		if best := first[queue]; !taken[queue] && (best == nil || cmp.Or(w.Passed.Compare(best.Passed), w.Turn.Compare(best.Turn)) < 0) {
			first[queue] = w
		}
	}
	for _, queue := range slices.Sorted(maps.Keys(first)) {
		l.collectForLocked(first[queue], queue, after)
	}
}

// collectForLocked begins to collect for a waiter.
func (l *Ledger) collectForLocked(w *waiting.Waiter, queue string, after time.Duration) {
	c := newCollection(w.ID(), l.wantsLocked(w.ID()), l.now)
	c.queue, c.after = queue, after
	if l.strategyLocked(w.Turn.Gang.Namespace) == placement.SingleZone {
		c.left = map[string]bool{}
		if c.domain = l.collections.roomiest(w.Demand, c.left); c.domain == "" {
			w.Passed = l.now
			return
		}
	}
	l.collections.add(c)
	l.effects = append(l.effects, Tell{l.objectLocked(w.ID()), gang.Verdict{Reason: gang.Collecting,
		Message: fmt.Sprintf("it waits for more than %s; room that comes back is kept for it now; %s", after, w.Verdict())}})
}

// wantsRoomLocked tells whether a waiter lacks nothing but room.
func (l *Ledger) wantsRoomLocked(w *waiting.Waiter) bool {
	if !w.LacksRoom() {
		return false
	}
	return l.queues.Fits(w.Asks.Queue, w.Asks.Demand).Passes()
}

// wantsLocked is everything a waiter asks for, in the order of its demand's All.
func (l *Ledger) wantsLocked(waiter types.UID) []want {
	var wants []want
	for _, pods := range l.asksLocked(waiter).All().Roles {
		wants = append(wants, want{pods.Requests, placement.Eligibility(pods.Pod), pods.Count})
	}
	return wants
}

// chooseOthersLocked leaves the nodes on which the collection does not grow, or its domain. Those that others were to leave
// are not exchanged: who did not leave in time will not.
func (l *Ledger) chooseOthersLocked(c *collection) {
	others := false
	for k := range c.kept {
		switch node := c.kept[k].node; {
		case node == "":
		case c.preemption != nil:
		case c.domain != "":
			l.collections.giveBack(c, k)
		case c.lacks(k):
			others, c.avoided[node] = true, true
			l.collections.giveBack(c, k)
		}
	}
	if c.domain != "" {
		c.left[c.domain] = true
		c.domain = l.collections.roomiest(l.waiting.Of(c.waiter).Demand, c.left)
		others = c.domain != ""
	}
	c.progressed = l.now
	if !others {
		l.waiting.Of(c.waiter).Passed = l.now
		l.endCollectionLocked(c)
	}
}

// readyLocked tells whether a waiter has all that is collected for it. For one that takes something back that is also what its
// queue lacks: those who have to go may hold nothing that it wants on nodes, and until they have gone an attempt would fail
// and call them off. One that waits for what comes is tried, and gives back what is kept for it if its queue is full by now.
func (l *Ledger) readyLocked(c *collection) bool {
	if !c.complete() || c.preemption == nil {
		return c.complete()
	}
	asks := l.waiting.Of(c.waiter).Asks
	return l.fitsLocked(asks.ID, asks.Queue, asks.Demand).Passes()
}

// disappointLocked gives up a complete collection with which the attempt has failed all the same.
func (l *Ledger) disappointLocked(w *waiting.Waiter) {
	if c := l.collections.of(w.ID()); c != nil && c.complete() {
		if c.preemption == nil {
			w.Passed, l.collections.vainUntil = l.now, l.now.Add(c.after)
		}
		l.endCollectionLocked(c)
	}
}

// endCollectionOfLocked ends the collection for a waiter.
func (l *Ledger) endCollectionOfLocked(waiter types.UID) {
	if c := l.collections.of(waiter); c != nil {
		l.endCollectionLocked(c)
	}
}

// endCollectionLocked gives everything back that is collected for one waiter: because it starts, or in vain.
func (l *Ledger) endCollectionLocked(c *collection) {
	for k := range c.kept {
		if c.kept[k].node != "" {
			l.collections.giveBack(c, k)
		}
	}
	l.collections.remove(c)
	l.endPreemptionLocked(c)
}

// viewForLocked is a view as a waiter may use it.
func (l *Ledger) viewForLocked(waiter types.UID) *inventory.View {
	view := l.nodes.View(l.waiting.Epoch())
	if c := l.collections.of(waiter); c != nil {
		return view.With(c.amounts())
	}
	return view
}
