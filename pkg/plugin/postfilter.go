package plugin

import (
	"cmp"
	"context"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/rehearsal"
	"retinue.dev/retinue/pkg/resource"
)

// clearNomination takes back a nomination for a node that an attempt before may have left on the pod.
var clearNomination = &fwk.PostFilterResult{NominatingInfo: &fwk.NominatingInfo{NominatingMode: fwk.ModeOverride}}

// PostFilter tells the ledger that an attempt failed. Where that lets others leave for the pod, kube-scheduler writes the node with the
// condition that it writes anyway.
func (p *Plugin) PostFilter(ctx context.Context, state fwk.CycleState, pod *v1.Pod, statuses fwk.NodeToStatusReader) (*fwk.PostFilterResult, *fwk.Status) {
	refused := ledger.Refused{UID: pod.UID}
	if c := cycleOf(state); c != nil {
		defer spend(p, c)
		refused.Epoch, refused.Edition, refused.Verdict = cmp.Or(c.rehearsed.epoch, c.view.Epoch), c.edition, c.shortage
		refused.Rehearsed, refused.Cut, refused.Behind, refused.Took = c.rehearsed.inVain, c.rehearsed.cut, c.rehearsed.behind, c.took
		if refused.Verdict.Passes() && !c.withheld {
			refused.Verdict, refused.Alone, refused.Behind = p.shortOfRoom(c, pod, statuses)
			if !refused.Verdict.Passes() && (refused.Alone || rehearsal.RulesOf(pod).Any()) {
				refused.Only = p.lackOnlyRoom(ctx, state, c, pod, statuses)
			}
		}
	}
	effects, err := p.ledger.Apply(p.clock.Now(), refused)
	if err != nil {
		p.logger.Error(err, "Failed attempt not noted", "pod", klog.KObj(pod)) // no Refused ends so
	}
	node, verdict := p.ledger.Nomination(pod.UID)
	if c := cycleOf(state); node == "" && c != nil && c.shortage.Passes() && !c.withheld && !refused.Behind {
		effects = append(effects, preempt(ctx, p, state, c, pod, statuses, refused.Only != nil)...)
		node, verdict = p.ledger.Nomination(pod.UID)
	}
	result, more := clearNomination, ""
	if node == "" {
		more = p.ledger.Protection(pod.UID)
	} else {
		result = &fwk.PostFilterResult{NominatingInfo: &fwk.NominatingInfo{NominatedNodeName: node, NominatingMode: fwk.ModeOverride}}
		more = verdict.String()
	}
	if more != "" { // kube-scheduler writes it
		effects = slices.DeleteFunc(effects, func(effect ledger.Effect) bool {
			tell, tells := effect.(ledger.Tell)
			return tells && tell.Pod.UID == pod.UID && (tell.Verdict.Reason == gang.Reclaiming || tell.Verdict.Reason == refused.Verdict.Reason)
		})
	}
	p.effects.add(effects)
	p.pending.failed(pod, !refused.Behind && p.ledger.Waits(pod.UID))
	if more == "" {
		return result, fwk.NewStatus(fwk.Unschedulable)
	}
	return result, fwk.NewStatus(fwk.Unschedulable, more)
}

// Filters of kube-scheduler, by what the ledger knows of what they look at.
const filterOfRoom = "NodeResourcesFit"

var filtersOfNodes = sets.New("NodeName", "NodeUnschedulable", "TaintToleration", "NodeAffinity")

