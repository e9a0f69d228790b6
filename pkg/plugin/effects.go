package plugin

import (
	"context"
	"encoding/json"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
)

// effects performs what the ledger asks for, in order, on a goroutine of its own: events are applied in places, such
// as PreEnqueue, that hold locks which performing them would need.
type effects struct {
	plugin *Plugin

	mu      sync.Mutex // guards everything below
	pending []ledger.Effect
	arrived chan struct{} // holds one token while pending is not empty
}

func newEffects(p *Plugin) *effects { return &effects{plugin: p, arrived: make(chan struct{}, 1)} }

func (e *effects) add(added []ledger.Effect) {
	if len(added) == 0 {
		return
	}
	e.mu.Lock()
	e.pending = append(e.pending, added...)
	e.mu.Unlock()
	select {
	case e.arrived <- struct{}{}:
	default:
	}
}

func (e *effects) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.arrived:
		}
		e.mu.Lock()
		batch := e.pending
		e.pending = nil
		e.mu.Unlock()
		e.perform(ctx, batch)
	}
}

func (e *effects) perform(ctx context.Context, batch []ledger.Effect) {
	activate := map[string]*v1.Pod{} // namespace/name -> pod
	for _, effect := range batch {
		switch effect := effect.(type) {
		case ledger.Activate:
			activate[klog.KObj(effect.Pod).String()] = effect.Pod
		case ledger.Define:
			e.plugin.definer.add(effect.Leader)
		case ledger.Save:
			e.plugin.save(ctx, effect.Leader)
		case ledger.Tell:
			e.plugin.report(ctx, effect.Pod, effect.Verdict)
		}
	}
	if len(activate) > 0 {
		e.plugin.handle.Activate(e.plugin.logger, activate)
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
	case gang.GangAdmitted, gang.GangGuessed, gang.PredictionCorrected, gang.SlotsReleased, gang.Degraded:
		return false
	default:
		return true
	}
}

// patchCondition writes the verdict where kubectl describe and autoscalers look for it.
func (p *Plugin) patchCondition(ctx context.Context, pod *v1.Pod, verdict gang.Verdict) {
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"conditions": []v1.PodCondition{{
		Type:               v1.PodScheduled,
		Status:             v1.ConditionFalse,
		Reason:             v1.PodReasonUnschedulable,
		Message:            verdict.String(),
		LastTransitionTime: metav1.NewTime(p.clock.Now()),
	}}}})
	if err != nil {
		p.logger.Error(err, "Condition cannot be written", "pod", klog.KObj(pod))
		return
	}
	_, err = p.handle.ClientSet().CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		p.logger.Error(err, "Condition not patched", "pod", klog.KObj(pod), "reason", verdict.Reason)
	}
}
