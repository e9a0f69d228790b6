package ledger

import (
	"slices"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
)

// queue is a world with a scheduling queue as kube-scheduler has one: pods are tried one after another, only when they
// have passed the Gate, and those that failed only when they are activated. Whatever the ledger does not wake sleeps.
type queue struct {
	*world
	// definitions are what will be said of every leader's gang.
	definitions map[types.UID]gang.Definition
	undefined   []types.UID // leaders whose definition was asked for
	late        []types.UID // refused on a snapshot that was behind: kube-scheduler brings them back when it is not any more
	active      []types.UID // passed the Gate, in the order in which they will be tried
	// asleep pods were refused by the Gate or by an attempt.
	asleep  map[types.UID]bool
	flying  types.UID       // the one being tried; empty means none
	again   bool            // it was activated meanwhile
	view    *inventory.View // that its attempt looks at
	verdict gang.Verdict    // of its queue, at the start of the attempt
	// accompanied is whether its attempt sees a pod that leaders who seek company want to be near.
	accompanied bool
	// happens is what step draws from.
	happens []string
	// attempts counts how often each pod has been tried.
	attempts map[types.UID]int
}

var (
	queued        = []string{"gang", "gang", "member", "member", "member", "group", "lone", "executor", "define", "take", "take", "land", "land", "land", "error", "behind", "caught up", "bind", "bind", "fail", "end", "end", "label", "node", "node lost", "time"}
	queuedDivided = []string{"large", "gang", "gang", "lone", "lone", "executor", "executor", "define", "take", "take", "land", "land", "land", "error", "behind", "caught up", "bind", "bind", "fail", "end", "end", "time"}
	queuedUpfront = []string{"member", "member", "member", "member", "group", "lone", "take", "take", "land", "land", "land", "land", "bind", "bind", "fail", "end", "node", "time"}
)

func newQueue() *queue {
	q := &queue{happens: queued, world: newWorld(), definitions: map[types.UID]gang.Definition{}, asleep: map[types.UID]bool{}, attempts: map[types.UID]int{}}
	q.tell(Synced{})
	return q
}

// drawCluster is one of some kind, every second one with queues.
func drawCluster(t *rapid.T) *queue {
	q := newQueue()
	q.happens = rapid.SampledFrom([][]string{queued, queuedUpfront, queuedDivided}).Draw(t, "kind of cluster")
	if rapid.Bool().Draw(t, "queues") {
		q.divide(t)
		q.perform(q.world.effects)
		q.happens = append(slices.Clone(q.happens), "queues", "user")
	}
	return q
}

// tell applies an event and performs its effects.
func (q *queue) tell(event Event) error {
	err := q.apply(event)
	q.perform(q.world.effects)
	return err
}

func (q *queue) perform(effects []Effect) {
	for _, effect := range slices.Clone(effects) {
		switch effect := effect.(type) {
		case Activate:
			switch uid := effect.Pod.UID; {
			case q.asleep[uid]:
				q.enter(uid)
			case q.flying == uid:
				q.again = true
			}
		case Define:
			q.undefined = append(q.undefined, effect.Leader.UID)
		case Reject:
			for _, uid := range effect.Pods {
				if q.barred[uid] {
					q.reject(uid)
				}
			}
		}
	}
}

// enter sends a pod through the Gate.
func (q *queue) enter(uid types.UID) {
	delete(q.asleep, uid)
	p, exists := q.world.pods[uid]
	if !exists {
		return
	}
	verdict := q.gate(p)
	if verdict.Passes() {
		q.active = append(q.active, uid)
	} else {
		q.asleep[uid] = true
	}
	q.perform(q.world.effects)
}

// reject ends a pod's wait for the rest of its gang badly.
func (q *queue) reject(uid types.UID) {
	delete(q.barred, uid)
	delete(q.rejected, uid)
	delete(q.assumed, uid)
	q.tell(Unplaced{uid})
	q.enter(uid)
}