// shortOfRoom tells why a pod by itself did not fit, if it is room that it lacks on some node; otherwise the verdict
// passes. alone means that some node has refused it for something else than room and what its signature covers, such as another
// pod's anti-affinity or its own claims: that says nothing about others that ask for the same. behind means that some node would take it
// by the ledger's word: the scheduler's snapshot does not show yet what the ledger has heard, or the other way round.
func (p *Plugin) shortOfRoom(c *cycle, pod *v1.Pod, statuses fwk.NodeToStatusReader) (verdict gang.Verdict, alone, behind bool) {
	infos, err := p.handle.SnapshotSharedLister().NodeInfos().List()
	if err != nil {
		p.logger.Error(err, "Nodes of a failed attempt cannot be read")
		return gang.Verdict{}, false, false
	}
	short := sets.New[string]() // names of nodes
	eligible := c.view.Eligible(pod)
	kept, late, closed := false, false, false
	alone = native(pod) // a group that is no gang of the ledger may use fewer nodes than its pods say
	unseen := c.named.Clone()
	for _, info := range infos {
		name := info.Node().Name
		unseen.Delete(name)
		switch plugin := statuses.Get(name).Plugin(); {
		case plugin == Name && c.closes(info.Node()): // room is not what it lacks there, and only the ledger's nodes can wake it
			closed = true
		case plugin == Name || plugin == filterOfRoom:
			short.Insert(name)
			kept = kept || plugin == Name
			late = late || plugin == filterOfRoom && c.takes(name)
		case plugin == "" && c.named != nil: // not looked at
		case !filtersOfNodes.Has(plugin):
			alone = true
		case !behind && c.takes(name):
			i, _ := c.view.Index(name)
			behind = eligible(i)
		}
	}
	behind = behind || unseen.Len() > 0
	if short.Len() == 0 && !closed || late {
		return gang.Verdict{}, false, behind || late
	}
	asked := placement.Gang{Leader: &placement.Member{Name: "pod", Request: c.request, Eligible: func(node int) bool { return short.Has(c.view.Name(node)) }}}
	_, shortage := p.answers.solver.Fit(c.view, asked)
	switch {
	case shortage != nil:
		verdict = p.explain(c, asked, shortage)
		return verdict, alone || verdict.Permanent() && contradicted(c, infos, statuses, eligible), behind
	case kept:
		return gang.Verdict{Reason: gang.Fragmented, Message: "the nodes that have room keep it for workers of other applications"}, alone, behind
	default:
		return gang.Verdict{}, false, behind
	}
}

// contradicted tells whether some node has refused a pod for its taints or labels that has none such by the ledger's word: when room comes
// back there, it is not too small for ever.
func contradicted(c *cycle, infos []fwk.NodeInfo, statuses fwk.NodeToStatusReader, eligible func(node int) bool) bool {
	return slices.ContainsFunc(infos, func(info fwk.NodeInfo) bool {
		i, known := c.view.Index(info.Node().Name)
		return known && filtersOfNodes.Has(statuses.Get(info.Node().Name).Plugin()) && eligible(i)
	})
}

// mostWhatIfs bounds on how many nodes a pod with rules about others is filtered anew after an attempt has failed.
const mostWhatIfs = 100

// lackOnlyRoom are the nodes that have refused a pod and would take it if they had more room, by the framework's own filters: which of them
// refuses a node first hides what the others would say.
func (p *Plugin) lackOnlyRoom(ctx context.Context, state fwk.CycleState, c *cycle, pod *v1.Pod, statuses fwk.NodeToStatusReader) map[string]bool {
	only := map[string]bool{}
	infos, err := p.handle.SnapshotSharedLister().NodeInfos().List()
	if err != nil {
		p.logger.Error(err, "Nodes of a failed attempt cannot be read")
		return only
	}
	state = state.Clone()
	state.Write(cycleKey, &cycle{view: c.view, usable: c.usable}) // which asks for nothing
	tried := 0
	for _, info := range infos {
		name := info.Node().Name
		if plugin := statuses.Get(name).Plugin(); plugin != Name && plugin != filterOfRoom {
			continue
		}
		if tried++; tried > mostWhatIfs || c.work.Left() == 0 {
			break
		}
		c.work.SpendNodes(1)
		roomy, node := info.Snapshot(), *info.Node()
		node.Status.Allocatable = withRoomFor(node.Status.Allocatable, c.request)
		roomy.SetNode(&node)
		if p.framework.RunFilterPlugins(ctx, state, pod, roomy).IsSuccess() {
			only[name] = true
		}
	}
	return only
}

// withRoomFor is what a node would offer that has room for a request besides as much as it has already.
func withRoomFor(allocatable v1.ResourceList, request resource.Vector) v1.ResourceList {
	roomy := make(v1.ResourceList, len(allocatable))
	for name, amount := range allocatable {
		twice := amount.DeepCopy()
		twice.Add(amount)
		twice.Add(*resource.Quantity(name, request.Of(name)))
		roomy[name] = twice
	}
	return roomy
}
