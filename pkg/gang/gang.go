package gang

import (
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/resource"
)

// Phase is where a gang stands in its life; see the diagram in doc.go.
type Phase string

const (
	// Forming: the leader is known, what it will ask for is not yet.
	Forming Phase = "Forming"
	// Invalid: the definition cannot be used; only a new definition helps.
	Invalid Phase = "Invalid"
	// Waiting: defined, nothing is held.
	Waiting Phase = "Waiting"
	// Reserved: the leader has a node and every worker of the start has a slot; the leader is being bound.
	Reserved Phase = "Reserved"
	// Running: the leader is bound; workers claim slots as they come.
	Running Phase = "Running"
	// Done: the leader has finished, failed or gone. Nothing is held, and workers are refused.
	Done Phase = "Done"
)

// Admitted tells whether the gang holds its place in the cluster.
func (p Phase) Admitted() bool { return p == Reserved || p == Running }

// Slot is room kept for one worker that does not exist yet, or the place of a worker that took it.
type Slot struct {
	// Role is an index into Definition.Roles.
	Role int
	// Node holds the room while the slot is open. Empty means homeless: the slot's node has gone and no other has
	// been found yet, so no node holds anything.
	Node string
	// Requests is what is held on Node while the slot is open.
	Requests resource.Vector
	// Worker is the pod that claimed the slot; empty means open.
	Worker types.UID
}

// Change is a difference of what a gang's open slots hold on one node: positive is held, negative given back.
type Change struct {
	// Node is empty for slots without a home: they are the gang's all the same.
	Node   string
	Amount resource.Vector
}

// Gang is one application: its leader, what it asks for, and the slots it holds. It is not safe for concurrent use.
type Gang struct {
	Key        Key
	Leader     types.UID
	Phase      Phase
	Definition Definition
	// Problem says why the gang is Invalid; empty in every other phase.
	Problem string
	// Slots is ordered as admitted; an index stays valid while the gang is admitted.
	Slots []Slot

	workers map[types.UID]worker // pod -> its place in the gang
	// tallies keep what is asked for with every worker that comes or goes; index as in Definition.Roles.
	tallies []tally
}

// tally is what is known of one role without looking at all slots and workers, of which there may be thousands.
type tally struct {
	live    int // placed workers
	elastic int // those of them without a slot
	open    int // open slots
	// first is an index into Slots before which no slot of the role is open.
	first int
	// measured tells whether a real worker of the role has been seen.
	measured bool
}

// worker is a placed worker.
type worker struct {
	role int
	node string
	slot int    // index into Slots; elastic means it has none
	home string // where the slot was held before it was claimed, for undoing the claim
}

// elastic marks a worker without a slot.
const elastic = -1

// New is a gang of which only the leader is known.
func New(key Key, leader types.UID) *Gang {
	return &Gang{Key: key, Leader: leader, Phase: Forming, workers: map[types.UID]worker{}}
}

// OpenSlots calls f for every open slot of a role, homeless ones included, until f returns false.
func (g *Gang) OpenSlots(role string, f func(Slot) bool) {
	if r := g.roleIndex(role); r >= 0 {
		g.eachOpen(r, func(i int) bool { return f(g.Slots[i]) })
	}
}

// eachOpen calls f with the index of every open slot of a role until f returns false.
func (g *Gang) eachOpen(role int, f func(i int) bool) {
	t := &g.tallies[role]
	if t.open == 0 {
		return
	}
	for t.first < len(g.Slots) && !g.open(t.first, role) {
		t.first++
	}
	for i := t.first; i < len(g.Slots); i++ {
		if g.open(i, role) && !f(i) {
			return
		}
	}
}

// open tells whether a slot is an open one of the role.
func (g *Gang) open(i, role int) bool { return g.Slots[i].Role == role && g.Slots[i].Worker == "" }

// Counts claimed and open slots of the whole gang.
func (g *Gang) Counts() (claimed, open int) {
	for _, tally := range g.tallies {
		open += tally.open
	}
	return len(g.Slots) - open, open
}

// Open is how many open slots a role has, homeless ones included.
func (g *Gang) Open(role string) int {
	if r := g.roleIndex(role); r >= 0 {
		return g.tallies[r].open
	}
	return 0
}

// Observed tells whether a real worker of a role has been seen.
func (g *Gang) Observed(role string) bool {
	r := g.roleIndex(role)
	return r >= 0 && g.tallies[r].measured
}

// Live is how many placed workers the gang has, elastic ones included.
func (g *Gang) Live() int { return len(g.workers) }

// Missing is what the workers ask for that are neither placed nor waited for.
func (g *Gang) Missing() resource.Vector {
	var missing resource.Vector
	for role := range g.tallies {
		missing = missing.Add(g.Definition.Roles[role].Requests.Scale(g.missing(role)))
	}
	return missing
}
