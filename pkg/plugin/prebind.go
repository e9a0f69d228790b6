package plugin

import (
	"context"
	"encoding/json"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
)

// PreBindPreFlight skips every pod that is not the leader of a gang with workers.
func (p *Plugin) PreBindPreFlight(_ context.Context, state fwk.CycleState, _ *v1.Pod, _ string) (*fwk.PreBindPreFlightResult, *fwk.Status) {
	if c := cycleOf(state); c == nil || c.fit == nil || c.definition.Workers() == 0 {
		return nil, fwk.NewStatus(fwk.Skip)
	}
	return &fwk.PreBindPreFlightResult{AllowParallel: true}, nil
}

// PreBind writes the reservation onto the leader before it is bound, so that a restarted scheduler finds every
// admitted gang's slots.
func (p *Plugin) PreBind(ctx context.Context, state fwk.CycleState, pod *v1.Pod, _ string) *fwk.Status {
	c := cycleOf(state)
	if c == nil || c.fit == nil || c.definition.Workers() == 0 {
		return nil
	}
	reservation, admitted := p.ledger.Reservation(pod.UID)
	if !admitted {
		return fwk.AsStatus(fmt.Errorf("the gang has ended while its leader was being bound"))
	}
	text, err := encodeReservation(reservation)
	if err != nil {
		return fwk.AsStatus(err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         pod.UID,
		"annotations": map[string]string{AnnotationReservation: text},
	}})
	if err != nil {
		return fwk.AsStatus(err)
	}
	if _, err := p.handle.ClientSet().CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fwk.AsStatus(fmt.Errorf("write the reservation of the gang: %w", err))
	}
	return nil
}
