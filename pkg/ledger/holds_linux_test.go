package ledger

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
)

// BenchmarkLockHolds measures how long the ledger's lock is held, on 15,000 nodes with 150,000 pods, 1,000 queues in three levels of
// which half have lent what they are guaranteed to the others, and 10,000 gangs that wait, 5,000 of which may take back what was
// lent. One operation is a second of that cluster, as the plugin would tell it: pods change, gangs end and come, whoever is let
// through is tried, whoever is to be evicted leaves, nodes change, a Queue is edited, the clock ticks.
//
// It is measured by the clock, with the collector running; and as the processor's time of the one thread that calls, with the collector
// at rest meanwhile. The second is without the pauses of the collector and the operating system, and hardly depends on what
// else the machine does.
func BenchmarkLockHolds(b *testing.B) {
	for name, quiet := range map[string]bool{"clock": false, "thread": true} {
		b.Run(name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			h := newHolds(b, 15_000, 10, 10_000)
			if quiet {
				defer debug.SetGCPercent(debug.SetGCPercent(-1))
			}
			h.thread, h.began = quiet, time.Now()
			h.mu.watch = h.watch
			for b.Loop() {
				runtime.GC()
				h.second()
			}
			h.report()
		})
	}
}

// hold is one taking of the lock.
type hold struct {
	call   string // of which the lock was taken
	method string // of the ledger, which took it
	took   time.Duration
}

// holds is a large cluster that is busy.
type holds struct {
	*scale
	b       *testing.B
	random  *rand.Rand
	thread  bool          // measure the thread's time on a processor, not the clock's
	began   time.Time     // of the measurement
	call    string        // the method that is called
	since   time.Duration // when the lock was taken
	holds   []hold
	leaves  []string // namespaces, which are named as the queues
	specs   []quota.Spec
	running []running
	leading map[types.UID]Pod // leaders that wait
	sizes   map[types.UID]gang.Definition
	active  []types.UID
	leaving []types.UID
	solver  placement.Solver
	seconds int
}

// running is a gang with its pods, the leader first.
type running []Pod

func newHolds(b *testing.B, nodes, cpu, waiting int) *holds {
	h := &holds{
		scale: &scale{Ledger: New("", placement.Pack), now: start}, b: b, random: rand.New(rand.NewPCG(1, 2)),
		leading: map[types.UID]Pod{}, sizes: map[types.UID]gang.Definition{},
	}
	for i := range nodes {
		h.scale.tell(NodeSeen{newNode(nodeName(i), int64(cpu))})
	}
	for i := range 10 {
		top := fmt.Sprint("q", i)
		h.specs = append(h.specs, quota.Spec{Name: top})
		for j := range 10 {
			middle := fmt.Sprintf("%s-%d", top, j)
			h.specs = append(h.specs, quota.Spec{Name: middle, Parent: top})
			for k := range 9 {
				leaf := fmt.Sprintf("%s-%d", middle, k)
				h.specs = append(h.specs, quota.Spec{Name: leaf, Parent: middle, Guaranteed: cpuOf(nodes*cpu/900 - 1), Limit: cpuOf(nodes * cpu / 10), Reclaim: quota.Reclaim{Enabled: true}})
				h.leaves = append(h.leaves, leaf)
			}
		}
	}
	h.scale.tell(QueuesSeen{h.layout()})
	// Every gang takes ten nodes; those of every second queue have all of them.
	for i := range nodes / 10 {
		namespace := h.leaves[2*i%len(h.leaves)]
		leader := h.podOf(namespace, Leader, fmt.Sprint("app-", i), 1)
		leader.Node = nodeName(10 * i)
		leader.Reservation = &Reservation{Definition: sparkGang(leader.Gang.Name, 10*cpu-1, 1)}
		g := running{leader}
		for w := range 10*cpu - 1 {
			worker := h.podOf(namespace, Worker, leader.Gang.Name, 1)
			worker.Leader, worker.Node = leader.UID, nodeName(10*i+(w+1)/cpu)
			leader.Reservation.Slots = append(leader.Reservation.Slots, Run{Node: worker.Node, Count: 1})
			g = append(g, worker)
		}
		for _, p := range g {
			h.scale.tell(PodSeen{p})
		}
		h.running = append(h.running, g)
	}
	h.scale.tell(Synced{})
	for range waiting {
		h.come()
	}
	h.try(3 * waiting) // whoever is let through has been refused once
	return h
}

func cpuOf(cores int) quota.Amounts { return cpu(int64(cores)) }

// layout is what Queues say; every edit is another one.
func (h *holds) layout() Queues {
	q := Queues{Specs: slices.Clone(h.specs), Namespaces: map[string]string{}}
	for _, leaf := range h.leaves {
		q.Namespaces[leaf] = leaf
	}
	weight := int64(1 + h.seconds%5)
	q.Specs[0].Weight = &weight
	return q
}

