package ledger

import (
	"fmt"
	"slices"

	"retinue.dev/retinue/pkg/gang"
)

// What is sought for slots that have no room where they were is bounded, in nodes looked at: seekLimit for one gang, and for all
// that are resumed when everything that existed has been told.
const (
	seekLimit    = 20_000
	seekAllLimit = 1_000_000
)

// unconfirmed is what a gang was resumed with that its leader carries as an annotation. Whoever may patch the pod can have written
// it, so it counts within the queue and on the nodes that exist, and until the definition has been inferred anew.
type unconfirmed struct {
	// left are slots for which there was no room; Node is empty.
	left []Run
}

// Runs puts slots together that are equal and follow one another.
func Runs(slots []gang.Slot) []Run {
	var runs []Run
	for _, slot := range slots {
		if last := len(runs) - 1; last >= 0 && runs[last].Role == slot.Role && runs[last].Node == slot.Node {
			runs[last].Count++
			continue
		}
		runs = append(runs, Run{Role: slot.Role, Node: slot.Node, Count: 1})
	}
	return runs
}

func sumOf(runs []Run) int {
	n := 0
	for _, run := range runs {
		n += run.Count
	}
	return n
}

// resumeAll resumes the gangs whose leaders were bound at the start, the first in turn first: now it is known which nodes and
// queues there are. Each has what it carries where it was before any seeks room elsewhere, which others carry.
func (lc *lifecycle) resumeAll() {
	var bound []*entry
	for _, e := range lc.members.gangs {
		if e.leader.bound && e.leader.Reservation != nil && lc.members.gangOf(e.leader) == e {
			bound = append(bound, e)
		}
	}
	slices.SortFunc(bound, func(a, b *entry) int { return turnOf(a.leader).Compare(turnOf(b.leader)) })
	for _, e := range bound {
		nowhereElse := 0
		lc.resumeWithin(e, &nowhereElse)
	}
	budget := seekAllLimit
	for _, e := range bound {
		own := min(budget, seekLimit)
		budget -= own
		e.unconfirmed.left = lc.slots.openSlots(e, e.unconfirmed.left, &own)
		budget += own
	}
}

// resume admits a gang whose leader is bound already: with the reservation that the leader carries, or, when it
// was bound by another scheduler, without slots as soon as the gang is defined. Before everything that exists has been told, a
// gang with a reservation waits for that.
func (lc *lifecycle) resume(e *entry) {
	budget := seekLimit
	lc.resumeWithin(e, &budget)
}

func (lc *lifecycle) resumeWithin(e *entry, budget *int) {
	carried := e.leader.Reservation
	if carried == nil {
		lc.run(e, nil)
		return
	}
	if !lc.members.synced {
		return
	}
	e.unconfirmed = &unconfirmed{left: lc.resumeWith(e, carried, budget)}
	lc.outcome.effects = append(lc.outcome.effects, Define{e.leader.Object})
}

// resumeWith admits a gang as a reservation says, as far as its queue and the nodes allow, and returns the slots that they do
// not.
func (lc *lifecycle) resumeWith(e *entry, r *Reservation, budget *int) []Run {
	e.leader.Reservation = nil
	lc.slots.step(e, gang.Defined{Definition: r.Definition})
	e.eligibility = nil
	lc.assignRoles(e)
	claimed, open := lc.claimed(e, r.Slots)
	lc.run(e, claimed)
	e.released = len(r.Slots) == 0 && !e.leader.Ready // before a restart
	return lc.slots.openSlots(e, open, budget)
}

// run makes a gang that is defined one that runs.
func (lc *lifecycle) run(e *entry, slots []gang.Slot) {
	if e.Phase != gang.Waiting {
		return
	}
	lc.slots.step(e, gang.Admitted{Slots: slots})
	lc.slots.step(e, gang.Seated{})
	lc.slots.unsettled[e] = struct{}{}
	lc.gather(e)
}

