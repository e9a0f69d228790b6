package waiting

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

const (
	// retryPeriod is after how long a signature is due again although nothing has happened that the Room hears of, if the
	// framework's filters have refused it: pods come and go, claims, volumes and namespaces change, and the scheduler's snapshot
	// may not have known yet what the ledger knew. Up to half as long again is added, so that not all are due at once.
	retryPeriod = 10 * time.Second
	// timedRetries is how many signatures of one namespace that may be true of: of more, each is due as much later.
	timedRetries = 100
	// restFactor is how many times as long as a rehearsal took nobody who waits is rehearsed after it: those who fail again
	// and again keep the scheduler from everybody else for a twentieth of the time at most.
	restFactor = 19
	// CostlyAnswer is from when on those rest alone who asked, and the others of their namespace that ask for several roles: a gang of many
	// roles on many nodes. Cheaper ones are taken together.
	CostlyAnswer = 10 * time.Millisecond
	// namespaceFactor is how many times as long as a rehearsal, or a costly answer, took nobody of the same namespace is rehearsed or
	// costly again, whatever came of it, and failedFactor if a rehearsal failed; up to longestNamespaceRest. So one namespace has a tenth of all
	// such work at most, and of rehearsals in vain a tenth of the twentieth.
	namespaceFactor      = 9
	failedFactor         = 10 * restFactor
	longestNamespaceRest = time.Minute
	// longestMemory is for how long it is known that a namespace was rehearsed, so that others go first.
	longestMemory = time.Hour
)

// signature is the waiters that ask nodes for exactly the same, whatever their queues.
type signature struct {
	key    string
	demand resource.Vector   // of a whole gang
	pods   []resource.Vector // what its pods ask for, each size once
	// waiters are how many, and groups those of them that are passed over because of the signature.
	waiters int
	groups  list

	// tried is the latest epoch by which an attempt was judged that has failed, failed when it was told; zero means none.
	tried  uint64
	failed time.Time
	// pass in which that was.
	pass uint64
	// gained is the latest epoch in which something happened that may change the verdict, as far as it was looked for.
	gained    uint64
	verdict   gang.Verdict
	rehearsed bool
	cost
	// due means that another attempt may end otherwise.
	due bool
	// retry is when it is due although nothing happens; zero means never.
	retry time.Time
	// notBefore is until when it is not tried, whatever happens; zero means that it may be.
	notBefore time.Time

	standing
}

// cost is what answers for a signature may cost others.
type cost struct {
	// timedIn is the namespace among whose signatures it counts that are due again although nothing happens; empty means that it does not.
	timedIn string
	// rehearses means that its waiters have to be rehearsed, and costlyIn is their namespace if that, or laying them out, may take long;
	// else empty.
	rehearses bool
	costlyIn  string
}

// lacksRoom tells whether the signature lacks nothing but room on nodes.
func (s *signature) lacksRoom() bool {
	return s.verdict.OfRoom()
}

// tooLarge tells whether it is one pod that no node could hold whatever is on it, and nothing else was in its way: a node that changes
// helps only if it has room for it. A gang is tried all the same: how it goes on asking an autoscaler depends on what an attempt finds.
func (s *signature) tooLarge() bool {
	return s.demand.Pods == 1 && s.verdict.Reason.Trait().OfSize && s.timedIn == ""
}

// helped tells whether another attempt may end otherwise because some nodes have gained, of which none has more free than most, or have
// changed so that they open to some pods.
func (s *signature) helped(kind Change, most resource.Vector, opens func(pod resource.Vector) bool) bool {
	switch {
	case s.verdict.Permanent() && kind == Nodes:
		return !s.tooLarge() || opens(s.demand)
	case s.verdict.Permanent():
		return false
	case kind == Nodes && !s.lacksRoom():
		return true
	default:
		return slices.ContainsFunc(s.pods, func(pod resource.Vector) bool { return pod.Fits(most) })
	}
}

