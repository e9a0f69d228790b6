package ledger

import (
	"fmt"
	"slices"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/spark"
)

// measure compares the first real worker of a role with what was predicted, and corrects the open slots. Smaller ones stay
// where they are. Larger ones, and those that may not go everywhere they were thought to, are planned anew: as many are kept as the
// queue and the nodes have room for, and nobody else waits for the rest.
func (sl *slots) measure(e *entry, p *pod) {
	i := slices.IndexFunc(e.Definition.Roles, func(role gang.Role) bool { return role.Name == p.Role })
	if i < 0 || e.Observed(p.Role) || !e.Phase.Admitted() {
		return
	}
	predicted := e.Definition.Roles[i].Requests
	observed, rules := spark.Observed(e.Definition.Roles[i].Pod, p.Object)
	if e.upfront == nil && p.Node == "" { // one that is bound already was compared by the scheduler before this one
		sl.totals.predict(predicted, p.Requests, observed != nil)
	}
	replan := e.upfront == nil && (observed != nil || !p.Requests.Fits(predicted))
	var open, left []Run
	if replan {
		open = Runs(slices.DeleteFunc(slices.Clone(e.Slots), func(slot gang.Slot) bool { return slot.Worker != "" || slot.Role != i }))
		sl.step(e, gang.RoleReleased{Role: i})
	}
	sl.step(e, gang.Measured{Role: p.Role, Requests: p.Requests, Pod: observed})
	if replan {
		e.eligibility = nil
		budget := seekLimit
		left = sl.openSlots(e, open, &budget)
		if !e.homeless() {
			delete(sl.degraded, e)
		}
	}
	corrected := e.Definition.Roles[i].Requests
	if observed == nil && corrected.Equal(predicted) {
		return
	}
	// Smaller slots may find a home where larger ones did not.
	sl.unsettled[e] = struct{}{}
	sl.outcome.save(e)
	tell := func(reason gang.Reason, format string, args ...any) {
		sl.outcome.effects = append(sl.outcome.effects, Tell{e.leader.Object, gang.Verdict{Reason: reason, Message: fmt.Sprintf(format, args...)}})
	}
	if observed != nil {
		tell(gang.PredictionCorrected, "the first %s has %s than predicted: the other slots are planned anew", p.Role, rules)
	}
	if !corrected.Equal(predicted) {
		tell(gang.PredictionCorrected, "the first %s asks for %s, predicted was %s: the other slots follow", p.Role, corrected, predicted)
	}
	if len(left) > 0 {
		sl.totals.Released[NoRoom] += sumOf(left)
		needed := ""
		if more := spark.Unpredicted(predicted, corrected); more != "" {
			needed = fmt.Sprintf("executors need %s, which the prediction did not have: ", more)
		}
		tell(gang.Degraded, "%s%d of %d open slots are released: the queue or the nodes have no room for more of %s now",
			needed, sumOf(left), sumOf(open), corrected)
	}
}

// openSlots opens slots of an admitted gang where they are wanted, or on any other node that has room for them, as far as its
// queue allows, and returns those that found no room, without nodes. budget is how many more nodes may be looked at for slots that
// have none.
func (sl *slots) openSlots(e *entry, wanted []Run, budget *int) []Run {
	var left []Run
	for role := range e.Definition.Roles {
		var mine []Run
		for _, run := range wanted {
			if run.Role == role {
				mine = append(mine, run)
			}
		}
		total := sumOf(mine)
		if total == 0 {
			continue
		}
		slots := sl.planSlots(e, role, mine, quota.Room(sl.accounts.queues, sl.accounts.queueOf(e.Key.Namespace), e.leader.User, e.Definition.Roles[role].Requests, total), budget)
		sl.step(e, gang.Opened{Slots: slots})
		if total > len(slots) {
			left = append(left, Run{Role: role, Count: total - len(slots)})
		}
	}
	sl.unsettled[e] = struct{}{}
	return left
}

// planSlots finds room for slots of a role, at most so many.
func (sl *slots) planSlots(e *entry, role int, wanted []Run, most int, budget *int) []gang.Slot {
	requests := e.Definition.Roles[role].Requests
	slots := []gang.Slot{}
	planned := map[string]int{} // node -> slots
	take := func(node string, count int) {
		n := sl.nodes.Of(node)
		if !e.eligible(role, n.Object) {
			return
		}
		found := requests.Count(n.Free.Sub(requests.Scale(planned[node])), min(count, most-len(slots)))
		planned[node] += found
		for range found {
			slots = append(slots, gang.Slot{Role: role, Node: node, Requests: requests})
		}
	}
	for _, run := range wanted {
		if len(slots) < most && sl.nodes.Exists(run.Node) {
			take(run.Node, run.Count)
		}
	}
	for i := range sl.nodes.All() {
		if len(slots) >= most || len(slots) >= sumOf(wanted) || *budget <= 0 {
			break
		}
		*budget--
		if n := sl.nodes.At(i); n.Object != nil {
			take(n.Name, most)
		}
	}
	return slots
}
