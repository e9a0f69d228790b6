package plugin

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/rehearsal"
	"retinue.dev/retinue/pkg/reservation"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// seatLimit is how many nodes a worker with slots is filtered on; more than one, so that a node that has just become
// unsuitable does not cost another attempt.
const seatLimit = 4

// cycle is what one scheduling cycle knows; PreFilter writes it, later points read it, several at a time.
type cycle struct {
	namespace string
	request   resource.Vector
	view      *inventory.View
	// fit of the gang that the pod is tried for; nil for every other pod, and when the gang does not fit.
	fit rehearsal.Layout
	// demand is what that gang asks for; zero for every other pod. edition is the attempt's.
	demand  ledger.Demand
	edition uint64
	// slots of an up-front gang; nil for every other.
	slots []gang.Slot
	// seats of a worker; empty for every other pod.
	seats ledger.Seats
	// shortage is why PreFilter refused the pod; zero when it did not.
	shortage gang.Verdict
	// draft is the gang that the pod is tried with in the cycle of its native PodGroup; nil for every other.
	draft *draft
	// rehearsed tells whether shortage is the framework's filters' word.
	rehearsed rehearsed
	usable
	// withheld means that PreFilter refused the pod for something that is no business of the ledger.
	withheld bool
	// took is how long the attempt's answers have taken, and filtered means that the framework's filters were asked for them.
	took     time.Duration
	filtered bool
	// work is what the attempt has spent of what it may.
	work placement.Work
}

// usable is which nodes may hold the pod by the plugin's word, resources aside.
type usable struct {
	// named are those that PreFilter has named; nil means all.
	named sets.Set[string]
	// eligible is by the rules of placement; nil for a pod whose nodes are chosen by them, and those are named.
	eligible func(*v1.Node) bool
}

// closes tells whether a node that may hold the pod as the snapshot shows it may not as the ledger knows it, because one of them has yet to hear
// that it was cordoned, say, or uncordoned. Both are judged by the same rules: where those differ from the framework's, its word counts.
// Mostly they are the same object.
func (c *cycle) closes(node *v1.Node) bool {
	i, known := c.view.Index(node.Name)
	if !known || c.eligible == nil {
		return false
	}
	told := c.view.Object(i)
	return told != node && !c.eligible(told) && c.eligible(node)
}

// rehearsed tells whether the framework's filters have refused a gang, and whether that is not their last word, as the rehearsal was cut and
// goes on at the next attempt.
type rehearsed struct {
	inVain, cut bool
	// behind means that this may be because the scheduler's snapshot does not show yet what the ledger has heard.
	behind bool
	// epoch of the View by which it began, which may be an earlier attempt's; zero if there was none.
	epoch uint64
}

const cycleKey fwk.StateKey = Name

// leads tells whether the pod is a leader whose gang fits. It may be asked of nil, a cycle without PreFilter.
func (c *cycle) leads() bool { return c != nil && c.fit != nil && !c.demand.Upfront }

// Clone returns the cycle itself: nothing changes it after PreFilter.
func (c *cycle) Clone() fwk.StateData { return c }

func cycleOf(state fwk.CycleState) *cycle { return read[*cycle](state, cycleKey) }

// read is what a state has under a key; the zero T if it has nothing, or anything else.
func read[T fwk.StateData](state interface {
	Read(fwk.StateKey) (fwk.StateData, error)
}, key fwk.StateKey) T {
	data, _ := state.Read(key) // the only error is that there is nothing
	typed, _ := data.(T)
	return typed
}

// PreFilter plans: for a leader, whether its whole gang fits; for a worker, which nodes hold its slots.
func (p *Plugin) PreFilter(ctx context.Context, state fwk.CycleState, pod *v1.Pod, _ []fwk.NodeInfo) (*fwk.PreFilterResult, *fwk.Status) {
	if rehearsal.Running(state) {
		return nil, fwk.NewStatus(fwk.Skip)
	}
	limit := seatLimit
	if !spark.Leads(pod) && rehearsal.RulesOf(pod).Any() {
		// Whether it may take one of its slots can depend on which of the others are taken.
		limit = reservation.MaxWorkers
	}
	attempt, effects := p.ledger.Attempt(p.clock.Now(), pod.UID, limit)
	p.effects.add(effects)
	c := &cycle{namespace: pod.Namespace, request: p.counted.requests(pod), view: attempt.View, demand: attempt.Demand, edition: attempt.Edition, seats: attempt.Seats}
	state.Write(cycleKey, c)
	p.answers.solver.Work = &c.work
	switch {
	case attempt.Gang && state.IsPodGroupSchedulingCycle():
		return planGrouped(ctx, p, state, c, pod)
	case attempt.Gang:
		return p.plan(ctx, state, c, pod)
	}
	if spark.Leads(pod) {
		return nil, p.turnBack(pod)
	}
	if state.IsPodGroupSchedulingCycle() && c.seats.Later {
		noteLater(state, c, pod)
	}
	if !c.seats.Verdict.Passes() {
		c.shortage = c.seats.Verdict
		return nil, p.statusOf(c.shortage)
	}
	forgetKept(p.handle, p.ledger, c.seats.Slots)
	if c.seats.Pinned {
		c.named = sets.KeySet(c.seats.Slots)
		return &fwk.PreFilterResult{NodeNames: c.named}, nil
	}
	c.eligible = placement.Eligibility(pod)
	return nil, nil
}

