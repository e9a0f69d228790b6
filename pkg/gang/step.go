package gang

import (
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/resource"
)

// Event is something that happened to a gang. The set is closed: Step knows them all.
type Event interface{ gangEvent() }

type (
	// Defined: it is known what the leader will ask for.
	Defined struct{ Definition Definition }
	// Refuted: the definition cannot be used, for a reason a user can read.
	Refuted struct{ Problem string }
	// Admitted: the leader got a node and every worker of the start a slot. Slots must be open.
	Admitted struct{ Slots []Slot }
	// Unseated: the leader did not keep its node; all is as before Admitted.
	Unseated struct{}
	// Seated: the leader is bound.
	Seated struct{}
	// Ended: the leader finished, failed or was deleted.
	Ended struct{}
	// WorkerPlaced: a worker has a node, assumed or bound. A second one for the same worker changes nothing.
	WorkerPlaced struct {
		Worker   types.UID
		Role     string
		Node     string
		Requests resource.Vector
	}
	// WorkerUnplaced: a worker did not keep its node; all is as before its WorkerPlaced.
	WorkerUnplaced struct{ Worker types.UID }
	// WorkerGone: a placed worker finished, failed or was deleted.
	WorkerGone struct{ Worker types.UID }
	// SlotMoved: another node was found for an open slot, or with an empty Node, the slot lost its room and none was.
	SlotMoved struct {
		Slot int
		Node string
	}
	// Measured: a real worker of a role was seen. The first one corrects what its role was thought to ask for, and
	// the open slots follow.
	Measured struct {
		Role     string
		Requests resource.Vector
		// Pod is the worker as its role is now thought to be; nil when it was predicted so.
		Pod *v1.Pod
	}
	// Released: the open slots are not waited for any more.
	Released struct{}
	// Restored: every role waits again for as many workers as its count says. The new slots have no node yet.
	Restored struct{}
	// RoleReleased: those of one role, an index into Definition.Roles, are not.
	RoleReleased struct{ Role int }
	// Opened: more open slots were found for a gang that is admitted.
	Opened struct{ Slots []Slot }
)

func (Defined) gangEvent()        {}
func (Refuted) gangEvent()        {}
func (Admitted) gangEvent()       {}
func (Unseated) gangEvent()       {}
func (Seated) gangEvent()         {}
func (Ended) gangEvent()          {}
func (WorkerPlaced) gangEvent()   {}
func (WorkerUnplaced) gangEvent() {}
func (WorkerGone) gangEvent()     {}
func (SlotMoved) gangEvent()      {}
func (Measured) gangEvent()       {}
func (Released) gangEvent()       {}
func (Restored) gangEvent()       {}
func (RoleReleased) gangEvent()   {}
func (Opened) gangEvent()         {}

// Step lets one event happen and returns what it changed in the room held by open slots. An event that means nothing
// in the gang's phase changes nothing: informers repeat themselves and arrive late.
func (g *Gang) Step(event Event) []Change {
	switch e := event.(type) {
	case Defined:
		if g.Phase == Forming || g.Phase == Invalid || g.Phase == Waiting {
			g.Phase, g.Definition, g.Problem = Waiting, e.Definition, ""
			g.tallies = make([]tally, len(e.Definition.Roles))
		}
	case Refuted:
		if g.Phase == Forming || g.Phase == Invalid || g.Phase == Waiting {
			g.Phase, g.Problem = Invalid, e.Problem
		}
	case Admitted:
		return g.admit(e.Slots)
	case Unseated:
		if g.Phase == Reserved {
			return g.giveBack(Waiting)
		}
	case Seated:
		if g.Phase == Reserved {
			g.Phase = Running
		}
	case Ended:
		return g.giveBack(Done)
	case WorkerPlaced:
		return g.place(e)
	case WorkerUnplaced:
		return g.unplace(e.Worker)
	case WorkerGone:
		return g.lose(e.Worker)
	case SlotMoved:
		return g.move(e.Slot, e.Node)
	case Measured:
		return g.measure(e)
	case Released:
		return g.release(func(Slot) bool { return true })
	case Restored:
		return g.restore()
	case RoleReleased:
		return g.release(func(slot Slot) bool { return slot.Role == e.Role })
	case Opened:
		return g.grow(e.Slots)
	default:
		panic(fmt.Sprintf("gang: event %T is not known", event))
	}
	return nil
}

