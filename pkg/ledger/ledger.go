package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/reclaim"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/waiting"
)

// Ledger is the record. It is safe for concurrent use.
type Ledger struct {
	mu lock // guards everything below

	nodes *inventory.Nodes
	pods  map[types.UID]*pod   // every pod that has not ended
	gangs map[types.UID]*entry // leader -> its gang
	apps  map[gang.Key]*app    // gang key -> who claims it
	// groups are the declarations of up-front gangs.
	groups map[gang.Key]Group
	// barred are the up-front gangs whose pods wait for one another, or may still do so.
	barred map[*entry]struct{}
	// resting are the up-front gangs whose pods have waited for one another in vain, until they are tried again.
	resting map[*entry]struct{}
	// selectors are the roles of defined gangs that select pods.
	selectors selectors
	// layout is what is known of queues, and queues is what they use and in which order they are next.
	layout Queues
	queues *quota.Tree
	// victims is what may be taken back, and by whom.
	victims victims
	// waiting holds gangs and pods by themselves that have to wait, in the order of queues.
	waiting *waiting.Room
	synced  bool
	// strategy is how gangs are laid out whose queues say nothing else.
	strategy placement.Strategy

	collections collections

	// degraded gangs have slots without a home -> whether their users have been told.
	degraded map[*entry]bool

	// What follows belongs to the event being applied.
	now     time.Time
	effects []Effect
	// unsettled gangs have slots that the event has opened or resized.
	unsettled map[*entry]struct{}
}

// pod is a Pod and where the ledger counts it.
type pod struct {
	Pod
	placed string // node it is counted on; empty means none
	bound  bool   // placed by the API server's word, not only assumed
	shown  part   // what the pod itself shows to be; Pod may differ if a role selects it
	// number is its place among all that have passed the Gate, where there are queues.
	number uint64
	// roams means that its slots' nodes refused the worker: it may go wherever it fits.
	roams bool
	// told is why it was last refused at the Gate without belonging to a gang; zero when it was not.
	told gang.Verdict
	// charged is what its queue was charged for it.
	charged charge
	// preemptor is the waiter for which it has to go; empty means that it may stay.
	preemptor types.UID
	// tallied tells whether it counts among priorities, and talliedAs as which of them.
	tallied   bool
	talliedAs int32
}

// entry is a gang with its leader.
type entry struct {
	*gang.Gang
	// leader of an up-front gang is no pod of its own: it stands in for the first of them.
	leader *pod
	// upfront is nil for a gang with a leader.
	upfront *upfront
	// progress is when the leader became ready or a worker last came or went.
	progress time.Time
	// handles are the labels under which its roles are found in Ledger.selectors.
	handles []label
	// charged is what its queue was charged for it besides its pods; open is what of that its open slots are.
	charged charge
	open    resource.Vector
	// preemptor is the waiter for which the whole gang has to go; empty means that it may stay.
	preemptor types.UID
	// eligibility is which nodes a worker may use, resources aside; index as in the definition's roles, nil until asked for.
	eligibility []func(*v1.Node) bool
	// surprise is what the first real worker needs that its prediction did not have, in words; empty means nothing.
	surprise string
}

// app is everything that carries one gang key.
type app struct {
	// leaders claim the key in the order of their right to it: the first owns it, others are refused.
	leaders []*entry
	workers map[types.UID]*pod
	// upfront is how many of the workers say that they have no leader, and together the largest number of them that any
	// has said to start together.
	upfront, together int
	// bound is how many of those are bound.
	bound int
}

// New is a ledger that knows nothing. topologyKey is the node label whose values are the domains of zonal placement; empty
// means no domains. strategy is how gangs are laid out unless their queue says it.
func New(topologyKey string, strategy placement.Strategy) *Ledger {
	nodes, queues := inventory.New(topologyKey), quota.New(nil)
	return &Ledger{
		strategy:    strategy,
		nodes:       nodes,
		collections: collections{nodes: nodes, byWaiter: map[types.UID]*collection{}},
		pods:        map[types.UID]*pod{},
		gangs:       map[types.UID]*entry{},
		apps:        map[gang.Key]*app{},
		groups:      map[gang.Key]Group{},
		barred:      map[*entry]struct{}{},
		resting:     map[*entry]struct{}{},
		selectors:   newSelectors(),
		waiting:     waiting.New(queues),
		queues:      queues,
		victims: victims{
			reclaims: map[string]bool{}, budgets: map[string][]Budget{}, priorities: tally{}, leaving: map[types.UID]*pod{}, holders: reclaim.NewIndex(),
		},

		degraded:  map[*entry]bool{},
		unsettled: map[*entry]struct{}{},
	}
}

