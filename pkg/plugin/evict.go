package plugin

import (
	"context"
	"errors"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/spark"
)

// evict adds an eviction. One that is already there is replaced where it stands: what was said last holds.
func (c *calls) evict(evict ledger.Evict) {
	if i := slices.IndexFunc(c.evicts, func(other ledger.Evict) bool { return other.Pod.UID == evict.Pod.UID }); i >= 0 {
		c.evicts[i] = evict
		return
	}
	c.evicts = append(c.evicts, evict)
}

// outstanding tells whether some worker of a leader is still to be evicted: by a call in the queue or one that has been
// put off. Its leader must not go before it.
func (e *effects) outstanding(leader *v1.Pod) bool {
	if !spark.Leads(leader) {
		return false
	}
	key := gangOf(leader)
	follows := func(evict ledger.Evict) bool {
		pod := evict.Pod
		if pod.UID == leader.UID || pod.Namespace != leader.Namespace || !e.leaves(pod.UID) {
			return false
		}
		if owner := metav1.GetControllerOf(pod); owner != nil && owner.UID == leader.UID {
			return true
		}
		// Workers that only a selector of the leader's roles makes its own say nothing of their gang: any of them may be.
		own := gangOf(pod)
		return own == key || own == gang.Key{} && spark.ListsRoles(leader)
	}
	e.mu.Lock()
	queued, later := slices.Clone(e.calls.evicts), slices.Concat(e.pending, e.failed)
	e.mu.Unlock()
	return slices.ContainsFunc(queued, follows) || slices.ContainsFunc(later, func(effect ledger.Effect) bool {
		evict, ok := effect.(ledger.Evict)
		return ok && follows(evict)
	})
}

// evict takes a pod back, unless that has become needless. It returns false if it has to be tried again.
func (e *effects) evict(ctx context.Context, evict ledger.Evict) bool {
	settled, goes := true, false
	if e.begins(evict.Pod.UID) {
		settled, goes = e.takeBack(ctx, evict)
	}
	if !goes { // nor do earlier calls for it, of which nobody knows what came of them, after so long
		e.plugin.tell(ledger.EvictionFailed{UID: evict.Pod.UID})
	}
	return settled
}

// takeBack makes the calls. settled is false if they have to be made again; goes tells whether the API server deletes the pod, or may.
func (e *effects) takeBack(ctx context.Context, evict ledger.Evict) (settled, goes bool) {
	p, pod := e.plugin, evict.Pod
	switch recalled, err := e.recall(ctx, pod, evict.Verdict); {
	case err != nil:
		p.logger.Error(err, "Pod that is not bound yet not taken back", "pod", klog.KObj(pod))
		return false, false
	case recalled:
		return true, false
	}
	options := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}
	if evict.Grace != nil {
		// Not even an instant is no time at all: a grace of zero would take the pod off the API server while it runs.
		seconds := max(int64((*evict.Grace+time.Second-1)/time.Second), 1)
		options.GracePeriodSeconds = &seconds
	}
	pods := p.handle.ClientSet().CoreV1().Pods(pod.Namespace)
	var err error
	if evict.Forced {
		if err = e.pods.disrupt(ctx, pod, evict.Verdict); err == nil {
			err = pods.Delete(ctx, pod.Name, options)
		}
	} else {
		err = pods.EvictV1(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}, DeleteOptions: &options})
	}
	switch {
	case err == nil:
		p.handle.EventRecorder().Eventf(pod, nil, v1.EventTypeNormal, string(gang.Reclaimed), "Evicting", "%s", evict.Verdict.Text(p.names()))
		logFate(p, pod, "Pod evicted", "forced", evict.Forced, "verdict", evict.Verdict.Say(true))
		return true, true
	case apierrors.IsNotFound(err):
		return true, true
	case apierrors.IsTooManyRequests(err) || apierrors.IsConflict(err):
		// A conflict means that another has its name, too: then the ledger soon knows that this one need not go.
		logFate(p, pod, "Eviction put off", "reason", err)
		return false, false
	default:
		p.logger.Error(err, "Pod not evicted", "pod", klog.KObj(pod))
		var answered apierrors.APIStatus
		return false, !errors.As(err, &answered) // without an answer nobody knows
	}
}

// errUnbound means that a pod is between two points of its scheduling at which it could be taken back.
var errUnbound = errors.New("it is about to be bound")

// recall takes a pod back that has a node and is not bound to it: it need not be deleted, and is scheduled again. It is false for a
// pod that is bound.
func (e *effects) recall(ctx context.Context, pod *v1.Pod, verdict gang.Verdict) (recalled bool, err error) {
	p := e.plugin
	if p.handle.RejectWaitingPod(pod.UID) {
		recalled = true
	} else if binding := e.preBinding(pod.UID); binding != nil && binding.CancelPod(verdict.String()) {
		recalled = true
	}
	if recalled {
		p.handle.EventRecorder().Eventf(pod, nil, v1.EventTypeNormal, string(gang.Reclaimed), "Scheduling", "%s", verdict.Message)
		logFate(p, pod, "Pod taken back before it was bound", "verdict", verdict.Say(true))
		return true, nil
	}
	if current := p.current(pod); current == nil || current.Spec.NodeName != "" {
		return false, nil
	}
	now, err := p.handle.ClientSet().CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil // which deleting it finds as well
	case err != nil:
		return false, err
	case now.UID == pod.UID && now.Spec.NodeName == "":
		return false, errUnbound
	default:
		return false, nil
	}
}
