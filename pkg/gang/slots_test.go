package gang

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/types"
)

// lines writes a drawing of slots in a test.
func lines(slots ...string) string {
	text := ""
	for i, slot := range slots {
		if i > 0 {
			text += "\n"
		}
		text += slot
	}
	return text
}

func TestAWorkerTakesTheSlotThatCostsOthersLeast(t *testing.T) {
	tests := map[string]struct {
		before []Event // after admission with seats
		node   string
		want   string
		change string
	}{
		"one on its node": {
			nil, "b",
			lines("executor cpu 2 on a: open", "executor cpu 2 on a: open", "executor cpu 2 on b: w", "helper cpu 1 on b: open"),
			"b -cpu 2",
		},
		"one without a home rather than one held elsewhere": {
			[]Event{SlotMoved{0, ""}}, "c",
			lines("executor cpu 2 on c: w", "executor cpu 2 on a: open", "executor cpu 2 on b: open", "helper cpu 1 on b: open"),
			"nowhere -cpu 2",
		},
		"one on its node rather than one without a home": {
			[]Event{SlotMoved{0, ""}}, "b",
			lines("executor cpu 2 on nowhere: open", "executor cpu 2 on a: open", "executor cpu 2 on b: w", "helper cpu 1 on b: open"),
			"b -cpu 2",
		},
		"the last one elsewhere, whose room is free then": {
			nil, "c",
			lines("executor cpu 2 on a: open", "executor cpu 2 on a: open", "executor cpu 2 on c: w", "helper cpu 1 on b: open"),
			"b -cpu 2",
		},
		"none that a helper waits for": {
			[]Event{placed("1", "a"), placed("2", "a"), placed("3", "b")}, "b",
			lines("executor cpu 2 on a: 1", "executor cpu 2 on a: 2", "executor cpu 2 on b: 3", "helper cpu 1 on b: open"),
			"",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := in(Waiting)
			g.Step(Admitted{seats()})
			for _, event := range test.before {
				g.Step(event)
			}
			changes := g.Step(placed("w", test.node))
			assert.Equal(t, test.want, draw(g))
			assert.Equal(t, test.change, show(sum(changes)))
		})
	}
}

// A worker without a slot takes over the slot of one that is gone, on the node where it sits itself.
func TestAnElasticWorkerInheritsTheSlotOfOneThatIsGone(t *testing.T) {
	for name, leave := range map[string]func(types.UID) Event{
		"gone":     func(uid types.UID) Event { return WorkerGone{uid} },
		"unplaced": func(uid types.UID) Event { return WorkerUnplaced{uid} },
	} {
		t.Run(name, func(t *testing.T) {
			g := in(Waiting)
			g.Step(Admitted{seats()})
			g.Step(Seated{})
			for uid, node := range map[types.UID]string{"1": "a", "2": "a", "3": "b"} {
				g.Step(placed(uid, node))
			}
			g.Step(placed("9", "y"))
			g.Step(placed("8", "x"))
			assert.Empty(t, g.Step(leave("2")), "no room changes hands")
			assert.Contains(t, draw(g), "executor cpu 2 on x: 8", "of several heirs the one with the first name, whatever a map's order")
			assert.NotContains(t, draw(g), ": 2")
			assert.Equal(t, 4, g.Live())

			// The heir holds the slot as if it had claimed it.
			assert.Empty(t, g.Step(leave("1")))
			assert.Contains(t, draw(g), "executor cpu 2 on y: 9")
			assert.Equal(t, "x +cpu 2", show(sum(g.Step(WorkerUnplaced{"8"}))), "its own node is its home")
		})
	}
}

func TestAHelperInheritsNothingOfAnExecutor(t *testing.T) {
	g := in(Waiting)
	g.Step(Admitted{seats()})
	g.Step(Seated{})
	g.Step(placed("1", "a"))
	g.Step(WorkerPlaced{"h1", "helper", "b", cores(1)})
	g.Step(WorkerPlaced{"h2", "helper", "c", cores(1)}) // elastic
	assert.Equal(t, "a +cpu 2", show(sum(g.Step(WorkerUnplaced{"1"}))))
	assert.Contains(t, draw(g), "helper cpu 1 on b: h1")
}

