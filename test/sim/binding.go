package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/plugin"
)

// clearNomination takes a nomination away.
var clearNomination = &fwk.NominatingInfo{NominatingMode: fwk.ModeOverride}

// binding is the second half of scheduling a pod. Several run at a time, each as far as its calls have been answered.
type binding struct {
	replica *replica
	state   *framework.CycleState
	info    *framework.QueuedPodInfo
	node    string
}

func (b *binding) pod() *v1.Pod { return b.info.Pod }

// begin writes down where the pod will probably go if binding it takes more than the binding itself.
func (b *binding) begin() {
	r := b.replica
	if !r.world.climate.nominates {
		b.permit()
		return
	}
	var status *fwk.Status
	r.call(func() { status = r.framework.RunPreBindPreFlights(r.ctx, b.state, b.pod(), b.node) })
	switch {
	case status.Code() == fwk.Error || status.IsRejected():
		b.fail(status)
	case status.IsSuccess() || r.framework.WillWaitOnPermit(r.ctx, b.pod()):
		key, node := keyOf(b.pod()), b.node
		r.request(callPatchStatus, "nominate "+key, func() error {
			pod := r.world.api.pod(key, b.pod().UID)
			if pod == nil {
				return notFound("pods", key)
			}
			r.world.api.changePod(pod, func(pod *v1.Pod) { pod.Status.NominatedNodeName = node })
			return nil
		}, func(error) { b.permit() })
	default:
		b.preBind()
	}
}

// permit waits for the rest of the pod's gang.
func (b *binding) permit() {
	r := b.replica
	if !r.framework.WillWaitOnPermit(r.ctx, b.pod()) {
		b.preBind()
		return
	}
	var status *fwk.Status
	r.background("permit "+keyOf(b.pod())+" "+string(b.pod().UID), func() error {
		status = r.framework.WaitOnPermit(r.ctx, b.pod())
		return nil
	}, func(error) {
		if !status.IsSuccess() {
			b.fail(status)
			return
		}
		b.preBind()
	})
}

func (b *binding) preBind() {
	r := b.replica
	r.queue.done(b.pod().UID)
	var status *fwk.Status
	r.background("prebind "+keyOf(b.pod())+" "+string(b.pod().UID), func() error {
		status = r.framework.RunPreBindPlugins(r.ctx, b.state, b.pod(), b.node)
		return nil
	}, func(error) {
		if !status.IsSuccess() {
			b.fail(status)
			return
		}
		b.bind()
	})
}

func (b *binding) bind() {
	r := b.replica
	var status *fwk.Status
	r.background("bind "+keyOf(b.pod())+" "+string(b.pod().UID), func() error {
		status = r.framework.RunBindPlugins(r.ctx, b.state, b.pod(), b.node)
		return nil
	}, func(error) {
		if !status.IsSuccess() {
			b.fail(status)
			return
		}
		r.world.stats.Bindings++
		r.call(func() { r.framework.RunPostBindPlugins(r.ctx, b.state, b.pod(), b.node) })
	})
}

// fail gives back what the pod took and puts it into the queue again.
func (b *binding) fail(status *fwk.Status) {
	r := b.replica
	r.world.trace.add("%s: %s not bound to %s: %v", r.name, keyOf(b.pod()), b.node, status.AsError())
	r.world.stats.FailedBindings++
	r.undo(b.state, b.pod(), b.node)
	if status.IsRejected() {
		defer r.queue.happen(framework.EventAssignedPodDelete, b.pod(), nil, b.pod().UID)
	} else {
		r.queue.happen(framework.EventAssignedPodDelete, b.pod(), nil, "")
	}
	r.passes.excused[b.info.Pod.UID] = true
	r.failed(b.info, status, clearNomination, func() {})
}

