package ledger

import (
	"cmp"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/waiting"
)

// tellsPerSweep bounds how many of those who wait are told at once that they wait for something else now: each costs two
// calls to the API server.
const tellsPerSweep = 500

// charge is what a queue was charged, to be released as it was.
type charge struct {
	queue  string
	demand quota.Demand
}

func (c charge) equal(other charge) bool {
	return c.queue == other.queue && equalDemands(c.demand, other.demand)
}

func equalDemands(a, b quota.Demand) bool {
	return a.User == b.User && a.Gangs == b.Gangs && a.Amount.Equal(b.Amount) && a.Leader.Equal(b.Leader)
}

// nothing tells whether no sum would change.
func (c charge) nothing() bool {
	return c.demand.Gangs == 0 && c.demand.Amount.IsZero() && c.demand.Leader.IsZero()
}

// arrangeLocked takes new queues. Nothing that runs ends by it: it is charged to the queues it belongs to now, which may
// then hold more than they may.
func (l *Ledger) arrangeLocked(layout Queues) {
	l.layout = layout
	l.queues = quota.New(layout.Specs)
	clear(l.victims.reclaims)
	for _, spec := range layout.Specs {
		if spec.Reclaim.Enabled {
			l.victims.reclaims[spec.Name] = true
		}
	}
	l.queues.SetCapacity(l.nodes.Capacity())
	recharge := func(c *charge, namespace string) {
		if !c.nothing() {
			c.queue = l.queueOfLocked(namespace)
			l.queues.Charge(c.queue, c.demand)
		}
	}
	for _, p := range l.pods {
		recharge(&p.charged, p.Namespace)
	}
	for _, e := range l.gangs {
		recharge(&e.charged, e.Key.Namespace)
	}
	l.waiting.Arrange(l.queues, func(w *waiting.Waiter) string { return l.queueOfLocked(w.Turn.Gang.Namespace) })
	for _, c := range l.collections.list {
		if c.preemption != nil {
			c.preemption.queue = l.waiting.Of(c.waiter).Asks.Queue
			l.queues.Promise(c.preemption.queue, c.preemption.demand)
		}
	}
}

// queued tells whether there are any queues: else nobody waits for a turn.
func (l *Ledger) queued() bool { return len(l.layout.Specs) > 0 }

func (l *Ledger) queueOfLocked(namespace string) string { return l.layout.Namespaces[namespace] }

// strategyLocked is how gangs of a namespace are laid out.
func (l *Ledger) strategyLocked(namespace string) placement.Strategy {
	return cmp.Or(l.layout.Strategies[l.queueOfLocked(namespace)], l.strategy)
}

// chargePodLocked charges a pod as what it is now, and the gang that it leads.
func (l *Ledger) chargePodLocked(p *pod) {
	l.tallyLocked(p)
	l.touchLocked(p)
	if e := l.gangs[p.UID]; e != nil {
		l.chargeGangLocked(e, nil)
	}
	if p.placed == "" {
		l.rechargeLocked(&p.charged, charge{})
	} else {
		l.rechargeLocked(&p.charged, charge{l.queueOfLocked(p.Namespace), l.demandOfPodLocked(p)})
	}
}

// tallyLocked counts the priorities of what may be taken back.
func (l *Ledger) tallyLocked(p *pod) {
	if p.tallied {
		l.victims.priorities.remove(p.talliedAs)
	}
	if p.tallied, p.talliedAs = p.placed != "" && !p.Foreign && !inventory.Permanent(p.Object), p.Priority; p.tallied {
		l.victims.priorities.add(p.talliedAs)
	}
}

// chargeAgainLocked charges a pod that has changed, and the gang that it leads.
func (l *Ledger) chargeAgainLocked(p *pod, formerUser string) {
	l.chargePodLocked(p)
	if l.gangs[p.UID] != nil && p.User != formerUser {
		l.chargeWorkersLocked(l.apps[p.Gang])
	}
}

// chargeWorkersLocked charges the pods of an application after its leader has become another, whose user they are of.
func (l *Ledger) chargeWorkersLocked(a *app) {
	for _, p := range a.workers {
		l.chargePodLocked(p)
	}
}

// demandOfPodLocked is what a pod asks its queue for that claims no slot. A pod by itself is a gang of one, unless another
// scheduler places it.
func (l *Ledger) demandOfPodLocked(p *pod) quota.Demand {
	d := quota.Demand{User: p.User, Amount: p.Requests}
	if e := l.gangOfLocked(p); e != nil && e.upfront == nil {
		d.User = e.leader.User
	}
	if p.Kind == Lone && !p.Foreign {
		d.Gangs = 1
	}
	return d
}