// A worker of a role that nobody declared is counted and holds nothing.
func TestAWorkerOfNoRoleIsOnlyCounted(t *testing.T) {
	g := in(Running)
	before := draw(g)
	assert.Empty(t, g.Step(WorkerPlaced{"x", "unheard of", "a", cores(9)}))
	assert.Equal(t, 2, g.Live())
	assert.Equal(t, before, draw(g))
	assert.Empty(t, g.Step(WorkerGone{"x"}))
	assert.Equal(t, 1, g.Live())
	assert.Equal(t, before, draw(g))
}

// While fewer than the minimum live or are waited for, the slot of a lost worker waits for its replacement where the
// worker was; above the minimum it is dropped.
func TestASlotIsKeptForAReplacementUpToTheMinimum(t *testing.T) {
	tests := map[string]struct {
		minimum int
		want    string
		change  string
	}{
		"every executor counts": {
			3, lines("executor cpu 2 on a: 1", "executor cpu 2 on a: 2", "executor cpu 2 on c: open", "helper cpu 1 on b: open"), "c +cpu 2",
		},
		"two are enough": {
			2, lines("executor cpu 2 on a: 1", "executor cpu 2 on a: 2", "helper cpu 1 on b: open"), "",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := New(Key{"ns", "app"}, "leader")
			d := twoRoles()
			d.Roles[0].Minimum = test.minimum
			g.Step(Defined{d})
			g.Step(Admitted{seats()})
			g.Step(placed("1", "a"))
			g.Step(placed("2", "a"))
			g.Step(placed("3", "c"))
			changes := g.Step(WorkerGone{"3"})
			assert.Equal(t, test.want, draw(g))
			assert.Equal(t, test.change, show(sum(changes)))
		})
	}
}

// Open slots count as workers to come: a lost worker's slot is not kept when they make the minimum.
func TestOpenSlotsCountForTheMinimum(t *testing.T) {
	g := in(Running) // minimum 1, w on b, two open on a
	assert.Empty(t, g.Step(WorkerGone{"w"}))
	assert.Equal(t, lines("executor cpu 2 on a: open", "executor cpu 2 on a: open", "helper cpu 1 on b: open"), draw(g))
}

// The slot that takes the place of a dropped one keeps its worker.
func TestDroppingASlotKeepsTheOthersWorkers(t *testing.T) {
	g := in(Waiting)
	g.Step(Admitted{seats()})
	for uid, node := range map[types.UID]string{"1": "a", "2": "a", "3": "b"} {
		g.Step(placed(uid, node))
	}
	g.Step(WorkerPlaced{"h", "helper", "b", cores(1)})
	first := g.Slots[0].Worker
	g.Step(WorkerGone{first}) // the helper's slot moves to its index
	assert.Equal(t, types.UID("h"), g.Slots[0].Worker)
	assert.Equal(t, "b +cpu 1", show(sum(g.Step(WorkerGone{"h"}))), "the helper is still found in its slot")
	assert.Len(t, g.Slots, 3)
}

// The first real worker gives its role and the open slots their size. Claimed ones take it when they open again.
func TestTheFirstMeasureCorrectsOpenSlots(t *testing.T) {
	g := in(Running)
	definition := g.Definition
	assert.Equal(t, "a -cpu 2", show(sum(g.Step(Measured{Role: "executor", Requests: cores(1)}))))
	assert.Equal(t, lines("executor cpu 1 on a: open", "executor cpu 1 on a: open", "executor cpu 2 on b: w", "helper cpu 1 on b: open"), draw(g))
	assert.Equal(t, cores(1), g.Definition.Role("executor").Requests)
	assert.Equal(t, cores(2), definition.Role("executor").Requests, "a definition that somebody else has is not written to")

	assert.Empty(t, g.Step(Measured{Role: "executor", Requests: cores(7)}), "only the first one counts")
	assert.Equal(t, "b +cpu 1", show(sum(g.Step(WorkerUnplaced{"w"}))))
	assert.Equal(t, "b +cpu 4", show(sum(g.Step(Measured{Role: "helper", Requests: cores(5)}))), "every role has its own first worker")
}

