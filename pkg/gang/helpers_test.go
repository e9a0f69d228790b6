package gang

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/resource"
)

func cores(n int64) resource.Vector { return resource.Vector{CPU: n * 1000, Pods: 1} }

// twoRoles is a gang with executors that may be replaced by fewer than it starts with, and a helper.
func twoRoles() Definition {
	return Definition{Roles: []Role{
		{Name: "executor", Count: 3, Minimum: 1, Requests: cores(2)},
		{Name: "helper", Count: 1, Minimum: 1, Requests: cores(1)},
	}}
}

// seats are the slots that twoRoles is admitted with in the tests: executors on a, a and b, the helper on b.
func seats() []Slot {
	return []Slot{
		{Role: 0, Node: "a", Requests: cores(2)},
		{Role: 0, Node: "a", Requests: cores(2)},
		{Role: 0, Node: "b", Requests: cores(2)},
		{Role: 1, Node: "b", Requests: cores(1)},
	}
}

// in is a gang of twoRoles that has come to a phase. One executor, w, is placed on b once there are slots.
func in(phase Phase) *Gang {
	g := New(Key{"ns", "app"}, "leader")
	if phase == Forming {
		return g
	}
	if phase == Invalid {
		g.Step(Refuted{"no such thing"})
		return g
	}
	g.Step(Defined{twoRoles()})
	if phase == Waiting {
		return g
	}
	g.Step(Admitted{seats()})
	g.Step(placed("w", "b"))
	if phase == Reserved {
		return g
	}
	g.Step(Seated{})
	if phase == Done {
		g.Step(Ended{})
	}
	return g
}

func placed(worker types.UID, node string) WorkerPlaced {
	return WorkerPlaced{Worker: worker, Role: "executor", Node: node, Requests: cores(2)}
}

// draw shows slots in one line: role, node and worker of each.
func draw(g *Gang) string {
	var slots []string
	for _, slot := range g.Slots {
		node, worker := slot.Node, string(slot.Worker)
		if node == "" {
			node = "nowhere"
		}
		if worker == "" {
			worker = "open"
		}
		slots = append(slots, fmt.Sprintf("%s %s on %s: %s", g.Definition.Roles[slot.Role].Name, slot.Requests, node, worker))
	}
	return strings.Join(slots, "\n")
}

// sum adds changes up: node -> amount, without zeros.
func sum(changes []Change) map[string]resource.Vector {
	total := map[string]resource.Vector{}
	add(total, changes)
	return total
}

func add(total map[string]resource.Vector, changes []Change) {
	for _, change := range changes {
		total[change.Node] = total[change.Node].Add(change.Amount)
		if total[change.Node].IsZero() {
			delete(total, change.Node)
		}
	}
}

// show writes a sum per node in one line, such as "a +cpu 2, b -cpu 1"; nothing for no change.
func show(total map[string]resource.Vector) string {
	var parts []string
	for _, node := range slices.Sorted(maps.Keys(total)) {
		sign, amount := "+", total[node]
		if amount.CPU < 0 {
			sign, amount = "-", resource.Vector{}.Sub(amount)
		}
		parts = append(parts, fmt.Sprintf("%s %s%s", cmp.Or(node, "nowhere"), sign, amount))
	}
	return strings.Join(parts, ", ")
}

// copyOf is a deep copy, for comparing.
func copyOf(g *Gang) *Gang {
	other := *g
	other.Definition.Roles = slices.Clone(g.Definition.Roles)
	other.Slots = slices.Clone(g.Slots)
	other.workers = maps.Clone(g.workers)
	other.tallies = slices.Clone(g.tallies)
	return &other
}

// Held is the sum of what open slots hold, on all nodes and on none.
func (g *Gang) Held() resource.Vector {
	var held resource.Vector
	for _, slot := range g.Slots {
		if slot.Worker == "" {
			held = held.Add(slot.Requests)
		}
	}
	return held
}
