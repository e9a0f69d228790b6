package plugin

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/plugin/podgroups"
	"retinue.dev/retinue/pkg/rehearsal"
)

// genericWorkload is the feature gate with which kube-scheduler knows native PodGroups.
const genericWorkload featuregate.Feature = "GenericWorkload"

// nativeGroups tells whether kube-scheduler knows native PodGroups.
func nativeGroups() bool { return utilfeature.DefaultFeatureGate.Enabled(genericWorkload) }

// native tells whether kube-scheduler has the pod in one entity of its queue with the others of its PodGroup.
func native(pod *v1.Pod) bool { return podgroups.NativeNameOf(pod) != "" && nativeGroups() }

// draftKey is where the state of a placement, and that of the cycle of a PodGroup, have its draft.
const draftKey fwk.StateKey = Name + "Draft"

// draft is a gang in the cycle of its native PodGroup, whether that is a gang without a leader or a leader by itself. In such a cycle
// kube-scheduler tries one pod after another, with Reserve for each that has found a node, and takes all of them back with Unreserve. If
// enough have found one, it calls Reserve for each of them again, and that holds. Only then the ledger hears of any of it: it
// reserves all slots or none with the first of the pods. One goroutine at a time touches a draft: the scheduling cycle.
type draft struct {
	plugin *Plugin
	pod    types.UID // that the gang was planned with
	plan   *cycle
	seats  map[types.UID]int // pod -> index of its slot
	taken  []bool            // index of a slot -> somebody has it
	// refusal is why none of its pods is tried any further; nil if they are.
	refusal *fwk.Status
	// committed tells whether the ledger has been asked for the slots, and err is what it answered.
	committed bool
	err       error
}

// Clone returns the same: what one pod of a cycle takes the others have to know.
func (d *draft) Clone() fwk.StateData { return d }

// planGrouped plans a gang in the cycle of its PodGroup: with the first of its pods that is tried, for all of them.
func planGrouped(ctx context.Context, p *Plugin, state fwk.CycleState, c *cycle, pod *v1.Pod) (*fwk.PreFilterResult, *fwk.Status) {
	group, placement := state.GetPodGroupSchedulingCycle(), state.GetPlacementCycleState()
	if !c.demand.Upfront {
		group.Write(draftKey, &draft{plugin: p, pod: pod.UID, plan: c})
		return p.plan(ctx, state, c, pod)
	}
	d := read[*draft](placement, draftKey)
	if d == nil {
		_, status := p.plan(ctx, state, c, pod)
		d = &draft{plugin: p, pod: pod.UID, plan: c, seats: map[types.UID]int{}, taken: make([]bool, len(c.slots)), refusal: status}
		placement.Write(draftKey, d)
		group.Write(draftKey, d)
		if !status.IsSuccess() {
			return nil, status
		}
	}
	if !d.refusal.IsSuccess() {
		return nil, d.refusal.Clone()
	}
	return d.offer(c)
}

// offer names the nodes of slots of a pod's role that none of the others has taken.
func (d *draft) offer(c *cycle) (*fwk.PreFilterResult, *fwk.Status) {
	c.fit, c.slots, c.draft, c.named = d.plan.fit, d.plan.slots, d, sets.New[string]()
	for i, slot := range c.slots {
		if !d.taken[i] && c.named.Len() < seatLimit && d.plan.demand.Roles[slot.Role].Name == c.demand.Role {
			c.named.Insert(slot.Node)
		}
	}
	if c.named.Len() == 0 {
		return nil, d.plugin.statusOf(gang.Verdict{Reason: gang.BehindOthers, Message: "its gang starts with others of its pods"})
	}
	return &fwk.PreFilterResult{NodeNames: c.named}, nil
}

// take gives a pod one of the free slots of its role on a node.
func (d *draft) take(pod types.UID, role, node string) error {
	for i, slot := range d.plan.slots {
		if !d.taken[i] && slot.Node == node && d.plan.demand.Roles[slot.Role].Name == role {
			d.taken[i], d.seats[pod] = true, i
			return nil
		}
	}
	return fmt.Errorf("node %s is none of those that were planned for the gang", node)
}

// giveBack undoes take.
func (d *draft) giveBack(pod types.UID) {
	if i, has := d.seats[pod]; has {
		d.taken[i] = false
		delete(d.seats, pod)
	}
}

// onlyDrafted tells whether a pod's Reserve and Unreserve are none of the ledger's business yet.
func onlyDrafted(state fwk.CycleState, c *cycle) bool {
	return state.IsPodGroupSchedulingCycle() && c != nil && (c.draft != nil || c.leads())
}

