package plugin

import (
	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
)

// explain finds the one reason a user should read for a gang that does not fit: what the empty cluster would lack
// before what is taken now. A search that ended at its bound proves nothing about the empty cluster.
func (p *Plugin) explain(c *cycle, asked placement.Gang, shortage *placement.Shortage) gang.Verdict {
	if _, never := p.solver.Fit(c.view.Empty(), asked); never != nil && never.Proven {
		return gang.Verdict{Reason: neverReason(never), Message: never.String() + " of the empty cluster"}
	}
	return presentShortage(shortage)
}

// presentShortage is the verdict on a gang that the empty cluster could hold.
func presentShortage(shortage *placement.Shortage) gang.Verdict {
	reason := gang.Fragmented
	if shortage.Kind == placement.Insufficient {
		reason = gang.ClusterFull
	}
	return gang.Verdict{Reason: reason, Message: shortage.String()}
}

// neverReason is the reason for a gang that the empty cluster could not hold.
func neverReason(never *placement.Shortage) gang.Reason {
	switch {
	case never.Kind == placement.NoEligibleNode || never.Kind == placement.NoDomain:
		return gang.Constraints
	case never.TooLarge:
		return gang.NeverFitsNode
	default:
		return gang.NeverFitsCluster
	}
}
