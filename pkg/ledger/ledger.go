package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/reclaim"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/waiting"
)

// Ledger is the record. It is safe for concurrent use. What it remembers is in its rooms, each of which keeps an invariant of its
// own; a room knows those above it in this list, and the two that give pods their gangs know each other. Ledger itself answers, and
// carries an event through the rooms.
type Ledger struct {
	mu lock // guards everything below

	nodes       *inventory.Nodes // what nodes have, use and hold
	members     *members         // which pods there are, and which of them make a gang
	outcome     *outcome         // the event that is being applied
	victims     *victims         // who may have to go, and for whom
	accounts    *accounts        // what queues are charged
	slots       *slots           // the slots of gangs
	waiting     *waiting.Room    // who waits, why, and when to try again
	collections *collections     // what is kept for those who wait
	waits       *waits           // what they ask for and have been told
	lifecycle   *lifecycle       // the way of a pod and a gang from the first sight to the end
	upfronts    *upfronts        // gangs without a leader
	gate        *gate            // who may be tried now
	reclaims    *reclaims        // who takes something back
	scaleUps    *scaleUps        // what the autoscaler is asked for
	totals      *totals          // what has happened so far
}

// New is a ledger that knows nothing. topologyKey is the node label whose values are the domains of zonal placement; empty
// means no domains. strategy is how gangs are laid out unless their queue says it.
func New(topologyKey string, strategy placement.Strategy) *Ledger {
	nodes, queues := inventory.New(topologyKey), quota.New(nil)
	room, o, m, tt := waiting.New(queues), &outcome{}, newMembers(), newTotals()
	kept := &collections{nodes: nodes, byWaiter: map[types.UID]*collection{}}
	vs := &victims{
		reclaims: map[string]bool{}, budgets: map[string][]Budget{}, priorities: quota.Priorities{}, leaving: map[types.UID]*pod{}, holders: reclaim.NewIndex(), members: m,
	}
	acc := &accounts{strategy: strategy, queues: queues, members: m, victims: vs}
	sl := &slots{nodes: nodes, members: m, outcome: o, victims: vs, accounts: acc, totals: tt, degraded: map[*entry]bool{}, unsettled: map[*entry]struct{}{}}
	ws := &waits{nodes: nodes, members: m, outcome: o, victims: vs, accounts: acc, slots: sl, waiting: room, collections: kept, seniority: seniority{}}
	su := &scaleUps{members: m, outcome: o, accounts: acc, waits: ws, waiting: room, gangs: map[types.UID]asking{}, stale: map[types.UID]*waiting.Waiter{}, singles: map[types.UID]*waiting.Waiter{}, reasons: map[types.UID]*waiting.Waiter{}}
	ws.scaleUps = su
	us := &upfronts{nodes: nodes, members: m, outcome: o, victims: vs, slots: sl, waits: ws, totals: tt, groups: map[gang.Key]Group{}, shared: map[gang.Key]int{}, barred: map[*entry]struct{}{}, resting: map[*entry]struct{}{}, returning: map[*entry]struct{}{}}
	lc := &lifecycle{nodes: nodes, members: m, outcome: o, victims: vs, accounts: acc, slots: sl, waits: ws, waiting: room, upfronts: us, scaleUps: su, totals: tt}
	us.lifecycle = lc
	g := &gate{nodes: nodes, members: m, outcome: o, accounts: acc, waits: ws, waiting: room, upfronts: us, scaleUps: su}
	rs := &reclaims{nodes: nodes, members: m, outcome: o, victims: vs, accounts: acc, slots: sl, waits: ws, waiting: room, collections: kept}
	return &Ledger{
		nodes: nodes, members: m, outcome: o, victims: vs, accounts: acc, slots: sl, waiting: room, collections: kept, waits: ws, lifecycle: lc, upfronts: us, gate: g, reclaims: rs, scaleUps: su, totals: tt,
	}
}

// Apply lets one event happen and returns what has to be done about it. Only Admitted and Placed can fail, with
// ErrRoomGone, ErrNotWaiting or ErrOverQuota, and then change nothing but what a worker that is there has shown of its role.
func (l *Ledger) Apply(now time.Time, event Event) ([]Effect, error) {
	var effects []Effect
	tick, ticks := event.(Tick)
	if ticks {
		effects = l.Look(now)
		if tick.Collect > 0 {
			event = sweep{tick, l.waits.collectorsOf(now, tick.Collect, l.inParts)}
		}
	}
	applied, due, err := l.apply(now, event)
	if effects = append(effects, applied...); due {
		effects = append(effects, l.reclaim(now, plansAtOnce)...)
	}
	if _, begins := event.(Elastic); begins || ticks {
		effects = append(effects, askForNodes(l, now, begins)...)
	}
	if ticks && tick.Collect > 0 {
		effects = append(effects, l.tellStale(now)...)
	}
	return effects, err
}