func (h *holds) podOf(namespace string, kind Kind, app string, cpu int64) Pod {
	p := h.pod(kind, app, cpu)
	p.Namespace, p.Gang.Namespace = namespace, namespace
	return p
}

// timed is one call of a method of the ledger, which may take the lock several times.
func (h *holds) timed(call string, f func()) {
	h.call = call
	f()
}

// watch notes for how long the lock was held.
func (h *holds) watch(held bool) {
	now := h.clock()
	if held {
		h.since = now
		return
	}
	h.holds = append(h.holds, hold{h.call, holder(), now - h.since})
}

// holder is the method of the ledger that is about to give the lock back.
func holder() string {
	var callers [16]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(4, callers[:])]) // beyond watch and Unlock
	for {
		frame, more := frames.Next()
		if _, method, is := strings.Cut(frame.Function, "ledger.(*Ledger)."); is {
			if method, _, _ = strings.Cut(method, "."); method != "hold" {
				return method
			}
		}
		if !more {
			return ""
		}
	}
}

// clock is the time for differences.
func (h *holds) clock() time.Duration {
	if h.thread {
		return threadTime()
	}
	return time.Since(h.began)
}

// threadTime is how long this thread has run on a processor.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// say applies an event and performs its effects.
func (h *holds) say(event Event) (err error) {
	h.now = h.now.Add(time.Microsecond)
	var effects []Effect
	h.timed(strings.TrimPrefix(fmt.Sprintf("%T", event), "ledger."), func() { effects, err = h.Apply(h.now, judged(h.Ledger, event)) })
	h.perform(effects)
	return err
}

func (h *holds) perform(effects []Effect) {
	for _, effect := range effects {
		switch effect := effect.(type) {
		case Activate:
			h.active = append(h.active, effect.Pod.UID)
		case Define:
			if d, known := h.sizes[effect.Leader.UID]; known {
				_ = h.say(Defined{effect.Leader.UID, d})
			}
		case Evict:
			h.leaving = append(h.leaving, effect.Pod.UID)
		}
	}
}

// come is a gang that is submitted: between 10 and 100 workers of one to four cores, in any queue.
func (h *holds) come() {
	leader := h.podOf(h.leaves[h.random.IntN(len(h.leaves))], Leader, fmt.Sprint("come-", h.serial), 1)
	h.leading[leader.UID] = leader
	h.sizes[leader.UID] = sparkGang(leader.Gang.Name, 10+h.random.IntN(90), int64(1+h.random.IntN(4)))
	_ = h.say(PodSeen{leader})
	h.gate(leader)
}

// gate asks whether a pod may be tried.
func (h *holds) gate(p Pod) {
	var verdict gang.Verdict
	var effects []Effect
	h.timed("Gate", func() { verdict, _, effects = h.Gate(h.now, p) })
	h.perform(effects)
	if verdict.Passes() {
		h.active = append(h.active, p.UID)
	}
}

// try tries at most so many of those who may be.
func (h *holds) try(most int) {
	for range most {
		if len(h.active) == 0 {
			return
		}
		uid := h.active[0]
		h.active = h.active[1:]
		leader, waits := h.leading[uid]
		if !waits {
			continue
		}
		var verdict gang.Verdict
		var effects []Effect
		h.timed("Gate", func() { verdict, _, effects = h.Gate(h.now, leader) })
		h.perform(effects)
		if verdict.Passes() {
			h.attempt(leader)
		}
	}
}

// attempt is a scheduling cycle, and what follows when it ends well.
func (h *holds) attempt(leader Pod) {
	var view *inventory.View
	h.timed("ViewFor", func() { view = h.ViewFor(leader.UID) })
	var demand Demand
	h.timed("Demand", func() { demand, _ = h.Demand(leader.UID) })
	if len(demand.Roles) == 0 {
		return
	}
	role := demand.Roles[0]
	asked := placement.Gang{
		Leader: &placement.Member{Name: "leader", Request: leader.Requests},
		Roles:  []placement.Role{{Member: placement.Member{Name: "worker", Request: role.Requests}, Count: role.Count}},
	}
	fit, _ := h.solver.Fit(view, asked)
	verdict := demand.Verdict
	if verdict.Passes() && fit == nil {
		verdict = gang.Verdict{Reason: gang.ClusterFull, Message: "no room"}
	}
	if !verdict.Passes() {
		_ = h.say(Refused{UID: leader.UID, Epoch: view.Epoch, Verdict: verdict})
		return
	}
	home := 0
	for !fit.LeaderFits(home) {
		home++
	}
	parts, _ := fit.Plan(home)
	var slots []gang.Slot
	for _, part := range parts {
		for range part.Count {
			slots = append(slots, gang.Slot{Role: part.Role, Node: view.Name(part.Node), Requests: role.Requests})
		}
	}
	if h.say(Admitted{Leader: leader.UID, Node: view.Name(home), Slots: slots}) != nil {
		return
	}
	delete(h.leading, leader.UID)
	h.timed("Reservation", func() { h.Reservation(leader.UID) })
	leader.Node, leader.Ready = view.Name(home), true
	_ = h.say(PodSeen{leader})
	g := running{leader}
	for range slots {
		worker := h.podOf(leader.Namespace, Worker, leader.Gang.Name, 1)
		worker.Requests, worker.Leader = role.Requests, leader.UID
		_ = h.say(PodSeen{worker})
		h.timed("Gate", func() { _, _, _ = h.Gate(h.now, worker) })
		var seats Seats
		h.timed("Seats", func() { seats = h.Seats(worker.UID, 4) })
		for node := range seats.Slots {
			worker.Node = node
			break
		}
		if worker.Node == "" {
			h.b.Fatalf("no slot for %s: %v", worker.UID, seats.Verdict)
		}
		_ = h.say(Placed{worker.UID, worker.Node})
		_ = h.say(PodSeen{worker})
		g = append(g, worker)
	}
	h.running = append(h.running, g)
}

