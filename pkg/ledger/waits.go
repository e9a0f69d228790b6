package ledger

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/pkg/waiting"
)

// tellsPerSweep bounds how many of those who wait are told at once that they wait for something else now: each costs two
// calls to the API server.
const tellsPerSweep = 500

// toldAtOnce bounds how many of them are told while the lock is held.
const toldAtOnce = 100

// waits is what those who wait ask for, and what they have been told. Nobody waits who has a node, and nothing is kept or promised for
// anybody who does not wait.
type waits struct {
	waiting     *waiting.Room
	collections *collections
	scaleUps    *scaleUps
	seniority   seniority

	nodes    *inventory.Nodes
	members  *members
	outcome  *outcome
	victims  *victims
	accounts *accounts
	slots    *slots
}

// allows tells whether the queue of a pod lets it in: one that claims a slot is in already.
func (ws *waits) allows(p *pod) gang.Verdict {
	if p.placed != "" || ws.accounts.claims(p) {
		return gang.Verdict{}
	}
	return verdictOf(ws.fits(p.UID, ws.accounts.queueOf(p.Namespace), ws.accounts.demandOfPod(p)))
}

// fits asks a queue for a waiter, who may have been promised what it asks for.
func (ws *waits) fits(waiter types.UID, queue string, d quota.Demand) quota.Verdict {
	d.Promised = ws.reclaims(waiter)
	return ws.waiting.Fits(waiter, queue, d)
}

// park makes a gang wait; one that waits already keeps its place, unless it asks for something else now.
func (ws *waits) park(e *entry) *waiting.Waiter {
	return ws.wait(waiting.Request{
		Asks: quota.Waiter{
			ID: e.leader.UID, Queue: ws.accounts.queueOf(e.Key.Namespace), Priority: e.leader.Priority, Rank: e.leader.Rank, Since: e.leader.Created,
			Demand: demandOnQueue(e), Signature: signatureOf(e),
		},
		Demand: demandOf(e), Pods: sizesOf(e), Turn: turnOf(e.leader), NeverPreempts: e.leader.NeverPreempts, Rehearsed: e.Definition.Rehearsed, Costly: len(e.Definition.Roles) > 1,
	})
}

// parkAlone makes a pod wait by itself: one that belongs to nothing, or a worker beyond the slots of its gang.
func (ws *waits) parkAlone(p *pod) *waiting.Waiter {
	asks := quota.Waiter{ID: p.UID, Queue: ws.accounts.queueOf(p.Namespace), Priority: p.Priority, Rank: p.Rank, Since: p.Created, Demand: ws.accounts.demandOfPod(p)}
	kind := "pod"
	if p.Kind == Worker {
		kind = "worker" // asks its queue for something else than a pod by itself, which counts as a gang
	}
	if e := ws.members.gangOf(p); e != nil && !(p.Joint && p.Upfront) { // those are more of the same
		// Its workers are as good as equal.
		asks.Elastic, asks.Held = true, e.leaderPart().Add(p.Requests.Scale(e.Live()))
	}
	turn := turnOf(p)
	turn.Gang.Namespace = p.Namespace
	asks.Signature = kind + " " + p.Signature + " " + p.Requests.String()
	return ws.wait(waiting.Request{Asks: asks, Demand: p.Requests, Turn: turn, NeverPreempts: p.NeverPreempts})
}

func (ws *waits) wait(asked waiting.Request) *waiting.Waiter {
	if known := ws.waiting.Of(asked.Asks.ID); known != nil && !known.Same(asked) {
		ws.endWait(asked.Asks.ID)
	}
	return ws.waiting.Put(ws.outcome.now, asked)
}

// reason is the reason of waits.verdict, without its numbers.
func (ws *waits) reason(w *waiting.Waiter) gang.Reason {
	if ws.reclaims(w.ID()) {
		return gang.Reclaiming
	}
	if _, kept := ws.waiting.KeptBy(w); !kept {
		if refused, rests := ws.scaleUps.refused(w); rests {
			return refused.Reason
		}
	}
	return ws.waiting.Reason(w)
}

// verdict is why a waiter waits.
func (ws *waits) verdict(w *waiting.Waiter) gang.Verdict {
	if c := ws.collections.of(w.ID()); c != nil && c.preemption != nil {
		return c.preemption.verdict
	}
	if v, kept := ws.waiting.KeptBy(w); kept {
		return ws.withProtection(w, verdictOf(v))
	}
	if refused, rests := ws.scaleUps.refused(w); rests {
		return refused
	}
	why := ws.withProtection(w, ws.waiting.Why(w, ws.outcome.now))
	if why.Text(true) == "" && why.Reason == gang.BehindOthers {
		why.Detail = ws.whyLater(w)
	}
	return why
}

// Why is why a pod waits that the ledger keeps; the zero Verdict for any other.
func Why(l *Ledger, uid types.UID) gang.Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.members.pods[uid]
	if p == nil {
		return gang.Verdict{}
	}
	w := l.waiting.Of(l.members.waiterOf(p))
	if w == nil {
		return gang.Verdict{}
	}
	return l.waits.verdict(w)
}

