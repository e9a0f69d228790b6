package plugin

import (
	"encoding/json"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/resource"
)

// AnnotationReservation on a leader holds its gang's reservation as JSON. The scheduler writes it before it binds the
// leader and reads it after a restart.
const AnnotationReservation = "retinue.dev/reservation"

// maxReservedWorkers bounds what is read back from an annotation, which whoever may patch the pod can write.
const maxReservedWorkers = 100_000

// The form of the annotation.
type (
	writtenReservation struct {
		Roles []writtenRole  `json:"roles"`
		Slots []writtenSlots `json:"slots"`
	}
	writtenRole struct {
		Name     string            `json:"name"`
		Count    int               `json:"count"`
		Minimum  int               `json:"minimum"`
		Maximum  *int              `json:"maximum,omitempty"`
		Requests v1.ResourceList   `json:"requests"`
		Selector map[string]string `json:"selector,omitempty"`
		// What ties a worker to nodes, left out where empty.
		NodeSelector map[string]string `json:"nodeSelector,omitempty"`
		NodeAffinity *v1.NodeAffinity  `json:"nodeAffinity,omitempty"`
		Tolerations  []v1.Toleration   `json:"tolerations,omitempty"`
	}
	writtenSlots struct {
		Role  int    `json:"role"` // index into Roles
		Node  string `json:"node"`
		Count int    `json:"count"`
	}
)

func encodeReservation(r ledger.Reservation) (string, error) {
	var written writtenReservation
	for _, role := range r.Definition.Roles {
		spec := &role.Pod.Spec
		next := writtenRole{
			Name: role.Name, Count: role.Count, Minimum: role.Minimum, Maximum: role.Maximum, Requests: role.Requests.List(),
			Selector: role.Selector, NodeSelector: spec.NodeSelector, Tolerations: spec.Tolerations,
		}
		if spec.Affinity != nil {
			next.NodeAffinity = spec.Affinity.NodeAffinity
		}
		written.Roles = append(written.Roles, next)
	}
	for _, slot := range r.Slots {
		if last := len(written.Slots) - 1; last >= 0 && written.Slots[last].Role == slot.Role && written.Slots[last].Node == slot.Node {
			written.Slots[last].Count++
			continue
		}
		written.Slots = append(written.Slots, writtenSlots{Role: slot.Role, Node: slot.Node, Count: 1})
	}
	text, err := json.Marshal(written)
	return string(text), err
}

func decodeReservation(text string) (*ledger.Reservation, error) {
	var written writtenReservation
	if err := json.Unmarshal([]byte(text), &written); err != nil {
		return nil, err
	}
	reservation := &ledger.Reservation{Definition: gang.Definition{Source: AnnotationReservation}}
	for i, role := range written.Roles {
		if role.Count < 0 || role.Minimum < 0 || role.Minimum > role.Count {
			return nil, fmt.Errorf("roles[%d]: count %d and minimum %d do not go together", i, role.Count, role.Minimum)
		}
		if role.Maximum != nil && *role.Maximum < role.Count {
			return nil, fmt.Errorf("roles[%d]: maximum %d is below count %d", i, *role.Maximum, role.Count)
		}
		if reservation.Definition.Role(role.Name) != nil {
			return nil, fmt.Errorf("roles[%d]: there already is a role %q", i, role.Name)
		}
		requests := resource.OfList(role.Requests)
		requests.Pods = 1
		worker := &v1.Pod{Spec: v1.PodSpec{NodeSelector: role.NodeSelector, Tolerations: role.Tolerations}}
		if role.NodeAffinity != nil {
			worker.Spec.Affinity = &v1.Affinity{NodeAffinity: role.NodeAffinity}
		}
		reservation.Definition.Roles = append(reservation.Definition.Roles, gang.Role{
			Name: role.Name, Count: role.Count, Minimum: role.Minimum, Maximum: role.Maximum, Selector: role.Selector, Requests: requests, Pod: worker,
		})
	}
	left := make([]int, len(written.Roles)) // role -> slots that it may still have
	for i, role := range written.Roles {
		left[i] = role.Count
	}
	for i, slots := range written.Slots {
		if slots.Role < 0 || slots.Role >= len(written.Roles) {
			return nil, fmt.Errorf("slots[%d]: role %d is not in the list of %d roles", i, slots.Role, len(written.Roles))
		}
		if most := min(left[slots.Role], maxReservedWorkers-len(reservation.Slots)); slots.Count < 0 || slots.Count > most {
			return nil, fmt.Errorf("slots[%d]: count %d, want 0 to %d", i, slots.Count, most)
		}
		left[slots.Role] -= slots.Count
		for range slots.Count {
			reservation.Slots = append(reservation.Slots, gang.Slot{
				Role: slots.Role, Node: slots.Node, Requests: reservation.Definition.Roles[slots.Role].Requests,
			})
		}
	}
	return reservation, nil
}

// reservationOf reads back what a bound leader was admitted with. One that cannot be read counts as none: the gang
// runs on, without slots.
func (p *Plugin) reservationOf(pod *v1.Pod) *ledger.Reservation {
	text, written := pod.Annotations[AnnotationReservation]
	if !written || pod.Spec.NodeName == "" {
		return nil
	}
	reservation, err := decodeReservation(text)
	if err != nil {
		p.logger.Error(err, "Reservation cannot be read, the gang keeps no slots", "pod", klog.KObj(pod), "annotation", AnnotationReservation)
		return nil
	}
	return reservation
}
