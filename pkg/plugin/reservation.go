package plugin

import (
	"encoding/json"
	"fmt"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/rehearsal"
	"retinue.dev/retinue/pkg/reservation"
	"retinue.dev/retinue/pkg/resource"
)

// AnnotationReservation on a leader holds its gang's reservation. The scheduler writes it by the call that binds the leader and reads
// it after a restart.
const AnnotationReservation = reservation.Annotation

func encodeReservation(r ledger.Reservation) (string, error) {
	var written reservation.Written
	for _, role := range r.Definition.Roles {
		spec := &role.Pod.Spec
		next := reservation.Role{
			Name: role.Name, Count: role.Count, Minimum: role.Minimum, Maximum: role.Maximum, Requests: role.Requests.List(),
			Selector: role.Selector, NodeSelector: spec.NodeSelector, Tolerations: spec.Tolerations,
		}
		if spec.Affinity != nil {
			next.NodeAffinity = spec.Affinity.NodeAffinity
		}
		next.PodRules = rulesToWrite(role.Pod)
		written.Roles = append(written.Roles, next)
	}
	for _, run := range r.Slots {
		written.Slots = append(written.Slots, reservation.Slots(run))
	}
	text, err := json.Marshal(written)
	if err != nil {
		return "", err
	}
	return reservation.Pack(text)
}

func rulesToWrite(worker *v1.Pod) *reservation.PodRules {
	if !rehearsal.RulesOf(worker).Any() {
		return nil
	}
	written := &reservation.PodRules{Labels: worker.Labels, Spread: worker.Spec.TopologySpreadConstraints, Volumes: worker.Spec.Volumes}
	if affinity := worker.Spec.Affinity; affinity != nil {
		written.PodAffinity, written.PodAntiAffinity = affinity.PodAffinity, affinity.PodAntiAffinity
	}
	rehearsal.EachHostPort(worker, func(port v1.ContainerPort) { written.Ports = append(written.Ports, port) })
	return written
}

// workerOf is a worker as far as it was written down.
func workerOf(role reservation.Role) *v1.Pod {
	worker := &v1.Pod{Spec: v1.PodSpec{NodeSelector: role.NodeSelector, Tolerations: role.Tolerations}}
	worker.Labels = role.Selector
	affinity := v1.Affinity{NodeAffinity: role.NodeAffinity}
	if rules := role.PodRules; rules != nil {
		worker.Labels = rules.Labels
		worker.Spec.TopologySpreadConstraints, worker.Spec.Volumes = rules.Spread, rules.Volumes
		affinity.PodAffinity, affinity.PodAntiAffinity = rules.PodAffinity, rules.PodAntiAffinity
		if len(rules.Ports) > 0 {
			worker.Spec.Containers = []v1.Container{{Ports: rules.Ports}}
		}
	}
	if affinity != (v1.Affinity{}) {
		worker.Spec.Affinity = &affinity
	}
	return worker
}

func decodeReservation(text string) (*ledger.Reservation, error) {
	written, err := reservation.Read(text)
	if err != nil {
		return nil, err
	}
	decoded := &ledger.Reservation{Definition: gang.Definition{Source: AnnotationReservation}}
	for i, role := range written.Roles {
		if role.Count < 0 || role.Minimum < 0 || role.Minimum > role.Count {
			return nil, fmt.Errorf("roles[%d]: count %d and minimum %d do not go together", i, role.Count, role.Minimum)
		}
		if role.Maximum != nil && *role.Maximum < role.Count {
			return nil, fmt.Errorf("roles[%d]: maximum %d is below count %d", i, *role.Maximum, role.Count)
		}
		if decoded.Definition.Role(role.Name) != nil {
			return nil, fmt.Errorf("roles[%d]: there already is a role %q", i, role.Name)
		}
		requests := resource.OfList(role.Requests)
		requests.Pods = 1
		if len(role.Requests) > resource.MaxNames {
			return nil, fmt.Errorf("roles[%d]: %d different resources, more than %d", i, len(role.Requests), resource.MaxNames)
		}
		decoded.Definition.Roles = append(decoded.Definition.Roles, gang.Role{
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
		if most := min(left[slots.Role], reservation.MaxWorkers-total); slots.Count < 0 || slots.Count > most {
			return nil, fmt.Errorf("slots[%d]: count %d, want 0 to %d", i, slots.Count, most)
		}
		left[slots.Role] -= slots.Count
		total += slots.Count
	}
	for _, slots := range written.Slots {
		if slots.Count > 0 {
			decoded.Slots = append(decoded.Slots, ledger.Run(slots))
		}
	}
	return decoded, nil
}