// take starts the next attempt.
func (q *queue) take() {
	if q.flying != "" || len(q.active) == 0 {
		return
	}
	uid := q.active[0]
	q.active = q.active[1:]
	if _, exists := q.world.pods[uid]; exists {
		attempt := q.attempt(uid)
		q.flying, q.again, q.view, q.accompanied, q.verdict = uid, false, attempt.View, q.company(), attempt.Seats.Verdict
		if attempt.Gang {
			q.verdict = attempt.Demand.Verdict
		}
		q.perform(q.world.effects)
		q.attempts[uid]++
	}
}

// land ends the attempt, with what was seen at its start.
func (q *queue) land(fails bool) {
	uid := q.flying
	p, exists := q.world.pods[uid]
	if uid == "" {
		return
	}
	if !exists {
		q.flying = ""
		return
	}
	placed := !fails && q.try(p)
	q.flying = ""
	switch {
	case placed:
	case fails || q.again:
		q.enter(uid) // after a backoff, or because it was woken meanwhile
	default:
		q.asleep[uid] = true
	}
}

// behind ends the attempt because the scheduler's snapshot did not show what the ledger knew.
func (q *queue) behind() {
	uid := q.flying
	if _, exists := q.world.pods[uid]; !exists {
		return
	}
	q.flying = ""
	q.tell(Refused{UID: uid, Epoch: q.view.Epoch, Behind: true})
	if q.again {
		q.enter(uid)
		return
	}
	q.asleep[uid] = true
	q.late = append(q.late, uid)
}

// catchUp brings one of those back that were tried too early.
func (q *queue) catchUp() {
	if len(q.late) == 0 {
		return
	}
	uid := q.late[0]
	q.late = q.late[1:]
	if q.asleep[uid] {
		q.enter(uid)
	}
}

// try places the pod, or tells that it does not fit.
func (q *queue) try(p Pod) (placed bool) {
	if q.verdict.OfQueue() || q.verdict.Reason == gang.BehindOthers {
		q.tell(Refused{UID: p.UID, Epoch: q.view.Epoch, Verdict: q.verdict})
		return false
	}
	if d, waiting := q.Demand(p.UID); waiting {
		node, slots, fits := q.plan(q.view, p, d)
		if fits && p.Signature == sociable && !q.accompanied {
			q.tell(Refused{UID: p.UID, Epoch: q.view.Epoch, Verdict: gang.Verdict{Reason: gang.Constraints}, Rehearsed: true})
			return false
		}
		if fits {
			admitted := Admitted{Leader: p.UID, Node: node, Slots: slots}
			if d.Upfront {
				admitted = Admitted{Leader: d.Leader, Slots: slots}
			}
			if err := q.tell(admitted); err != nil {
				q.again = true // the room is gone: after a backoff
				return false
			}
			if d.Upfront {
				return q.place(p.UID, node)
			}
			q.assumed[p.UID] = node
			return true
		}
		verdict := gang.Verdict{Reason: gang.ClusterFull}
		if _, _, fits := q.plan(q.view.Empty(), p, d); !fits {
			verdict.Reason = gang.NeverFitsCluster
		}
		q.tell(Refused{UID: p.UID, Epoch: q.view.Epoch, Verdict: verdict})
		return false
	}
	if p.Kind == Leader {
		q.again = true
		return false
	}
	seats := q.Seats(p.UID, 4)
	if !q.verdict.Passes() || !seats.Verdict.Passes() && !seats.Verdict.OfQueue() {
		q.again = true
		return false
	}
	for i := range q.view.Len() {
		own, seated := seats.Slots[q.view.Name(i)]
		if q.view.Object(i) != nil && (seated || !seats.Pinned) && p.Requests.Fits(q.view.Free(i).Add(own)) {
			return q.place(p.UID, q.view.Name(i))
		}
	}
	q.tell(Refused{UID: p.UID, Epoch: q.view.Epoch, Verdict: gang.Verdict{Reason: gang.ClusterFull}})
	return false
}

