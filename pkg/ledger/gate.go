package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/pkg/waiting"
)

// gate tells who may be tried: whoever passes claims a slot, is one of those whose turn it is, or never waited. It remembers nothing but
// what it has said to pods that do not wait for room, a turn or the others of their gang: of those waits and tellMembers tell.
type gate struct {
	// silent are pods that were refused and have not been told so: most pass in a moment. Who was refused first is the first of them.
	silent []refusal
	// opening is until when nobody may be tried after the start.
	opening opening

	nodes    *inventory.Nodes
	members  *members
	outcome  *outcome
	accounts *accounts
	waits    *waits
	waiting  *waiting.Room
	upfronts *upfronts
	scaleUps *scaleUps
}

// Gate tells whether a pod may be tried now; the zero Verdict lets it through. A pod that is refused is activated when
// its time has come. It takes the pod's state as PodSeen does if it is the first to see the pod; what kube-scheduler has of one that is known
// may be older than that.
//
// Where there are queues, those that pass are to be tried in the order of number; otherwise it is zero.
func (l *Ledger) Gate(now time.Time, seen Pod) (verdict gang.Verdict, number uint64, effects []Effect) {
	effects = l.hold(now, func() {
		defer l.settleLocked()
		known := l.members.pods[seen.UID] != nil
		if !known {
			l.lifecycle.see(seen)
		}
		p := l.members.pods[seen.UID]
		if p == nil {
			verdict = gang.Verdict{Reason: gang.Terminating, Message: "it is being deleted: it is not scheduled any more"}
			return
		}
		p.atGate.ahead = p.atGate.ahead || !known
		verdict = l.gate.judge(p)
		l.gate.explain(p, verdict)
		if verdict.Passes() {
			number = l.waiting.Passed(l.members.waiterOf(p))
		}
		if !l.accounts.queued() {
			number = 0
		}
		p.number = number
	})
	return verdict, number, effects
}

// heard takes that the informer has told of a pod: it is not kept any longer for having come to the Gate before.
func (g *gate) heard(uid types.UID) {
	p := g.members.pods[uid]
	if p == nil {
		return
	}
	if p.atGate.waits {
		g.outcome.revise(p)
	}
	p.atGate.ahead, p.atGate.waits = false, false
}

// Waits tells whether a pod waits for its turn: then nobody but the Gate lets it through.
func (l *Ledger) Waits(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting.Of(uid) != nil
}

const (
	// silentFor is how long a pod stays at the Gate before it is told why, if that may end by itself: most leaders run in less, and
	// telling costs two calls to the API server.
	silentFor = 5 * time.Second
	// readingFor is the same while what existed at the start is still being read: what pods have been told before stays true for a while.
	readingFor = 30 * time.Second
	// silentPerTick bounds of how many it is looked at once whether they stay.
	silentPerTick = 5000
)

// refusal is a pod that was refused at the Gate, and when.
type refusal struct {
	pod *pod
	at  time.Time
}

// explain lets the user of a pod know why it stays at the Gate, if nobody else does: kube-scheduler says nothing of pods that it has not
// tried. Of a leader tells whoever seeks its definition, unless its user holds it back. That, and that a pod claims a gang in vain, is told
// at once. What has been told is not told again.
func (g *gate) explain(p *pod, verdict gang.Verdict) {
	e, held := g.members.gangOf(p), verdict.Reason == gang.HeldByUser
	switch {
	case !verdict.Reason.Trait().Waits, e != nil && (verdict.Permanent() || p == e.leader && !held), e != nil && e.upfront != nil && !e.Phase.Admitted(), g.waiting.Of(p.UID) != nil:
		p.atGate.refused, p.atGate.told = gang.Verdict{}, gang.Verdict{}
	case verdict == p.atGate.told:
		p.atGate.refused = verdict
	case verdict.Permanent(), held:
		p.atGate.refused = verdict
		g.tellRefused(p)
	default:
		p.atGate.refused = verdict
		if !p.atGate.silent {
			p.atGate.silent = true
			g.silent = append(g.silent, refusal{p, g.outcome.now})
		}
	}
}

func (g *gate) tellRefused(p *pod) {
	p.atGate.told = p.atGate.refused
	g.outcome.effects = append(g.outcome.effects, Tell{p.Object, p.atGate.refused})
}

// tellSilent tells those who have stayed at the Gate why they do.
func (g *gate) tellSilent() {
	patience := silentFor
	if !g.members.synced {
		patience = readingFor
	}
	left := membersPerTick
	for looks := 0; looks < silentPerTick && left > 0 && len(g.silent) > 0 && g.outcome.now.Sub(g.silent[0].at) >= patience; looks++ {
		p := g.silent[0].pod
		g.silent[0], g.silent = refusal{}, g.silent[1:]
		p.atGate.silent = false
		if g.members.pods[p.UID] == p && p.placed == "" && !p.atGate.refused.Passes() && p.atGate.refused != p.atGate.told {
			g.tellRefused(p)
			left--
		}
	}
}