// Apply lets one event happen and returns what has to be done about it. Only Admitted and Placed can fail, with
// ErrRoomGone, ErrNotWaiting or ErrOverQuota, and then change nothing.
func (l *Ledger) Apply(now time.Time, event Event) ([]Effect, error) {
	var effects []Effect
	if _, ticks := event.(Tick); ticks {
		effects = l.reclaim(now)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
	err := l.applyLocked(event)
	return append(effects, l.settleLocked()...), err
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
		l.nodes.See(e.Node)
	case NodeGone:
		l.loseNodeLocked(e.Name)
	case Uncounted:
		l.nodes.Uncount(e.Resources)
	case PodSeen:
		l.seePodLocked(e.Pod)
	case PodGone:
		l.losePodLocked(e.UID)
	case GroupSeen:
		if former, known := l.groups[e.Group.Key]; !known || !former.equal(e.Group) {
			l.groups[e.Group.Key] = e.Group
			l.musterLocked(e.Group.Key)
		}
	case GroupGone:
		delete(l.groups, e.Key)
		l.musterLocked(e.Key)
	case QueuesSeen:
		l.arrangeLocked(e.Queues)
	case BudgetSeen:
		l.victims.forgetBudget(e.Budget.Namespace, e.Budget.Name)
		l.victims.budgets[e.Budget.Namespace] = append(l.victims.budgets[e.Budget.Namespace], e.Budget)
	case BudgetGone:
		l.victims.forgetBudget(e.Namespace, e.Name)
	case Defined:
		l.defineLocked(e.Leader, gang.Defined{Definition: e.Definition})
	case Refuted:
		l.defineLocked(e.Leader, gang.Refuted{Problem: e.Problem})
	case Admitted:
		return l.admitLocked(e)
	case Placed:
		// What is bound stays where it is: an attempt that has not heard of the binding will fail.
		if p := l.pods[e.UID]; p != nil && !p.bound {
			if !l.allowsLocked(p).Passes() {
				return ErrOverQuota
			}
			l.placeLocked(p, e.Node, false)
		}
	case Unplaced:
		switch p := l.pods[e.UID]; {
		case p == nil || p.bound:
		case p.placed == "":
			l.waiting.Missed(l.waiterOfLocked(p), l.now)
		default:
			l.unplaceLocked(p)
		}
	case Refused:
		l.refuseLocked(e)
	case Tick:
		l.tickLocked(e)
	case Synced:
		l.openLocked()
	default:
		panic(fmt.Sprintf("ledger: event %T is not known", event))
	}
	return nil
}

// openLocked ends the reading of what existed at the start: slots on nodes that do not exist lose their room, and the
// pods that were kept at the Gate pass it again.
func (l *Ledger) openLocked() {
	l.synced = true
	l.nodes.Reconsider()
	for e := range l.admittedLocked() {
		l.unsettled[e] = struct{}{}
	}
	for _, key := range slices.SortedFunc(maps.Keys(l.apps), compareKeys) {
		l.musterLocked(key)
	}
	for _, p := range sorted(l.pods) {
		l.reviseLocked(p)
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
func (l *Ledger) settleLocked() []Effect {
	l.queues.SetCapacity(l.nodes.Capacity())
	if l.synced {
		l.repairLocked()
		most, gained := l.nodes.Gained()
		if len(l.degraded) > 0 {
			for _, patient := range l.collections.patient() {
				l.endCollectionLocked(patient) // those that are admitted go first
			}
		}
		l.rehomeLocked()
		l.collections.collect(l.now)
		l.callLocked()
		left, still := l.nodes.Gained()
		switch {
		case l.nodes.Changed():
			l.waiting.Changed(waiting.Nodes, most.Max(left))
		case gained || still:
			l.waiting.Changed(waiting.Freed, most.Max(left))
		}
		l.callNextLocked("")
	}
	l.nodes.Settle()
	clear(l.unsettled)
	effects := l.effects
	l.effects = nil
	return effects
}

// callLocked sends workers that wait through the Gate again when their own gang has slots that the event has opened:
// to everybody else that room is as taken as before, so no epoch begins. As many are called as there are slots, the
// oldest first.
func (l *Ledger) callLocked() {
	for _, e := range slices.SortedFunc(maps.Keys(l.unsettled), func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) }) {
		if _, open := e.Counts(); open == 0 || l.apps[e.Key] == nil {
			continue
		}
		waiting := map[types.UID]*pod{}
		for uid, p := range l.apps[e.Key].workers {
			if p.placed == "" && l.gangOfLocked(p) == e {
				waiting[uid] = p
			}
		}
		called := map[string]int{} // role -> workers
		for _, p := range sorted(waiting) {
			if called[p.Role] < e.Open(p.Role) {
				called[p.Role]++
				p.roams = false
				l.reviseLocked(p)
			}
		}
	}
}

// callNextLocked lets those through the Gate whose turn it is: first those for whom everything has been collected. One that is at
// the Gate need not be called.
func (l *Ledger) callNextLocked(atGate types.UID) {
	if !l.synced {
		return
	}
	begin := func(w *waiting.Waiter) {
		if l.waiting.Began(w, l.now) && w.ID() != atGate {
			l.effects = append(l.effects, Activate{Pod: l.objectLocked(w.ID()), Waits: w.Told})
		}
	}
	for _, c := range l.collections.list {
		if l.readyLocked(c) {
			begin(l.waiting.Of(c.waiter))
		}
	}
	for {
		next, kept := l.waiting.Next(l.now, l.nodes.Total())
		for _, w := range kept {
			l.tellLocked(w, l.verdictLocked(w))
		}
		if next == nil {
			return
		}
		begin(next)
	}
}

// objectLocked is the pod that is tried for a waiter: for an up-front gang, the first of its pods.
func (l *Ledger) objectLocked(waiter types.UID) *v1.Pod {
	if e := l.gangs[waiter]; e != nil {
		return e.leader.Object
	}
	return l.pods[waiter].Object
}

// endWaitLocked ends a pod's wait, and what is collected for it.
func (l *Ledger) endWaitLocked(uid types.UID) {
	l.waiting.Drop(uid)
	l.endCollectionOfLocked(uid)
}

// holdLocked changes what is held on nodes.
func (l *Ledger) holdLocked(changes []gang.Change) {
	for _, change := range changes {
		if change.Node != "" {
			l.nodes.Hold(change.Node, change.Amount)
		}
	}
}

// stepLocked lets an event happen to a gang and keeps the sums of nodes and queues in step.
func (l *Ledger) stepLocked(e *entry, event gang.Event) {
	l.victims.holders.Touch(e.leader.UID)
	changes := e.Step(event)
	l.holdLocked(changes)
	l.chargeGangLocked(e, changes)
}
