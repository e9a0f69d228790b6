package plugin

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
)

// callPatience is how long one call may hold up the others: the API server answers an eviction that a PodDisruptionBudget
// forbids with a time to wait, and the client would.
const callPatience = 5 * time.Second

// conflictPause is how long a condition is not written again at first because the pod has changed meanwhile.
const conflictPause = 20 * time.Millisecond

// calls are calls to the API server that are still to be made. A reservation that has changed is written before
// anybody is told anything: a restart depends on it.
type calls struct {
	saves   []ledger.Save  // each leader once: what is written is what holds then
	clears  []*v1.Pod      // each pod once
	evicts  []ledger.Evict // each pod once, those of a gang in the order in which they have to go
	tells   []ledger.Tell
	missing []ledger.Missing
	// reminds are pods that wait and hear nothing new.
	reminds []*v1.Pod
}

// add takes what an effect asks the API server for; nothing, for most of them.
func (c *calls) add(effect ledger.Effect) {
	switch effect := effect.(type) {
	case ledger.Save:
		c.save(effect)
	case ledger.Evict:
		c.evict(effect)
	case ledger.Tell:
		c.tells = append(c.tells, effect)
	case ledger.Missing:
		c.missing = append(c.missing, effect)
	case reminder:
		c.reminds = effect.pods // what was left of the former ones comes again
	}
}

// reminder goes the way of effects, so that it comes after those of what has been told the ledger before it: pods are to be reminded of why
// they wait.
type reminder struct {
	ledger.Effect
	pods []*v1.Pod
}

// remindLater has those reminded who are due.
func (e *effects) remindLater() {
	if pods := e.notices.reminded(); len(pods) > 0 {
		e.add([]ledger.Effect{reminder{pods: pods}})
	}
}

func (c *calls) clear(stale *v1.Pod) {
	if !slices.ContainsFunc(c.clears, func(other *v1.Pod) bool { return other.UID == stale.UID }) {
		c.clears = append(c.clears, stale)
	}
}

func (c *calls) save(save ledger.Save) {
	if !slices.ContainsFunc(c.saves, func(other ledger.Save) bool { return other.Leader.UID == save.Leader.UID }) {
		c.saves = append(c.saves, save)
	}
}

// next takes the call that is to be made now; nil when there is none.
func (c *calls) next() func(context.Context, *effects) {
	if save, found := first(&c.saves); found {
		return func(ctx context.Context, e *effects) {
			if !e.plugin.reservations.save(ctx, save.Leader) {
				e.fail(save)
			}
		}
	}
	if pod, found := first(&c.clears); found {
		return func(ctx context.Context, e *effects) {
			if node, _ := e.plugin.ledger.Nomination(pod.UID); node != "" {
				return // it has another by now
			}
			if err := e.pods.patchStatus(ctx, pod, metav1.ObjectMeta{UID: pod.UID}, map[string]any{"nominatedNodeName": ""}); err != nil {
				e.plugin.logger.Error(err, "Nomination not taken back", "pod", klog.KObj(pod))
			}
		}
	}
	if evict, found := first(&c.evicts); found {
		return func(ctx context.Context, e *effects) {
			if e.outstanding(evict.Pod) || !e.evict(ctx, evict) {
				e.fail(evict)
			}
		}
	}
	if tell, found := first(&c.tells); found {
		return func(ctx context.Context, e *effects) {
			e.report(ctx, tell.Pod, tell.Verdict)
		}
	}
	if missing, found := first(&c.missing); found {
		return func(_ context.Context, e *effects) { e.miss(missing) }
	}
	if pod, found := first(&c.reminds); found {
		return func(ctx context.Context, e *effects) { e.remind(ctx, pod) }
	}
	return nil
}

// first takes the first of a list.
func first[T any](list *[]T) (taken T, found bool) {
	if len(*list) == 0 {
		return taken, false
	}
	taken, *list = (*list)[0], (*list)[1:]
	return taken, true
}

// write makes the calls until the context ends.
func (e *effects) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.due:
		}
		for ctx.Err() == nil {
			e.mu.Lock()
			call := e.calls.next()
			e.mu.Unlock()
			if call == nil {
				break
			}
			patient, cancel := context.WithTimeout(ctx, callPatience)
			call(patient, e)
			cancel()
		}
	}
}

// report lets a user know, on the pod and as an event, what its pod waits for or what became of its gang. Attempts
// that fail in a scheduling cycle are reported by the scheduler itself. Failing only means that less is told.
func (e *effects) report(ctx context.Context, pod *v1.Pod, verdict gang.Verdict) {
	p := e.plugin
	if verdict.Reason.Trait().Waits {
		e.tellWaiting(ctx, pod, sayingOf(p, pod, verdict), false)
		return
	}
	e.announce(pod, saying{verdict: verdict})
}

