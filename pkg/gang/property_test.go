package gang

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/resource"
)

// life is a gang that random events happen to, with what was said of it on the way.
type life struct {
	*Gang
	held map[string]resource.Vector // node -> sum of all Changes so far
	// released tells that slots below the minimum may be gone.
	released bool
}

var (
	nodeNames   = []string{"a", "b", "c"}
	workerNames = []types.UID{"1", "2", "3", "4", "5", "6", "7"}
	roleNames   = []string{"executor", "helper", "unheard of"}
)

func drawDefinition(t *rapid.T) Definition {
	var d Definition
	for _, name := range roleNames[:rapid.IntRange(0, 2).Draw(t, "roles")] {
		count := rapid.IntRange(0, 4).Draw(t, "count")
		d.Roles = append(d.Roles, Role{
			Name: name, Count: count, Minimum: rapid.IntRange(0, count).Draw(t, "minimum"), Requests: cores(rapid.Int64Range(1, 4).Draw(t, "cpu")),
		})
	}
	return d
}

// drawSlots are slots that fit the definition: Count of every role, most of them with a home.
func drawSlots(t *rapid.T, d Definition) []Slot {
	var slots []Slot
	for r, role := range d.Roles {
		for range role.Count {
			slots = append(slots, Slot{Role: r, Node: rapid.SampledFrom(append(nodeNames, "")).Draw(t, "home"), Requests: role.Requests})
		}
	}
	return rapid.Permutation(slots).Draw(t, "slots")
}

func (l *life) drawEvent(t *rapid.T) Event {
	worker := rapid.SampledFrom(workerNames)
	switch rapid.SampledFrom([]string{"defined", "refuted", "admitted", "unseated", "seated", "ended", "placed", "placed", "placed", "unplaced", "gone", "gone", "moved", "measured", "released"}).Draw(t, "event") {
	case "defined":
		return Defined{drawDefinition(t)}
	case "refuted":
		return Refuted{"no such thing"}
	case "admitted":
		return Admitted{drawSlots(t, l.Definition)}
	case "unseated":
		return Unseated{}
	case "seated":
		return Seated{}
	case "ended":
		if rapid.IntRange(0, 9).Draw(t, "really") > 0 {
			return Seated{} // a gang that has ended is dull
		}
		return Ended{}
	case "placed":
		return WorkerPlaced{worker.Draw(t, "worker"), rapid.SampledFrom(roleNames).Draw(t, "role"), rapid.SampledFrom(nodeNames).Draw(t, "node"), cores(1)}
	case "unplaced":
		return WorkerUnplaced{worker.Draw(t, "worker")}
	case "gone":
		return WorkerGone{worker.Draw(t, "worker")}
	case "moved":
		return SlotMoved{rapid.IntRange(-1, 8).Draw(t, "slot"), rapid.SampledFrom(append(nodeNames, "")).Draw(t, "node")}
	case "measured":
		return Measured{Role: rapid.SampledFrom(roleNames).Draw(t, "role"), Requests: cores(rapid.Int64Range(1, 4).Draw(t, "cpu"))}
	default:
		return Released{}
	}
}

func (l *life) step(event Event) {
	if _, happened := event.(Released); happened {
		l.released = true
	}
	if _, anew := event.(Admitted); anew && l.Phase == Waiting {
		l.released = false
	}
	add(l.held, l.Step(event))
}

// drawLife is a gang to which up to so many events have happened; it starts admitted as often as not.
func drawLife(t *rapid.T, events int) *life {
	l := &life{Gang: New(Key{"ns", "app"}, "leader"), held: map[string]resource.Vector{}}
	if rapid.Bool().Draw(t, "admitted") {
		l.step(Defined{drawDefinition(t)})
		l.step(Admitted{drawSlots(t, l.Definition)})
	}
	for range rapid.IntRange(0, events).Draw(t, "events") {
		l.step(l.drawEvent(t))
	}
	return l
}

// everyStep checks a gang after each of many random events.
func everyStep(t *testing.T, check func(*rapid.T, *life)) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t, 0)
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			l.step(l.drawEvent(t))
			check(t, l)
		}
	})
}

// TestChangesAddUpToWhatOpenSlotsHold: whoever adds up what Step returns knows what the gang holds on every node.
//
// Seen failing when place did not give back what the claimed slot held, when reopen did not take it again, and when
// measure forgot the former size.
func TestChangesAddUpToWhatOpenSlotsHold(t *testing.T) {
	everyStep(t, func(t *rapid.T, l *life) {
		var open []Change
		total := resource.Vector{}
		for _, slot := range l.Slots {
			if slot.Worker == "" {
				open = append(open, Change{slot.Node, slot.Requests})
				total = total.Add(slot.Requests)
			}
		}
		require.Empty(t, cmp.Diff(sum(open), l.held), "per node")
		require.True(t, l.Held().Equal(total), "in all: %s, want %s", l.Held(), total)
	})
}

