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

// collectors are the first of those who may collect, while all who wait are gone through: queue -> waiter.
type collectors struct {
	now   time.Time
	after time.Duration
	first map[string]collector
}

// collector is a waiter that may collect, and when that was last in vain for one of its size.
type collector struct {
	*waiting.Waiter
	passed time.Time
}

// collectorsOf are those who may collect of all who wait, which inParts shows. By the time that one of them collects, it may not wait any
// more.
func (ws *waits) collectorsOf(now time.Time, after time.Duration, inParts func(show func(*waiting.Waiter))) *collectors {
	inParts(func(w *waiting.Waiter) {
		if w.LacksRoom() {
			ws.seniority.see(w, now)
		}
	})
	cs := &collectors{now, after, map[string]collector{}}
	inParts(func(w *waiting.Waiter) { ws.consider(cs, w) })
	return cs
}

// consider takes a waiter of those that have waited longer than after for want of room, if nobody who may collect for the same queue goes
// before it.
func (ws *waits) consider(cs *collectors, w *waiting.Waiter) {
	since, passed := ws.seniority.of(w)
	if waited, lately := cs.now.Sub(since) >= cs.after, cs.now.Sub(passed) < cs.after; !waited || lately || !ws.wantsRoom(w) || ws.collections.of(w.ID()) != nil {
		return
	}
	if !w.Demand.Fits(ws.nodes.Capacity()) {
		return // what is kept is listed pod by pod
	}
	queue := quota.Unassigned
	if ws.accounts.queues.WithinGuarantee(w.Asks.Queue, w.Asks.Demand) {
		queue = w.Asks.Queue
	}
	if best := cs.first[queue]; best.Waiter == nil || cmp.Or(passed.Compare(best.passed), w.Turn.Compare(best.Turn)) < 0 {
		cs.first[queue] = collector{w, passed}
	}
}

// tickCollection begins to collect for the first in turn of those that have waited for too long for want of room. Where nothing has
// come back for as long, other nodes are chosen, and when there are no others, somebody else's turn comes. When all was collected
// and the waiter does not fit all the same, all is given back and everybody tried again: so that this does not go on all the
// time, nothing is collected for as long after it.
func (ws *waits) tickCollection(cs *collectors) {
	ws.seniority.forget(cs.now, 2*cs.after)
	taken := map[string]bool{} // queue -> collects already
	for _, c := range ws.collections.patient() {
		taken[c.queue] = true
	}
	for _, c := range slices.Clone(ws.collections.list) {
		if c.arrived == nil && !ws.ready(c) && cs.now.Sub(c.progressed) >= c.after {
			ws.chooseOthers(c)
		}
	}
	if ws.slots.precede() || cs.now.Before(ws.collections.vainUntil) {
		return
	}
	for _, queue := range slices.Sorted(maps.Keys(cs.first)) {
		w := cs.first[queue].Waiter
		if !taken[queue] && ws.waiting.Of(w.ID()) == w && ws.wantsRoom(w) && ws.collections.of(w.ID()) == nil {
			ws.collectFor(w, queue, cs.after)
		}
	}
}

// collectFor begins to collect for a waiter.
func (ws *waits) collectFor(w *waiting.Waiter, queue string, after time.Duration) {
	c := newCollection(w.ID(), ws.wants(w.ID()), ws.outcome.now)
	c.queue, c.after = queue, after
	if ws.members.gangs[w.ID()] != nil && ws.accounts.strategyOf(w.Turn.Gang.Namespace) == placement.SingleZone {
		c.left = map[string]bool{}
		if c.domain = ws.collections.roomiest(w.Demand, c.left); c.domain == "" {
			w.Passed = ws.outcome.now
			return
		}
	}
	ws.collections.add(c)
	who := "it waits"
	if ws.outcome.now.Sub(w.Turn.Created) < after {
		who = "it and others before it that asked for the same have waited"
	}
	ws.outcome.effects = append(ws.outcome.effects, Tell{ws.members.object(w.ID()), gang.Verdict{Reason: gang.Collecting,
		Message: fmt.Sprintf("%s for more than %s; what is free where it may start, and what comes back there, is kept for it now; %s", who, after, w.Verdict())}})
}

// mostKeptPods bounds of how many pods a gang may be for which nodes are kept that come: what is kept is listed pod by pod.
const mostKeptPods = 10_000

// keepArrived keeps of a node that has come what a waiter lacks for which nodes are asked for: else smaller ones would take it that fit
// elsewhere, or somebody who has come later. Where room is collected for it already, that goes on as it is.
func (ws *waits) keepArrived(w *waiting.Waiter, node string) {
	c := ws.collections.of(w.ID())
	if c == nil {
		if w.Demand.Pods > mostKeptPods {
			return
		}
		c = newCollection(w.ID(), ws.wants(w.ID()), ws.outcome.now)
		c.arrived, c.seeking = map[string]bool{}, false
		ws.collections.add(c)
	}
	if c.arrived != nil {
		c.arrived[node] = true
	}
}

