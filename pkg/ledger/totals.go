package ledger

import (
	"maps"
	"slices"
	"time"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// Prediction is how the first real worker of a role was, beside what was predicted of it.
type Prediction string

// Smaller and Larger are of what it asks for, Elsewhere is of the nodes where it may go.
const (
	Right     Prediction = "Right"
	Smaller   Prediction = "Smaller"
	Larger    Prediction = "Larger"
	Elsewhere Prediction = "Elsewhere"
)

// Repair is what the ledger did because nodes, or pods that are bound, were not as they should be.
type Repair string

const (
	// SlotMoved: a node could not keep a slot, and another does.
	SlotMoved Repair = "SlotMoved"
	// SlotHomeless: a node could not keep a slot, and no other had the room then.
	SlotHomeless Repair = "SlotHomeless"
	// GangCompleted: some pods of a gang without a leader were bound, and others not, when they were first seen.
	GangCompleted Repair = "GangCompleted"
)

// Cause is why slots were given up that no worker had claimed.
type Cause string

const (
	// Unclaimed: their workers have not come.
	Unclaimed Cause = "Unclaimed"
	// LeaderUnready: their leader was not ready for too long.
	LeaderUnready Cause = "LeaderUnready"
	// NoRoom: workers are larger than predicted.
	NoRoom Cause = "NoRoom"
	// TakenBack: others have taken them back.
	TakenBack Cause = "TakenBack"
)

// Lost is what was taken back of the pods of a queue.
type Lost struct {
	Pods int
	// CoreSeconds are what they had asked for while they ran.
	CoreSeconds float64
}

// Begun is of a gang, or of a pod by itself, that has been bound: Waited until it had room, and Bound from then on. Queue is as in Totals.
type Begun struct {
	Queue         string
	Waited, Bound time.Duration
}

// mostStarts bounds how many of Begun are kept for whoever asks; those that come when there are so many are forgotten.
const mostStarts = 1 << 14

// Totals are what has happened since the ledger was made. Queues are those that somebody has written: what happens in a queue of a
// namespace is counted in the Queue that it was made by.
type Totals struct {
	Reclaimed   map[string]Lost // queue -> sum
	Predictions map[Prediction]int
	Repairs     map[Repair]int
	Released    map[Cause]int // slots
}

// totals only grow, but for those of queues that are gone.
type totals struct {
	Totals
	starts []Begun
}

func newTotals() *totals {
	return &totals{Totals: Totals{Reclaimed: map[string]Lost{}, Predictions: map[Prediction]int{}, Repairs: map[Repair]int{}, Released: map[Cause]int{}}}
}

// lose counts a pod that was evicted for somebody else.
func (t *totals) lose(queue string, p *pod, now time.Time) {
	lost := t.Reclaimed[queue]
	lost.Pods++
	lost.CoreSeconds += float64(p.Requests.CPU) / 1000 * max(now.Sub(p.started), 0).Seconds()
	t.Reclaimed[queue] = lost
}

// start takes that a gang or a pod by itself, of which this is the first, was bound a while after it had room.
func (t *totals) start(queue string, created, room, now time.Time) {
	if len(t.starts) < mostStarts {
		t.starts = append(t.starts, Begun{queue, max(room.Sub(created), 0), max(now.Sub(room), 0)})
	}
}

// predict compares a real worker with what was predicted of it.
func (t *totals) predict(predicted, real resource.Vector, elsewhere bool) {
	switch {
	case elsewhere:
		t.Predictions[Elsewhere]++
	case !real.Fits(predicted):
		t.Predictions[Larger]++
	case !real.Equal(predicted):
		t.Predictions[Smaller]++
	default:
		t.Predictions[Right]++
	}
}

// keep forgets queues that are gone.
func (t *totals) keep(specs []quota.Spec) {
	if len(t.Reclaimed) == 0 {
		return
	}
	known := map[string]bool{quota.Unassigned: true}
	for _, spec := range specs {
		known[spec.Name] = true
	}
	maps.DeleteFunc(t.Reclaimed, func(queue string, _ Lost) bool { return !known[queue] })
}

// TotalsOf are what has happened so far, and what has started since somebody asked last.
func TotalsOf(l *Ledger) (Totals, []Begun) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.totals
	starts := t.starts
	t.starts = nil
	return Totals{maps.Clone(t.Reclaimed), maps.Clone(t.Predictions), maps.Clone(t.Repairs), maps.Clone(t.Released)}, starts
}

// State is how a gang stands. Pods by themselves are none.
type State string

const (
	// Forming: it is not known yet what the gang asks for, or another with its name runs.
	Forming State = "Forming"
	// Invalid: it can never start as it is.
	Invalid State = "Invalid"
	// Held: its user does not want it to start yet.
	Held State = "Held"
	// Waiting: for room, or for its turn.
	Waiting State = "Waiting"
	// Starting: it has its room, and its leader is not ready.
	Starting State = "Starting"
	// Running: it has all that it asks for, or has given up what did not come.
	Running State = "Running"
	// Degraded: it runs, and a slot has no node.
	Degraded State = "Degraded"
)

// States are all of them.
var States = []State{Forming, Invalid, Held, Waiting, Starting, Running, Degraded}

// Crew are the gangs of a queue and of those below it.
type Crew struct {
	States map[State]int
	// Open slots, and what they keep.
	Open int
	Held resource.Vector
	// Partial gangs run without all that start together, as none ever should for more than a moment.
	Partial int
}

// count adds a gang.
func (c *Crew) count(l *Ledger, e *entry) {
	if c.States == nil {
		c.States = map[State]int{}
	}
	_, degraded := l.slots.degraded[e]
	c.States[e.state(degraded)]++
	_, open := e.Counts()
	c.Open += open
	c.Held = c.Held.Add(e.open)
	if l.members.partial(e) {
		c.Partial++
	}
}

// add adds those of a queue below. Copies of c are as they were.
func (c *Crew) add(other Crew) {
	if c.States = maps.Clone(c.States); c.States == nil {
		c.States = map[State]int{}
	}
	for state, number := range other.States {
		c.States[state] += number
	}
	c.Open, c.Held, c.Partial = c.Open+other.Open, c.Held.Add(other.Held), c.Partial+other.Partial
}

func (e *entry) state(degraded bool) State {
	switch {
	case e.Phase == gang.Invalid:
		return Invalid
	case e.Phase == gang.Waiting && e.leader.Held:
		return Held
	case e.Phase == gang.Waiting:
		return Waiting
	case !e.runs():
		return Forming
	case degraded:
		return Degraded
	case e.Phase == gang.Running && !e.leader.Ready || e.Phase != gang.Running:
		return Starting
	default:
		return Running
	}
}

// partial tells whether a gang runs without all that start together: a leader that is bound and whose workers have no slots, or pods of a
// gang without a leader of which others have never been bound.
func (m *members) partial(e *entry) bool {
	if e.upfront == nil {
		return e.leader.bound && e.Phase == gang.Waiting && m.gangOf(e.leader) == e
	}
	a := m.apps[e.Key]
	return a != nil && a.bound > 0 && !e.whole(a) && !slices.Contains([]gang.Phase{gang.Invalid, gang.Done}, e.Phase)
}

// whole tells whether as many pods of an up-front gang as start together have been bound at one time, or were so before this process. Of one
// that nobody declares, and that runs, nobody knows of more.
func (e *entry) whole(a *app) bool {
	u := e.upfront
	u.whole = u.whole || u.group.Started || a.bound >= u.group.Minimum && (u.group.Minimum > 0 || e.Phase == gang.Running)
	return u.whole
}