// place is Reserve and Permit.
func (q *queue) place(uid types.UID, node string) bool {
	q.assumed[uid] = node
	if err := q.tell(Placed{uid, node}); err != nil {
		delete(q.assumed, uid)
		q.again = true
		return false
	}
	waits, verdict := q.Barrier(uid)
	if !verdict.Passes() {
		delete(q.assumed, uid)
		q.tell(Unplaced{uid})
		q.again = true
		return false
	}
	if waits {
		q.barred[uid] = true
	}
	return true
}

func (q *queue) define() {
	if len(q.undefined) == 0 {
		return
	}
	uid := q.undefined[0]
	q.undefined = q.undefined[1:]
	q.tell(Defined{uid, q.definitions[uid]})
}

func (q *queue) arrive(p Pod) {
	q.world.pods[p.UID] = p
	q.tell(PodSeen{p})
	if p.Node == "" {
		q.enter(p.UID)
	}
}

func (q *queue) bind(uid types.UID) {
	p := q.world.pods[uid]
	p.Node = q.assumed[uid]
	delete(q.assumed, uid)
	q.world.pods[uid] = p
	q.tell(PodSeen{p})
}

func (q *queue) end(uid types.UID) {
	delete(q.world.pods, uid)
	delete(q.assumed, uid)
	delete(q.asleep, uid)
	delete(q.barred, uid)
	q.tell(PodGone{uid})
}

// step lets one random thing happen.
func (q *queue) step(t *rapid.T) {
	any := func(Pod) bool { return true }
	bound := func(p Pod) bool { return p.Node != "" }
	placed := func(p Pod) bool { return p.Node != "" || q.assumed[p.UID] != "" }
	assumed := func(p Pod) bool { return q.assumed[p.UID] != "" && !q.barred[p.UID] }
	q.drawWhose(t)
	switch rapid.SampledFrom(q.happens).Draw(t, "event") {
	case "gang":
		p := q.newPod(Leader, rapid.SampledFrom([]string{"u", "v", "w", "x", "y", "z"}).Draw(t, "app"), rapid.Int64Range(1, 2).Draw(t, "cpu"))
		p.Priority = rapid.Int32Range(0, 1).Draw(t, "priority")
		q.definitions[p.UID] = definition(rapid.IntRange(0, 3).Draw(t, "count"), rapid.Int64Range(1, 3).Draw(t, "cpu"))
		if rapid.IntRange(0, 2).Draw(t, "sociable") == 0 {
			p.Signature = sociable
		}
		q.arrive(p)
	case "member":
		q.arrive(q.newMember(drawApp.Draw(t, "group"), rapid.Int64Range(1, 2).Draw(t, "cpu")))
	case "group":
		q.tell(GroupSeen{Group{Key: groupKey(q.namespace, drawApp.Draw(t, "group")), Minimum: rapid.IntRange(1, 4).Draw(t, "minimum")}})
	case "lone":
		p := q.newPod(Lone, "", rapid.Int64Range(1, 3).Draw(t, "cpu"))
		q.arrive(labelled(p, rapid.Bool().Draw(t, "labelled")))
	case "label":
		if p, ok := q.pick(t, placed, "pod"); ok {
			q.world.pods[p.UID] = labelled(p, len(p.Object.Labels) == 0)
			q.tell(PodSeen{q.world.pods[p.UID]})
		}
	case "executor":
		if leader, ok := q.pick(t, func(p Pod) bool { return bound(p) && p.Kind == Leader }, "leader"); ok {
			q.namespace = leader.Namespace
			p := q.newPod(Worker, leader.Gang.Name, rapid.Int64Range(1, 3).Draw(t, "cpu"))
			p.Leader = leader.UID
			q.arrive(p)
		}
	case "user":
		if p, ok := q.pick(t, any, "pod"); ok {
			p.User = q.user
			q.world.pods[p.UID] = p
			q.tell(PodSeen{p})
			if q.asleep[p.UID] {
				q.enter(p.UID)
			}
		}
	case "queues":
		q.arrange(t)
		q.perform(q.world.effects)
	case "define":
		q.define()
	case "take":
		q.take()
	case "land":
		q.land(false)
	case "error":
		q.land(true)
	case "behind":
		q.behind()
	case "caught up":
		q.catchUp()
	case "bind":
		if p, ok := q.pick(t, assumed, "pod"); ok {
			q.bind(p.UID)
		}
	case "fail":
		if p, ok := q.pick(t, func(p Pod) bool { return q.assumed[p.UID] != "" }, "pod"); ok {
			q.reject(p.UID)
		}
	case "end":
		if p, ok := q.pick(t, any, "pod"); ok {
			q.end(p.UID)
		}
	case "node":
		q.tell(NodeSeen{newNode(drawNode.Draw(t, "node"), rapid.Int64Range(2, 8).Draw(t, "cpu"))})
	case "large":
		q.tell(NodeSeen{newNode(drawNode.Draw(t, "node"), 40)})
	case "node lost":
		q.tell(NodeGone{drawNode.Draw(t, "node")})
	case "time":
		q.clock = q.clock.Add(longPause)
		q.tell(Tick{Unclaimed: time.Hour, Collect: time.Duration(rapid.IntRange(0, 2).Draw(t, "collect")) * time.Minute})
	}
}

