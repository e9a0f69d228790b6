package sim

import (
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
)

// World is one seed being played.
type World struct {
	seed    uint64
	options Options
	// quiesce returns when every other goroutine of the simulation is blocked: testing/synctest.Wait.
	quiesce func()
	chance  chance
	climate climate
	// layout is the queues as they are; replicas hear of them later.
	layout ledger.Queues

	agenda agenda
	desk   *desk
	trace  *trace
	api    *api
	// replicas are the schedulers that live.
	replicas []*replica
	// generation counts the schedulers that were ever started.
	generation int
	apps       []*application
	// owners are the applications of drivers and executors: pod -> application.
	owners map[types.UID]*application
	crews  []*crew
	// members are the crews of executors without a driver: pod -> crew.
	members map[types.UID]*crew
	// released are leaders whose gangs have said that they gave back slots that nobody claimed.
	released map[types.UID]bool
	// jobs are pods that a Job replaces when they are evicted, and what they ask for.
	jobs map[types.UID]size
	// bequeathed is what others have had to go for while the last scheduler led that was killed.
	bequeathed []*claim
	// cloud is where nodes can be bought; nil where there is no autoscaler.
	cloud *cloud
	// daemon is the one that is being played; nil most of the time.
	daemon *daemon
	// usurped are pods that another scheduler has bound.
	usurped map[types.UID]bool
	// strangers are pods of somebody who may hurt nobody but itself, and unready those of them that never become ready.
	strangers, unready map[types.UID]bool
	// mistaken are those of them that ask for what nobody may.
	mistaken map[types.UID]bool
	// dead are nodes whose kubelet does not run.
	dead map[string]bool

	act   act
	stats Stats
	// touched is when something other than an idle entry last happened.
	touched time.Time
	// moved is when an object last came, went, or was bound or told to go.
	moved time.Time
	timer *time.Timer
	// main is the goroutine that plays.
	main uint64
}

// act is a part of a seed.
type act int

const (
	storm act = iota // workload comes, faults happen
	calm             // no workload, no faults; what runs ends one by one
	end              // everything is deleted
)

// Options select what a seed does; the zero value is everything.
type Options struct {
	// Without are faults that do not happen.
	Without map[Fault]bool
	// Rigid means that there is no autoscaler.
	Rigid bool
	// Tricks are what strangers try; empty means everything.
	Tricks map[string]bool
	// Ignore are invariants that may be broken.
	Ignore map[string]bool
	// Trace is given every line; nil means that nobody reads them.
	Trace func(string)
}

// Result is how a seed went.
type Result struct {
	Seed uint64
	// Sum is equal for runs that did the same.
	Sum   uint64
	Stats Stats
	// Invariant is the one that broke, and Violation says how; both are empty when all held.
	Invariant, Violation string
	// Tail is the end of the trace.
	Tail []string
}

// newWorld is a world in which nothing exists yet. quiesce is testing/synctest.Wait: the caller runs it in a bubble.
func newWorld(seed uint64, options Options, quiesce func()) *World {
	w := &World{
		seed: seed, options: options, quiesce: quiesce,
		chance: newChance(seed), desk: newDesk(), main: goroutine(),
		owners: map[types.UID]*application{}, members: map[types.UID]*crew{}, dead: map[string]bool{}, released: map[types.UID]bool{}, usurped: map[types.UID]bool{}, jobs: map[types.UID]size{}, strangers: map[types.UID]bool{}, unready: map[types.UID]bool{}, mistaken: map[types.UID]bool{},
	}
	w.timer = time.NewTimer(time.Hour)
	w.trace = newTrace(time.Now(), options.Trace)
	w.api = newAPI(w)
	return w
}

// close ends every process and every goroutine of the world.
func (w *World) close() {
	w.timer.Stop()
	for len(w.replicas) > 0 {
		w.replicas[0].stop()
	}
	w.settle() // what has been asked for meanwhile is refused, and the last goroutines end
}

// Run plays a seed. quiesce is testing/synctest.Wait: the caller runs it in a bubble.
func Run(seed uint64, options Options, quiesce func()) (result Result) {
	w := newWorld(seed, options, quiesce)
	defer func() {
		result = Result{Seed: seed, Sum: w.trace.sum.Sum64(), Stats: w.stats, Tail: w.trace.tail()}
		switch reason := recover().(type) {
		case nil:
		case violation:
			result.Invariant, result.Violation = reason.invariant, reason.text
		default:
			result.Invariant = "panic"
			result.Violation = fmt.Sprintf("panic: %v\n%s", reason, debug.Stack())
		}
		w.close()
	}()
	w.climate = w.drawClimate()
	if w.climate.queues {
		w.layout = w.drawQueues()
	}
	if w.climate.elastic {
		w.cloud = w.newCloud()
	}
	w.play()
	return result
}

// violation is a broken invariant.
type violation struct{ invariant, text string }

