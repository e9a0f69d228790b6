package plugin

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/rehearsal"
)

// mostCompared bounds on how many nodes it is compared who would have to go.
const mostCompared = 100

// preempt lets others of its queue and of lower priorities leave for a pod by itself that some node refuses for something else than room:
// for their anti-affinity or its own, topology spread, host ports, or claims that one pod alone may use. As kube-scheduler's own
// preemption it looks at one node at a time, and asks the framework's filters; who goes with whom the ledger knows. picky means that a node
// which has refused the pod for want of room may hide that it would refuse it for something else.
func preempt(ctx context.Context, p *Plugin, state fwk.CycleState, c *cycle, pod *v1.Pod, statuses fwk.NodeToStatusReader, picky bool) []ledger.Effect {
	if pod.Spec.SchedulingGroup != nil {
		return nil
	}
	infos, err := statuses.NodesForStatusCode(p.handle.SnapshotSharedLister().NodeInfos(), fwk.Unschedulable)
	if err != nil {
		p.logger.Error(err, "Nodes of a failed attempt cannot be read")
		return nil
	}
	if !picky && !refusedByRules(infos, statuses) {
		return nil
	}
	left := c.work.Left()
	began := p.clock.Now()
	asked, rests := p.ledger.WhatIf(began, pod.UID)
	if rests || left == 0 {
		p.pending.putOff(pod)
	}
	if asked == nil || left == 0 {
		return nil
	}
	slices.SortFunc(infos, func(a, b fwk.NodeInfo) int { return strings.Compare(a.Node().Name, b.Node().Name) }) // they come out of a map
	state = state.Clone()
	state.Write(cycleKey, &cycle{view: c.view, usable: c.usable}) // which asks for nothing: who holds room is taken off below
	question := &rehearsal.WhatIf{Filters: p.handle, State: state, Pod: pod, Request: c.request, Left: left}
	best, err := cheapest(ctx, p, c, question, asked, infos)
	if err != nil && !errors.Is(err, rehearsal.ErrBound) {
		p.logger.Error(err, "Filters not asked who would have to go", "pod", klog.KObj(pod))
	}
	took, cost := p.clock.Since(began), left-max(question.Left, 0)
	c.work.SpendNodes(cost)
	c.took, c.filtered = c.took+took, true
	p.logger.V(4).Info("Filters asked who would have to go", "pod", klog.KObj(pod), "found", best != nil, "cost", cost)
	if best == nil {
		asked.Ended(p.clock.Now(), took)
		return nil
	}
	return asked.Take(p.clock.Now(), took, c.view.Epoch, best.node, best.leavers)
}

// refusedByRules tells whether some node has refused a pod for something that nobody makes room for.
func refusedByRules(infos []fwk.NodeInfo, statuses fwk.NodeToStatusReader) bool {
	for _, info := range infos {
		if plugin := statuses.Get(info.Node().Name).Plugin(); plugin != Name && plugin != filterOfRoom && plugin != "" {
			return true
		}
	}
	return false
}

// departure is who would have to go from a node.
type departure struct {
	node    string
	leavers []ledger.Leaver
	// What it costs, by what matters most: how many a PodDisruptionBudget protects, how many gangs go, the highest priority of those who go, how many
	// pods go, and since when the one that has been there for longest has.
	protected, gangs int
	priority         int32
	pods             int
	since            time.Time
}

// compare is negative if a costs less.
func (a *departure) compare(b *departure) int {
	return cmp.Or(cmp.Compare(a.protected, b.protected), cmp.Compare(a.gangs, b.gangs), cmp.Compare(a.priority, b.priority), cmp.Compare(a.pods, b.pods), b.since.Compare(a.since))
}

func departureFrom(node string, leavers []ledger.Leaver) *departure {
	d := &departure{node: node, leavers: leavers, priority: leavers[0].Priority, since: leavers[0].Since}
	for _, l := range leavers {
		if l.Protected {
			d.protected++
		}
		if l.Whole {
			d.gangs++
		}
		d.priority, d.pods = max(d.priority, l.Priority), d.pods+l.Count
		if l.Since.Before(d.since) {
			d.since = l.Since
		}
	}
	return d
}

// cheapest is who goes at the least cost so that some node takes the pod; nil if none is known of. Which node is asked first changes from
// question to question: where there are more than may be asked, everyone's turn comes.
func cheapest(ctx context.Context, p *Plugin, c *cycle, question *rehearsal.WhatIf, asked *ledger.WhatIf, infos []fwk.NodeInfo) (best *departure, err error) {
	first := p.pending.turn(len(infos))
	found := 0
	for i := range infos {
		info := infos[(first+i)%len(infos)]
		index, known := c.view.Index(info.Node().Name)
		if !known {
			continue
		}
		gone, units, leavers := unitsOn(info, question.Pod, asked)
		if len(units) == 0 {
			continue
		}
		needed, takes, err := question.Needed(ctx, info, *c.view.Free(index), gone, units)
		if err != nil {
			return best, err
		}
		if !takes || len(needed) == 0 { // the latter has only to wait
			continue
		}
		chosen := make([]ledger.Leaver, len(needed))
		for k, at := range needed {
			chosen[k] = leavers[at]
		}
		if d := departureFrom(info.Node().Name, chosen); best == nil || d.compare(best) < 0 {
			best = d
		}
		if found++; found == mostCompared {
			return best, nil
		}
	}
	return best, nil
}

// unitsOn is who may leave a node for a pod, who should rather stay first, and what has to leave it already.
func unitsOn(info fwk.NodeInfo, pod *v1.Pod, asked *ledger.WhatIf) (gone rehearsal.Unit, units []rehearsal.Unit, leavers []ledger.Leaver) {
	priority := corev1helpers.PodPriority(pod)
	lower := map[types.UID]fwk.PodInfo{}
	var uids []types.UID
	for _, other := range info.GetPods() {
		if corev1helpers.PodPriority(other.GetPod()) < priority {
			lower[other.GetPod().UID] = other
			uids = append(uids, other.GetPod().UID)
		}
	}
	if len(uids) == 0 {
		return gone, nil, nil
	}
	for _, l := range asked.On(info.Node().Name, uids) {
		unit := rehearsal.Unit{Amount: l.Here}
		for _, uid := range l.Pods {
			unit.Pods = append(unit.Pods, lower[uid])
		}
		if l.Leaves {
			gone.Pods, gone.Amount = append(gone.Pods, unit.Pods...), gone.Amount.Add(unit.Amount)
			continue
		}
		units, leavers = append(units, unit), append(leavers, l)
	}
	return gone, units, leavers
}