// chargeGangLocked charges a gang that runs for its open slots, and as one gang with its leader; its pods are charged by
// themselves. changes are what has just become of its slots.
func (l *Ledger) chargeGangLocked(e *entry, changes []gang.Change) {
	want := charge{}
	for _, change := range changes {
		e.open = e.open.Add(change.Amount)
	}
	if e.runs() {
		want = charge{l.queueOfLocked(e.Key.Namespace), quota.Demand{User: e.leader.User, Amount: e.open, Leader: e.leaderPart(), Gangs: 1}}
	}
	l.rechargeLocked(&e.charged, want)
}

// runs tells whether a gang counts as one of those that run. A leader that has a node does so whatever is known of its gang:
// it may not be defined yet, or never be, or another leader may have its key.
func (e *entry) runs() bool {
	return e.Phase.Admitted() || e.Phase != gang.Done && e.leader.placed != ""
}

// leaderPart is what the leader holds while its workers come; nothing in an up-front gang.
func (e *entry) leaderPart() resource.Vector {
	if e.upfront != nil {
		return resource.Vector{}
	}
	return e.leader.Requests
}

func (l *Ledger) rechargeLocked(c *charge, want charge) {
	if c.equal(want) {
		return
	}
	if !c.nothing() {
		l.queues.Release(c.queue, c.demand)
	}
	if *c = want; !c.nothing() {
		l.queues.Charge(c.queue, c.demand)
	}
}

// demandOnQueue is what a gang asks its queue for at its start.
func demandOnQueue(e *entry) quota.Demand {
	return quota.Demand{User: e.leader.User, Amount: startOf(e), Leader: e.leaderPart(), Gangs: 1}
}

// claimsLocked tells whether a pod would take a slot of its gang, which its queue has been charged for already.
func (l *Ledger) claimsLocked(p *pod) bool {
	if p.Kind != Worker {
		return false
	}
	e := l.gangOfLocked(p)
	return e != nil && e.Phase.Admitted() && e.Open(p.Role) > 0
}

// allowsLocked tells whether the queue of a pod lets it in: one that claims a slot is in already.
func (l *Ledger) allowsLocked(p *pod) gang.Verdict {
	if p.placed != "" || l.claimsLocked(p) {
		return gang.Verdict{}
	}
	return verdictOf(l.fitsLocked(p.UID, l.queueOfLocked(p.Namespace), l.demandOfPodLocked(p)))
}

// fitsLocked asks a queue for a waiter, who may have been promised what it asks for.
func (l *Ledger) fitsLocked(waiter types.UID, queue string, d quota.Demand) quota.Verdict {
	d.Promised = l.reclaimsLocked(waiter)
	return l.waiting.Fits(waiter, queue, d)
}

// verdictOf puts what a queue says into the words of gangs.
func verdictOf(v quota.Verdict) gang.Verdict {
	if v.Passes() {
		return gang.Verdict{}
	}
	return gang.Verdict{Reason: gang.Reason(v.Reason), Message: v.String()}
}

// parkLocked makes a gang wait; one that waits already keeps its place, unless it asks for something else now.
func (l *Ledger) parkLocked(e *entry) *waiting.Waiter {
	return l.waitLocked(waiting.Request{
		Asks: quota.Waiter{
			ID: e.leader.UID, Queue: l.queueOfLocked(e.Key.Namespace), Priority: e.leader.Priority, Rank: e.leader.Rank, Since: e.leader.Created,
			Demand: demandOnQueue(e), Signature: signatureOf(e),
		},
		Demand: demandOf(e), Pods: sizesOf(e), Turn: turnOf(e.leader), NeverPreempts: e.leader.NeverPreempts,
	})
}

// parkAloneLocked makes a pod wait by itself: one that belongs to nothing, or a worker beyond the slots of its gang.
func (l *Ledger) parkAloneLocked(p *pod) *waiting.Waiter {
	asks := quota.Waiter{ID: p.UID, Queue: l.queueOfLocked(p.Namespace), Priority: p.Priority, Rank: p.Rank, Since: p.Created, Demand: l.demandOfPodLocked(p)}
	kind := "pod"
	if p.Kind == Worker {
		kind = "worker" // asks its queue for something else than a pod by itself, which counts as a gang
	}
	if e := l.gangOfLocked(p); e != nil {
		// Its workers are as good as equal.
		asks.Elastic, asks.Held = true, e.leaderPart().Add(p.Requests.Scale(e.Live()))
	}
	turn := turnOf(p)
	turn.Gang.Namespace = p.Namespace
	asks.Signature = kind + " " + p.Signature + " " + p.Requests.String()
	return l.waitLocked(waiting.Request{Asks: asks, Demand: p.Requests, Turn: turn, NeverPreempts: p.NeverPreempts})
}

