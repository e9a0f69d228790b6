package plugin

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/ledger"
)

// maxBindings is how many bindings are on their way to the API server at a time. A gang's pods are bound together, and the API
// server takes 100 requests at a time from a connection: client-go opens another for each that finds none free, and the TLS
// handshake of each costs as much as several bindings.
const maxBindings = 32

// Bind binds a pod as kube-scheduler's own binder does, but for two things. There are not too many at a time. And the leader of
// a gang with workers is bound with its reservation: the API server merges the annotations of a binding into the pod, so
// node and reservation are written by one call, both or neither, and a restarted scheduler finds the slots of every bound
// leader. A patch before the binding would cost every gang two more calls, as kube-scheduler nominates a pod whose binding
// has anything to wait for.
func (p *Plugin) Bind(ctx context.Context, state fwk.CycleState, pod *v1.Pod, node string) *fwk.Status {
	select {
	case p.bindings <- struct{}{}:
		defer func() { <-p.bindings }()
	case <-ctx.Done():
		return fwk.AsStatus(ctx.Err())
	}
	binding := &v1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
		Target:     v1.ObjectReference{Kind: "Node", Name: node},
	}
	leader, reservation := admittedOf(state), ""
	if leader != nil {
		var err error
		if reservation, err = p.textOfReservation(pod); err != nil {
			return fwk.AsStatus(err)
		}
		if problem := annotationsProblem(pod, reservation); problem != "" {
			// Reserve has asked; a slot has moved since.
			return fwk.AsStatus(errors.New(problem))
		}
		binding.Annotations = map[string]string{AnnotationReservation: reservation}
	}
	if err := p.handle.ClientSet().CoreV1().Pods(pod.Namespace).Bind(ctx, binding, metav1.CreateOptions{}); err != nil {
		return fwk.AsStatus(fmt.Errorf("bind: %w", err))
	}
	if leader == nil {
		return nil
	}
	leader.written = true
	if now, err := p.textOfReservation(pod); err == nil && now != reservation {
		// A slot has moved meanwhile, and may have been written down before the binding wrote the former reservation.
		p.effects.add([]ledger.Effect{ledger.Save{Leader: pod}})
	}
	return nil
}

// save writes a changed reservation and tells whether that is settled. Failing is not the end: the gang runs, and only
// after a restart its slots would be where they were before. It is tried again with the next tick.
func (p *Plugin) save(ctx context.Context, leader *v1.Pod) bool {
	err := p.writeReservation(ctx, leader)
	if err == nil || apierrors.IsNotFound(err) || errors.Is(err, errEnded) {
		return true
	}
	p.logger.Error(err, "Reservation not saved", "gang", klog.KObj(leader))
	return apierrors.IsInvalid(err) // with annotations as long as they may be, another try ends the same
}

// errEnded means that a gang has ended before its reservation was written.
var errEnded = errors.New("the gang has ended meanwhile")

// textOfReservation is the annotation as it should be now.
func (p *Plugin) textOfReservation(leader *v1.Pod) (string, error) {
	reservation, admitted := p.ledger.Reservation(leader.UID)
	if !admitted {
		return "", errEnded
	}
	text, err := encodeReservation(reservation)
	if err != nil {
		return "", fmt.Errorf("encode the reservation: %w", err)
	}
	return text, nil
}

func (p *Plugin) writeReservation(ctx context.Context, leader *v1.Pod) error {
	text, err := p.textOfReservation(leader)
	if err != nil {
		return err
	}
	change := map[string]any{"metadata": map[string]any{"uid": leader.UID, "annotations": map[string]string{AnnotationReservation: text}}}
	if err := p.patch(ctx, leader, change); err != nil {
		return fmt.Errorf("write the reservation: %w", err)
	}
	return nil
}