// failed is what follows every failure: the pod goes back to the queue in its newest state, and its condition says why.
// then is called when that has been written.
func (r *replica) failed(tried *framework.QueuedPodInfo, status *fwk.Status, nominating *fwk.NominatingInfo, then func()) {
	w := r.world
	info := &framework.QueuedPodInfo{PodInfo: tried.PodInfo, QueueingParams: tried.QueueingParams}
	info.UnschedulablePlugins, info.PendingPlugins = sets.New[string](), sets.New[string]()
	reason := v1.PodReasonSchedulerError
	if status.IsRejected() {
		reason = v1.PodReasonUnschedulable
	}
	var fitError *framework.FitError
	if err := status.AsError(); errors.As(err, &fitError) {
		info.UnschedulablePlugins = fitError.Diagnosis.UnschedulablePlugins
		info.PendingPlugins = fitError.Diagnosis.PendingPlugins
		if info.UnschedulablePlugins == nil {
			info.UnschedulablePlugins = sets.New[string]()
		}
	}
	pod := tried.Pod
	current := r.current(keyOf(pod))
	if current == nil || current.Spec.NodeName != "" {
		r.queue.done(pod.UID)
	} else if current.UID != pod.UID {
		r.queue.done(pod.UID)
		then()
		return
	} else {
		pod = current
		info.PodInfo, _ = framework.NewPodInfo(current)
		r.queue.putBack(info)
	}
	r.queue.nominated.add(pod, nominating)
	w.daemon.fails(w, pod)
	message, annotation, silent := status.Message(), "", false
	if reason == v1.PodReasonUnschedulable {
		if words, has := r.teller.Words(pod, refusalIn(status, fitError), message); has {
			reason, message, annotation, silent = words.Condition, words.Text, words.Status, !words.Patch
		}
	}
	r.checkWords(pod.Namespace, message)
	w.trace.add("%s: %s waits (%s): %s %v", r.name, keyOf(pod), reason, message, sorted(info.UnschedulablePlugins))
	now := condition(pod, v1.PodScheduled)
	written := v1.PodCondition{Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: metav1.Now()}
	clears := nominating.Mode() == fwk.ModeOverride && pod.Status.NominatedNodeName != nominating.NominatedNodeName
	if (silent || now.Status == written.Status && now.Reason == written.Reason && now.Message == written.Message) && !clears {
		then()
		return
	}
	key := keyOf(pod)
	uid := pod.UID
	r.request(callPatchStatus, fmt.Sprintf("condition %s %s", key, uid), func() error {
		pod := w.api.pod(key, uid)
		if pod == nil {
			return notFound("pods", key)
		}
		w.api.changePod(pod, func(pod *v1.Pod) {
			pod.Status.Conditions = withCondition(pod.Status.Conditions, written)
			if annotation != "" {
				pod.Annotations = maps.Clone(pod.Annotations)
				if pod.Annotations == nil {
					pod.Annotations = map[string]string{}
				}
				pod.Annotations[gang.AnnotationStatus] = annotation
			}
			if clears {
				pod.Status.NominatedNodeName = nominating.NominatedNodeName
			}
		})
		return nil
	}, func(err error) {
		if err != nil {
			r.teller.Untold(pod)
		}
		then()
	})
}

// refusalIn is what the plugin has refused a pod with, as cmd/scheduler finds it; the zero Verdict if something else has.
func refusalIn(status *fwk.Status, fitError *framework.FitError) (verdict gang.Verdict) {
	switch {
	case fitError == nil:
		return plugin.VerdictIn(status)
	case fitError.Diagnosis.NodeToStatus == nil:
	case fitError.Diagnosis.PreFilterMsg != "":
		return plugin.VerdictIn(fitError.Diagnosis.NodeToStatus.AbsentNodesStatus())
	case fitError.NumAllNodes == 1: // by Reserve or Permit, of the node that was chosen
		fitError.Diagnosis.NodeToStatus.ForEachExplicitNode(func(_ string, refusal *fwk.Status) { verdict = plugin.VerdictIn(refusal) })
	}
	return verdict
}

func sorted(names sets.Set[string]) []string {
	list := names.UnsortedList()
	slices.Sort(list)
	return list
}