// forgetKept has kube-scheduler forget the pods that it has nominated for nodes with slots, if the ledger keeps the room for them. It
// would try the worker as if they were there already, besides those who have yet to leave for them: both together are more than a node has,
// and the worker would be refused its own slot. What their status says stays, for autoscalers.
func forgetKept(handle fwk.Handle, ledger *ledger.Ledger, slots map[string]resource.Vector) {
	for node := range slots {
		for _, nominated := range handle.NominatedPodsForNode(node) {
			if kept, _ := ledger.Nomination(nominated.GetPod().UID); kept == node {
				handle.DeleteNominatedPodIfExists(nominated.GetPod())
			}
		}
	}
}

// PreFilterExtensions are not needed: what the plugin knows does not depend on the pods of a trial.
func (p *Plugin) PreFilterExtensions() fwk.PreFilterExtensions { return nil }

// errMoved means that a leader that came to be placed was not waiting for it any more, or not yet. The attempt is repeated
// after a backoff.
var errMoved = errors.New("the gang has changed during the attempt")

// turnBack refuses a leader whose gang does not wait to be admitted: never place a leader without its workers.
func (p *Plugin) turnBack(leader *v1.Pod) *fwk.Status {
	if status := p.gate(leader); !status.IsSuccess() {
		return status
	}
	return fwk.AsStatus(errMoved) // it has changed in between, or is placed already
}

// plan asks whether the gang fits that the pod is tried for.
func (p *Plugin) plan(ctx context.Context, state fwk.CycleState, c *cycle, pod *v1.Pod) (*fwk.PreFilterResult, *fwk.Status) {
	if c.shortage = c.demand.Verdict; !c.shortage.Passes() {
		return nil, p.statusOf(c.shortage)
	}
	if !c.demand.Upfront { // its pods are there, and counted
		if short := p.namespaces.Short(pod, c.demand.Roles); short != nil {
			c.withheld = true
			return nil, p.statusOf(gang.Verdict{Reason: gang.QuotaUsedUp, Detail: short})
		}
	}
	asked := c.demand.Pods.On(c.view)
	if kinds, most := len(asked.Roles), placement.MostRoles(c.view.Len()); kinds > most {
		c.shortage = gang.Verdict{Reason: gang.InvalidGang, Message: fmt.Sprintf("its pods are of %d kinds: on %d nodes at most %d can be laid out together", kinds, c.view.Len(), most)}
		return nil, p.statusOf(c.shortage)
	}
	if problem := chargeRules(c, pod); problem != "" {
		c.shortage = gang.Verdict{Reason: gang.InvalidGang, Message: problem}
		return nil, p.statusOf(c.shortage)
	}
	began := p.clock.Now()
	fit, shortage := p.answers.solver.Fit(c.view, asked)
	if shortage != nil {
		c.shortage = p.explain(c, asked, shortage)
		c.shortage.Message += assumption(&p.answers.solver, c)
		c.took = p.clock.Since(began)
		return nil, p.statusOf(c.shortage)
	}
	c.took = p.clock.Since(began)
	c.fit = fit
	leader := pod
	if c.demand.Upfront {
		leader = nil
	}
	var seat *fwk.PreFilterResult
	if rehearsal.Needed(leader, c.demand.Roles) {
		var status *fwk.Status
		if seat, status = p.planRehearsed(ctx, state, c, asked, leader); !status.IsSuccess() {
			return nil, status
		}
	}
	if c.demand.Upfront {
		return p.planUpfront(c)
	}
	return seat, nil
}

// cheapRules are those of a pod that count as one look together.
const cheapRules = 8

// chargeRules takes what it costs to compare all nodes with what the pods of a gang say about nodes, and says that it is too much; empty means
// that it is not.
func chargeRules(c *cycle, leader *v1.Pod) string {
	rules := 0
	if !c.demand.Upfront {
		rules = max(placement.Rules(leader)-cheapRules, 0)
	}
	for _, role := range c.demand.Roles {
		if problem := longRules(role.Pod, "one of its pods"); problem != "" {
			return problem
		}
		rules += max(placement.Rules(role.Pod)-cheapRules, 0)
	}
	if most := placement.MostNodes * placement.MostRules / 2; rules*c.view.Len() > most {
		return fmt.Sprintf("its pods have too many rules: their spec.nodeSelector, spec.tolerations, spec.affinity and spec.topologySpreadConstraints count as %d, and on %d nodes as many as %d can be looked at",
			rules, c.view.Len(), most/c.view.Len())
	}
	c.work.Spend(c.view.Len() * rules * placement.LooksPerNode / placement.MostRules)
	return ""
}

// planUpfront chooses all slots of an up-front gang. The pod that is tried for it goes to one of its own role.
func (p *Plugin) planUpfront(c *cycle) (*fwk.PreFilterResult, *fwk.Status) {
	if missing := c.demand.Resources.Missing(c.view.Total()); !missing.IsZero() {
		c.shortage = gang.Verdict{Reason: gang.ClusterFull, Message: fmt.Sprintf("minResources asks for %s more than is free", missing)}
		return nil, p.statusOf(c.shortage)
	}
	slots, err := slotsFor(c, placement.NoNode)
	if err != nil {
		return nil, fwk.AsStatus(err)
	}
	c.slots, c.named = slots, sets.New[string]()
	for _, slot := range slots {
		if c.demand.Roles[slot.Role].Name == c.demand.Role && c.named.Len() < seatLimit {
			c.named.Insert(slot.Node)
		}
	}
	return &fwk.PreFilterResult{NodeNames: c.named}, nil
}

// spend counts what an attempt has cost.
func spend(p *Plugin, c *cycle) {
	p.answers.spending.note(c.namespace, &c.work, p.clock.Now(), c.took, c.filtered)
}
