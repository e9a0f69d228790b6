package sparksim

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/spark"
)

// driver is one Spark driver at work: what it has asked for and how far its work is. It is pure: step takes the time
// and what is there, and returns what to do.
type driver struct {
	pod      *v1.Pod
	role     *gang.Role // of its executors; nil means that it works alone
	settings settings
	prefix   string // of the names of its executors
	started  time.Time

	lastID    int
	lastRound time.Time
	// unseen is id -> time of creation of executors that were created and that the API has not shown yet.
	unseen map[int]time.Time
	// failed holds the executors that were counted as failures and still exist.
	failed   map[types.UID]bool
	failures int
	// surplus is since when there are more executors than wanted; zero means there are not.
	surplus time.Time
	work    work
}

// plan is what a driver wants done.
type plan struct {
	create []int     // ids of executors
	remove []*v1.Pod // executors to delete
	end    v1.PodPhase
	// wake is when to look again even if nothing happens; zero means there is nothing to wait for.
	wake time.Time
}

// wakeAt moves the wake-up to t if that is earlier.
func (p *plan) wakeAt(t time.Time) {
	if p.wake.IsZero() || t.Before(p.wake) {
		p.wake = t
	}
}

// census sorts a driver's executors by how they are.
type census struct {
	pending, running []*v1.Pod
	ended            []*v1.Pod // Succeeded or Failed
}

// countExecutors leaves out executors that are being deleted: Spark does not reckon with them any more.
func countExecutors(executors []*v1.Pod) census {
	var c census
	for _, executor := range executors {
		switch {
		case executor.Status.Phase == v1.PodSucceeded || executor.Status.Phase == v1.PodFailed:
			c.ended = append(c.ended, executor)
		case executor.DeletionTimestamp != nil:
		case executor.Status.Phase == v1.PodRunning:
			c.running = append(c.running, executor)
		default:
			c.pending = append(c.pending, executor)
		}
	}
	return c
}

// step looks at a driver's executors and says what it does now.
func (d *driver) step(now time.Time, script script, executors []*v1.Pod) plan {
	for _, executor := range executors {
		delete(d.unseen, executorID(executor))
	}
	l := look{driver: d, now: now, script: script, census: countExecutors(executors)}
	if d.tooManyFailures(l.ended) {
		return plan{end: v1.PodFailed}
	}
	if d.work.advance(now, l.workers(), d.total(script)) {
		return plan{end: script.outcome}
	}
	l.wakeForWork()
	l.removeEnded()
	l.allocate()
	return l.plan
}

// look is one look of a driver at the world, and the plan it makes.
type look struct {
	*driver
	now    time.Time
	script script
	census
	plan plan
}

func (l *look) removeEnded() {
	for _, executor := range l.ended {
		if l.settings.deleteEnded && executor.DeletionTimestamp == nil {
			l.plan.remove = append(l.plan.remove, executor)
		}
	}
}

// tooManyFailures counts each failed executor once.
func (d *driver) tooManyFailures(ended []*v1.Pod) bool {
	still := make(map[types.UID]bool, len(d.failed))
	for _, executor := range ended {
		if executor.Status.Phase != v1.PodFailed {
			continue
		}
		still[executor.UID] = true
		if !d.failed[executor.UID] {
			d.failures++
		}
	}
	d.failed = still
	return d.failures > d.settings.maxFailures
}

// target is how many executors the driver wants.
func (d *driver) target(script script) int {
	if d.role == nil {
		return 0
	}
	wanted := d.role.Count
	if !d.elastic() {
		return wanted
	}
	if d.work.begun {
		wanted = max(1, wanted)
		if script.executors != nil {
			wanted = max(*script.executors, d.role.Minimum)
		}
	}
	if d.role.Maximum != nil {
		wanted = min(wanted, *d.role.Maximum)
	}
	return wanted
}

// elastic tells whether the number of executors changes: dynamic allocation.
func (d *driver) elastic() bool {
	return d.role.Minimum != d.role.Count || d.role.Maximum == nil || *d.role.Maximum != d.role.Count
}

