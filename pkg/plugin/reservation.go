package plugin

import (
	"encoding/json"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/rehearsal"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// AnnotationReservation on a leader holds its gang's reservation as JSON. The scheduler writes it by the call that binds
// the leader and reads it after a restart.
const AnnotationReservation = "retinue.dev/reservation"

// What is read back from an annotation, which whoever may patch the pod can write, is bounded.
const (
	maxReservedWorkers = spark.MaxWorkers
	// maxRoleText is the length of one role as JSON, in bytes: what spark keeps of all roles, and the punctuation.
	maxRoleText = 128 << 10
	// maxRuns is how many nodes with slots of one role there may be, over all roles.
	maxRuns = 50_000
	// maxReservationText is the length of the JSON, in bytes: a slot on each of 15,000 nodes takes 1.2 MiB.
	maxReservationText = 4 << 20
)

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
		// Bonds of a worker; nil when it has none. Those of other gangs look at its labels, which without bonds are those of
		// Selector: the ones of its application that are known for sure.
		Bonds *writtenBonds `json:"bonds,omitempty"`
	}
	writtenBonds struct {
		Labels          map[string]string             `json:"labels,omitempty"`
		PodAffinity     *v1.PodAffinity               `json:"podAffinity,omitempty"`
		PodAntiAffinity *v1.PodAntiAffinity           `json:"podAntiAffinity,omitempty"`
		Spread          []v1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
		Ports           []v1.ContainerPort            `json:"ports,omitempty"`
		Volumes         []v1.Volume                   `json:"volumes,omitempty"`
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
		next.Bonds = bondsToWrite(role.Pod)
		written.Roles = append(written.Roles, next)
	}
	for _, run := range r.Slots {
		written.Slots = append(written.Slots, writtenSlots(run))
	}
	text, err := json.Marshal(written)
	if err != nil {
		return "", err
	}
	return pack(text)
}

func bondsToWrite(worker *v1.Pod) *writtenBonds {
	if !rehearsal.RulesOf(worker).Any() {
		return nil
	}
	written := &writtenBonds{Labels: worker.Labels, Spread: worker.Spec.TopologySpreadConstraints, Volumes: worker.Spec.Volumes}
	if affinity := worker.Spec.Affinity; affinity != nil {
		written.PodAffinity, written.PodAntiAffinity = affinity.PodAffinity, affinity.PodAntiAffinity
	}
	rehearsal.EachHostPort(worker, func(port v1.ContainerPort) { written.Ports = append(written.Ports, port) })
	return written
}

// workerOf is a worker as far as it was written down.
func workerOf(role writtenRole) *v1.Pod {
	worker := &v1.Pod{Spec: v1.PodSpec{NodeSelector: role.NodeSelector, Tolerations: role.Tolerations}}
	worker.Labels = role.Selector
	affinity := v1.Affinity{NodeAffinity: role.NodeAffinity}
	if bonds := role.Bonds; bonds != nil {
		worker.Labels = bonds.Labels
		worker.Spec.TopologySpreadConstraints, worker.Spec.Volumes = bonds.Spread, bonds.Volumes
		affinity.PodAffinity, affinity.PodAntiAffinity = bonds.PodAffinity, bonds.PodAntiAffinity
		if len(bonds.Ports) > 0 {
			worker.Spec.Containers = []v1.Container{{Ports: bonds.Ports}}
		}
	}
	if affinity != (v1.Affinity{}) {
		worker.Spec.Affinity = &affinity
	}
	return worker
}

func decodeReservation(text string) (*ledger.Reservation, error) {
	written, err := readReservation(text)
	if err != nil {
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
		if len(role.Requests) > resource.MaxNames {
			return nil, fmt.Errorf("roles[%d]: %d different resources, more than %d", i, len(role.Requests), resource.MaxNames)
		}
		reservation.Definition.Roles = append(reservation.Definition.Roles, gang.Role{
			Name: role.Name, Count: role.Count, Minimum: role.Minimum, Maximum: role.Maximum, Selector: role.Selector, Requests: requests, Pod: workerOf(role),
		})
	}
	left := make([]int, len(written.Roles)) // role -> slots that it may still have
	for i, role := range written.Roles {
		left[i] = role.Count
	}
	total := 0
	for i, slots := range written.Slots {
		if slots.Role < 0 || slots.Role >= len(written.Roles) {
			return nil, fmt.Errorf("slots[%d]: role %d is not in the list of %d roles", i, slots.Role, len(written.Roles))
		}
		if most := min(left[slots.Role], maxReservedWorkers-total); slots.Count < 0 || slots.Count > most {
			return nil, fmt.Errorf("slots[%d]: count %d, want 0 to %d", i, slots.Count, most)
		}
		left[slots.Role] -= slots.Count
		total += slots.Count
	}
	for _, slots := range written.Slots {
		if slots.Count > 0 {
			reservation.Slots = append(reservation.Slots, ledger.Run(slots))
		}
	}
	return reservation, nil
}
