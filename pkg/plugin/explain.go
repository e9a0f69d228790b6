package plugin

import (
	"fmt"
	"slices"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// explain finds the one reason a user should read for a gang that does not fit: what the empty cluster would lack
// before what is taken now, as far as the attempt may still ask. A search that ended at its bound proves nothing about the empty cluster.
func (p *Plugin) explain(c *cycle, asked placement.Gang, shortage *placement.Shortage) gang.Verdict {
	if !p.answers.solver.Work.Affords(c.view.Len(), len(asked.Roles)) {
		return presentShortage(c.view, &c.demand, shortage)
	}
	if _, never := p.answers.solver.Fit(c.view.Empty(), asked); never != nil && never.Proven {
		message := " of the empty cluster"
		switch {
		case never.Kind == placement.NoEligibleNode: // whatever is on them
			message = ""
		case p.effects.autoscaler.Elastic(): // other nodes may come
			message = " of the cluster as it is"
		}
		return gang.Verdict{Reason: inventory.NeverReason(never), Detail: never, Message: message + c.demand.Pods.Exclusions(c.view, never)}
	}
	return presentShortage(c.view, &c.demand, shortage)
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
func presentShortage(view *inventory.View, demand *ledger.Demand, shortage *placement.Shortage) gang.Verdict {
	detail := &shortageBeside{shortage, demand.Pods.Exclusions(view, shortage), demand.Kept}
	return gang.Verdict{Reason: inventory.PresentReason(shortage), Detail: detail}
}

// shortageBeside is a shortage of nodes where others are idle: users see why those do not help.
type shortageBeside struct {
	*placement.Shortage
	// excluded says which nodes may not be used at all, and kept what is free and kept for others.
	excluded string
	kept     ledger.Kept
}

// Text says all of it.
func (s *shortageBeside) Text(names bool) string {
	return s.Shortage.Text(names) + s.excluded + s.kept.Text(s.Resource, names)
}