func (g *gate) judge(p *pod) gang.Verdict {
	if !g.members.synced {
		return gang.Verdict{Reason: gang.NotSynced, Message: "the scheduler has just started and is still reading the cluster"}
	}
	switch p.Kind {
	case Leader:
		return g.leader(p)
	case Worker:
		verdict, e := g.worker(p), g.members.gangOf(p)
		if !verdict.Passes() || e != nil && e.tries(p) {
			// It does not wait by itself any more, so it must not be tried for itself when its turn would come.
			g.waits.endWait(p.UID)
			return verdict
		}
		if g.accounts.claims(p) {
			return gang.Verdict{}
		}
		if p.atGate.ahead && e != nil && e.Phase.Admitted() {
			// kube-scheduler's handlers were faster than the plugin's, so the end of the worker that it replaces may not have been told
			// yet. Without its slot it would be refused, or take other room than what is kept for it.
			p.atGate.waits = true
			return gang.Verdict{Reason: gang.NotSynced, Message: "what happened to its gang before it came is still being read"}
		}
		return g.alone(p)
	default:
		return g.alone(p)
	}
}

// expect makes those wait, where there are queues, who are about to come to the Gate: else who comes first would pass before those whose turn is
// earlier. Pods with scheduling gates do not come, nor do those whose resource claims or PodGroup are missing, and who is held back has no turn.
func (g *gate) expect(p *pod) {
	spec := &p.Object.Spec
	if !g.accounts.queued() || p.placed != "" || p.Foreign || p.Joint || p.Kind == Leader && p.Held || p.Object.DeletionTimestamp != nil ||
		len(spec.SchedulingGates) > 0 || len(spec.ResourceClaims) > 0 {
		return
	}
	switch e := g.members.gangOf(p); {
	case e == nil && p.Kind == Lone:
		g.waits.parkAlone(p)
	case e != nil && e.Phase == gang.Waiting && (p == e.leader || e.upfront != nil && p == e.upfront.first):
		g.waits.park(e)
	}
}

func (g *gate) leader(p *pod) gang.Verdict {
	e := g.members.gangOf(p)
	if e == nil {
		owner := g.members.apps[p.Gang].leaders[0].leader
		return gang.Verdict{Reason: gang.InvalidGang,
			Message: fmt.Sprintf("pod %s leads application %s already; this one waits until it has ended", owner.Object.Name, p.Gang)}
	}
	switch e.Phase {
	case gang.Forming:
		return gang.Verdict{Reason: gang.GangIncomplete, Message: "waiting for what the application will ask for: its configuration is not there yet"}
	case gang.Invalid:
		return gang.Verdict{Reason: gang.InvalidGang, Message: e.Problem}
	case gang.Waiting:
		if p.Held {
			g.waits.endWait(p.UID)
			return gang.Verdict{Reason: gang.HeldByUser, Message: "its user has held it back, by the annotation " + spark.AnnotationHold}
		}
		return g.starting(e)
	default:
		return gang.Verdict{}
	}
}

// starting parks a gang behind those of its signature, unless it is being tried. Where there are queues, it is
// their order that decides, for everybody; and who has to be rehearsed may have to rest before.
func (g *gate) starting(e *entry) gang.Verdict {
	if !g.accounts.queued() && !e.Definition.Rehearsed && g.waiting.Of(e.leader.UID) == nil && !g.waiting.Known(signatureOf(e)) {
		return gang.Verdict{}
	}
	return g.waits.turn(g.waits.park(e))
}

// alone lets a pod that claims no slot through when it is its turn. Pods that have to pass together have none: one by one, they would
// never all have passed. Their queue is asked when they are tried.
func (g *gate) alone(p *pod) gang.Verdict {
	if !g.accounts.queued() || p.placed != "" || p.Joint {
		return gang.Verdict{}
	}
	return g.waits.turn(g.waits.parkAlone(p))
}

func (g *gate) worker(p *pod) gang.Verdict {
	e := g.members.gangOf(p)
	switch {
	case e != nil && e.takenBack():
		return gang.Verdict{Reason: gang.Reclaimed, Message: "what its gang holds is being taken back"}
	case e != nil && e.upfront != nil && !e.Phase.Admitted():
		return g.member(e, p)
	case e != nil && e.upfront != nil && e.Phase == gang.Reserved && p.Joint && !g.accounts.claims(p):
		return gang.Verdict{Reason: gang.BehindOthers, Message: "its gang starts with others of its pods"}
	case e != nil && (e.Phase.Admitted() || e.leader.bound):
		// A leader that another scheduler bound may run although its gang is not known: its workers are all elastic.
		return gang.Verdict{}
	case e != nil:
		return gang.Verdict{Reason: gang.GangIncomplete, Message: fmt.Sprintf("leader %s of application %s does not run yet", e.leader.Object.Name, p.Gang)}
	case p.Leader == "":
		// Nobody claims the worker: its leader runs outside the cluster or was started by hand.
		return gang.Verdict{}
	case g.members.pods[p.Leader] == nil:
		return leaderGone(p)
	case g.members.pods[p.Leader].Kind == Leader:
		return gang.Verdict{Reason: gang.InvalidGang, Message: fmt.Sprintf("its leader does not lead application %s", p.Gang)}
	default:
		return gang.Verdict{}
	}
}

