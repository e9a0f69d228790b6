package ledger

import (
	"cmp"
	"maps"
	"slices"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
)

// accounts are what queues are charged for. What a queue is charged is the sum of what its pods and gangs remember to be charged,
// each to the queue that it belongs to.
type accounts struct {
	// layout is what is known of queues, and queues is what they use and in which order they are next.
	layout Queues
	queues *quota.Tree
	// strategy is how gangs are laid out whose queues say nothing else.
	strategy placement.Strategy

	members *members
	victims *victims
}

// charge is what a queue was charged, to be released as it was.
type charge struct {
	queue  string
	demand quota.Demand
}

func (c charge) equal(other charge) bool {
	return c.queue == other.queue && c.demand.Equal(other.demand)
}

// nothing tells whether no sum would change.
func (c charge) nothing() bool {
	return c.demand.Gangs == 0 && c.demand.Amount.IsZero() && c.demand.Leader.IsZero()
}

// queued tells whether there are any queues: else nobody waits for a turn.
func (acc *accounts) queued() bool { return len(acc.layout.Specs) > 0 }

func (acc *accounts) queueOf(namespace string) string { return acc.layout.Namespaces[namespace] }

// arrange takes a new layout, and takes off the present tree what is charged elsewhere from now on: recharge charges that when the
// tree that comes has succeeded it. What stays in its queue is not looked at, unless something moves; a nil recharge means that nothing does.
func (acc *accounts) arrange(layout Queues, queues *quota.Tree) (recharge func()) {
	former := acc.layout
	acc.layout = layout
	moves := func(namespace string) bool {
		from, to := former.Namespaces[namespace], layout.Namespaces[namespace]
		return from != to || !quota.Keeps(acc.queues, queues, to)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(former.Namespaces)), moves) && !slices.ContainsFunc(slices.Collect(maps.Keys(layout.Namespaces)), moves) {
		return nil
	}
	var moved []*charge
	move := func(c *charge, namespace string) {
		if !c.nothing() && moves(namespace) {
			acc.queues.Release(c.queue, c.demand)
			c.queue = acc.queueOf(namespace)
			moved = append(moved, c)
		}
	}
	for _, p := range acc.members.pods {
		move(&p.charged, p.Namespace)
	}
	for _, e := range acc.members.gangs {
		move(&e.charged, e.Key.Namespace)
	}
	return func() {
		for _, c := range moved {
			queues.Charge(c.queue, c.demand)
		}
	}
}

// strategyOf is how gangs of a namespace are laid out.
func (acc *accounts) strategyOf(namespace string) placement.Strategy {
	return cmp.Or(acc.layout.Strategies[acc.queueOf(namespace)], acc.strategy)
}

// chargePod charges a pod as what it is now, and the gang that it leads.
func (acc *accounts) chargePod(p *pod) {
	acc.tally(p)
	acc.victims.touch(p)
	if e := acc.members.gangs[p.UID]; e != nil {
		acc.chargeGang(e, nil)
	}
	if p.placed == "" {
		acc.recharge(&p.charged, charge{})
	} else {
		acc.recharge(&p.charged, charge{acc.queueOf(p.Namespace), acc.demandOfPod(p)})
	}
}

// tally counts the priorities of what may be taken back.
func (acc *accounts) tally(p *pod) {
	if p.tallied != nil {
		acc.victims.priorities.Remove(*p.tallied)
	}
	if p.tallied = nil; p.placed != "" && !p.Foreign && !inventory.Permanent(p.Object) {
		priority := p.Priority
		p.tallied = &priority
		acc.victims.priorities.Add(priority)
	}
}

// chargeAgain charges a pod that has changed, and the gang that it leads.
func (acc *accounts) chargeAgain(p *pod, formerUser string) {
	acc.chargePod(p)
	if acc.members.gangs[p.UID] != nil && p.User != formerUser {
		acc.chargeWorkers(acc.members.apps[p.Gang])
	}
}

// chargeWorkers charges the pods of an application after its leader has become another, whose user they are of.
func (acc *accounts) chargeWorkers(a *app) {
	for _, p := range a.workers {
		acc.chargePod(p)
	}
}

// demandOfPod is what a pod asks its queue for that claims no slot. A pod by itself is a gang of one, unless another
// scheduler places it.
func (acc *accounts) demandOfPod(p *pod) quota.Demand {
	d := quota.Demand{User: p.User, Amount: p.Requests}
	if e := acc.members.gangOf(p); e != nil && e.upfront == nil {
		d.User = e.leader.User
	}
	if p.Kind == Lone && !p.Foreign {
		d.Gangs = 1
	}
	return d
}

// claims tells whether a pod would take a slot of its gang, which its queue has been charged for already. One that is larger than the
// slot takes it if its queue grants the difference.
func (acc *accounts) claims(p *pod) bool {
	if !acc.members.claims(p) {
		return false
	}
	e := acc.members.gangOf(p)
	slot := e.Definition.Role(p.Role).Requests
	if p.Requests.Fits(slot) {
		return true
	}
	return quota.Room(acc.queues, acc.queueOf(p.Namespace), e.leader.User, p.Requests.Missing(slot), 1) > 0
}

// chargeGang charges a gang that runs for its open slots, and as one gang with its leader; its pods are charged by
// themselves. changes are what has just become of its slots.
func (acc *accounts) chargeGang(e *entry, changes []gang.Change) {
	want := charge{}
	for _, change := range changes {
		e.open = e.open.Add(change.Amount)
	}
	if e.runs() {
		want = charge{acc.queueOf(e.Key.Namespace), quota.Demand{User: e.leader.User, Amount: e.open, Leader: e.leaderPart(), Gangs: 1}}
	}
	acc.recharge(&e.charged, want)
}

func (acc *accounts) recharge(c *charge, want charge) {
	if c.equal(want) {
		return
	}
	if !c.nothing() {
		acc.queues.Release(c.queue, c.demand)
	}
	if *c = want; !c.nothing() {
		acc.queues.Charge(c.queue, c.demand)
	}
}
