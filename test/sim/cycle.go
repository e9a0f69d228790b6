package sim

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
)

// errNoNodes is what a scheduling cycle without any node ends with.
var errNoNodes = errors.New("no nodes available to schedule pods")

// attempt is one scheduling cycle.
type attempt struct {
	replica *replica
	info    *framework.QueuedPodInfo
	state   *framework.CycleState
	// seen is what the plugin had been told when the cycle began, by count.
	seen int
	// behind means that plugin or scheduler had yet to hear of something when it began.
	behind bool
	// orphaned says why a worker must not be placed by this cycle; empty when it may.
	orphaned  string
	nodes     []fwk.NodeInfo // those to be filtered
	diagnosis framework.Diagnosis
}

// scheduleOne takes the next pod and starts its scheduling cycle. Its steps follow one another at once most of the
// time; sometimes other things happen in between, as they may in reality.
func (r *replica) scheduleOne() {
	if r.stopped.Load() || r.attempting {
		return
	}
	info := r.queue.pop()
	if info == nil {
		return
	}
	w := r.world
	r.checkArrival(info)
	if info.Pod.DeletionTimestamp != nil {
		r.queue.done(info.Pod.UID)
		return
	}
	if assumed, _ := r.cache.IsAssumedPod(info.Pod); assumed {
		r.queue.done(info.Pod.UID)
		return
	}
	r.attempting = true
	w.stats.Cycles++
	a := &attempt{replica: r, info: info, state: framework.NewCycleState(), seen: r.told.changes, behind: !r.caughtUp()}
	a.orphaned = r.orphaned(info.Pod)
	if err := r.cache.UpdateSnapshot(r.logger, r.snapshot); err != nil {
		panic("sim: snapshot: " + err.Error())
	}
	w.trace.add("%s: tries %s", r.name, keyOf(info.Pod))
	r.checkPasses(info.Pod)
	a.preFilter()
}

// next goes on with a scheduling cycle.
func (a *attempt) next(step func()) {
	w := a.replica.world
	if !w.chance.happens(0.05) {
		step()
		return
	}
	w.after(w.chance.delay(time.Millisecond, 100*time.Millisecond), func() {
		if !a.replica.stopped.Load() {
			step()
		}
	})
}

func (a *attempt) preFilter() {
	r := a.replica
	if r.snapshot.NumNodesInPlacement() == 0 {
		a.fail(fwk.NewStatus(fwk.UnschedulableAndUnresolvable).WithError(errNoNodes), clearNomination)
		return
	}
	a.diagnosis.NodeToStatus = framework.NewDefaultNodeToStatus()
	all, err := r.snapshot.ListNodesInPlacement()
	if err != nil {
		panic("sim: snapshot: " + err.Error())
	}
	var result *fwk.PreFilterResult
	var status *fwk.Status
	r.call(func() {
		result, status, a.diagnosis.UnschedulablePlugins = r.framework.RunPreFilterPlugins(r.ctx, a.state, a.info.Pod)
	})
	switch {
	case status.IsSuccess():
	case !status.IsRejected():
		a.fail(status, clearNomination)
		return
	default:
		a.diagnosis.NodeToStatus.SetAbsentNodesStatus(status)
		a.diagnosis.PreFilterMsg = status.Message()
		a.diagnosis.AddPluginStatus(status)
		a.postFilter()
		return
	}
	a.nodes = all
	if !result.AllNodes() {
		a.nodes = nil
		for _, name := range slices.Sorted(maps.Keys(result.NodeNames)) {
			if node, err := r.snapshot.GetNodeInPlacement(name); err == nil {
				a.nodes = append(a.nodes, node)
			}
		}
		a.diagnosis.NodeToStatus.SetAbsentNodesStatus(fwk.NewStatus(fwk.UnschedulableAndUnresolvable, "not among the nodes that PreFilter chose"))
	}
	a.next(a.filter)
}

func (a *attempt) filter() {
	r := a.replica
	if nominated := a.info.Pod.Status.NominatedNodeName; nominated != "" {
		if node, err := r.snapshot.GetNodeInPlacement(nominated); err == nil {
			if feasible, ok := a.feasible([]fwk.NodeInfo{node}); !ok {
				return
			} else if len(feasible) > 0 {
				a.next(func() { a.reserve(nominated) })
				return
			}
		}
	}
	feasible, ok := a.feasible(a.nodes)
	switch {
	case !ok:
	case len(feasible) == 0:
		a.next(a.postFilter)
	case len(feasible) == 1:
		a.next(func() { a.reserve(feasible[0].Node().Name) })
	default:
		a.score(feasible)
	}
}

// feasible filters nodes. It is not ok when the cycle has failed with an error.
func (a *attempt) feasible(nodes []fwk.NodeInfo) (feasible []fwk.NodeInfo, ok bool) {
	r := a.replica
	for _, node := range nodes {
		var status *fwk.Status
		r.call(func() { status = r.framework.RunFilterPluginsWithNominatedPods(r.ctx, a.state, a.info.Pod, node) })
		switch {
		case status.IsSuccess():
			feasible = append(feasible, node)
		case status.Code() == fwk.Error:
			a.fail(status, clearNomination)
			return nil, false
		default:
			a.diagnosis.NodeToStatus.Set(node.Node().Name, status)
			a.diagnosis.AddPluginStatus(status)
		}
	}
	return feasible, true
}

