package inventory

import (
	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
)

// PresentReason is the reason for a demand that the empty cluster could hold, by what the nodes lack now.
func PresentReason(shortage *placement.Shortage) gang.Reason {
	if shortage.Kind == placement.Insufficient {
		return gang.ClusterFull
	}
	return gang.Fragmented
}

// NeverReason is the reason for a demand that the empty cluster could not hold, by what that lacks.
func NeverReason(never *placement.Shortage) gang.Reason {
	switch {
	case never.Kind == placement.NoEligibleNode || never.Kind == placement.NoDomain:
		return gang.Constraints
	case never.TooLarge:
		return gang.NeverFitsNode
	default:
		return gang.NeverFitsCluster
	}
}

// Exclusions is what keeps the member of a shortage from nodes, whatever is free on them: after a colon where no node may hold it, or
// after what the others lack. It is empty where all may hold it, and where the shortage is about one domain or about several members.
func (d Demand) Exclusions(view *View, shortage *placement.Shortage) string {
	before := ": "
	if shortage.Kind != placement.NoEligibleNode {
		if before = "; of other nodes "; shortage.Eligible >= view.Len() || shortage.Beside || shortage.Domain != "" || shortage.Kind == placement.NoDomain {
			return ""
		}
	}
	for _, pods := range d.All().Roles {
		if pods.Name != shortage.Member {
			continue
		}
		nodes := func(yield func(*v1.Node) bool) {
			for i := range view.Len() {
				if !yield(view.Object(i)) {
					return
				}
			}
		}
		if text := placement.Exclusions(pods.Pod, nodes); text != "" {
			return before + text
		}
	}
	return ""
}