// gone ends pods, the leader last, as a driver deletes its executors.
func (h *holds) gone(g running) {
	for _, p := range slices.Backward(g) {
		_ = h.say(PodGone{p.UID})
	}
}

// second is what happens in one.
func (h *holds) second() {
	h.seconds++
	h.now = h.now.Add(time.Second)
	// Those that were evicted have ended.
	leaving := map[types.UID]bool{}
	for _, uid := range h.leaving {
		leaving[uid] = true
	}
	h.leaving = nil
	for i, g := range h.running {
		h.running[i] = slices.DeleteFunc(slices.Clone(g), func(p Pod) bool {
			if !leaving[p.UID] {
				return false
			}
			p.Object = p.Object.DeepCopy()
			p.Object.DeletionTimestamp = &metav1.Time{Time: h.now}
			_ = h.say(PodSeen{p})
			_ = h.say(PodGone{p.UID})
			return true
		})
	}
	h.running = slices.DeleteFunc(h.running, func(g running) bool { return len(g) == 0 })
	// Some gangs end, and as many come.
	for range 5 {
		i := h.random.IntN(len(h.running))
		h.gone(h.running[i])
		h.running = slices.Delete(h.running, i, i+1)
		h.come()
	}
	for range 100 { // a pod's status changes
		g := h.running[h.random.IntN(len(h.running))]
		p := &g[h.random.IntN(len(g))]
		p.Ready = !p.Ready
		_ = h.say(PodSeen{*p})
	}
	h.try(300)
	for i := range 10 { // a node is cordoned, or is well again
		n := newNode(nodeName(h.random.IntN(15_000)), 10)
		n.Spec.Unschedulable = i == 0
		_ = h.say(NodeSeen{n})
	}
	if h.seconds%5 == 0 {
		_ = h.say(QueuesSeen{h.layout()})
		h.timed("Queues", func() { h.Queues() })
		h.timed("Shares", func() { h.Shares() })
	}
	tick := Tick{}
	if h.seconds%sweepSeconds == 0 {
		tick = Tick{Unclaimed: 5 * time.Minute, Collect: 5 * time.Minute}
	}
	_ = h.say(tick)
}

// sweepSeconds is how often the plugin looks at what waits for minutes.
const sweepSeconds = 10

// report prints how long each method held the lock, and all of them.
func (h *holds) report() {
	byCall := map[string][]time.Duration{}
	for _, hold := range h.holds {
		name := hold.call
		if hold.method != "" && hold.method != name && hold.method != "apply" {
			name += "/" + hold.method
		}
		byCall[name] = append(byCall[name], hold.took)
		byCall["all"] = append(byCall["all"], hold.took)
	}
	text := &strings.Builder{}
	for _, call := range slices.Sorted(maps.Keys(byCall)) {
		took := byCall[call]
		slices.Sort(took)
		fmt.Fprintf(text, "\n%-26s %8d times, half %9v, p99.9 %9v, longest %9v", call, len(took), at(took, 0.5), at(took, 0.999), took[len(took)-1])
	}
	h.b.Log(text.String())
	all := byCall["all"]
	h.b.ReportMetric(float64(at(all, 0.999).Microseconds()), "p99.9-µs")
	h.b.ReportMetric(float64(all[len(all)-1].Microseconds()), "longest-µs")
	h.b.ReportMetric(float64(len(all))/float64(h.b.N), "holds/op")
}

// at is a quantile of durations in order.
func at(sorted []time.Duration, share float64) time.Duration {
	return sorted[min(int(share*float64(len(sorted))), len(sorted)-1)].Round(100 * time.Nanosecond)
}