// Holds tells whether a reason of its queue keeps a pod, which waits, besides what is told of it.
func Holds(l *Ledger, uid types.UID, reason gang.Reason) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.members.pods[uid]
	if p == nil {
		return false
	}
	w := l.waiting.Of(l.members.waiterOf(p))
	if w == nil || w.Trying() {
		return false
	}
	d := w.Asks.Demand
	d.Promised = l.waits.reclaims(w.ID())
	return l.accounts.queues.Keeps(w.Asks.Queue, d, quota.Reason(reason))
}

// later is who goes before a waiter at present, and why.
type later struct {
	first     types.NamespacedName // empty when nobody is known
	namespace string               // of the waiter
	order     quota.Precedence     // nothing when the first is being tried already
}

// Text names the first if it is of the same namespace, or names are told.
func (l later) Text(names bool) string {
	if l.first.Name == "" {
		return "others go first"
	}
	who, why := "another", l.order.Own
	if names || l.first.Namespace == l.namespace {
		who = l.first.String()
	}
	if names {
		why = l.order.Named
	}
	if why == "" {
		return who + " is being tried"
	}
	return who + " goes first: " + why
}

// whyLater says who goes before a waiter at present, and why.
func (ws *waits) whyLater(w *waiting.Waiter) later {
	trying := ws.waiting.Trying()
	if len(trying) == 0 {
		return later{}
	}
	last := trying[len(trying)-1].ID()
	first := ws.members.object(last)
	return later{
		first:     types.NamespacedName{Namespace: first.Namespace, Name: first.Name},
		namespace: ws.members.object(w.ID()).Namespace, order: ws.accounts.queues.Explain(last, w.ID()),
	}
}

// tell lets the user of a waiter know why it waits, if that is another reason than before.
func (ws *waits) tell(w *waiting.Waiter, verdict gang.Verdict) {
	switch {
	case verdict.Reason == gang.WouldReclaim: // it goes on waiting for what it was told
		if w.Foretold == verdict.Reason {
			return
		}
		w.Foretold = verdict.Reason
	case w.Turned: // the sweep tells it
		return
	case w.Outdated(verdict.Reason):
		w.Hears(verdict.Reason, w.Failed())
		ws.members.spread(w.ID())
	default:
		return
	}
	ws.outcome.effects = append(ws.outcome.effects, Tell{ws.members.object(w.ID()), verdict})
}

// withProtection is a verdict with until when those are protected who would have to go.
func (ws *waits) withProtection(w *waiting.Waiter, verdict gang.Verdict) gang.Verdict {
	if text := ws.protection(w); text != "" && (verdict.OfRoom() || verdict.Reason == gang.QueueLimit) {
		verdict.Message += "; " + text
	}
	return verdict
}

// protection says until when those are protected who would have to go for a waiter; empty if that is not why nobody does.
func (ws *waits) protection(w *waiting.Waiter) string {
	if !w.Protection.Until.After(ws.outcome.now) {
		return ""
	}
	return w.Protection.String()
}

// tellAgain lets the user of a waiter know more of what it waits for than before.
func (ws *waits) tellAgain(w *waiting.Waiter) {
	if verdict := ws.verdict(w); !w.Turned && (verdict.OfRoom() || verdict.Reason == gang.QueueLimit) {
		w.Hears(verdict.Reason, w.Failed())
		ws.members.spread(w.ID())
		ws.outcome.effects = append(ws.outcome.effects, Tell{ws.members.object(w.ID()), verdict})
	}
}

// callNext lets those through the Gate whose turn it is: first those for whom everything has been collected. One that is at
// the Gate need not be called. When the Room is Busy then, there is more to be done.
func (ws *waits) callNext(atGate types.UID) {
	if !ws.members.synced {
		return
	}
	begin := func(w *waiting.Waiter) {
		if ws.waiting.Began(w, ws.outcome.now) && w.ID() != atGate {
			ws.outcome.effects = append(ws.outcome.effects, Activate{ws.members.object(w.ID())})
		}
	}
	ws.waiting.Expire(ws.outcome.now)
	for _, c := range ws.collections.list {
		if w := ws.waiting.Of(c.waiter); ws.ready(c) && !waiting.Resting(ws.waiting, w, ws.outcome.now) {
			begin(w)
		}
	}
	for {
		next, kept := ws.waiting.NextSoon(ws.outcome.now, ws.nodes.Total())
		for _, w := range kept {
			ws.tell(w, ws.verdict(w))
		}
		if next == nil {
			return
		}
		begin(next)
	}
}

// endWait ends a pod's wait, and what is collected for it.
func (ws *waits) endWait(uid types.UID) {
	if w := ws.waiting.Of(uid); w != nil {
		ws.bequeath(w)
	}
	ws.waiting.Drop(uid)
	ws.endCollectionOf(uid)
}