// affordable tells whether it may be worth while to try a due signature with so much free in all: its demand fits that, which is
// necessary though not sufficient. One that lacked something else than room on the nodes as they were is tried anyway: others
// make room only for who lacks nothing but that.
func (s *signature) affordable(free resource.Vector, nodes uint64) bool {
	return s.demand.Fits(free) || !s.lacksRoom() && s.tried < nodes
}

// restsTogether tells whether it may have to rest after others.
func (s *signature) restsTogether() bool { return s.rehearsed || s.rehearses || s.costlyIn != "" }

// jitter is between 0 and half of the retryPeriod, always the same for a signature.
func (s *signature) jitter() time.Duration {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(s.key))
	return time.Duration(hash.Sum32()) % (retryPeriod / 2)
}

// retryIn counts a signature among those of a namespace that are due again although nothing happens, or with the empty namespace not any
// more, and is after how long it is: one namespace has ten attempts a second for that at most, whatever it has waiting. Zero means never.
func (p *passes) retryIn(s *signature, namespace string) time.Duration {
	if s.timedIn != namespace {
		if s.timedIn != "" {
			if p.timed[s.timedIn]--; p.timed[s.timedIn] == 0 {
				delete(p.timed, s.timedIn)
			}
		}
		if s.timedIn = namespace; namespace != "" {
			p.timed[namespace]++
		}
	}
	if namespace == "" {
		return 0
	}
	return (retryPeriod + s.jitter()) * time.Duration(max(timedRetries, p.timed[namespace])) / timedRetries
}

// Change is what has happened.
type Change int

const (
	// Sums: what is free in all may be more than it was, though no node has gained.
	Sums Change = iota
	// Freed: room came back on some nodes.
	Freed
	// Nodes: some have changed.
	Nodes
)

// soon is a time that has come.
var soon = time.Unix(0, 0)

// Changed takes what has happened. most is, of every resource, the most that is free on any of the nodes that have gained, and opens tells
// whether a node has changed so that a pod may have room there that had none, were it empty; it is not asked unless Nodes have changed.
func (r *Room) Changed(kind Change, most resource.Vector, opens func(pod resource.Vector) bool) {
	r.stir()
	if kind == Sums {
		return
	}
	r.epochs.room++
	if kind == Nodes {
		r.epochs.nodes = r.epochs.room
	}
	helped := func(s *signature) {
		if s.helped(kind, most, opens) {
			s.gained = r.epochs.room
		}
	}
	for _, w := range r.flight.waiters {
		helped(w.signature)
	}
	var woken []*signature
	for s := range r.shelves.sleepers(most.CPU, kind == Nodes) {
		if helped(s); s.gained == r.epochs.room {
			woken = append(woken, s)
		}
	}
	for _, s := range woken {
		s.due = true
		r.shelves.put(s, short) // until somebody looks
	}
	if kind == Nodes {
		for _, s := range r.shelves.short {
			if !s.lacksRoom() {
				r.shelves.set(s, soon) // whatever is free
			}
		}
	}
}

// look puts a signature where it belongs now.
func (m *moment) look(s *signature) shelf {
	at := inTurn
	switch {
	case !s.due:
		at = asleep
	case m.now.Before(m.earliest(s)):
		at = resting
	case !s.failed.IsZero() && !s.affordable(m.free, m.epochs.nodes): // else its users are to hear what it lacks, whatever is free
		at = short
	case s.pass == m.passes.number:
		at = later
	case s.at == ready: // keeps its place
		at = ready
	case s.at != inTurn && s.restsTogether():
		at, s.order = ready, m.passes.lastRehearsed(s)
	}
	m.shelves.put(s, at)
	switch at {
	case asleep:
		m.shelves.set(s, s.retry)
	case resting:
		m.shelves.set(s, m.earliest(s))
	default:
		m.shelves.set(s, time.Time{})
	}
	if at == inTurn {
		m.work.wake(s)
	}
	return at
}

