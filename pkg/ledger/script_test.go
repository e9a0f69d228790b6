package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// script understands the commands of scenarios:
//
//	sync                                          everything that existed has been told
//	node NAME cpu=N [gpu=N] [cordoned] [taint=KEY] [label=VALUE]
//	node-gone NAME
//	driver NAME app=A cpu=N [on=NODE] [only=VALUE] [priority=N] [preempts=never] [held=yes|no] [ready] [slots=a,a,- size=N]   slots: the reservation it carries
//	                                              [age=DURATION] created so long ago and seen only now
//	executor NAME app=A cpu=N [of=DRIVER] [on=NODE] [role=NAME]
//	pod NAME cpu=N [gpu=N] [on=NODE] [priority=N] [preempts=never] [workers=LABEL]
//	member NAME group=G cpu=N [on=NODE] [nominated=NODE]
//	executor … together=N                         one of N that start together
//	group NAME minimum=N [free=N] [timeout=D] [problem=WORD] [succeeded=N] [started], group-gone NAME
//	gone NAME
//	defined DRIVER executors=N cpu=N [minimum=N] [selects=LABEL] [only=VALUE]     only: nodes with this label, of a driver likewise
//	refuted DRIVER WORDS…
//	gate NAME                                     may it be tried
//	first driver|executor|pod|member NAME …       the same of a pod that kube-scheduler's queue has heard of before the plugin
//	try NAME [REASON]                             a scheduling cycle; REASON if it does not fit, else ClusterFull
//	plan NAME, commit NAME, refuse NAME [REASON]  a scheduling cycle in parts: its view is that of plan; REASON else: for something
//	                                              else than room; behind: the scheduler's snapshot did not show it yet
//	unplace NAME, bind NAME [on=NODE]             how the binding cycle ends
//	seats NAME                                    where an executor may take a slot
//	wait DURATION, tick DURATION                  slots unclaimed for as long are released
//	tick DURATION collect [domain]                room is collected for what has waited for as long, in one domain
//	show                                          all gangs and nodes
//
// Of what follows only what users are told is shown, not what wakes whom:
//
//	queue NAME [parent=NAME] [namespaces=a,b] [cpu=GUARANTEED/LIMIT] [gpu=…] [weight=N] [gangs=N] [leaders=PERCENT] [order=Fair]
//	           [priority=N] [state=…] [minimum=PERCENT] [user-cpu=N] [user-gangs=N]
//	           [reclaim [after=D] [budget=PERCENT] [utilization=PERCENT] [dry-run]] [dead-zone=PERCENT] [exempt] [protect=D] [pool=LABEL]
//	                                              a queue is made or changed; a part of GUARANTEED/LIMIT may be missing
//	queue-gone NAME, move NAMESPACE QUEUE
//	app NAME [in=NAMESPACE] [user=NAME] [priority=N] [rank=N] driver=N [executors=N cpu=N minimum=N]
//	                                              a driver, and what its executors will be
//	start                                         whoever may, starts in turn and is bound; why the others wait
//	pass DURATION                                 what happens meanwhile, and when
//	end NAME…                                     a pod ends, and the executors of a driver with it
//	queues                                        what every queue holds, and why how many wait in it
//
// Pods are in=NAMESPACE, which is "ns" unless it is said, and of user=NAME.
type script struct {
	*world
	plans map[string]planned // by pod
}

// planned is the part of a scheduling cycle before Reserve.
type planned struct {
	view  *inventory.View
	node  string
	slots []gang.Slot
	fits  bool
	asked Demand
}

// words are the arguments of a command: words by place and key=value by key. A word alone is also a key.
type words struct {
	list []string
	keys map[string]string
}

func (w words) number(key string) int64 {
	n, _ := strconv.ParseInt(w.keys[key], 10, 64)
	return n
}

func (w words) has(key string) bool {
	_, has := w.keys[key]
	return has
}

func split(line string) words {
	w := words{keys: map[string]string{}}
	for _, word := range strings.Fields(line) {
		key, value, _ := strings.Cut(word, "=")
		w.keys[key] = value
		w.list = append(w.list, word)
	}
	return w
}

