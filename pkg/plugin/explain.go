package plugin

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// explain finds the one reason a user should read for a gang that does not fit: what the empty cluster would lack
// before what is taken now, as far as the attempt may still ask. A search that ended at its bound proves nothing about the empty cluster.
func (p *Plugin) explain(c *cycle, asked placement.Gang, shortage *placement.Shortage) gang.Verdict {
	if !p.answers.solver.Work.Affords(c.view.Len(), len(asked.Roles)) {
		return presentShortage(shortage, c.demand.Kept)
	}
	if _, never := p.answers.solver.Fit(c.view.Empty(), asked); never != nil && never.Proven {
		message := " of the empty cluster"
		switch {
		case never.Kind == placement.NoEligibleNode: // whatever is on them
			message = ""
		case p.effects.autoscaler.Elastic(): // other nodes may come
			message = " of the cluster as it is"
		}
		return gang.Verdict{Reason: neverReason(never), Detail: never, Message: message + exclusions(c, never)}
	}
	return presentShortage(shortage, c.demand.Kept)
}

// exclusions is what keeps a member that no node may hold from the nodes; empty for every other shortage.
func exclusions(c *cycle, never *placement.Shortage) string {
	if never.Kind != placement.NoEligibleNode {
		return ""
	}
	for _, pods := range c.demand.Pods.All().Roles {
		if pods.Name != never.Member {
			continue
		}
		nodes := func(yield func(*v1.Node) bool) {
			for i := range c.view.Len() {
				if !yield(c.view.Object(i)) {
					return
				}
			}
		}
		if text := placement.Exclusions(pods.Pod, nodes); text != "" {
			return ": " + text
		}
	}
	return ""
}

// assumption is what to say of a gang that does not fit, and would without what is assumed of its workers; empty means nothing.
func assumption(solver *placement.Solver, c *cycle) string {
	if c.demand.Assumed == "" || !solver.Work.Affords(c.view.Len(), len(c.demand.Roles)) {
		return ""
	}
	plain := c.demand.Pods
	plain.Roles = slices.Clone(plain.Roles)
	for i, role := range c.demand.Roles {
		if role.Plain != nil {
			plain.Roles[i].Pod, plain.Roles[i].Requests = role.Plain, resource.OfPod(role.Plain)
		}
	}
	if _, shortage := solver.Fit(c.view, plain.On(c.view)); shortage != nil {
		return ""
	}
	return fmt.Sprintf("; it waits only because executors are assumed to get what the driver got from admission: %s; annotation %s=false on the driver ends that",
		c.demand.Assumed, spark.AnnotationLikeDriver)
}

// presentShortage is the verdict on a gang that the empty cluster could hold.
func presentShortage(shortage *placement.Shortage, kept ledger.Kept) gang.Verdict {
	reason := gang.Fragmented
	if shortage.Kind == placement.Insufficient {
		reason = gang.ClusterFull
	}
	return gang.Verdict{Reason: reason, Detail: shortageBeside{shortage, kept}}
}

// shortageBeside is a shortage of nodes whose room is kept for others in part: users see that it is idle.
type shortageBeside struct {
	*placement.Shortage
	kept ledger.Kept
}

// Text says both.
func (s shortageBeside) Text(names bool) string {
	return s.Shortage.Text(names) + s.kept.Text(s.Resource, names)
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
