package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
)

// effects performs what the ledger asks for on a goroutine of its own: events are applied in places, such as
// PreEnqueue, that hold locks which performing them would need. What wakes somebody goes first and never waits behind
// more than one call to the API server, however many pods have something to be told.
type effects struct {
	plugin *Plugin
	// foreteller keeps those from being tried who would fail again.
	foreteller foreteller

	mu      sync.Mutex // guards everything below
	pending []ledger.Effect
	failed  []ledger.Effect // to be tried again
	stale   []*v1.Pod       // whose nomination is to be taken back
	arrived chan struct{}   // holds one token while pending or stale is not empty

	// leaves tells whether a pod still has to go; the ledger's answer.
	leaves func(types.UID) bool
}

func newEffects(p *Plugin) *effects {
	return &effects{plugin: p, foreteller: foreteller{plugin: p}, arrived: make(chan struct{}, 1), leaves: p.ledger.Leaves}
}

func (e *effects) add(added []ledger.Effect) {
	if len(added) == 0 {
		return
	}
	e.mu.Lock()
	e.pending = append(e.pending, added...)
	e.mu.Unlock()
	e.arrive()
}

// clear takes back a pod's nomination.
func (e *effects) clear(pod *v1.Pod) {
	e.mu.Lock()
	e.stale = append(e.stale, pod)
	e.mu.Unlock()
	e.arrive()
}

func (e *effects) arrive() {
	select {
	case e.arrived <- struct{}{}:
	default:
	}
}

// take returns what has arrived.
func (e *effects) take() (batch []ledger.Effect, stale []*v1.Pod) {
	e.mu.Lock()
	defer e.mu.Unlock()
	batch, stale = e.pending, e.stale
	e.pending, e.stale = nil, nil
	return batch, stale
}

// again performs what has failed before.
func (e *effects) again() {
	e.mu.Lock()
	failed := e.failed
	e.failed = nil
	e.mu.Unlock()
	e.add(failed)
}

// fail keeps an effect for again.
func (e *effects) fail(failed ledger.Effect) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed = append(e.failed, failed)
}

// run works until the context ends.
func (e *effects) run(ctx context.Context) {
	var writes calls
	for {
		if writes.none() {
			select {
			case <-ctx.Done():
				return
			case <-e.arrived:
			case <-e.foreteller.rested:
				e.foreteller.rested = nil
			}
		} else {
			select {
			case <-ctx.Done():
				return
			case <-e.foreteller.rested:
				e.foreteller.rested = nil
			default:
			}
		}
		batch, stale := e.take()
		e.wake(batch, &writes)
		writes.clear(stale)
		writes.next(ctx, e.plugin)
	}
}

// wake performs what must not wait and leaves the calls for later.
func (e *effects) wake(batch []ledger.Effect, later *calls) {
	activate := map[string]*v1.Pod{} // namespace/name -> pod
	for _, effect := range batch {
		switch effect := effect.(type) {
		case ledger.Activate:
			if !e.foreteller.add(effect.Pod) {
				activate[klog.KObj(effect.Pod).String()] = effect.Pod
			}
		case ledger.Allow:
			for _, uid := range effect.Pods {
				if waiting := e.plugin.handle.GetWaitingPod(uid); waiting != nil {
					waiting.Allow(Name)
				}
			}
		case ledger.Reject:
			for _, uid := range effect.Pods {
				if waiting := e.plugin.handle.GetWaitingPod(uid); waiting != nil {
					waiting.Reject(Name, effect.Verdict.String())
				}
			}
		case ledger.Define:
			e.plugin.definer.add(effect.Leader)
		case ledger.Save:
			later.save(effect)
		case ledger.Evict:
			later.evict(effect)
		case ledger.Tell:
			later.tells = append(later.tells, effect)
		}
	}
	for _, pod := range e.foreteller.answer() {
		activate[klog.KObj(pod).String()] = pod
	}
	if len(activate) > 0 {
		e.plugin.handle.Activate(e.plugin.logger, activate)
	}
}