// run executes one command and returns what it comes to.
func (s *script) run(line string) (said []string, err error) {
	w := split(line)
	name := ""
	if len(w.list) > 1 {
		name = w.list[1]
	}
	s.world.effects = nil
	uid := types.UID(name)
	switch w.list[0] {
	case "sync":
		_ = s.apply(Synced{})
	case "node":
		node := nodeOf(name, w)
		s.world.nodes[name] = node
		_ = s.apply(NodeSeen{node})
	case "node-gone":
		delete(s.world.nodes, name)
		_ = s.apply(NodeGone{name})
	case "driver", "executor", "pod", "member":
		s.see(s.podOf(w, name))
	case "gone":
		delete(s.world.pods, uid)
		delete(s.assumed, uid)
		_ = s.apply(PodGone{uid})
	case "defined":
		_ = s.apply(Defined{uid, definitionOf(w)})
	case "refuted":
		_ = s.apply(Refuted{uid, strings.Join(w.list[2:], " ")})
	case "first":
		w.list = w.list[1:]
		name = w.list[1]
		p := s.podOf(w, name)
		s.world.pods[p.UID] = p
		said = []string{wordsOf(s.gate(p))}
	case "gate":
		said = []string{wordsOf(s.gate(s.world.pods[uid]))}
	case "try":
		said, err = s.try(uid, w)
	case "plan":
		said = []string{s.think(uid)}
	case "commit":
		said = s.commit(uid)
	case "refuse":
		_ = s.apply(Refused{UID: uid, Epoch: s.plans[name].view.Epoch, Verdict: reasonOf(w), Behind: w.has("behind")})
	case "unplace":
		delete(s.assumed, uid)
		_ = s.apply(Unplaced{uid})
	case "bind":
		p := s.world.pods[uid]
		p.Node, p.Reservation = s.assumed[uid], s.written[uid]
		if w.has("on") {
			p.Node = w.keys["on"]
		}
		delete(s.assumed, uid)
		s.see(p)
	case "seats":
		said = []string{seatsOf(s.Seats(uid, 4))}
	case "wait":
		duration, parseErr := time.ParseDuration(name)
		s.clock, err = s.clock.Add(duration), parseErr
	case "tick":
		duration, parseErr := time.ParseDuration(name)
		err = parseErr
		tick := Tick{Unclaimed: duration}
		if w.has("unready") {
			tick.Unclaimed, tick.Unready = 0, duration
		}
		if w.has("collect") {
			tick.Unclaimed, tick.Collect = 0, duration
			if s.accounts.strategy = placement.Pack; w.has("domain") {
				s.accounts.strategy = placement.SingleZone
			}
		}
		_ = s.apply(tick)
	case "group":
		group := Group{Key: groupKey(s.namespaceOf(w), name), Minimum: int(w.number("minimum")), Problem: w.keys["problem"]}
		group.Resources.CPU = w.number("free") * 1000
		group.Succeeded, group.Started = int(w.number("succeeded")), w.has("started")
		group.Timeout, err = time.ParseDuration(cmp.Or(w.keys["timeout"], "0"))
		_ = s.apply(GroupSeen{group})
	case "group-gone":
		_ = s.apply(GroupGone{groupKey("ns", name)})
	case "show":
		said = s.show()
	case "queue", "queue-gone", "move", "app", "end", "start", "pass", "queues":
		return s.runQueues(w, name)
	default:
		return nil, errors.New("no such command")
	}
	return append(said, show(s.world.effects)...), err
}

func nodeOf(name string, w words) *v1.Node {
	node := newNode(name, w.number("cpu"))
	node.Spec.Unschedulable = w.has("cordoned")
	if w.has("taint") {
		node.Spec.Taints = []v1.Taint{{Key: w.keys["taint"], Effect: v1.TaintEffectNoSchedule}}
	}
	if w.has("unready") {
		node.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionUnknown}}
	}
	if w.has("label") {
		node.Labels = map[string]string{"label": w.keys["label"]}
	}
	if w.has("gpu") {
		node.Status.Allocatable["gpu"] = *resource.Quantity("gpu", w.number("gpu"))
	}
	return node
}