func (a *attempt) score(feasible []fwk.NodeInfo) {
	r := a.replica
	var scores []fwk.NodePluginScores
	var status *fwk.Status
	r.call(func() {
		if status = r.framework.RunPreScorePlugins(r.ctx, a.state, a.info.Pod, feasible); status.IsSuccess() {
			scores, status = r.framework.RunScorePlugins(r.ctx, a.state, a.info.Pod, feasible)
		}
	})
	if !status.IsSuccess() {
		a.fail(status, clearNomination)
		return
	}
	var best []string
	top := int64(-1)
	for _, score := range scores {
		if score.TotalScore > top {
			top, best = score.TotalScore, nil
		}
		if score.TotalScore == top {
			best = append(best, score.Name)
		}
	}
	node := pick(r.world.chance, best...)
	a.next(func() { a.reserve(node) })
}

func (a *attempt) postFilter() {
	r := a.replica
	r.refused(a)
	fitError := &framework.FitError{Pod: a.info.Pod, NumAllNodes: r.snapshot.NumNodesInPlacement(), Diagnosis: a.diagnosis}
	var result *fwk.PostFilterResult
	var status *fwk.Status
	r.call(func() {
		result, status = r.framework.RunPostFilterPlugins(r.ctx, a.state, a.info.Pod, a.diagnosis.NodeToStatus)
	})
	fitError.Diagnosis.PostFilterMsg = status.Message()
	var nominating *fwk.NominatingInfo
	if result != nil {
		nominating = result.NominatingInfo
	}
	r.world.stats.Refusals++
	a.fail(fwk.NewStatus(fwk.Unschedulable).WithError(fitError), nominating)
}

// reserve assumes the pod on a node and lets the plugins reserve, and then the next pod's cycle may begin.
func (a *attempt) reserve(node string) {
	r := a.replica
	assumed := *a.info.Pod
	assumed.Spec.NodeName = node
	podInfo, _ := framework.NewPodInfo(&assumed)
	info := &framework.QueuedPodInfo{PodInfo: podInfo, QueueingParams: a.info.QueueingParams}
	info.UnschedulablePlugins = sets.New(a.info.UnschedulablePlugins.UnsortedList()...)
	if err := r.cache.AssumePod(r.logger, info.Pod); err != nil {
		a.fail(fwk.AsStatus(err), clearNomination)
		return
	}
	r.queue.nominated.remove(info.Pod.UID)
	before, kept := r.homes(info.Pod), r.ledger.Collected() != nil
	var status *fwk.Status
	r.call(func() { status = r.framework.RunReservePluginsReserve(r.ctx, a.state, info.Pod, node) })
	if !status.IsSuccess() {
		r.world.trace.add("%s: %s not reserved on %s: %v", r.name, keyOf(info.Pod), node, status.AsError())
		r.undo(a.state, info.Pod, node)
		a.fail(rejection(a.info.Pod, node, status), clearNomination)
		return
	}
	r.world.trace.add("%s: %s reserved on %s", r.name, keyOf(info.Pod), node)
	r.reserved(a, node, before)
	r.overtake(info.Pod, node)
	if !kept {
		r.checkOvertaken(info.Pod, node)
	}
	var waits map[string]time.Duration
	r.call(func() { waits, status = r.framework.RunPermitPlugins(r.ctx, a.state, info.Pod, node) })
	switch {
	case status.IsWait():
		r.call(func() { r.framework.AddWaitingPod(info.Pod, waits) })
	case !status.IsSuccess():
		r.undo(a.state, info.Pod, node)
		a.fail(rejection(a.info.Pod, node, status), clearNomination)
		return
	}
	r.attempting = false
	b := &binding{replica: r, state: a.state, info: info, node: node}
	b.begin()
}

// rejection is a status that names the node whose choice was rejected, unless the status is an error.
func rejection(pod *v1.Pod, node string, status *fwk.Status) *fwk.Status {
	if !status.IsRejected() {
		return status
	}
	fitError := &framework.FitError{NumAllNodes: 1, Pod: pod, Diagnosis: framework.Diagnosis{NodeToStatus: framework.NewDefaultNodeToStatus()}}
	fitError.Diagnosis.NodeToStatus.Set(node, status)
	fitError.Diagnosis.AddPluginStatus(status)
	return fwk.NewStatus(status.Code()).WithError(fitError)
}

// undo gives back what reserve took.
func (r *replica) undo(state fwk.CycleState, pod *v1.Pod, node string) {
	r.call(func() { r.framework.RunReservePluginsUnreserve(r.ctx, state, pod, node) })
	r.told.reserve(pod, "")
	if err := r.cache.ForgetPod(r.logger, pod); err != nil {
		r.world.trace.add("%s: %s not forgotten: %v", r.name, keyOf(pod), err)
	}
}

// fail ends a scheduling cycle that has not found a place.
func (a *attempt) fail(status *fwk.Status, nominating *fwk.NominatingInfo) {
	r := a.replica
	_, fits := r.fitting(a.info.Pod.UID)[a.info.Pod.UID]
	outOfTurn := strings.Contains(a.diagnosis.PreFilterMsg, string(gang.BehindOthers))
	r.passes.excused[a.info.Pod.UID] = fits || outOfTurn || !status.IsRejected()
	r.failed(a.info, status, nominating, func() { r.attempting = false })
}