func (g *Gang) admit(slots []Slot) []Change {
	if g.Phase != Waiting {
		return nil
	}
	g.Phase, g.Slots = Reserved, slots
	changes := make([]Change, 0, len(slots))
	for _, slot := range slots {
		g.tallies[slot.Role].open++
		// A reservation read back after a restart may have slots that were homeless.
		changes = appendHeld(changes, slot, 1)
	}
	return changes
}

// giveBack ends all holding and moves to the given phase.
func (g *Gang) giveBack(next Phase) []Change {
	var changes []Change
	for _, slot := range g.Slots {
		changes = appendHeld(changes, slot, -1)
	}
	g.Phase, g.Slots = next, nil
	clear(g.workers)
	for role := range g.tallies {
		g.tallies[role] = tally{measured: g.tallies[role].measured}
	}
	return changes
}

func (g *Gang) place(e WorkerPlaced) []Change {
	if !g.Phase.Admitted() {
		return nil
	}
	if _, placed := g.workers[e.Worker]; placed {
		return nil
	}
	role := g.roleIndex(e.Role)
	w := worker{role: role, node: e.Node, slot: elastic}
	var changes []Change
	if role >= 0 {
		g.tallies[role].live++
		w.slot = g.choose(role, e.Node)
	}
	switch {
	case w.slot != elastic:
		slot := &g.Slots[w.slot]
		changes = appendHeld(changes, *slot, -1)
		w.home = slot.Node
		slot.Worker, slot.Node = e.Worker, e.Node
		g.tallies[role].open--
	case role >= 0:
		g.tallies[role].elastic++
	}
	g.workers[e.Worker] = w
	return changes
}

// choose finds the slot for a worker of a role that landed on a node: one held there, else one without a home, else
// the last one elsewhere, whose room is then free for others. elastic when none is open.
func (g *Gang) choose(role int, node string) int {
	chosen, homeless := elastic, false
	g.eachOpen(role, func(i int) bool {
		switch home := g.Slots[i].Node; {
		case home == node:
			chosen = i
			return false
		case home == "":
			chosen, homeless = i, true
		case !homeless:
			chosen = i
		}
		return true
	})
	return chosen
}

func (g *Gang) unplace(uid types.UID) []Change {
	w, placed := g.workers[uid]
	if !placed {
		return nil
	}
	g.forget(uid, w)
	if w.slot == elastic || g.inherit(w) {
		return nil
	}
	return g.reopen(w.slot, w.home)
}

func (g *Gang) lose(uid types.UID) []Change {
	w, placed := g.workers[uid]
	if !placed {
		return nil
	}
	g.forget(uid, w)
	if w.slot == elastic || g.inherit(w) {
		return nil
	}
	if kept := g.tallies[w.role]; kept.live+kept.open >= g.Definition.Roles[w.role].Minimum {
		g.drop(w.slot)
		return nil
	}
	return g.reopen(w.slot, w.node)
}

// reopen makes a claimed slot wait for a worker again, held on the given node.
func (g *Gang) reopen(i int, node string) []Change {
	slot := &g.Slots[i]
	// The size of the role may have been corrected while the slot was claimed.
	slot.Worker, slot.Node, slot.Requests = "", node, g.Definition.Roles[slot.Role].Requests
	g.opened(i)
	g.tallies[slot.Role].open++
	return appendHeld(nil, *slot, 1)
}

// inherit gives the slot of a worker that is gone to one of its role that has none, and tells whether there is one.
func (g *Gang) inherit(gone worker) bool {
	heir := g.elasticWorker(gone.role)
	if heir == "" {
		return false
	}
	g.tallies[gone.role].elastic--
	next := g.workers[heir]
	next.slot, next.home = gone.slot, next.node
	g.workers[heir] = next
	slot := &g.Slots[gone.slot]
	slot.Worker, slot.Node = heir, next.node
	return true
}

// elasticWorker is a worker of the role without a slot, the same one whatever the map's order; empty means none.
func (g *Gang) elasticWorker(role int) types.UID {
	var found types.UID
	if g.tallies[role].elastic == 0 {
		return found
	}
	for uid, w := range g.workers {
		if w.role == role && w.slot == elastic && (found == "" || uid < found) {
			found = uid
		}
	}
	return found
}

