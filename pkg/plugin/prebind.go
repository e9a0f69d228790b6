package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
)

// PreBindPreFlight skips every pod that is not the leader of a gang with workers.
func (p *Plugin) PreBindPreFlight(_ context.Context, state fwk.CycleState, _ *v1.Pod, _ string) (*fwk.PreBindPreFlightResult, *fwk.Status) {
	if c := cycleOf(state); !c.leads() || c.demand.Workers() == 0 {
		return nil, fwk.NewStatus(fwk.Skip)
	}
	return &fwk.PreBindPreFlightResult{AllowParallel: true}, nil
}

// PreBind writes the reservation onto the leader before it is bound, so that a restarted scheduler finds every
// admitted gang's slots.
func (p *Plugin) PreBind(ctx context.Context, state fwk.CycleState, pod *v1.Pod, _ string) *fwk.Status {
	c := cycleOf(state)
	if !c.leads() || c.demand.Workers() == 0 {
		return nil
	}
	return fwk.AsStatus(p.writeReservation(ctx, pod))
}

// save writes a changed reservation and tells whether that is settled. Failing is not the end: the gang runs, and only
// after a restart its slots would be where they were before. It is tried again with the next tick.
func (p *Plugin) save(ctx context.Context, leader *v1.Pod) bool {
	err := p.writeReservation(ctx, leader)
	if err == nil || apierrors.IsNotFound(err) || errors.Is(err, errEnded) {
		return true
	}
	p.logger.Error(err, "Reservation not saved", "gang", klog.KObj(leader))
	return false
}

// errEnded means that a gang has ended before its reservation was written.
var errEnded = errors.New("the gang has ended meanwhile")

func (p *Plugin) writeReservation(ctx context.Context, leader *v1.Pod) error {
	reservation, admitted := p.ledger.Reservation(leader.UID)
	if !admitted {
		return errEnded
	}
	text, err := encodeReservation(reservation)
	if err != nil {
		return fmt.Errorf("encode the reservation: %w", err)
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid":         leader.UID,
		"annotations": map[string]string{AnnotationReservation: text},
	}})
	if err != nil {
		return fmt.Errorf("encode the reservation: %w", err)
	}
	if _, err := p.handle.ClientSet().CoreV1().Pods(leader.Namespace).Patch(ctx, leader.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("write the reservation: %w", err)
	}
	return nil
}