// podOf is a pod as the command says; what it does not say of a pod seen before stays as it was.
func (s *script) podOf(w words, name string) Pod {
	uid := types.UID(name)
	p, known := s.world.pods[uid]
	if !known {
		p = Pod{UID: uid, Namespace: s.namespaceOf(w), User: w.keys["user"], Precedence: Precedence{Created: s.clock}, Object: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespaceOf(w), Name: name, UID: uid}}}
	}
	if w.has("cpu") {
		p.Requests = cores(w.number("cpu"))
	}
	if w.has("gpu") {
		p.Requests = p.Requests.WithExtended(map[v1.ResourceName]int64{"gpu": w.number("gpu")})
	}
	if w.has("on") {
		p.Node = w.keys["on"]
	}
	if w.has("age") {
		age, _ := time.ParseDuration(w.keys["age"])
		p.Created = s.clock.Add(-age)
	}
	p.NeverPreempts = w.keys["preempts"] == "never"
	if w.has("priority") {
		p.Priority = int32(w.number("priority"))
	}
	if w.has("held") {
		p.Held = w.keys["held"] != "no"
	}
	if w.has("rank") {
		p.Rank = int32(w.number("rank"))
	}
	if w.has("workers") {
		p.Labels = map[string]string{"workers": w.keys["workers"]}
	}
	p.Ready = p.Ready || w.has("ready")
	if w.has("daemon") {
		p.Foreign, p.Object.OwnerReferences = true, []metav1.OwnerReference{{Kind: "DaemonSet", Controller: ptr.To(true)}}
	}
	if w.has("slots") {
		var slots []gang.Slot
		size := definition(0, w.number("size"))
		for _, node := range strings.Split(w.keys["slots"], ",") {
			slots = append(slots, gang.Slot{Node: strings.Trim(node, "-"), Requests: cores(w.number("size"))})
		}
		size.Roles[0].Count, size.Roles[0].Minimum = len(slots), len(slots)
		p.Reservation = &Reservation{size, Runs(slots)}
	}
	if w.has("only") {
		p.Object.Spec.NodeSelector = map[string]string{"label": w.keys["only"]}
	}
	app := w.keys["app"]
	if app == "" {
		app = p.Gang.Name
	}
	switch w.list[0] {
	case "driver":
		p.Part = partOf(Leader, p.Namespace, app, "")
	case "executor":
		p.Part = partOf(Worker, p.Namespace, app, types.UID(w.keys["of"]))
		if w.has("role") {
			p.Role = w.keys["role"]
		}
	case "member":
		p.Part = Part{Kind: Worker, Gang: groupKey(p.Namespace, w.keys["group"]), Role: fmt.Sprint("of ", p.Requests.CPU/1000), Upfront: true}
	default:
		p.Part = Part{}
	}
	if w.has("together") {
		p.Upfront, p.Together = true, int(w.number("together"))
	}
	if w.has("nominated") {
		p.Nominated = w.keys["nominated"]
	}
	return p
}

func definitionOf(w words) gang.Definition {
	d := definition(int(w.number("executors")), w.number("cpu"))
	if w.has("minimum") {
		d.Roles[0].Minimum = int(w.number("minimum"))
	}
	if w.has("selects") {
		d = selecting(d, w.keys["selects"])
	}
	if w.has("only") {
		d.Roles[0].Signature = w.keys["only"]
		d.Roles[0].Pod = &v1.Pod{Spec: v1.PodSpec{NodeSelector: map[string]string{"label": w.keys["only"]}}}
	}
	return d
}

func reasonOf(w words) gang.Verdict {
	if len(w.list) < 3 {
		return gang.Verdict{Reason: gang.ClusterFull, Message: "no room"}
	}
	if w.has("else") || w.has("behind") { // refused for something else than room
		return gang.Verdict{}
	}
	return gang.Verdict{Reason: gang.Reason(w.list[2]), Message: "no room"}
}

func wordsOf(v gang.Verdict) string {
	if v.Passes() {
		return "passes"
	}
	return "stays: " + v.Say(true)
}

// think is PreFilter: a view, and a plan for a leader.
func (s *script) think(uid types.UID) string {
	attempt := s.attempt(uid)
	p := planned{view: attempt.View}
	defer func() { s.plans[string(uid)] = p }()
	d := attempt.Demand
	if !attempt.Gang {
		return "not waiting to be admitted"
	}
	p.asked = d
	if p.node, p.slots, p.fits = s.world.plan(p.view, s.world.pods[uid], d); !p.fits {
		return "does not fit"
	}
	return "fits on " + p.node + slotNodes(p.slots)
}