// releaseReady puts in turn who has rested, and has had no time for rehearsals for longest: one in a pass, or several of whom none has had any.
func (m *moment) releaseReady() bool {
	if m.passes.released == m.passes.number {
		return true
	}
	var first *signature
	for len(m.shelves.ready) > 0 && (first == nil || compareRests(m.shelves.ready[0], first) == 0) {
		if m.work.over() {
			return false
		}
		m.work.done++
		s := m.shelves.ready[0]
		if m.look(s) != ready {
			continue
		}
		if m.shelves.put(s, inTurn); first == nil {
			first, m.passes.released = s, m.passes.number
		}
		m.work.wake(s)
	}
	return true
}

// earliest is when a signature may be tried.
func (r *Room) earliest(s *signature) time.Time {
	at := s.notBefore
	if s.rehearsed || s.rehearses {
		at = latest(at, r.passes.rehearsals)
	}
	if s.costlyIn != "" {
		at = latest(at, r.passes.ofNamespace[s.costlyIn])
	}
	return at
}

// Resting tells whether a waiter is not to be tried yet, whoever is in turn: its last attempt has not reported, or it has to rest after its own
// rehearsals or those of others.
func Resting(r *Room, w *Waiter, now time.Time) bool { return now.Before(r.earliest(w.signature)) }

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Answered takes that a gang of a namespace was rehearsed, or laid out at some cost, and how long that took: the namespace rests.
func Answered(r *Room, namespace string, took time.Duration, now time.Time) {
	r.passes.restNamespace(namespace, namespaceFactor*took, now)
	recallResting(r, now)
}

// recallResting takes back those that were let through before it was known that they have to rest.
func recallResting(r *Room, now time.Time) {
	for _, w := range slices.Clone(r.flight.waiters) {
		if w.ID() != r.flight.cycle && w.deferred.IsZero() && now.Before(r.earliest(w.signature)) {
			r.land(w)
			w.through = true
		}
	}
}

// RehearsedInVain takes the same of a gang that failed: then nobody else is rehearsed for a while either.
func RehearsedInVain(r *Room, namespace string, took time.Duration, now time.Time) {
	if took > 0 {
		r.passes.rehearsed(namespace, took, now)
		r.passes.restNamespace(namespace, failedFactor*took, now)
		recallResting(r, now)
	}
}

// RehearsedInPart takes the same of a gang whose rehearsal goes on: nobody is rehearsed for a while, and then those of its namespace may be.
func RehearsedInPart(r *Room, namespace string, took time.Duration, now time.Time) {
	r.passes.rehearsed(namespace, took, now)
	Answered(r, namespace, took, now)
}

// rehearsed takes that a rehearsal for a namespace has come to nothing yet: nobody is rehearsed for a while, and then others first.
func (p *passes) rehearsed(namespace string, took time.Duration, now time.Time) {
	p.rehearsals = latest(p.rehearsals, now.Add(restFactor*took))
	for other, last := range p.last {
		if now.Sub(last) > longestMemory {
			delete(p.last, other)
		}
	}
	p.last[namespace] = now
}

// lastRehearsed is when there was a rehearsal in vain for the namespace of a signature, in nanoseconds; zero if there was none.
func (p *passes) lastRehearsed(s *signature) int64 {
	if last, any := p.last[cmp.Or(s.costlyIn, s.timedIn)]; any {
		return last.UnixNano()
	}
	return 0
}

// Rests is until when nobody of a namespace is rehearsed, nor are the filters asked otherwise; zero means that they may be asked.
func Rests(r *Room, namespace string) time.Time {
	return latest(r.passes.rehearsals, r.passes.ofNamespace[namespace])
}

func (p *passes) restNamespace(namespace string, rest time.Duration, now time.Time) {
	if rest <= 0 {
		return
	}
	for other, until := range p.ofNamespace {
		if !now.Before(until) {
			delete(p.ofNamespace, other)
		}
	}
	p.ofNamespace[namespace] = latest(p.ofNamespace[namespace], now.Add(min(rest, longestNamespaceRest)))
}