func leaderGone(worker *pod) gang.Verdict {
	return gang.Verdict{Reason: gang.LeaderGone, Message: fmt.Sprintf("the leader of application %s has ended; its workers are not started any more", worker.Gang)}
}

// clock is a time of day as users are told it: a condition is not written again for every second that is left.
func clock(t time.Time) string { return t.UTC().Format("15:04:05 MST") }

// member lets only one pod of an up-front gang through, which is tried for all of them.
func (g *gate) member(e *entry, p *pod) gang.Verdict {
	_, rests := g.upfronts.resting[e]
	switch u := e.upfront; {
	case p.Problem != "":
		return gang.Verdict{Reason: gang.InvalidGang, Message: p.Problem}
	case p.Leader != "" && g.members.pods[p.Leader] == nil:
		return leaderGone(p)
	case e.Phase == gang.Invalid:
		return gang.Verdict{Reason: gang.InvalidGang, Message: e.Problem}
	case e.Phase == gang.Forming:
		if u.group.Minimum > 0 {
			verdict := gang.Verdict{Reason: gang.GangIncomplete}
			verdict.Message = fmt.Sprintf("%d of %d pods that start together are there", g.members.apps[e.Key].upfront, u.group.Minimum)
			if u.group.Succeeded > 0 {
				verdict.Message += fmt.Sprintf(", besides %d that have succeeded", u.group.Succeeded)
			}
			if u.group.Started {
				verdict.Message += fmt.Sprintf("; the gang has started before, so those that are there go without the others at %s", clock(u.since.Add(u.group.barrier())))
			}
			return verdict
		}
		return gang.Verdict{Reason: gang.GangIncomplete, Message: fmt.Sprintf("%s does not exist, or its kind is new in the cluster and not read yet", p.Gang)}
	case rests:
		return gang.Verdict{Reason: gang.GangTimeout,
			Message: fmt.Sprintf("its pods have waited for one another in vain %s; the next attempt is at %s", gang.Counted(u.vain, "time"), clock(u.rested))}
	case e.tries(p):
		return g.starting(e)
	}
	if w := g.waiting.Of(e.leader.UID); w != nil {
		return g.waits.verdict(w)
	}
	return gang.Verdict{Reason: gang.BehindOthers, Message: "its gang is tried as a whole, with another of its pods"}
}

const (
	// countedFor is how long nobody has to come or go until the pods of an up-front gang are told how many there are: each costs two calls to
	// the API server, and most gangs are whole in less.
	countedFor = 2 * time.Second
	// membersPerTick bounds how many pods of up-front gangs are told at once why they wait.
	membersPerTick = 200
)

// tellMembers tells the pods of up-front gangs why they wait, where that is something else than they were told: kube-scheduler speaks of
// nobody but the one that is tried for all.
func (g *gate) tellMembers() {
	left := membersPerTick
	for _, e := range slices.SortedFunc(maps.Keys(g.members.unheard), func(a, b *entry) int { return compareKeys(a.Key, b.Key) }) {
		counting := e.Phase == gang.Forming || e.Phase == gang.Invalid
		if counting && g.outcome.now.Sub(e.upfront.changed) < countedFor {
			continue
		}
		if left = g.tellMembersOf(e, counting, left); left == 0 {
			return
		}
		delete(g.members.unheard, e)
	}
}

// tellMembersOf tells at most so many pods of a gang, and returns how many of them are left.
func (g *gate) tellMembersOf(e *entry, counting bool, left int) int {
	a := g.members.apps[e.Key]
	if a == nil || a.leaders[0] != e || e.Phase.Admitted() {
		return left
	}
	w := g.waiting.Of(e.leader.UID)
	if !counting && (w == nil || w.Trying()) {
		if _, rests := g.upfronts.resting[e]; !rests {
			return left // what comes of it is heard later
		}
	}
	for _, p := range sorted(a.workers) {
		if !p.Upfront || p.placed != "" || p == e.upfront.first {
			continue
		}
		verdict := g.member(e, p)
		heard := string(verdict.Reason) + " " + g.scaleUps.condition(p, verdict.Reason)
		if counting {
			heard = verdict.String()
		}
		if p.heard == heard {
			continue
		}
		if left == 0 {
			return 0
		}
		left, p.heard = left-1, heard
		g.outcome.effects = append(g.outcome.effects, Tell{p.Object, verdict})
	}
	return left
}
