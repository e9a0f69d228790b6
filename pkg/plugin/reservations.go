package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/ledger"
)

// reservations are what leaders carry of the slots of their gangs: what is written there is what the ledger would be told of them after
// a restart.
type reservations struct {
	ledger *ledger.Ledger
	pods   pods
	logger klog.Logger
	others *others
}

// others are leaders whose reservation somebody else has written: a scheduler that was killed may have sent a patch that arrives after the next
// one has read what they carry. Nobody is written more often than the others are taken.
type others struct {
	mu sync.Mutex
	of map[types.UID]*v1.Pod
}

// take lists them, once.
func (o *others) take() (saves []ledger.Effect) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, leader := range o.of {
		saves = append(saves, ledger.Save{Leader: leader})
	}
	clear(o.of)
	return saves
}

// changed takes that what a leader carries of its reservation has changed.
func (r reservations) changed(leader *v1.Pod) {
	if text, err := r.text(leader); err == nil && text != leader.Annotations[AnnotationReservation] {
		r.others.mu.Lock()
		defer r.others.mu.Unlock()
		r.others.of[leader.UID] = leader
	}
}

// save writes a changed reservation and tells whether that is settled. Failing is not the end: the gang runs, and only
// after a restart its slots would be where they were before. It is tried again with the next tick.
func (r reservations) save(ctx context.Context, leader *v1.Pod) bool {
	err := r.write(ctx, leader)
	if err == nil || apierrors.IsNotFound(err) || errors.Is(err, errEnded) {
		return true
	}
	r.logger.Error(err, "Reservation not saved", "gang", klog.KObj(leader))
	return apierrors.IsInvalid(err) // with annotations as long as they may be, another try ends the same
}

// errEnded means that a gang has ended before its reservation was written.
var errEnded = errors.New("the gang has ended meanwhile")

// text is the annotation as it should be now.
func (r reservations) text(leader *v1.Pod) (string, error) {
	reservation, admitted := r.ledger.Reservation(leader.UID)
	if !admitted {
		return "", errEnded
	}
	text, err := encodeReservation(reservation)
	if err != nil {
		return "", fmt.Errorf("encode the reservation: %w", err)
	}
	return text, nil
}

// write writes it down.
func (r reservations) write(ctx context.Context, leader *v1.Pod) error {
	text, err := r.text(leader)
	if err != nil {
		return err
	}
	change := map[string]any{"metadata": map[string]any{"uid": leader.UID, "annotations": map[string]string{AnnotationReservation: text}}}
	if err := r.pods.patch(ctx, leader, change); err != nil {
		return fmt.Errorf("write the reservation: %w", err)
	}
	return nil
}

// of reads back what a bound leader carries. One that cannot be read counts as none: the gang
// runs on, without slots.
func (r reservations) of(pod *v1.Pod) *ledger.Reservation {
	text, written := pod.Annotations[AnnotationReservation]
	if !written || pod.Spec.NodeName == "" {
		return nil
	}
	reservation, err := decodeReservation(text)
	if err != nil {
		r.logger.Error(err, "Reservation cannot be read, the gang keeps no slots", "gang", klog.KObj(pod), "annotation", AnnotationReservation)
		return nil
	}
	for _, role := range reservation.Definition.Roles {
		role.Pod.Namespace = pod.Namespace
	}
	return reservation
}