// allocate is one look of Spark's allocator at its executors: at most one batch per round, and no round while
// executors of the last one have not shown up.
func (l *look) allocate() {
	for id, created := range l.unseen {
		if due := created.Add(l.settings.creationTimeout); l.now.Before(due) {
			l.plan.wakeAt(due)
		} else {
			delete(l.unseen, id)
		}
	}
	target := l.target(l.script)
	known := len(l.pending) + len(l.running) + len(l.unseen)
	l.trim(known - target)
	if known >= target || len(l.unseen) > 0 {
		return
	}
	if due := l.lastRound.Add(l.settings.batchDelay); !l.lastRound.IsZero() && l.now.Before(due) {
		l.plan.wakeAt(due)
		return
	}
	batch := min(target-known, l.settings.batchSize, l.settings.maxPending-len(l.pending))
	for range batch {
		l.lastID++
		l.unseen[l.lastID] = l.now
		l.plan.create = append(l.plan.create, l.lastID)
	}
	if batch > 0 {
		l.lastRound = l.now
		l.plan.wakeAt(l.now.Add(l.settings.batchDelay))
	}
}

// trim deletes executors that have been too many for a while, first those that do not run, then the youngest.
func (l *look) trim(excess int) {
	if excess <= 0 {
		l.surplus = time.Time{}
		return
	}
	if l.surplus.IsZero() {
		l.surplus = l.now
	}
	if due := l.surplus.Add(l.settings.idleTimeout); l.now.Before(due) {
		l.plan.wakeAt(due)
		return
	}
	youngest := func(a, b *v1.Pod) int { return cmp.Compare(executorID(b), executorID(a)) }
	slices.SortFunc(l.pending, youngest)
	slices.SortFunc(l.running, youngest)
	candidates := append(slices.Clone(l.pending), l.running...)
	l.plan.remove = append(l.plan.remove, candidates[:min(excess, len(candidates))]...)
}

// executorID is the number of an executor; 0 means it has none.
func executorID(executor *v1.Pod) int {
	id, err := strconv.ParseInt(executor.Labels[spark.LabelExecutorID], 10, 32)
	if err != nil {
		return 0
	}
	return int(id)
}

// total is the work of the whole application, in seconds of one executor.
func (d *driver) total(script script) float64 {
	if script.endless {
		return math.Inf(1)
	}
	return script.runTime.Seconds() * float64(d.crew())
}

// crew is how many executors the run time of the application is meant for. A driver without executors does the work
// of one.
func (d *driver) crew() int {
	if d.role == nil {
		return 1
	}
	return max(1, d.role.Count)
}

// workers is how many executors work: none before enough of them have registered or Spark has waited long enough.
func (l *look) workers() int {
	switch {
	case l.role == nil:
		l.work.begun = true
		return 1
	case float64(len(l.running)) >= l.settings.registeredRatio*float64(l.role.Count),
		!l.now.Before(l.started.Add(l.settings.registeredTimeout)):
		l.work.begun = true
	}
	if !l.work.begun {
		return 0
	}
	return len(l.running)
}

// wakeForWork asks for a look when work begins without all executors, or when it is done if nothing changes.
func (l *look) wakeForWork() {
	if !l.work.begun {
		l.plan.wakeAt(l.started.Add(l.settings.registeredTimeout))
		return
	}
	if left := l.work.left(l.total(l.script)); !math.IsInf(left, 1) {
		l.plan.wakeAt(l.now.Add(time.Duration(math.Ceil(left * float64(time.Second)))))
	}
}

// work is how far an application is.
type work struct {
	begun bool // the application works, with whatever executors it has
	done  float64
	since time.Time // up to which done is counted
	rate  int       // executors at work since then
}

// advance counts the work done until now, goes on with workers, and tells whether nothing is left of the total.
func (w *work) advance(now time.Time, workers int, total float64) bool {
	if !w.since.IsZero() {
		w.done += now.Sub(w.since).Seconds() * float64(w.rate)
	}
	w.since, w.rate = now, workers
	const rounding = 1e-9 // seconds
	return w.done >= total-rounding
}

// left is how many seconds the rest of the work takes; infinite if nobody works.
func (w *work) left(total float64) float64 {
	if w.rate == 0 {
		return math.Inf(1)
	}
	return (total - w.done) / float64(w.rate)
}