// apply lets one event happen; due means that somebody waits by it who does not wait for a tick to have something taken back.
func (l *Ledger) apply(now time.Time, event Event) (effects []Effect, due bool, err error) {
	if seen, changes := event.(QueuesSeen); changes {
		event = arrangement{seen, quota.New(seen.Queues.Specs)} // takes milliseconds, and nothing of the ledger
	}
	effects = l.hold(now, func() {
		err = l.applyLocked(event)
		if refused, fails := event.(Refused); fails {
			due = l.reclaims.due(refused.UID)
		}
		l.settleLocked()
	})
	return effects, due, err
}

// View returns the nodes as they are now.
func (l *Ledger) View() *inventory.View {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.nodes.View(l.waiting.Epoch())
}

func (l *Ledger) applyLocked(event Event) error {
	switch e := event.(type) {
	case NodeSeen:
		if !l.nodes.Exists(e.Node.Name) {
			l.scaleUps.arrives(e.Node.Name)
		}
		l.nodes.See(e.Node)
	case NodeGone:
		l.nodes.Remove(e.Name)                                  // its slots move elsewhere when the event settles
		l.waiting.Changed(waiting.Sums, resource.Vector{}, nil) // without an overbooked node more may be free in all
	case Uncounted:
		l.nodes.Uncount(e.Resources)
	case PodSeen:
		l.lifecycle.see(e.Pod)
		l.gate.heard(e.Pod.UID)
	case PodGone:
		l.lifecycle.lose(e.UID)
	case GroupSeen:
		if former, known := l.upfronts.groups[e.Group.Key]; !known || !former.equal(e.Group) {
			l.upfronts.groups[e.Group.Key] = e.Group
			l.upfronts.muster(e.Group.Key)
		}
	case GroupGone:
		delete(l.upfronts.groups, e.Key)
		l.upfronts.muster(e.Key)
	case arrangement:
		l.arrangeLocked(e.Queues, e.tree)
	case BudgetSeen:
		l.victims.forgetBudget(e.Budget.Namespace, e.Budget.Name)
		l.victims.budgets[e.Budget.Namespace] = append(l.victims.budgets[e.Budget.Namespace], e.Budget)
	case BudgetGone:
		l.victims.forgetBudget(e.Namespace, e.Name)
	case Defined:
		l.lifecycle.define(e.Leader, gang.Defined{Definition: e.Definition})
	case Refuted:
		l.lifecycle.define(e.Leader, gang.Refuted{Problem: e.Problem})
	case Admitted:
		return l.lifecycle.admit(e)
	case Placed:
		// What is bound stays where it is: an attempt that has not heard of the binding will fail.
		if p := l.members.pods[e.UID]; p != nil && !p.bound {
			if p.Kind == Leader || l.members.editionOf(p) > 0 {
				return ErrNotWaiting
			}
			if g := l.members.gangOf(p); p.Kind == Worker && p.placed == "" && g != nil && g.takenBack() {
				return ErrTakenBack
			}
			if !l.waits.allows(p).Passes() {
				return ErrOverQuota
			}
			l.lifecycle.place(p, e.Node, false)
		}
	case Unplaced:
		switch p := l.members.pods[e.UID]; {
		case p == nil || p.bound:
		case p.placed == "":
			l.waiting.Missed(l.members.waiterOf(p), l.outcome.now)
		default:
			l.lifecycle.unplace(p)
		}
	case Refused:
		l.lifecycle.refuse(e)
	case EvictionFailed:
		if p := l.members.pods[e.UID]; p != nil {
			l.reclaims.stays(p)
		}
	case Tick:
		l.tickLocked(e)
	case sweep:
		l.tickLocked(e.Tick)
		l.waits.tickCollection(e.collectors)
	case Elastic:
		l.scaleUps.set(e.Limits)
	case ScaleUpAnswered:
		l.scaleUps.answered(e.Leader, e.Answer)
	case Synced:
		l.gate.opening.begin(l.members, l.victims.leaving, l.outcome.now)
	default:
		panic(fmt.Sprintf("ledger: event %T is not known", event))
	}
	return nil
}

// openLocked ends the reading of what existed at the start: slots on nodes that do not exist lose their room, and the
// pods that were kept at the Gate pass it again.
func (l *Ledger) openLocked() {
	l.members.synced = true
	l.nodes.Reconsider()
	l.lifecycle.resumeAll()
	for e := range l.members.admitted() {
		l.slots.unsettled[e] = struct{}{}
	}
	for _, key := range slices.SortedFunc(maps.Keys(l.members.apps), compareKeys) {
		l.upfronts.muster(key)
	}
	for _, p := range sorted(l.members.pods) {
		l.gate.expect(p)
		l.outcome.revise(p)
	}
}