const (
	// longPause is longer than anybody pauses whose attempts do not report.
	longPause = 6 * time.Minute
	// retries is after how long everybody has been tried again whom the framework's filters have refused.
	retries = 15 * time.Second
)

// settle lets everything happen that is on its way, and those be tried again of whose reasons the ledger hears nothing; nothing
// new arrives, and nothing fails.
func (q *queue) settle(t require.TestingT) {
	q.settleNow(t)
	q.clock = q.clock.Add(retries)
	q.tell(Tick{Unclaimed: time.Hour})
	q.settleNow(t)
}

func (q *queue) settleNow(t require.TestingT) {
	for range 1000 {
		switch {
		case len(q.undefined) > 0:
			q.define()
		case q.flying != "":
			q.land(false)
		case len(q.active) > 0:
			q.take()
		case len(q.late) > 0:
			q.catchUp()
		case len(q.assumed) > len(q.barred):
			for uid := range q.assumed {
				if !q.barred[uid] {
					q.bind(uid)
				}
			}
		case len(q.barred) > 0 || len(q.upfronts.resting) > 0:
			q.clock = q.clock.Add(longestRest)
			q.tell(Tick{})
		case len(q.waiting.Trying()) > 0:
			// Somebody who was let through and could not go, because it ended or was not the one who waited.
			q.clock = q.clock.Add(longPause)
			q.tell(Tick{Unclaimed: time.Hour})
		default:
			return
		}
	}
	require.Fail(t, "the scheduler does not come to rest", "active %v, assumed %v", q.active, q.assumed)
}

// sociable is the shape of leaders that only start while a pod with the label runs: what it stands for is judged by the
// framework's filters.
const sociable = "sociable"

// labelled gives a pod the label, or takes it away.
func labelled(p Pod, on bool) Pod {
	p.Object = p.Object.DeepCopy()
	p.Object.Labels = nil
	if on {
		p.Object.Labels = map[string]string{"company": "yes"}
	}
	return p
}

// company tells whether a pod with the label has a node.
func (q *queue) company() bool {
	for _, p := range q.world.pods {
		if len(p.Object.Labels) > 0 && (p.Node != "" || q.assumed[p.UID] != "") {
			return true
		}
	}
	return false
}

// each calls f with the pods without a node that could have one: leaders of gangs that own their key, with their
// definitions, and all others.
func (q *queue) each(f func(p Pod, d Demand)) {
	for uid, p := range q.world.pods {
		if p.Node != "" {
			continue
		}
		d, waiting := q.Demand(uid)
		if e := q.members.gangOf(q.Ledger.members.pods[uid]); p.Upfront && e.Phase == gang.Waiting {
			d, waiting = Demand{Definition: e.Definition, Upfront: true, Role: p.Role}, true // whoever is tried for all
		}
		if p.Kind == Leader && !waiting || p.Kind == Worker && !waiting && !q.gate(p).Passes() {
			continue
		}
		f(p, d)
	}
}