// fail ends the seed because an invariant is broken; one that is to be ignored is only counted.
func (w *World) fail(invariant, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if w.options.Ignore[invariant] {
		w.stats.Ignored++
		return
	}
	w.trace.add("VIOLATION %s: %s", invariant, text)
	panic(violation{invariant, text})
}

// after lets something happen later.
func (w *World) after(delay time.Duration, do func()) {
	w.agenda.add(&entry{at: time.Now().Add(delay), do: do})
}

// idly lets something happen later that means nothing by itself.
func (w *World) idly(delay time.Duration, do func()) {
	w.agenda.add(&entry{at: time.Now().Add(delay), do: do, idle: true})
}

// until plays until the given time.
func (w *World) until(deadline time.Time) {
	for w.step(deadline) {
	}
}

// step lets the next thing happen, unless it is after the deadline, and tells whether one did.
func (w *World) step(deadline time.Time) bool {
	for {
		w.settle()
		at := deadline
		next := w.agenda.next()
		if next != nil && next.at.Before(deadline) {
			at = next.at
		}
		if wait := time.Until(at); wait > 0 {
			// The goroutines of the plugin have timers as well, and what they ask for comes in between.
			w.timer.Reset(wait)
			select {
			case <-w.timer.C:
			case <-w.desk.wake:
			}
			continue
		}
		if next == nil || next.at.After(deadline) {
			return false
		}
		w.agenda.pop()
		if !next.idle {
			w.touched = time.Now()
		}
		w.stats.Events++
		next.do()
		w.settle()
		w.check()
		for _, r := range w.replicas {
			r.wake()
		}
		return true
	}
}

// quiet plays until nothing has happened for a while; a scheduler that never comes to rest is broken.
// An autoscaler is asked again and again, so that with many who wait something happens all the time: it is quiet as well when nothing but that
// has happened for onlyAsked. Seed 20000172.
func (w *World) quiet(period time.Duration) {
	const most = 50_000
	w.touched, w.moved = time.Now(), time.Now()
	for range most {
		if w.cloud != nil && time.Since(w.moved) > onlyAsked {
			return
		}
		deadline := w.touched.Add(period)
		if w.agenda.busy > 0 {
			deadline = time.Now().Add(time.Hour)
		}
		if !w.step(deadline) {
			return
		}
	}
	w.fail("rest", "never at rest: %d events after the last thing from outside, something still happens", most)
}

// settle waits until the goroutines of all replicas are blocked, and takes what they ask for.
func (w *World) settle() {
	for {
		w.quiesce()
		calls, notes := w.desk.take()
		for _, n := range notes {
			w.noted(n)
		}
		if len(calls) == 0 {
			return
		}
		for _, c := range calls {
			c.replica.dirty = true
			w.route(c)
		}
	}
}

// noted takes what a replica has said.
func (w *World) noted(n note) {
	w.trace.add("%s: says %s", n.replica.name, n.text)
	n.replica.dirty = true
	if n.about != nil {
		n.replica.checkWords(n.about.Namespace, n.said)
	}
	switch n.reason {
	case "":
		w.stats.Errors++
	case string(gang.SlotsReleased):
		w.released[n.about.UID] = true
	case string(gang.Degraded):
		// What the first executor needs more than was predicted is not sought again.
		w.released[n.about.UID] = w.released[n.about.UID] || strings.Contains(n.text, "open slots are released")
	}
}

// route decides when a call is served and answered, and whether it fails.
func (w *World) route(c *call) {
	if c.replica.stopped.Load() {
		w.answer(c, errStopped)
		return
	}
	switch c.kind {
	case callLocal:
		w.answer(c, c.serve())
		return
	case callDone:
		w.answer(c, c.serve())
		return
	}
	c.replica.outstanding = append(c.replica.outstanding, c)
	fate := w.fate(c)
	c.asked = time.Now()
	w.agenda.add(&entry{at: time.Now().Add(w.travel(c.kind)), idle: fate.idle, do: func() { w.serve(c, fate) }})
}

// serve lets a call take effect and sends the answer.
func (w *World) serve(c *call, fate fate) {
	if c.answered && !fate.lands {
		return
	}
	err := fate.refusal
	if err == nil {
		err = c.serve()
	}
	w.trace.add("%s %s %s: %v", c.replica.name, c.kind, c.key, errorText(err))
	if err == nil && fate.loss != nil {
		w.trace.add("%s %s %s: the answer is lost", c.replica.name, c.kind, c.key)
		err = fate.loss
	}
	if c.kind == callActivate {
		w.answer(c, err)
		return
	}
	w.agenda.add(&entry{at: time.Now().Add(w.travel(c.kind)), idle: fate.idle, do: func() { w.answer(c, err) }})
}

// answer ends a call.
func (w *World) answer(c *call, err error) {
	if c.answered {
		return
	}
	c.answered = true
	c.replica.forget(c)
	if c.answer != nil {
		c.answer <- err
		w.quiesce()
	}
	if c.then != nil && !c.replica.stopped.Load() {
		c.then(err)
	}
}

func errorText(err error) string {
	if err == nil {
		return "ok"
	}
	return err.Error()
}