// announce makes an event of what a pod is told.
func (e *effects) announce(pod *v1.Pod, say saying) {
	p := e.plugin
	logTold(p, pod, say.verdict)
	recorder := p.handle.EventRecorder()
	if say.quoted {
		recorder.Eventf(pod, nil, v1.EventTypeWarning, "FailedScheduling", "Scheduling", "%s", say.text)
		return
	}
	kind := v1.EventTypeNormal
	if say.verdict.Reason.Trait().Warns {
		kind = v1.EventTypeWarning
	}
	recorder.Eventf(pod, nil, kind, string(say.verdict.Reason), "Scheduling", "%s", say.verdict.Text(p.names()))
}

// miss tells the user of a leader whose workers do not come what the API server would say of them now, as far as that is known. A refusal
// leaves no trace but in the leader's log.
func (e *effects) miss(missing ledger.Missing) {
	message := fmt.Sprintf("%d of %s have not come within %s, although room is kept for them: ", missing.Open, gang.Counted(missing.All, "worker"), missing.Since)
	if refusal := e.plugin.namespaces.Of(missing.Leader.Namespace).Refuses(missing.Roles); refusal != "" {
		message += "most likely because " + refusal
	} else {
		message += fmt.Sprintf("the API server may refuse them, see the log of pod %s", missing.Leader.Name)
	}
	e.announce(missing.Leader, saying{verdict: gang.Verdict{Reason: gang.WorkersMissing, Message: message}})
}

// remind says to a pod again why it waits, or what is true by now.
func (e *effects) remind(ctx context.Context, pod *v1.Pod) {
	p := e.plugin
	say, told := e.notices.last(pod.UID)
	if !told {
		return
	}
	if !say.quoted {
		if why := ledger.Why(p.ledger, pod.UID); !why.Passes() {
			say.verdict = why // of others, such as members of a gang whose first is tried for all, the ledger tells when it changes
		}
		say = sayingOf(p, pod, say.verdict)
	}
	e.tellWaiting(ctx, pod, say, true)
}

// tellWaiting tells a pod that still waits what of a saying is news: time has passed since the ledger
// said so, and nobody is told to wait who has a node by now or is about to get one, unless that is just what it loses. The condition
// of a pod with scheduling gates says SchedulingGated, which stays true: it hears only of what its user has to mend.
func (e *effects) tellWaiting(ctx context.Context, pod *v1.Pod, say saying, reminds bool) {
	p := e.plugin
	var said *news
	for pause := conflictPause; ; pause *= 4 {
		current := p.current(pod)
		placed, _ := p.ledger.Situation(pod.UID)
		if current == nil || current.Spec.NodeName != "" || placed && say.verdict.Reason != gang.GangTimeout || gated(current) {
			e.notices.forget(pod.UID)
			if gated(current) && say.verdict.Permanent() && !reminds {
				e.announce(pod, say)
			}
			return
		}
		if said == nil {
			taken := e.notices.take(current, say, reminds)
			if said = &taken; p.current(pod) == nil { // nobody tells of its end any more
				e.notices.forget(pod.UID)
				return
			}
		}
		var err error
		if said.patch {
			err = e.patchCondition(ctx, current, say, said.status)
		}
		switch {
		case err == nil && said.event:
			e.announce(pod, say)
			return
		case err == nil:
			return
		case !apierrors.IsConflict(err):
			e.notices.forget(pod.UID)
			p.logger.Error(err, "Condition not written", "pod", klog.KObj(pod))
			return
		}
		select { // until the informer has heard of what has changed
		case <-ctx.Done():
			e.notices.forget(pod.UID)
			p.logger.Error(err, "Condition not written", "pod", klog.KObj(pod))
			return
		case <-p.clock.After(pause):
		}
	}
}

// patchCondition writes the verdict where kubectl describe and autoscalers look for it, and where programs do. The resource version makes it a
// conflict where the pod has changed since the informer heard of it: a pod that was bound meanwhile must not lose the
// condition that the binding gave it.
func (e *effects) patchCondition(ctx context.Context, current *v1.Pod, say saying, status string) error {
	only := metav1.ObjectMeta{UID: current.UID, ResourceVersion: current.ResourceVersion}
	if status != "" {
		only.Annotations = map[string]string{gang.AnnotationStatus: status}
	}
	change := map[string]any{"conditions": []v1.PodCondition{{
		Type:               v1.PodScheduled,
		Status:             v1.ConditionFalse,
		Reason:             say.condition,
		Message:            say.text,
		LastTransitionTime: metav1.NewTime(e.plugin.clock.Now()),
	}}}
	if node, _ := e.plugin.ledger.Nomination(current.UID); node != "" {
		change["nominatedNodeName"] = node // or an autoscaler would buy another for it
	}
	return e.pods.patchStatus(ctx, current, only, change)
}