// reserve is Reserve for a pod: in the cycle of its PodGroup, and after it for good.
func (d *draft) reserve(state fwk.CycleState, role string, pod *v1.Pod, node string) *fwk.Status {
	if state.IsPodGroupSchedulingCycle() {
		return fwk.AsStatus(d.take(pod.UID, role, node))
	}
	state.Delete(cycleKey)
	p := d.plugin
	if !d.committed {
		d.committed = true
		defer spend(p, d.plan)
		if d.err = p.apply(ledger.Admitted{Leader: d.plan.demand.Leader, Slots: d.plan.slots, Edition: d.plan.edition, Took: d.plan.took}); d.err == nil {
			logFate(p, pod, "Gang admitted", "node", node, "slots", len(d.plan.slots))
		}
	}
	if d.err != nil {
		// An error, not a refusal: the attempt is repeated after a backoff.
		return fwk.AsStatus(fmt.Errorf("reserve room for the gang of %s: %w", klog.KObj(pod), d.err))
	}
	return fwk.AsStatus(p.apply(ledger.Placed{UID: pod.UID, Node: node}))
}

// laterKey of the state of the cycle of a PodGroup has the pods of a gang that has started.
const laterKey fwk.StateKey = Name + "Later"

// later are the pods of an up-front gang that has started, by themselves: pod -> its attempt.
type later map[*v1.Pod]*cycle

// Clone returns the same.
func (l later) Clone() fwk.StateData { return l }

// noteLater remembers the attempt of such a pod until the cycle of its PodGroup has ended.
func noteLater(state fwk.CycleState, c *cycle, pod *v1.Pod) {
	group := state.GetPodGroupSchedulingCycle()
	noted := read[later](group, laterKey)
	if noted == nil {
		noted = later{}
		group.Write(laterKey, noted)
	}
	noted[pod] = c
}

// refused are those that lack room by the ledger's word. Those that others refuse as well take nothing back.
func (l later) refused(p *Plugin) (refused []ledger.Refused) {
	for pod, c := range l {
		one := ledger.Refused{UID: pod.UID, Epoch: c.view.Epoch, Edition: c.edition, Verdict: c.seats.Verdict}
		if one.Verdict.Passes() {
			asked := placement.Gang{Leader: &placement.Member{Name: "pod", Request: c.request, Eligible: c.view.Eligible(pod)}}
			_, shortage := p.answers.solver.Fit(c.view, asked)
			if shortage == nil {
				continue
			}
			one.Verdict = p.explain(c, asked, shortage)
		}
		if rehearsal.RulesOf(pod).Any() {
			one.Only = map[string]bool{}
		}
		refused = append(refused, one)
	}
	slices.SortFunc(refused, func(a, b ledger.Refused) int { return cmp.Compare(a.UID, b.UID) })
	return refused
}

// PodGroupPostFilter tells the ledger that the cycle of a native PodGroup has failed: kube-scheduler calls no PostFilter for its pods.
func (p *Plugin) PodGroupPostFilter(_ context.Context, state fwk.PodGroupCycleState, _ fwk.PodGroupInfo, _ fwk.PodGroupSchedulingFunc) (*fwk.PodGroupPostFilterResult, *fwk.Status) {
	d := read[*draft](state, draftKey)
	for _, refused := range read[later](state, laterKey).refused(p) {
		p.tell(refused)
	}
	if d == nil { // nothing of it was planned
		return nil, fwk.NewStatus(fwk.Unschedulable)
	}
	c := d.plan
	defer spend(p, c)
	refused := ledger.Refused{UID: d.pod, Epoch: cmp.Or(c.rehearsed.epoch, c.view.Epoch), Edition: c.edition, Verdict: c.shortage, Rehearsed: c.rehearsed.inVain, Cut: c.rehearsed.cut, Behind: c.rehearsed.behind, Took: c.took}
	if c.shortage.Passes() && !c.withheld {
		// There is room by the ledger. Either the scheduler's snapshot is behind, or its filters know better.
		refused.Verdict = gang.Verdict{Reason: gang.Constraints, Message: "kube-scheduler finds nodes for fewer pods of the gang than start together"}
		refused.Rehearsed, refused.Behind = true, true
	}
	p.tell(refused)
	return nil, fwk.NewStatus(fwk.Unschedulable, refused.Verdict.Say(p.names()))
}
