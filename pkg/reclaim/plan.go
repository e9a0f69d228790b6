package reclaim

import (
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// Case is a waiter with what it asks of nodes.
type Case struct {
	Waiter
	// Title is what people call it.
	Title string
	// Pods are everything it asks for.
	Pods inventory.Demand
	// KeptOn is what is kept for it already: node -> amount.
	KeptOn map[string]resource.Vector
	// Only are the nodes that its pods may use; nil means all for which they are eligible.
	Only map[string]bool
}

// Plan is who has to go for a waiter, and where its pods go then.
type Plan struct {
	Request quota.Request
	Victims []*Victim
	// Chosen are the same as queues see them, in the order in which they were selected.
	Chosen []quota.Victim
	Places []Place
	// Overtaken is whose collection it takes over; empty means nobody's.
	Overtaken types.UID
	// Protection is why nothing may be taken yet; zero means that it is not for protection.
	Protection quota.Protection
	// besides is what it takes for which nobody has to go who stays otherwise; empty means nothing.
	besides string
	title   string // of the waiter: namespace/name
}

// Preempt is a plan that somebody else has made: others of its own queue go for a waiter that asks for one pod, from a node on which room
// is not all that it lacks.
func Preempt(r quota.Request, title, node string, victims []*Victim, protects func(*Victim) bool) Plan {
	plan := Plan{Request: r, Victims: victims, Places: []Place{{Node: node, Count: 1}}, title: title}
	for _, v := range victims {
		chosen := v.Victim
		chosen.Queue, chosen.Protected = r.Queue, protects(v)
		plan.Chosen = append(plan.Chosen, chosen)
	}
	return plan
}

// Place is room for Count pods of one role of the demand's All, on a node.
type Place struct {
	Node  string
	Role  int
	Count int
}

// Plan selects who has to go so that a waiter fits: nobody, where what is leaving already will do, or what is kept for somebody of
// its queue who goes after it; else as few as will do, and only where nobody will, those who have to go besides what is kept so. It is false if nothing that may be taken makes it fit, or if it fits as it is, and then has no more than a
// Protection. looked is how many were looked through for it.
func (c *Cluster) Plan(solver *placement.Solver, w *Case, r quota.Request) (plan Plan, looked int, found bool) {
	defer c.Queues.Simulate(c.Coming)()
	t := c.whatIf(solver, w, nil)
	if plan, found := t.claim(r, "what others leave who are going already"); found {
		return plan, 0, !t.fits()
	}
	for _, o := range c.overtakable(&w.Waiter) {
		if plan, found := c.overtake(solver, w, r, o, nil); found {
			return plan, 0, true
		}
	}
	candidates := c.candidates(r)
	looked = len(candidates)
	if plan, found = t.choose(r, candidates); found || looked == 0 {
		return plan, looked, found
	}
	for _, o := range c.overtakable(&w.Waiter) {
		looked += len(candidates)
		if more, found := c.overtake(solver, w, r, o, candidates); found {
			return more, looked, true
		}
	}
	return plan, looked, false
}

// overtake is a plan with what is kept for somebody else, and if that does not suffice, with some of the candidates.
func (c *Cluster) overtake(solver *placement.Solver, w *Case, r quota.Request, o *Collection, candidates []quota.Victim) (plan Plan, found bool) {
	defer c.Queues.Simulate(o.released())()
	t, besides := c.whatIf(solver, w, o), "what was kept for somebody of a lower priority"
	if candidates == nil {
		plan, found = t.claim(r, besides)
	} else if less, may := c.request(&w.Waiter, o.Room); may {
		plan, found = t.choose(less, candidates)
	}
	plan.Overtaken, plan.besides = o.Owner, besides
	return plan, found
}

// choose is a plan with the fewest of the candidates that will do.
func (t *whatIf) choose(r quota.Request, candidates []quota.Victim) (plan Plan, found bool) {
	choice := t.cluster.Queues.SelectVictims(r, candidates, t.enough)
	if len(choice.Victims) == 0 {
		return Plan{Protection: choice.Protection}, false
	}
	plan = Plan{Request: r, Chosen: choice.Victims, title: t.waiter.Title}
	if plan.Places, found = t.places(plan.Chosen); !found {
		return Plan{}, false
	}
	for _, v := range plan.Chosen {
		plan.Victims = append(plan.Victims, t.cluster.victims[v.Number])
	}
	return plan, true
}

// claim is a plan for which nobody has to go who stays otherwise; false if that does not suffice.
func (t *whatIf) claim(r quota.Request, besides string) (Plan, bool) {
	if !t.enough(nil) {
		return Plan{}, false
	}
	places, found := t.places(nil)
	return Plan{Request: r, Places: places, besides: besides, title: t.waiter.Title}, found
}

// fits tells whether the waiter fits the nodes although nobody leaves.
func (t *whatIf) fits() bool {
	_, shortage := t.solver.Fit(t.view, t.gang)
	return shortage == nil
}

// whatIf is what a waiter would have if some had gone.
type whatIf struct {
	cluster *Cluster
	solver  *placement.Solver
	waiter  *Case
	gang    placement.Gang
	view    *inventory.View
	// leaving is what comes free without anybody's doing: node -> amount.
	leaving map[string]resource.Vector
	// counts are how many pods of each role the nodes take as they are with what is leaving, if they take nothing else.
	counts []int
}

// whatIf begins with what the waiter has already; overtaken is what it takes over, nil means nothing.
func (c *Cluster) whatIf(solver *placement.Solver, w *Case, overtaken *Collection) *whatIf {
	t := &whatIf{cluster: c, solver: solver, waiter: w, view: c.View.With(w.KeptOn), leaving: c.Leaving}
	if overtaken != nil {
		t.view = t.view.With(overtaken.Room)
	}
	t.gang = w.Pods.All().On(t.view)
	if w.Only != nil {
		for i := range t.gang.Roles {
			eligible := t.gang.Roles[i].Eligible
			t.gang.Roles[i].Eligible = func(node int) bool { return w.Only[t.view.Name(node)] && eligible(node) }
		}
	}
	t.counts = make([]int, len(t.gang.Roles))
	for i := range t.view.Len() {
		free := *t.view.Free(i)
		if more, leaves := t.leaving[t.view.Name(i)]; leaves {
			free = free.Add(more)
		}
		for role := range t.counts {
			t.counts[role] += t.takes(role, i, free)
		}
	}
	return t
}

// takes is how many pods of a role a node takes that has so much free.
func (t *whatIf) takes(role, node int, free resource.Vector) int {
	asked := &t.gang.Roles[role]
	n := asked.Request.Count(free, asked.Count)
	if n == 0 || t.view.Object(node) == nil || !asked.Eligible(node) {
		return 0
	}
	return n
}

// without is the cluster when some have gone, and what comes free on which nodes by that: node -> amount.
func (t *whatIf) without(gone []quota.Victim) (*inventory.View, map[string]resource.Vector) {
	freed := make(map[string]resource.Vector, len(t.leaving)+len(gone))
	for node, amount := range t.leaving {
		freed[node] = amount
	}
	for _, victim := range gone {
		t.cluster.victims[victim.Number].EachRoom(func(node string, amount resource.Vector) { freed[node] = freed[node].Add(amount) })
	}
	return t.view.With(freed), freed
}

// enough tells whether the waiter fits when some have gone: its queue, and the nodes.
func (t *whatIf) enough(gone []quota.Victim) bool {
	view, freed := t.without(gone)
	for role := range t.counts {
		count := t.counts[role]
		for node := range freed {
			if i, known := view.Index(node); known {
				count += t.takes(role, i, *view.Free(i)) - t.takes(role, i, t.view.Free(i).Add(t.leaving[node]))
			}
		}
		if count < t.gang.Roles[role].Count {
			return false
		}
	}
	if !t.allowed(gone) {
		return false
	}
	_, shortage := t.solver.Fit(view, t.gang)
	return shortage == nil
}

// allowed tells whether the queue would let the waiter start. What a gang holds is all charged to its own queue.
func (t *whatIf) allowed(gone []quota.Victim) bool {
	defer t.cluster.Queues.Simulate(Released(gone))()
	return t.cluster.Queues.Fits(t.waiter.Asks.Queue, t.waiter.Asks.Demand).Passes()
}

// Released is what becomes of queues when some have gone.
func Released(gone []quota.Victim) []quota.Change {
	changes := make([]quota.Change, len(gone))
	for i, v := range gone {
		changes[i] = quota.Change{Queue: v.Queue, Demand: v.Demand(), Charged: -1}
	}
	return changes
}

// places are where the waiter's pods go when the chosen ones have gone.
func (t *whatIf) places(gone []quota.Victim) ([]Place, bool) {
	view, _ := t.without(gone)
	fit, shortage := t.solver.Fit(view, t.gang)
	if shortage != nil {
		return nil, false
	}
	slots, fits := fit.Plan(placement.NoNode)
	places := make([]Place, len(slots))
	for i, s := range slots {
		places[i] = Place{Node: view.Name(s.Node), Role: s.Role, Count: s.Count}
	}
	return places, fits
}