// Slots without a home hold room on no node, and stay their gang's.
func TestHomelessSlotsAreHeldNowhere(t *testing.T) {
	g := in(Running)
	g.Step(SlotMoved{0, ""})
	g.Step(SlotMoved{1, ""})
	assert.Equal(t, "cpu 5", g.Held().String())
	assert.Equal(t, "nowhere +cpu 2", show(sum(g.Step(Measured{Role: "executor", Requests: cores(3)}))))
	assert.Equal(t, "nowhere -cpu 3, a +cpu 3", show(sum(g.Step(SlotMoved{0, "a"}))))
	assert.Equal(t, "nowhere -cpu 3, a -cpu 3, b -cpu 1", show(sum(g.Step(Ended{}))))
}

func TestAWorkerThatDidNotKeepItsNodeLeavesItsSlotAsItWas(t *testing.T) {
	g := in(Running)
	g.Step(SlotMoved{0, ""})
	before := draw(g)
	g.Step(placed("v", "c")) // takes the one without a home
	assert.Equal(t, "nowhere +cpu 2", show(sum(g.Step(WorkerUnplaced{"v"}))))
	assert.Equal(t, before, draw(g))
}

func TestReleasedSlotsAreGoneAndClaimedOnesStay(t *testing.T) {
	g := in(Running)
	g.Step(placed("v", "a"))
	assert.Equal(t, "a -cpu 2, b -cpu 1", show(sum(g.Step(Released{}))))
	assert.ElementsMatch(t, []types.UID{"v", "w"}, []types.UID{g.Slots[0].Worker, g.Slots[1].Worker})
	assert.Empty(t, g.Step(Released{}), "twice is once")
	// Their workers are still found in them: minimum 1, so the first loss drops the slot and the second keeps it.
	assert.Empty(t, g.Step(WorkerGone{"v"}))
	assert.Equal(t, "b +cpu 2", show(sum(g.Step(WorkerGone{"w"}))))
}

func TestRestoredSlotsWaitForThoseWhoAreMissing(t *testing.T) {
	g := in(Running)
	held := g.Held()
	g.Step(Released{})
	assert.Equal(t, held, g.Missing())
	assert.Equal(t, "nowhere +cpu 5", show(sum(g.Step(Restored{}))))
	assert.Equal(t, held, g.Held())
	assert.Zero(t, g.Missing())
	assert.Equal(t, []int{2, 1}, []int{g.Open("executor"), g.Open("helper")})
	assert.Empty(t, g.Step(Restored{}), "twice is once")
	assert.Equal(t, "nowhere -cpu 2", show(sum(g.Step(placed("v", "c")))), "a worker claims one")
}

func TestOpenSlotsOfARole(t *testing.T) {
	g := in(Running)
	g.Step(SlotMoved{0, ""})
	visit := func(role string, limit int) (nodes []string) {
		g.OpenSlots(role, func(slot Slot) bool {
			nodes = append(nodes, slot.Node)
			return len(nodes) < limit
		})
		return nodes
	}
	assert.Equal(t, []string{"", "a"}, visit("executor", 9))
	assert.Equal(t, []string{""}, visit("executor", 1), "until the caller has enough")
	assert.Equal(t, []string{"b"}, visit("helper", 9))
	assert.Empty(t, visit("unheard of", 9))
	assert.Equal(t, []int{2, 1, 0}, []int{g.Open("executor"), g.Open("helper"), g.Open("unheard of")})
}