// calls are calls to the API server that are still to be made. A reservation that has changed is written before
// anybody is told anything: a restart depends on it.
type calls struct {
	saves  []ledger.Save  // each leader once: what is written is what holds then
	clears []*v1.Pod      // each pod once
	evicts []ledger.Evict // each pod once, those of a gang in the order in which they have to go
	tells  []ledger.Tell
}

func (c *calls) none() bool {
	return len(c.saves) == 0 && len(c.clears) == 0 && len(c.evicts) == 0 && len(c.tells) == 0
}

func (c *calls) clear(stale []*v1.Pod) {
	for _, pod := range stale {
		if !slices.ContainsFunc(c.clears, func(other *v1.Pod) bool { return other.UID == pod.UID }) {
			c.clears = append(c.clears, pod)
		}
	}
}

func (c *calls) save(save ledger.Save) {
	if !slices.ContainsFunc(c.saves, func(other ledger.Save) bool { return other.Leader.UID == save.Leader.UID }) {
		c.saves = append(c.saves, save)
	}
}

// next makes one call.
func (c *calls) next(ctx context.Context, p *Plugin) {
	switch {
	case len(c.saves) > 0:
		save := c.saves[0]
		c.saves = c.saves[1:]
		if !p.save(ctx, save.Leader) {
			p.effects.fail(save)
		}
	case len(c.clears) > 0:
		pod := c.clears[0]
		c.clears = c.clears[1:]
		p.patchStatus(ctx, pod, map[string]any{"nominatedNodeName": ""})
	case len(c.evicts) > 0:
		evict := c.evicts[0]
		c.evicts = c.evicts[1:]
		if e := p.effects; e.outstanding(evict.Pod, c.evicts) || !e.evict(ctx, evict) {
			e.fail(evict)
		}
	case len(c.tells) > 0:
		tell := c.tells[0]
		c.tells = c.tells[1:]
		p.report(ctx, tell.Pod, tell.Verdict)
	}
}

// report lets a user know, on the pod and as an event, what its pod waits for or what became of its gang. Attempts
// that fail in a scheduling cycle are reported by the scheduler itself.
func (p *Plugin) report(ctx context.Context, pod *v1.Pod, verdict gang.Verdict) {
	kind := v1.EventTypeNormal
	if verdict.Permanent() || verdict.Reason == gang.Degraded {
		kind = v1.EventTypeWarning
	}
	p.handle.EventRecorder().Eventf(pod, nil, kind, string(verdict.Reason), "Scheduling", "%s", verdict.Message)
	if waits(verdict.Reason) {
		p.patchCondition(ctx, pod, verdict)
	}
}

// waits tells whether a reason speaks of a pod that is not scheduled.
func waits(reason gang.Reason) bool {
	switch reason {
	case gang.GangAdmitted, gang.GangGuessed, gang.PredictionCorrected, gang.SlotsReleased, gang.Degraded, gang.Reclaimed:
		return false
	case gang.WouldReclaim:
		// It waits, for the reason it was told before; this is what an administrator tries out.
		return false
	default:
		return true
	}
}

// patchCondition writes the verdict where kubectl describe and autoscalers look for it.
func (p *Plugin) patchCondition(ctx context.Context, pod *v1.Pod, verdict gang.Verdict) {
	p.patchStatus(ctx, pod, map[string]any{"conditions": []v1.PodCondition{{
		Type:               v1.PodScheduled,
		Status:             v1.ConditionFalse,
		Reason:             v1.PodReasonUnschedulable,
		Message:            verdict.String(),
		LastTransitionTime: metav1.NewTime(p.clock.Now()),
	}}})
}

// patchStatus changes the status of a pod. Failing only means that less is told.
func (p *Plugin) patchStatus(ctx context.Context, pod *v1.Pod, change map[string]any) {
	if err := p.patch(ctx, pod, map[string]any{"status": change}, "status"); err != nil && !apierrors.IsNotFound(err) {
		p.logger.Error(err, "Status not patched", "pod", klog.KObj(pod))
	}
}

// patch changes a pod, or a subresource of it.
func (p *Plugin) patch(ctx context.Context, pod *v1.Pod, change map[string]any, subresources ...string) error {
	patch, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("encode a patch: %w", err)
	}
	_, err = p.handle.ClientSet().CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, subresources...)
	return err
}