// commit is Reserve and PreBind.
func (s *script) commit(uid types.UID) []string {
	p := s.plans[string(uid)]
	admitted := Admitted{Leader: uid, Node: p.node, Slots: p.slots}
	if p.asked.Upfront {
		admitted.Leader, admitted.Node = p.asked.Leader, ""
	}
	if err := s.apply(admitted); err != nil {
		return []string{"error: " + err.Error()}
	}
	if p.asked.Upfront {
		effects := s.world.effects
		s.place(uid, p.node)
		s.world.effects = append(effects, s.world.effects...)
		return []string{"placed on " + p.node + slotNodes(p.slots)}
	}
	s.assumed[uid] = p.node
	effects := s.world.effects
	s.write(uid)
	s.world.effects = effects
	return []string{"admitted on " + p.node + slotNodes(p.slots)}
}

// try is a whole scheduling cycle.
func (s *script) try(uid types.UID, w words) ([]string, error) {
	p, known := s.world.pods[uid]
	if !known {
		return nil, errors.New("no such pod")
	}
	if verdict := s.gate(p); !verdict.Passes() {
		return []string{wordsOf(verdict)}, nil
	}
	before := s.world.effects
	defer func() { s.world.effects = append(before, s.world.effects...) }()
	s.world.effects = nil
	thought := s.think(uid)
	plan := s.plans[string(uid)]
	if d, waiting := s.Demand(uid); waiting {
		if !d.Verdict.Passes() {
			_ = s.apply(Refused{UID: uid, Epoch: plan.view.Epoch, Verdict: d.Verdict})
			return []string{wordsOf(d.Verdict)}, nil
		}
		if plan.fits {
			return s.commit(uid), nil
		}
		_ = s.apply(Refused{UID: uid, Epoch: plan.view.Epoch, Verdict: reasonOf(w)})
		return []string{thought}, nil
	}
	seats := s.Seats(uid, 4)
	if seats.Verdict.OfQueue() {
		_ = s.apply(Refused{UID: uid, Epoch: plan.view.Epoch, Verdict: seats.Verdict})
		return []string{wordsOf(seats.Verdict)}, nil
	}
	for i := range plan.view.Len() {
		name := plan.view.Name(i)
		own, seated := seats.Slots[name]
		object := plan.view.Object(i)
		usable := object != nil && !object.Spec.Unschedulable && len(object.Spec.Taints) == 0
		if usable && (seated || !seats.Pinned) && p.Requests.Fits(plan.view.Free(i).Add(own)) {
			s.place(uid, name)
			return []string{"placed on " + name}, nil
		}
	}
	_ = s.apply(Refused{UID: uid, Epoch: plan.view.Epoch, Verdict: reasonOf(w)})
	return []string{"does not fit"}, nil
}

func slotNodes(slots []gang.Slot) string {
	if len(slots) == 0 {
		return ""
	}
	text := ", slots on"
	for _, slot := range slots {
		text += " " + slot.Node
	}
	return text
}

func seatsOf(seats Seats) string {
	switch nodes := strings.Join(slices.Sorted(maps.Keys(seats.Slots)), " "); {
	case !seats.Verdict.Passes():
		return wordsOf(seats.Verdict)
	case seats.Pinned:
		return "goes to " + nodes
	case nodes != "":
		return "goes anywhere, slots on " + nodes
	default:
		return "goes anywhere, no slots"
	}
}

// show draws all gangs and nodes.
func (s *script) show() (lines []string) {
	for _, g := range s.Gangs() {
		line := fmt.Sprintf("%s of %s is %s", g.Key.Name, g.Leader, g.Phase)
		for _, slot := range g.Slots {
			node, worker := slot.Node, string(slot.Worker)
			if node == "" {
				node = "nowhere"
			}
			if worker == "" {
				worker = "open"
			}
			line += fmt.Sprintf("; %s %d %s", node, slot.Requests.CPU/1000, worker)
		}
		lines = append(lines, line)
	}
	view := s.View()
	for i := range view.Len() {
		if view.Name(i) == "" {
			continue
		}
		state := ""
		if view.Object(i) == nil {
			state = ", not there"
		}
		lines = append(lines, fmt.Sprintf("node %s: %d free, %d held%s", view.Name(i), view.Free(i).CPU/1000, view.Held(i).CPU/1000, state))
	}
	slices.Sort(lines)
	return lines
}
