package gang

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// same compares gangs with everything in them but a bound that only saves time.
var same = cmp.Options{cmp.AllowUnexported(Gang{}, worker{}, tally{}), cmpopts.IgnoreFields(tally{}, "first"), cmpopts.EquateEmpty()}

// TestEveryEventInEveryPhase is the whole state machine. A cell says what the event comes to in a gang that is in the
// phase of its column: the next phase, and what its slots hold more or less on which node. A dot means that nothing at
// all changes. What the gangs look like is said by in.
func TestEveryEventInEveryPhase(t *testing.T) {
	columns := []Phase{Forming, Invalid, Waiting, Reserved, Running, Done}
	rows := map[string]struct {
		event Event
		want  string // one cell for each column, separated by |
	}{
		"defined":                       {Defined{twoRoles()}, "Waiting | Waiting | . | . | . | ."},
		"refuted":                       {Refuted{"no such thing"}, "Invalid | . | Invalid | . | . | ."},
		"admitted":                      {Admitted{seats()}, ". | . | Reserved a +cpu 4, b +cpu 3 | . | . | ."},
		"unseated":                      {Unseated{}, ". | . | . | Waiting a -cpu 4, b -cpu 1 | . | ."},
		"seated":                        {Seated{}, ". | . | . | Running | . | ."},
		"ended":                         {Ended{}, "Done | Done | Done | Done a -cpu 4, b -cpu 1 | Done a -cpu 4, b -cpu 1 | ."},
		"worker placed on its slot":     {placed("v", "a"), ". | . | . | Reserved a -cpu 2 | Running a -cpu 2 | ."},
		"worker placed elsewhere":       {placed("v", "c"), ". | . | . | Reserved a -cpu 2 | Running a -cpu 2 | ."},
		"worker placed twice":           {placed("w", "a"), ". | . | . | . | . | ."},
		"worker of no role placed":      {WorkerPlaced{"v", "driver", "a", cores(2)}, ". | . | . | Reserved | Running | ."},
		"worker unplaced":               {WorkerUnplaced{"w"}, ". | . | . | Reserved b +cpu 2 | Running b +cpu 2 | ."},
		"worker never placed unplaced":  {WorkerUnplaced{"v"}, ". | . | . | . | . | ."},
		"worker gone above the minimum": {WorkerGone{"w"}, ". | . | . | Reserved | Running | ."},
		"worker never placed gone":      {WorkerGone{"v"}, ". | . | . | . | . | ."},
		"open slot moved":               {SlotMoved{0, "c"}, ". | . | . | Reserved a -cpu 2, c +cpu 2 | Running a -cpu 2, c +cpu 2 | ."},
		"open slot lost its room":       {SlotMoved{0, ""}, ". | . | . | Reserved nowhere +cpu 2, a -cpu 2 | Running nowhere +cpu 2, a -cpu 2 | ."},
		"open slot moved to its place":  {SlotMoved{0, "a"}, ". | . | . | . | . | ."},
		"claimed slot moved":            {SlotMoved{2, "c"}, ". | . | . | . | . | ."},
		"slot that is not there moved":  {SlotMoved{4, "c"}, ". | . | . | . | . | ."},
		"slot before the first moved":   {SlotMoved{-1, "c"}, ". | . | . | . | . | ."},
		"measured larger":               {Measured{Role: "executor", Requests: cores(3)}, ". | . | . | Reserved a +cpu 2 | Running a +cpu 2 | ."},
		"measured of no role":           {Measured{Role: "driver", Requests: cores(3)}, ". | . | . | . | . | ."},
		"restored, and nothing missing": {Restored{}, ". | . | . | . | . | ."},
		"released":                      {Released{}, ". | . | . | Reserved a -cpu 4, b -cpu 1 | Running a -cpu 4, b -cpu 1 | ."},
	}
	for name, row := range rows {
		cells := strings.Split(row.want, "|")
		require.Len(t, cells, len(columns), name)
		for i, phase := range columns {
			t.Run(name+" in "+string(phase), func(t *testing.T) {
				g := in(phase)
				before := copyOf(g)
				changes := g.Step(row.event)
				want := strings.TrimSpace(cells[i])
				if want == "." {
					assert.Empty(t, changes)
					assert.Empty(t, cmp.Diff(before, g, same), "an event that means nothing changes nothing")
					return
				}
				assert.NotEmpty(t, cmp.Diff(before, g, same), "the event changes something")
				assert.Equal(t, want, strings.TrimSpace(string(g.Phase)+" "+show(sum(changes))))
			})
		}
	}
}

func TestAnUnknownEventPanics(t *testing.T) {
	assert.PanicsWithValue(t, "gang: event gang.unknown is not known", func() { in(Running).Step(unknown{}) })
}

type unknown struct{}

func (unknown) gangEvent() {}

func TestANewDefinitionTakesTheProblemAwayAndARefutedOneNamesIt(t *testing.T) {
	g := in(Waiting)
	g.Step(Refuted{"too many"})
	assert.Equal(t, "too many", g.Problem)
	g.Step(Defined{twoRoles()})
	assert.Empty(t, g.Problem)
	assert.Equal(t, Waiting, g.Phase)
}

func TestANewDefinitionReplacesTheFormer(t *testing.T) {
	g := in(Waiting)
	g.Step(Defined{Definition{Roles: []Role{{Name: "a"}, {Name: "b"}, {Name: "executor", Count: 1, Minimum: 1, Requests: cores(1)}}}})
	g.Step(Admitted{[]Slot{{Role: 2, Node: "a", Requests: cores(1)}}})
	assert.Equal(t, "a +cpu 2", show(sum(g.Step(Measured{Role: "executor", Requests: cores(3)}))), "the new roles have not been measured yet")
	g.Step(placed("w", "a"))
	assert.Equal(t, 1, g.Live())
}

func TestOnlyAdmittedPhasesHold(t *testing.T) {
	for phase, want := range map[Phase]string{Forming: "nothing", Invalid: "nothing", Waiting: "nothing", Reserved: "cpu 5", Running: "cpu 5", Done: "nothing"} {
		assert.Equal(t, want, in(phase).Held().String(), phase)
		assert.Equal(t, want != "nothing", phase.Admitted(), phase)
	}
}

func TestAGangAdmittedAgainStartsAfresh(t *testing.T) {
	g := in(Reserved)
	g.Step(Unseated{})
	assert.Zero(t, g.Live())
	changes := g.Step(Admitted{seats()})
	assert.Equal(t, "a +cpu 4, b +cpu 3", show(sum(changes)))
	claimed, open := g.Counts()
	assert.Equal(t, []int{0, 4}, []int{claimed, open})
	g.Step(placed("w", "b"))
	assert.Equal(t, 1, g.Live())
}