// sorted lists pods in an order that does not depend on the map's.
func sorted(pods map[types.UID]*pod) []*pod {
	return slices.SortedFunc(maps.Values(pods), func(a, b *pod) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.UID, b.UID))
	})
}

// settleLocked ends an event: slots leave nodes that cannot keep them, room that came back goes to slots without a home
// first and then opens a new epoch, and the next waiter gets its try.
func (l *Ledger) settleLocked() {
	if l.gate.opening.ends(l.members, l.outcome.now) {
		l.openLocked()
	}
	l.accounts.queues.SetCapacity(l.nodes.Capacities()...)
	if l.members.synced {
		l.collections.check()
		l.slots.repair()
		most, gained := l.nodes.Gained()
		if l.slots.precede() {
			for _, patient := range l.collections.patient() {
				l.waits.endCollection(patient) // those that are admitted go first
			}
		}
		l.slots.rehome()
		l.collections.collect(l.outcome.now)
		l.slots.call()
		left, still := l.nodes.Gained()
		switch {
		case l.nodes.Changed():
			l.waiting.Changed(waiting.Nodes, most.Max(left), l.nodes.Opens)
		case gained || still:
			l.waiting.Changed(waiting.Freed, most.Max(left), nil)
		}
		if !l.waiting.Busy() { // else enough was done while the lock is held
			l.waits.callNext("")
		}
	}
	l.scaleUps.settle()
	l.nodes.Settle()
	clear(l.slots.unsettled)
}

// arrangement is QueuesSeen, with the tree of those queues.
type arrangement struct {
	QueuesSeen
	tree *quota.Tree
}

// arrangeLocked takes new queues, and their tree. Nothing that runs ends by it: it is charged to the queues it belongs to now, which may
// then hold more than they may.
func (l *Ledger) arrangeLocked(layout Queues, queues *quota.Tree) {
	for _, c := range l.collections.list {
		if c.preemption != nil {
			l.accounts.queues.Retract(c.preemption.queue, c.preemption.demand)
		}
	}
	recharge := l.accounts.arrange(layout, queues)
	if recharge == nil {
		l.waiting.Arrange(queues, nil)
	} else {
		l.waiting.Arrange(queues, func(w *waiting.Waiter) string { return l.accounts.queueOf(w.Turn.Gang.Namespace) })
		recharge()
	}
	l.accounts.queues = queues
	l.nodes.Divide(selectorsOf(queues))
	queues.SetCapacity(l.nodes.Capacities()...)
	l.totals.keep(layout.Specs)
	clear(l.victims.reclaims)
	for _, spec := range layout.Specs {
		if spec.Reclaim.Enabled {
			l.victims.reclaims[spec.Name] = true
		}
	}
	for _, c := range l.collections.list {
		if c.preemption != nil {
			c.preemption.queue = l.waiting.Of(c.waiter).Asks.Queue
			l.accounts.queues.Promise(c.preemption.queue, c.preemption.demand)
		}
	}
}

// selectorsOf are those of the pools of a tree.
func selectorsOf(queues *quota.Tree) (selectors []labels.Selector) {
	for _, pool := range quota.Pools(queues) {
		selectors = append(selectors, pool.Selector)
	}
	return selectors
}

// tickLocked does what has become due.
func (l *Ledger) tickLocked(tick Tick) {
	l.victims.early = 0
	l.upfronts.tickBarriers()
	l.scaleUps.tick()
	l.gate.tellMembers()
	l.gate.tellSilent()
	if tick.Unclaimed > 0 || tick.Unready > 0 {
		l.lifecycle.restoreAll()
		l.slots.release(tick)
	}
}

// sweep is a Tick by which somebody may collect, with those of whom it may be one.
type sweep struct {
	Tick
	collectors *collectors
}

// tellStale tells those who wait for something else now than they were told, the first in turn first.
func (l *Ledger) tellStale(now time.Time) (effects []Effect) {
	var stale []*waiting.Waiter
	l.inParts(func(w *waiting.Waiter) {
		if !w.Trying() && w.Outdated(l.waits.reason(w)) {
			stale = append(stale, w)
		}
	})
	slices.SortFunc(stale, func(a, b *waiting.Waiter) int { return a.Turn.Compare(b.Turn) })
	for some := range slices.Chunk(stale[:min(len(stale), tellsPerSweep)], toldAtOnce) {
		effects = append(effects, l.hold(now, func() {
			for _, w := range some {
				if l.waiting.Of(w.ID()) == w && !w.Trying() {
					w.Turned = false
					l.waits.tell(w, l.waits.verdict(w))
				}
			}
		})...)
	}
	return effects
}
