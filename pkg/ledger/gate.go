package ledger

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/waiting"
)

// Gate tells whether a pod may be tried now; the zero Verdict lets it through. A pod that is refused is activated when
// its time has come. It takes the pod's state as PodSeen does, because it may be the first to see the pod.
//
// Where there are queues, those that pass are to be tried in the order of number; otherwise it is zero.
func (l *Ledger) Gate(now time.Time, seen Pod) (verdict gang.Verdict, number uint64, effects []Effect) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
	l.seePodLocked(seen)
	p := l.pods[seen.UID]
	if p == nil {
		return gang.Verdict{Reason: gang.Terminating, Message: "it is being deleted: it is not scheduled any more"}, 0, l.settleLocked()
	}
	verdict = l.gateLocked(p)
	l.explainLocked(p, verdict)
	if p.number = 0; verdict.Passes() && l.queued() {
		p.number = l.waiting.Passed(l.waiterOfLocked(p))
	}
	return verdict, p.number, l.settleLocked()
}

// waiterOfLocked is under whose ID a pod waits: the leader of an up-front gang waits for the one that is tried for all.
func (l *Ledger) waiterOfLocked(p *pod) types.UID {
	if e := l.gangOfLocked(p); e != nil && e.tries(p) {
		return e.leader.UID
	}
	return p.UID
}

// Waits tells whether a pod waits for its turn: then nobody but the Gate lets it through.
func (l *Ledger) Waits(uid types.UID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.waiting.Of(uid) != nil
}

// explainLocked tells the user of a pod that claims a gang in vain why it stays at the Gate: kube-scheduler says nothing of
// pods that it has not tried. What has been told is not told again.
func (l *Ledger) explainLocked(p *pod, verdict gang.Verdict) {
	if !verdict.Permanent() || l.gangOfLocked(p) != nil {
		verdict = gang.Verdict{}
	}
	if verdict != p.told && !verdict.Passes() {
		l.effects = append(l.effects, Tell{p.Object, verdict})
	}
	p.told = verdict
}

func (l *Ledger) gateLocked(p *pod) gang.Verdict {
	if !l.synced {
		return gang.Verdict{Reason: gang.NotSynced, Message: "the scheduler has just started and is still reading the cluster"}
	}
	switch p.Kind {
	case Leader:
		return l.gateLeaderLocked(p)
	case Worker:
		verdict := l.gateWorkerLocked(p)
		if e := l.gangOfLocked(p); !verdict.Passes() || e != nil && e.tries(p) {
			// It does not wait by itself any more, so it must not be tried for itself when its turn would come.
			l.endWaitLocked(p.UID)
			return verdict
		}
		if l.claimsLocked(p) {
			return gang.Verdict{}
		}
		return l.gateAloneLocked(p)
	default:
		return l.gateAloneLocked(p)
	}
}

func (l *Ledger) gateLeaderLocked(p *pod) gang.Verdict {
	e := l.gangOfLocked(p)
	if e == nil {
		owner := l.apps[p.Gang].leaders[0].leader
		return gang.Verdict{Reason: gang.InvalidGang,
			Message: fmt.Sprintf("pod %s leads application %s already; this one waits until it has ended", owner.Object.Name, p.Gang)}
	}
	switch e.Phase {
	case gang.Forming:
		return gang.Verdict{Reason: gang.GangIncomplete, Message: "waiting for what the application will ask for: its configuration is not there yet"}
	case gang.Invalid:
		return gang.Verdict{Reason: gang.InvalidGang, Message: e.Problem}
	case gang.Waiting:
		return l.gateWaitingLocked(e)
	default:
		return gang.Verdict{}
	}
}

// gateWaitingLocked parks a gang behind those of its signature, unless it is being tried. Where there are queues, it is
// their order that decides, for everybody.
func (l *Ledger) gateWaitingLocked(e *entry) gang.Verdict {
	if !l.queued() && l.waiting.Of(e.leader.UID) == nil && !l.waiting.Known(signatureOf(e)) {
		return gang.Verdict{}
	}
	return l.turnLocked(l.parkLocked(e))
}

// gateAloneLocked lets a pod that claims no slot through when it is its turn.
func (l *Ledger) gateAloneLocked(p *pod) gang.Verdict {
	if !l.queued() || p.placed != "" {
		return gang.Verdict{}
	}
	return l.turnLocked(l.parkAloneLocked(p))
}

// turnLocked lets a waiter that is at the Gate through if it is one of those to be tried.
func (l *Ledger) turnLocked(w *waiting.Waiter) gang.Verdict {
	l.callNextLocked(w.ID())
	if w.Trying() {
		return gang.Verdict{}
	}
	verdict := l.verdictLocked(w)
	if verdict.Reason != gang.BehindOthers || !w.Verdict().Passes() {
		l.tellLocked(w, verdict) // else its turn may come before it could be written down
	}
	return verdict
}

func (l *Ledger) gateWorkerLocked(p *pod) gang.Verdict {
	e := l.gangOfLocked(p)
	switch {
	case e != nil && e.preemptor != "":
		return gang.Verdict{Reason: gang.Reclaimed, Message: "what its gang holds is being taken back"}
	case e != nil && e.upfront != nil && !e.Phase.Admitted():
		return l.gateMemberLocked(e, p)
	case e != nil && (e.Phase.Admitted() || e.leader.bound):
		// A leader that another scheduler bound may run although its gang is not known: its workers are all elastic.
		return gang.Verdict{}
	case e != nil:
		return gang.Verdict{Reason: gang.GangIncomplete, Message: fmt.Sprintf("leader %s of application %s does not run yet", e.leader.Object.Name, p.Gang)}
	case p.Leader == "":
		// Nobody claims the worker: its leader runs outside the cluster or was started by hand.
		return gang.Verdict{}
	case l.pods[p.Leader] == nil:
		return leaderGone(p)
	case l.pods[p.Leader].Kind == Leader:
		return gang.Verdict{Reason: gang.InvalidGang, Message: fmt.Sprintf("its leader does not lead application %s", p.Gang)}
	default:
		return gang.Verdict{}
	}
}

func leaderGone(worker *pod) gang.Verdict {
	return gang.Verdict{Reason: gang.LeaderGone, Message: fmt.Sprintf("the leader of application %s has ended; its workers are not started any more", worker.Gang)}
}
