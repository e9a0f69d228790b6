package plugin

import (
	"fmt"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/reservation"
)

// spareAnnotations is what is left for others, who annotate pods after they are bound, and for slots that move.
const spareAnnotations = 32 << 10

// carefulAnnotations is from how many bytes on a leader is bound only as it was judged: its user may have added some meanwhile.
const carefulAnnotations = 64 << 10

// unwritable says why a leader cannot carry the reservation of these slots; empty means that it can. A text is made only
// where it could be too long.
func unwritable(leader *v1.Pod, roles []gang.Role, slots []gang.Slot) string {
	others, longest := annotationBytes(leader), 0
	for i, slot := range slots {
		if i == 0 || slot.Node != slots[i-1].Node || slot.Role != slots[i-1].Role {
			longest += len(slot.Node) + slotTextBytes
		}
	}
	for _, role := range roles {
		longest += roleTextFactor*role.Pod.Size() + roleTextBytes
	}
	if others+longest <= reservation.MaxAnnotations-spareAnnotations {
		return ""
	}
	text, err := encodeReservation(ledger.Reservation{Definition: gang.Definition{Roles: roles}, Slots: ledger.Runs(slots)})
	if err != nil {
		return err.Error()
	}
	return annotationsProblem(leader, text)
}

// What a text takes at most besides names: a slot its numbers, a role its numbers, and for every byte of a pod as Kubernetes
// encodes it the names of its fields.
const (
	slotTextBytes  = 64
	roleTextBytes  = 4 << 10
	roleTextFactor = 8
)

// annotationBytes is how long the annotations of a pod are without those that are written anew when it gets its node.
func annotationBytes(pod *v1.Pod) int {
	size := 0
	for name, value := range pod.Annotations {
		if name != AnnotationReservation && name != gang.AnnotationStatus {
			size += len(name) + len(value)
		}
	}
	return size
}

// annotationsProblem says why a pod cannot carry the text of its gang's reservation; empty means that it can.
func annotationsProblem(pod *v1.Pod, text string) string {
	others := annotationBytes(pod)
	if len(AnnotationReservation)+len(text)+others <= reservation.MaxAnnotations-spareAnnotations {
		return ""
	}
	return fmt.Sprintf("its reservation takes %d bytes as annotation %s and its other annotations %d, more than %d together: use fewer roles, shorter selectors and affinities, or fewer and larger workers",
		len(text), AnnotationReservation, others, reservation.MaxAnnotations-spareAnnotations)
}
