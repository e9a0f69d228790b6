package ledger

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// Gate tells whether a pod may be tried now; the zero Verdict lets it through. A pod that is refused is activated when
// its time has come. It takes the pod's state as PodSeen does, because it may be the first to see the pod.
func (l *Ledger) Gate(now time.Time, seen Pod) (gang.Verdict, []Effect) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = now
	l.seePodLocked(seen)
	verdict := l.gateLocked(l.pods[seen.UID])
	return verdict, l.settleLocked()
}

func (l *Ledger) gateLocked(p *pod) gang.Verdict {
	if !l.synced {
		return gang.Verdict{Reason: gang.NotSynced, Message: "the scheduler has just started and is still reading the cluster"}
	}
	switch p.Kind {
	case Leader:
		return l.gateLeaderLocked(p)
	case Worker:
		return l.gateWorkerLocked(p)
	default:
		return gang.Verdict{}
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

// gateWaitingLocked parks a gang behind those of its shape, unless it is the one being tried.
func (l *Ledger) gateWaitingLocked(e *entry) gang.Verdict {
	w := l.waiting.byPod[e.leader.UID]
	if w == nil {
		s := l.waiting.shapes[shapeOf(e)]
		if s == nil {
			return gang.Verdict{}
		}
		w = l.parkLocked(e)
		behind := gang.Verdict{Reason: gang.BehindOthers,
			Message: fmt.Sprintf("%d gangs that ask for the same wait already; the first: %s", len(s.queue)-1, s.verdict)}
		l.effects = append(l.effects, Tell{e.leader.Object, behind})
	}
	if l.probe == w.uid {
		return gang.Verdict{}
	}
	return w.shape.verdict
}

func (l *Ledger) gateWorkerLocked(p *pod) gang.Verdict {
	e := l.gangOfLocked(p)
	switch {
	case e != nil && e.Phase.Admitted():
		return gang.Verdict{}
	case e != nil:
		return gang.Verdict{Reason: gang.GangIncomplete, Message: fmt.Sprintf("leader %s of application %s does not run yet", e.leader.Object.Name, p.Gang)}
	case p.Leader == "":
		// Nobody claims the worker: its leader runs outside the cluster or was started by hand.
		return gang.Verdict{}
	case l.pods[p.Leader] == nil:
		return gang.Verdict{Reason: gang.LeaderGone, Message: fmt.Sprintf("the leader of application %s has ended; its workers are not started any more", p.Gang)}
	case l.pods[p.Leader].Kind == Leader:
		return gang.Verdict{Reason: gang.InvalidGang, Message: fmt.Sprintf("its leader does not lead application %s", p.Gang)}
	default:
		return gang.Verdict{}
	}
}

// defineLocked takes the answer to Define.
func (l *Ledger) defineLocked(leader types.UID, event gang.Event) {
	e := l.gangs[leader]
	if e == nil || l.gangOfLocked(e.leader) != e {
		return
	}
	l.stepLocked(e, event)
	l.endWaitLocked(leader)
	if e.Phase == gang.Waiting {
		l.recruitLocked(e)
	}
	switch {
	case e.leader.bound && e.Phase == gang.Waiting:
		l.resumeLocked(e)
	case e.Phase == gang.Invalid:
		l.effects = append(l.effects, Tell{e.leader.Object, gang.Verdict{Reason: gang.InvalidGang, Message: e.Problem}})
	default:
		l.effects = append(l.effects, Activate{e.leader.Object})
	}
}

// admitLocked reserves everything or nothing.
func (l *Ledger) admitLocked(a Admitted) error {
	e := l.gangs[a.Leader]
	if e == nil || l.gangOfLocked(e.leader) != e || e.Phase != gang.Waiting || e.leader.placed != "" {
		return ErrNotWaiting
	}
	l.placeLocked(e.leader, a.Node, false)
	l.stepLocked(e, gang.Admitted{Slots: a.Slots})
	if l.overbookedLocked(a) {
		l.unplaceLocked(e.leader)
		return ErrRoomGone
	}
	l.gatherLocked(e)
	return nil
}

// overbookedLocked tells whether a node that an admission touched holds more than it has.
func (l *Ledger) overbookedLocked(a Admitted) bool {
	leader := l.pods[a.Leader]
	if node := l.nodes.table.at(l.nodes.lookup(a.Node)); !leader.Requests.Fits(node.free.Add(leader.Requests)) {
		return true
	}
	for _, slot := range a.Slots {
		node := l.nodes.table.at(l.nodes.lookup(slot.Node))
		if node.object == nil || !slot.Requests.Fits(node.free.Add(slot.Requests)) {
			return true
		}
	}
	return false
}

// refuseLocked makes a pod wait that did not fit.
func (l *Ledger) refuseLocked(r Refused) {
	p := l.pods[r.UID]
	if p == nil || p.placed != "" {
		return
	}
	if l.probe == r.UID {
		l.probe = ""
	}
	e := l.gangOfLocked(p)
	switch {
	case p.Kind == Worker && e != nil && !p.roams:
		p.roams = true
		l.effects = append(l.effects, Activate{p.Object})
		return
	case r.Verdict.Passes():
		// Refused for something else than room: whatever refused it wakes it.
		l.waiting.remove(r.UID)
		return
	}
	var w *waiter
	if p.Kind == Leader && e != nil {
		w = l.parkLocked(e)
		// Through the Gate again, which keeps it there.
		l.effects = append(l.effects, Activate{p.Object})
	} else {
		w = l.waiting.add(p.UID, "pod "+p.Shape+" "+p.Requests.String(), p.Requests, turnOf(p))
	}
	w.shape.verdict = r.Verdict
	w.shape.tried = max(w.shape.tried, r.Epoch)
}

func (l *Ledger) parkLocked(e *entry) *waiter {
	return l.waiting.add(e.leader.UID, shapeOf(e), demandOf(e), turnOf(e.leader))
}

// Seats is where a worker of an admitted gang may take a slot.
type Seats struct {
	// Slots says what an open slot of the worker's role holds: node -> request of one slot.
	Slots map[string]resource.Vector
	// Pinned means that the worker should go to one of Slots and nowhere else.
	Pinned bool
	// Verdict is the Gate's: the leader may have ended since the worker passed it.
	Verdict gang.Verdict
}

// Seats finds open slots for a worker. At most limit nodes are named for a pinned worker, so that its scheduling cycle
// looks at a handful of nodes; one that roams learns all its slots.
func (l *Ledger) Seats(uid types.UID, limit int) Seats {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pods[uid]
	if p == nil || p.Kind != Worker {
		return Seats{}
	}
	e := l.gangOfLocked(p)
	if e == nil || !e.Phase.Admitted() {
		return Seats{Verdict: l.gateWorkerLocked(p)}
	}
	seats := Seats{Slots: map[string]resource.Vector{}}
	e.OpenSlots(p.Role, func(slot gang.Slot) bool {
		if slot.Node != "" {
			seats.Slots[slot.Node] = slot.Requests
		}
		return p.roams || len(seats.Slots) < limit
	})
	seats.Pinned = !p.roams && len(seats.Slots) > 0
	return seats
}

// Definition of a leader's gang, for planning; false when the gang is not waiting to be admitted.
func (l *Ledger) Definition(leader types.UID) (gang.Definition, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.gangs[leader]
	if e == nil || e.Phase != gang.Waiting || l.gangOfLocked(e.leader) != e {
		return gang.Definition{}, false
	}
	return e.Definition, true
}

// demandOf is what a gang asks for in all at its start.
func demandOf(e *entry) resource.Vector {
	demand := e.leader.Requests
	for _, role := range e.Gang.Definition.Roles {
		demand = demand.Add(role.Requests.Scale(role.Count))
	}
	return demand
}

// shapeOf is equal for gangs that ask for exactly the same.
func shapeOf(e *entry) string {
	shape := fmt.Sprintf("gang %s %s", e.leader.Shape, e.leader.Requests)
	for _, role := range e.Gang.Definition.Roles {
		shape += fmt.Sprintf(" + %d × %s %s", role.Count, role.Shape, role.Requests)
	}
	return shape
}

func turnOf(p *pod) turn {
	return turn{priority: p.Priority, created: p.Created, name: p.Gang.String() + "/" + string(p.UID)}
}

// Reservation of a leader's gang, to be kept where a restarted scheduler finds it, with every slot open: workers that
// are there then claim theirs again. false when the gang is not admitted.
func (l *Ledger) Reservation(leader types.UID) (Reservation, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.gangs[leader]
	if e == nil || !e.Phase.Admitted() {
		return Reservation{}, false
	}
	slots := slices.Clone(e.Slots)
	for i := range slots {
		slots[i].Worker = ""
	}
	return Reservation{Definition: e.Gang.Definition, Slots: slots}, true
}