// claimed divides slots into those of workers that have a node, one for each, there where it is, and the rest, which are open.
func (lc *lifecycle) claimed(e *entry, runs []Run) (claimed []gang.Slot, open []Run) {
	type place struct {
		role int
		node string
	}
	at := map[place]int{} // -> index into open
	for _, run := range runs {
		i, known := at[place{run.Role, run.Node}]
		if !known {
			i = len(open)
			at[place{run.Role, run.Node}] = i
			open = append(open, Run{Role: run.Role, Node: run.Node})
		}
		open[i].Count += run.Count
	}
	take := func(i int, node string) {
		open[i].Count--
		claimed = append(claimed, gang.Slot{Role: open[i].Role, Node: node, Requests: e.Definition.Roles[open[i].Role].Requests})
	}
	var elsewhere []place // workers on nodes where no slot of theirs is
	for _, p := range sorted(lc.members.apps[e.Key].workers) {
		role := slices.IndexFunc(e.Definition.Roles, func(role gang.Role) bool { return role.Name == p.Role })
		if role < 0 || p.placed == "" || lc.members.gangOf(p) != e {
			continue
		}
		if i, known := at[place{role, p.placed}]; known && open[i].Count > 0 {
			take(i, p.placed)
		} else {
			elsewhere = append(elsewhere, place{role, p.placed})
		}
	}
	// Slots without a home go first, then the last ones, as with a worker that comes.
	candidates := map[int][]int{} // role -> indexes into open, the last to be taken first
	for i, run := range open {
		if run.Node != "" {
			candidates[run.Role] = append(candidates[run.Role], i)
		}
	}
	for role := range e.Definition.Roles {
		if i, known := at[place{role, ""}]; known {
			candidates[role] = append(candidates[role], i)
		}
	}
	for _, worker := range elsewhere {
		left := candidates[worker.role]
		for len(left) > 0 && open[left[len(left)-1]].Count == 0 {
			left = left[:len(left)-1]
		}
		if candidates[worker.role] = left; len(left) > 0 {
			take(left[len(left)-1], worker.node)
		}
	}
	return claimed, slices.DeleteFunc(open, func(run Run) bool { return run.Count == 0 })
}

// confirm takes the definition of a gang that was resumed: what it is believed to hold is what it carried as far as that asks
// for it.
func (lc *lifecycle) confirm(e *entry, event gang.Event) {
	var definition gang.Definition
	switch event := event.(type) {
	case gang.Defined:
		definition = event.Definition
	case gang.Refuted:
		lc.outcome.effects = append(lc.outcome.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.InvalidGang, Message: event.Problem}})
	default:
		return
	}
	believed := &Reservation{Definition: lc.withObservedSizes(e, definition)}
	claimed, open := e.Counts()
	carried := claimed + open + sumOf(e.unconfirmed.left)
	left := map[int]int{} // role -> slots that it may still have
	for i, role := range definition.Roles {
		left[i] = role.Count
	}
	keep := func(run Run) {
		name := e.Definition.Roles[run.Role].Name
		role := slices.IndexFunc(definition.Roles, func(role gang.Role) bool { return role.Name == name })
		if run.Role, run.Count = role, min(run.Count, left[role]); run.Count > 0 {
			left[role] -= run.Count
			believed.Slots = append(believed.Slots, run)
		}
	}
	for _, taken := range []bool{true, false} { // those of workers that are there before open ones
		for _, slot := range e.Slots {
			if (slot.Worker != "") == taken {
				keep(Run{Role: slot.Role, Node: slot.Node, Count: 1})
			}
		}
	}
	for _, run := range e.unconfirmed.left {
		keep(run)
	}

	released := e.released
	lc.slots.step(e, gang.Ended{})
	lc.members.selectors.remove(e)
	e.Gang, e.unconfirmed = gang.New(e.Key, e.leader.UID), nil
	delete(lc.slots.degraded, e)
	lc.unassignRoles(lc.members.apps[e.Key])
	budget := seekLimit
	lc.resumeWith(e, believed, &budget)
	e.released = e.released || released
	claimed, open = e.Counts()
	if lost := carried - claimed - open; lost > 0 {
		lc.outcome.save(e)
		lc.outcome.effects = append(lc.outcome.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.SlotsReleased,
			Message: fmt.Sprintf("%d of %d slots that it carried are not kept: its application asks for fewer, or the queue or the nodes have no room for them", lost, carried)}})
	}
}

// withObservedSizes is a definition in which roles have the size that was carried where a real worker has it as well.
func (lc *lifecycle) withObservedSizes(e *entry, definition gang.Definition) gang.Definition {
	definition.Roles = slices.Clone(definition.Roles)
	for i := range definition.Roles {
		role := &definition.Roles[i]
		carried := e.Definition.Role(role.Name)
		if carried == nil || carried.Requests.Equal(role.Requests) {
			continue
		}
		for _, p := range lc.members.apps[e.Key].workers {
			if p.Role == role.Name && p.placed != "" && p.Requests.Equal(carried.Requests) && lc.members.gangOf(p) == e {
				role.Requests = carried.Requests
				break
			}
		}
	}
	return definition
}

// gather lets workers claim slots that were there before their gang was admitted.
func (lc *lifecycle) gather(e *entry) {
	e.progress = lc.outcome.now
	workers := sorted(lc.members.apps[e.Key].workers)
	for _, p := range workers {
		if p.placed != "" && lc.members.gangOf(p) == e {
			lc.slots.step(e, gang.WorkerPlaced{Worker: p.UID, Role: p.Role, Node: p.placed, Requests: p.Requests})
			lc.accounts.chargePod(p)
		}
	}
	for _, p := range workers {
		if lc.members.gangOf(p) == e {
			lc.slots.measure(e, p)
			lc.outcome.revise(p)
		}
	}
}