// drop removes a slot; the last slot takes its index.
func (g *Gang) drop(i int) {
	last := len(g.Slots) - 1
	if i != last {
		g.Slots[i] = g.Slots[last]
		if moved := g.Slots[i].Worker; moved != "" {
			w := g.workers[moved]
			w.slot = i
			g.workers[moved] = w
		} else {
			g.opened(i)
		}
	}
	g.Slots = g.Slots[:last]
}

// opened notes that there is an open slot at an index where there was none.
func (g *Gang) opened(i int) {
	t := &g.tallies[g.Slots[i].Role]
	t.first = min(t.first, i)
}

func (g *Gang) forget(uid types.UID, w worker) {
	delete(g.workers, uid)
	if w.role < 0 {
		return
	}
	g.tallies[w.role].live--
	if w.slot == elastic {
		g.tallies[w.role].elastic--
	}
}

func (g *Gang) move(i int, node string) []Change {
	if i < 0 || i >= len(g.Slots) || g.Slots[i].Worker != "" || g.Slots[i].Node == node {
		return nil
	}
	slot := &g.Slots[i]
	changes := appendHeld(nil, *slot, -1)
	slot.Node = node
	return appendHeld(changes, *slot, 1)
}

// measure gives a role and its open slots another size.
func (g *Gang) measure(e Measured) []Change {
	role := g.roleIndex(e.Role)
	if role < 0 || g.tallies[role].measured || !g.Phase.Admitted() {
		return nil
	}
	g.tallies[role].measured = true
	g.Definition.Roles = slices.Clone(g.Definition.Roles)
	g.Definition.Roles[role].Requests = e.Requests
	if g.Definition.Roles[role].Plain = nil; e.Pod != nil {
		g.Definition.Roles[role].Pod = e.Pod
	}
	var changes []Change
	for i := range g.Slots {
		if slot := &g.Slots[i]; slot.Role == role && slot.Worker == "" {
			changes = appendHeld(changes, *slot, -1)
			slot.Requests = e.Requests
			changes = appendHeld(changes, *slot, 1)
		}
	}
	return changes
}

// grow adds open slots.
func (g *Gang) grow(slots []Slot) []Change {
	if !g.Phase.Admitted() {
		return nil
	}
	changes := make([]Change, 0, len(slots))
	for _, slot := range slots {
		g.Slots = append(g.Slots, slot)
		g.opened(len(g.Slots) - 1)
		g.tallies[slot.Role].open++
		changes = appendHeld(changes, slot, 1)
	}
	return changes
}

// release drops the open slots that are meant.
func (g *Gang) release(meant func(Slot) bool) []Change {
	var changes []Change
	for i := len(g.Slots) - 1; i >= 0; i-- {
		if g.Slots[i].Worker == "" && meant(g.Slots[i]) {
			changes = appendHeld(changes, g.Slots[i], -1)
			g.tallies[g.Slots[i].Role].open--
			g.drop(i)
		}
	}
	return changes
}

// restore opens the slots that are missing to what the definition asks for.
func (g *Gang) restore() []Change {
	if g.Phase != Running {
		return nil
	}
	var changes []Change
	for role := range g.Definition.Roles {
		for range g.missing(role) {
			g.Slots = append(g.Slots, Slot{Role: role, Requests: g.Definition.Roles[role].Requests})
			g.opened(len(g.Slots) - 1)
			g.tallies[role].open++
			changes = appendHeld(changes, g.Slots[len(g.Slots)-1], 1)
		}
	}
	return changes
}

// missing is how many workers of a role are neither placed nor waited for.
func (g *Gang) missing(role int) int {
	return max(g.Definition.Roles[role].Count-g.tallies[role].live-g.tallies[role].open, 0)
}

func (g *Gang) roleIndex(name string) int {
	for i := range g.Definition.Roles {
		if g.Definition.Roles[i].Name == name {
			return i
		}
	}
	return -1
}

// appendHeld adds what an open slot holds, or with sign −1 gives back. Claimed slots hold nothing.
func appendHeld(changes []Change, slot Slot, sign int) []Change {
	if slot.Worker != "" {
		return changes
	}
	amount := slot.Requests
	if sign < 0 {
		amount = resource.Vector{}.Sub(amount)
	}
	return append(changes, Change{slot.Node, amount})
}