// started ends the wait of a pod or gang that starts.
func (ws *waits) started(uid types.UID) {
	if w := ws.waiting.Of(uid); w != nil {
		ws.seniority.served(w)
	}
	ws.waiting.Started(uid)
	ws.endCollectionOf(uid)
}

// leaderName is what people call a leader.
const leaderName = "leader"

// asks is what a gang or a pod by itself asks of nodes, all its pods together.
func (ws *waits) asks(waiter types.UID) inventory.Demand {
	e := ws.members.gangs[waiter]
	if e == nil {
		p := ws.members.pods[waiter]
		return inventory.Demand{Roles: []inventory.Pods{{Name: "pod", Pod: p.Object, Requests: p.Requests, Count: 1}}} // one is always together
	}
	asks := inventory.Demand{Strategy: ws.accounts.strategyOf(e.Key.Namespace)}
	if e.upfront == nil {
		asks.Leader = &inventory.Pods{Name: leaderName, Pod: e.leader.Object, Requests: e.leader.Requests, Count: 1}
		if spark.IsDriver(e.leader.Object) {
			asks.Leader.Name = spark.RoleDriver
		}
	}
	for _, role := range e.Gang.Definition.Roles {
		name := role.Name
		switch {
		case e.upfront != nil && spark.IsExecutor(role.Pod):
			name = spark.RoleExecutor
		case e.upfront != nil:
			name = "pod" // whose role is a signature, which nobody can read
		}
		asks.Roles = append(asks.Roles, inventory.Pods{Name: name, Pod: role.Pod, Requests: role.Requests, Count: role.Count})
	}
	return asks
}

// turn lets a waiter that is at the Gate through if it is one of those to be tried.
func (ws *waits) turn(w *waiting.Waiter) gang.Verdict {
	ws.callNext(w.ID())
	if w.Trying() {
		return gang.Verdict{}
	}
	if w.Claimed.IsZero() && w.First() && w.LacksRoom() && ws.outranks(w, ws.lowest()) {
		// Another that asks for the same has failed, so this one is not tried, and no failed attempt has anybody leave for it.
		ws.outcome.effects = append(ws.outcome.effects, Look{})
	}
	verdict := ws.verdict(w)
	if verdict.Reason != gang.BehindOthers || !w.Verdict().Passes() {
		ws.tell(w, verdict) // else its turn may come before it could be written down
	}
	return verdict
}

// demandOnQueue is what a gang asks its queue for at its start.
func demandOnQueue(e *entry) quota.Demand {
	return quota.Demand{User: e.leader.User, Amount: startOf(e).Bounded(), Leader: e.leaderPart(), Gangs: 1}
}

// verdictOf puts what a queue says into the words of gangs.
func verdictOf(v quota.Verdict) gang.Verdict {
	if v.Passes() {
		return gang.Verdict{}
	}
	return gang.Verdict{Reason: gang.Reason(v.Reason), Detail: v}
}

// startOf is what the pods of a gang ask for in all at its start.
func startOf(e *entry) resource.Vector {
	start := e.leader.Requests
	for _, role := range e.Gang.Definition.Roles {
		start = start.Add(role.Requests.Scale(role.Count))
	}
	return start
}

// demandOf is what has to be free in all for a gang to start.
func demandOf(e *entry) resource.Vector {
	if e.upfront != nil {
		return startOf(e).Max(e.upfront.group.Resources)
	}
	return startOf(e)
}

// signatureOf is equal for gangs that ask for exactly the same.
func signatureOf(e *entry) string {
	var signature strings.Builder
	fmt.Fprintf(&signature, "gang %s %s", e.leader.Signature, e.leader.Requests)
	for _, role := range e.Gang.Definition.Roles {
		fmt.Fprintf(&signature, " + %d × %s %s", role.Count, role.Signature, role.Requests)
	}
	if e.Definition.Rehearsed || len(e.Definition.Roles) > 1 {
		signature.WriteString(" in " + e.Key.Namespace) // as affinity is, and what a namespace may cost
	}
	if e.upfront != nil && !e.upfront.group.Resources.IsZero() {
		fmt.Fprintf(&signature, " of %s", e.upfront.group.Resources)
	}
	return signature.String()
}

// sizesOf are what the pods of a gang ask for, each size once.
func sizesOf(e *entry) []resource.Vector {
	var sizes []resource.Vector
	add := func(size resource.Vector) {
		if !slices.ContainsFunc(sizes, size.Equal) {
			sizes = append(sizes, size)
		}
	}
	if e.upfront == nil {
		add(e.leader.Requests)
	}
	for _, role := range e.Gang.Definition.Roles {
		if role.Count > 0 {
			add(role.Requests)
		}
	}
	return sizes
}

func turnOf(p *pod) waiting.Turn {
	return waiting.Turn{Priority: p.Priority, Created: p.Created, Gang: p.Gang, ID: p.UID}
}