// TestWorkersAndSlotsAgree: who has which slot is written in two places, and counted in a third.
//
// Seen failing when drop did not tell the moved slot's worker its new index, when inherit left the heir elastic, when
// forget did not count the worker out, and when drop did not say that the moved slot is open.
func TestWorkersAndSlotsAgree(t *testing.T) {
	everyStep(t, func(t *rapid.T, l *life) {
		tallies := make([]tally, len(l.tallies))
		for r := range tallies {
			tallies[r].measured, tallies[r].first = l.tallies[r].measured, l.tallies[r].first
		}
		open := 0
		for i, slot := range l.Slots {
			if slot.Worker == "" {
				open++
				tallies[slot.Role].open++
				require.LessOrEqual(t, l.tallies[slot.Role].first, i)
				continue
			}
			w, known := l.workers[slot.Worker]
			require.True(t, known, "slot %d is claimed by %s, who is not there", i, slot.Worker)
			require.Equal(t, worker{role: slot.Role, node: slot.Node, slot: i, home: w.home}, w)
		}
		claimed := 0
		for uid, w := range l.workers {
			if w.slot != elastic {
				claimed++
				require.Equal(t, uid, l.Slots[w.slot].Worker)
			}
			if w.role >= 0 {
				tallies[w.role].live++
			}
			if w.role >= 0 && w.slot == elastic {
				tallies[w.role].elastic++
				require.Zero(t, tallies[w.role].open, "%s has no slot although one of its role is open", uid)
			}
		}
		require.Empty(t, cmp.Diff(tallies, l.tallies, cmp.AllowUnexported(tally{}), cmpopts.EquateEmpty()))
		gotClaimed, gotOpen := l.Counts()
		require.Equal(t, []int{claimed, open, len(l.Slots)}, []int{gotClaimed, gotOpen, claimed + open})
		require.Equal(t, len(l.workers), l.Live())
		if !l.Phase.Admitted() {
			require.Empty(t, l.Slots)
			require.Empty(t, l.workers)
		}
	})
}

// TestTheMinimumIsKept: of every role as many live or are waited for as its minimum says, until the slots are released.
//
// Seen failing when lose dropped the slot at the minimum, and when kept counted the slot of another role.
func TestTheMinimumIsKept(t *testing.T) {
	everyStep(t, func(t *rapid.T, l *life) {
		if !l.Phase.Admitted() || l.released {
			return
		}
		for r, role := range l.Definition.Roles {
			kept, slots := l.tallies[r].live, 0
			for _, slot := range l.Slots {
				if slot.Role == r {
					slots++
					if slot.Worker == "" {
						kept++
					}
				}
			}
			require.GreaterOrEqual(t, kept, role.Minimum, "role %s", role.Name)
			require.LessOrEqual(t, slots, role.Count, "role %s", role.Name)
		}
	})
}

// TestOpenSlotsAreAsLargeAsTheirRole says.
//
// Seen failing when reopen kept the size that the slot had when it was claimed.
func TestOpenSlotsAreAsLargeAsTheirRole(t *testing.T) {
	everyStep(t, func(t *rapid.T, l *life) {
		for i, slot := range l.Slots {
			if slot.Worker == "" {
				require.Equal(t, l.Definition.Roles[slot.Role].Requests, slot.Requests, "slot %d", i)
			}
		}
	})
}

// TestAnEventTwiceIsTheEventOnce: informers repeat themselves.
//
// Seen failing when place did not look whether the worker was placed already, and when release went from the first slot
// to the last, past those that dropping moves.
func TestAnEventTwiceIsTheEventOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t, 20)
		event := l.drawEvent(t)
		l.step(event)
		before := copyOf(l.Gang)
		changes := l.Step(event)
		require.Empty(t, sum(changes), "%T %+v", event, event)
		require.Empty(t, cmp.Diff(before, l.Gang, same), "%T %+v", event, event)
	})
}

// TestUnplacingUndoesPlacing: a worker that did not keep its node leaves no trace.
//
// Seen failing when unplace reopened the slot on the worker's node instead of its home, and when forget did not count
// the worker out.
func TestUnplacingUndoesPlacing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLife(t, 20)
		before, held := copyOf(l.Gang), maps.Clone(l.held)
		l.step(WorkerPlaced{"new", rapid.SampledFrom(roleNames).Draw(t, "role"), rapid.SampledFrom(nodeNames).Draw(t, "node"), cores(1)})
		l.step(WorkerUnplaced{"new"})
		require.Empty(t, cmp.Diff(before, l.Gang, same))
		require.Empty(t, cmp.Diff(held, l.held))
	})
}

// TestUnseatingUndoesAdmission but for the sizes that real workers have shown meanwhile.
//
// Seen failing when giveBack kept the workers.
func TestUnseatingUndoesAdmission(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &life{Gang: New(Key{"ns", "app"}, "leader"), held: map[string]resource.Vector{}}
		l.step(Defined{drawDefinition(t)})
		before := copyOf(l.Gang)
		l.step(Admitted{drawSlots(t, l.Definition)})
		for range rapid.IntRange(0, 20).Draw(t, "events") {
			switch event := l.drawEvent(t).(type) {
			case Ended, Seated, Measured, Unseated:
			default:
				l.step(event)
			}
		}
		l.step(Unseated{})
		require.Empty(t, l.held)
		require.Empty(t, cmp.Diff(before, l.Gang, same))
	})
}

// TestADefinitionHandedInIsNeverWrittenTo: its maker may use it for more.
//
// Seen failing when measure wrote into the roles it was given.
func TestADefinitionHandedInIsNeverWrittenTo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &life{Gang: New(Key{"ns", "app"}, "leader"), held: map[string]resource.Vector{}}
		d := drawDefinition(t)
		roles := slices.Clone(d.Roles)
		l.step(Defined{d})
		l.step(Admitted{drawSlots(t, d)})
		for range rapid.IntRange(0, 20).Draw(t, "events") {
			l.step(l.drawEvent(t))
		}
		require.Empty(t, cmp.Diff(roles, d.Roles))
	})
}