// leaveArrived ends that.
func (ws *waits) leaveArrived(waiter types.UID) {
	if c := ws.collections.of(waiter); c != nil && c.arrived != nil {
		ws.endCollection(c)
	}
}

// wantsRoom tells whether a waiter lacks nothing but room.
func (ws *waits) wantsRoom(w *waiting.Waiter) bool {
	if !w.LacksRoom() {
		return false
	}
	return ws.accounts.queues.Fits(w.Asks.Queue, w.Asks.Demand).Passes()
}

// wants is everything a waiter asks for, in the order of its demand's All.
func (ws *waits) wants(waiter types.UID) []want {
	var wants []want
	for _, pods := range ws.asks(waiter).All().Roles {
		wants = append(wants, want{pods.Requests, placement.Eligibility(pods.Pod), pods.Count})
	}
	return wants
}

// chooseOthers leaves the nodes on which the collection does not grow, or its domain. Those that others were to leave
// are not exchanged: who did not leave in time will not.
func (ws *waits) chooseOthers(c *collection) {
	others := false
	for k := range c.kept {
		switch node := c.kept[k].node; {
		case node == "":
		case c.preemption != nil:
		case c.domain != "":
			ws.collections.giveBack(c, k)
		case c.lacks(k):
			others, c.avoided[node] = true, true
			ws.collections.giveBack(c, k)
		}
	}
	if c.domain != "" {
		c.left[c.domain] = true
		c.domain = ws.collections.roomiest(ws.waiting.Of(c.waiter).Demand, c.left)
		others = c.domain != ""
	}
	c.progressed = ws.outcome.now
	if !others {
		ws.waiting.Of(c.waiter).Passed = ws.outcome.now
		ws.endCollection(c)
	}
}

// bequeath gives what is collected for a waiter that has gone to the first in turn of those that ask for the same, if there is one.
func (ws *waits) bequeath(w *waiting.Waiter) {
	c := ws.collections.of(w.ID())
	if c == nil || !c.patient() {
		return
	}
	var heir *waiting.Waiter
	for other := range ws.waiting.All() {
		if other != w && sizeOf(other) == sizeOf(w) && ws.collections.of(other.ID()) == nil && (heir == nil || other.Turn.Compare(heir.Turn) < 0) {
			heir = other
		}
	}
	if heir != nil {
		ws.collections.pass(c, heir.ID())
		ws.outcome.effects = append(ws.outcome.effects, Tell{ws.members.object(heir.ID()), gang.Verdict{Reason: gang.Collecting,
			Message: fmt.Sprintf("room that was kept for another like it, which has gone, is kept for it now; %s", heir.Verdict())}})
	}
}

// ready tells whether a waiter has all that is collected for it. For one that takes something back that is also what its
// queue lacks: those who have to go may hold nothing that it wants on nodes, and until they have gone an attempt would fail
// and call them off. One that waits for what comes is tried, and gives back what is kept for it if its queue is full by now.
func (ws *waits) ready(c *collection) bool {
	if !c.complete() || c.preemption == nil {
		return c.complete()
	}
	if c.preemption.rules && c.preemption.comes() {
		return false
	}
	asks := ws.waiting.Of(c.waiter).Asks
	return ws.fits(asks.ID, asks.Queue, asks.Demand).Passes()
}

// disappoint gives up a complete collection with which the attempt has failed all the same. One that was completed while the attempt
// was on its way is yet to be tried.
func (ws *waits) disappoint(w *waiting.Waiter) {
	if c := ws.collections.of(w.ID()); c != nil && c.complete() && c.tried {
		if c.patient() {
			w.Passed, ws.collections.vainUntil = ws.outcome.now, ws.outcome.now.Add(c.after)
		}
		ws.endCollection(c)
	}
}

// endCollectionOf ends the collection for a waiter.
func (ws *waits) endCollectionOf(waiter types.UID) {
	if c := ws.collections.of(waiter); c != nil {
		ws.endCollection(c)
	}
}

// endCollection gives everything back that is collected for one waiter: because it starts, or in vain.
func (ws *waits) endCollection(c *collection) {
	for k := range c.kept {
		if c.kept[k].node != "" {
			ws.collections.giveBack(c, k)
		}
	}
	ws.collections.remove(c)
	ws.endPreemption(c)
}

// viewFor is a view as a waiter may use it.
func (ws *waits) viewFor(waiter types.UID) *inventory.View {
	view := ws.nodes.View(ws.waiting.Epoch())
	if c := ws.collections.of(waiter); c != nil {
		return view.With(c.amounts())
	}
	return view
}