func (l *Ledger) waitLocked(asked waiting.Request) *waiting.Waiter {
	if known := l.waiting.Of(asked.Asks.ID); known != nil && !known.Same(asked) {
		l.endWaitLocked(asked.Asks.ID)
	}
	return l.waiting.Put(l.now, asked)
}

// reasonLocked is the reason of verdictLocked, without its numbers.
func (l *Ledger) reasonLocked(w *waiting.Waiter) gang.Reason {
	if l.reclaimsLocked(w.ID()) {
		return gang.Reclaiming
	}
	return l.waiting.Reason(w)
}

// verdictLocked is why a waiter waits.
func (l *Ledger) verdictLocked(w *waiting.Waiter) gang.Verdict {
	if c := l.collections.of(w.ID()); c != nil && c.preemption != nil {
		return c.preemption.verdict
	}
	if v, kept := l.waiting.KeptBy(w); kept {
		return verdictOf(v)
	}
	why := l.waiting.Why(w, l.now)
	if why.Message == "" && why.Reason == gang.BehindOthers {
		why.Message = l.whyLaterLocked(w)
	}
	return why
}

// whyLaterLocked says who goes before a waiter at present, and why.
func (l *Ledger) whyLaterLocked(w *waiting.Waiter) string {
	trying := l.waiting.Trying()
	if len(trying) == 0 {
		return "others go first"
	}
	last := trying[len(trying)-1].ID()
	first := l.objectLocked(last)
	if why := l.queues.Explain(last, w.ID()); why != "" {
		return fmt.Sprintf("%s/%s goes first: %s", first.Namespace, first.Name, why)
	}
	return fmt.Sprintf("%s/%s is being tried", first.Namespace, first.Name)
}

// tellLocked lets the user of a waiter know why it waits, if that is another reason than before.
func (l *Ledger) tellLocked(w *waiting.Waiter, verdict gang.Verdict) {
	switch {
	case verdict.Reason == gang.WouldReclaim: // it goes on waiting for what it was told
		if w.Foretold == verdict.Reason {
			return
		}
		w.Foretold = verdict.Reason
	case w.Outdated(verdict.Reason):
		w.Hears(verdict.Reason)
	default:
		return
	}
	l.effects = append(l.effects, Tell{l.objectLocked(w.ID()), verdict})
}

// sweepTellsLocked tells those who wait for something else now than they were told, the first in turn first.
func (l *Ledger) sweepTellsLocked() {
	var stale []*waiting.Waiter
	for w := range l.waiting.All() {
		if !w.Trying() && w.Outdated(l.reasonLocked(w)) {
			stale = append(stale, w)
		}
	}
	slices.SortFunc(stale, func(a, b *waiting.Waiter) int { return a.Turn.Compare(b.Turn) })
	for _, w := range stale[:min(len(stale), tellsPerSweep)] {
		l.tellLocked(w, l.verdictLocked(w))
	}
}

// QueueStanding is how a queue stands, for its status and for checks.
type QueueStanding struct {
	Name string
	quota.Usage
	// Reasons are why those who wait in it and below it do: reason -> gangs and pods.
	Reasons map[gang.Reason]int
}

// Shares are what every queue, with all below it, would hold if everything could be divided at will.
func (l *Ledger) Shares() map[string]resource.Vector {
	l.mu.Lock()
	specs, capacity, wanted := l.layout.Specs, l.nodes.Capacity(), map[string]resource.Vector{}
	for _, name := range l.queues.Names() {
		usage, _ := l.queues.Usage(name)
		wanted[name] = usage.Own
	}
	for w := range l.waiting.All() {
		wanted[w.Asks.Queue] = wanted[w.Asks.Queue].Add(w.Asks.Demand.Amount)
	}
	l.mu.Unlock()

	tree := quota.New(specs) // of its own: it takes milliseconds
	tree.SetCapacity(capacity)
	return tree.Shares(wanted)
}

// Queues are all queues, by name, and what is wrong with what was said of them. The Unassigned one is among them.
func (l *Ledger) Queues() ([]QueueStanding, []quota.Problem) {
	l.mu.Lock()
	defer l.mu.Unlock()
	reasons := map[string]map[gang.Reason]int{} // queue -> reason -> waiters
	for w := range l.waiting.All() {
		reason := l.reasonLocked(w)
		for name := w.Asks.Queue; ; {
			if reasons[name] == nil {
				reasons[name] = map[gang.Reason]int{}
			}
			reasons[name][reason]++
			spec, _ := l.queues.Spec(name)
			if name = spec.Parent; name == "" {
				break
			}
		}
	}
	var standings []QueueStanding
	for _, name := range l.queues.Names() {
		usage, _ := l.queues.Usage(name)
		standings = append(standings, QueueStanding{name, usage, reasons[name]})
	}
	return standings, l.queues.Problems()
}
