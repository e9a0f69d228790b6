package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// world drives a ledger with random events the way informers and scheduling cycles do, and knows, independently of
// the ledger, what is true.
type world struct {
	*Ledger
	clock time.Time
	pods  map[types.UID]Pod // pods that have not ended, with the node of bound ones
	// assumed pods have been reserved but not bound: pod -> node.
	assumed map[types.UID]string
	// written is what PreBind wrote onto a leader: leader -> reservation.
	written map[types.UID]*Reservation
	// defined is the last answer about each leader's gang.
	defined map[types.UID]Event
	nodes   map[string]*v1.Node
	// groups are the declarations that exist.
	groups map[gang.Key]Group
	// barred pods have a node and wait for the rest of their gang; rejected ones are to be taken back.
	barred, rejected map[types.UID]bool
	serial           int
	// happens is what step draws from.
	happens []string
	// namespaces and users are what step draws those of new pods from; namespace and user are those of the next one.
	namespaces, users []string
	namespace, user   string
	// arranged are the queues that the ledger was told of.
	arranged Queues
	// trespasses are what it let in although a queue forbids it.
	trespasses []string
	// effects are those of the last event.
	effects []Effect
	// planned is an attempt that has found room and not taken it yet; nil means none.
	planned *plannedGang
	// asked is what the autoscaler is asked for: leader -> the effect.
	asked map[types.UID]ScaleUp
	// log is everything the ledger was told, for telling it again.
	log []func(*Ledger) string
}

func newWorld() *world {
	return &world{happens: happened, namespace: "ns", Ledger: New("label", placement.Pack), clock: start, pods: map[types.UID]Pod{}, assumed: map[types.UID]string{}, written: map[types.UID]*Reservation{}, defined: map[types.UID]Event{}, nodes: map[string]*v1.Node{},
		asked: map[types.UID]ScaleUp{}, groups: map[gang.Key]Group{}, barred: map[types.UID]bool{}, rejected: map[types.UID]bool{}}
}

func (w *world) apply(event Event) error {
	w.clock = w.clock.Add(time.Second)
	now := w.clock
	w.log = append(w.log, func(l *Ledger) string {
		effects, err := l.Apply(now, judged(l, event))
		return fmt.Sprint(show(effects), err)
	})
	audit := w.auditor(event)
	effects, err := w.Apply(now, judged(w.Ledger, event))
	if err == nil {
		audit()
	}
	w.save(effects)
	return err
}

func (w *world) gate(p Pod) gang.Verdict {
	w.clock = w.clock.Add(time.Millisecond)
	now := w.clock
	w.log = append(w.log, func(l *Ledger) string {
		verdict, _, effects := l.Gate(now, p)
		return fmt.Sprint(verdict, show(effects))
	})
	verdict, _, effects := w.Gate(now, p)
	w.save(effects)
	return verdict
}

// attempt is PreFilter.
func (w *world) attempt(uid types.UID) Attempt {
	now := w.clock
	w.log = append(w.log, func(l *Ledger) string {
		_, effects := l.Attempt(now, uid, 4)
		return fmt.Sprint(show(effects))
	})
	attempt, effects := w.Attempt(now, uid, 4)
	w.save(effects)
	return attempt
}

// save writes reservations onto leaders, as the plugin does.
func (w *world) save(effects []Effect) {
	w.effects = effects
	for _, effect := range effects {
		w.hear(effect)
		switch effect := effect.(type) {
		case Save:
			w.write(effect.Leader.UID)
		case Allow:
			for _, uid := range effect.Pods {
				delete(w.barred, uid)
			}
		case Reject:
			for _, uid := range effect.Pods {
				if w.barred[uid] {
					w.rejected[uid] = true
				}
			}
		}
	}
}

func (w *world) write(leader types.UID) {
	r, admitted := w.Reservation(leader)
	if !admitted {
		return
	}
	w.written[leader] = &r
	if p := w.pods[leader]; p.Node != "" {
		p.Reservation = &r
		w.pods[leader] = p
	}
}

// show writes effects in one line each.
func show(effects []Effect) []string {
	var lines []string
	for _, effect := range effects {
		switch effect := effect.(type) {
		case Activate:
			lines = append(lines, "activate "+effect.Pod.Name)
		case Evict:
			force := ""
			if effect.Forced {
				force = " by force"
			}
			lines = append(lines, fmt.Sprintf("evict %s%s: %s", effect.Pod.Name, force, effect.Verdict.Say(true)))
		case Unnominate:
			lines = append(lines, "unnominate "+effect.Pod.Name)
		case Look:
			lines = append(lines, "look")
		case Define:
			lines = append(lines, "define "+effect.Leader.Name)
		case Save:
			lines = append(lines, "save "+effect.Leader.Name)
		case Tell:
			lines = append(lines, fmt.Sprintf("tell %s: %s", effect.Pod.Name, effect.Verdict.Say(true)))
		case Missing:
			lines = append(lines, fmt.Sprintf("missing of %s: %d of %d", effect.Leader.Name, effect.Open, effect.All))
		case Allow:
			lines = append(lines, fmt.Sprint("allow ", effect.Pods))
		case ScaleUp:
			for _, pods := range effect.Pods {
				lines = append(lines, fmt.Sprintf("scale up for %s: %d × %s of %s", effect.Leader.Name, pods.Count, pods.Name, pods.Requests))
			}
		case ScaleUpEnded:
			lines = append(lines, fmt.Sprintf("scale-up ended for %s", effect.Leader))
		case Reject:
			lines = append(lines, fmt.Sprint("reject ", effect.Pods, ": ", effect.Verdict.Say(true)))
		}
	}
	return lines
}

func newNode(name string, cpu int64) *v1.Node {
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)},
		Status: v1.NodeStatus{Allocatable: v1.ResourceList{
			v1.ResourceCPU:  *apiresource.NewQuantity(cpu, apiresource.DecimalSI),
			v1.ResourcePods: apiresource.MustParse("110"),
		}},
	}
}

func cores(n int64) resource.Vector { return resource.Vector{CPU: n * 1000, Pods: 1} }

func (w *world) newPod(kind Kind, app string, cpu int64) Pod {
	w.serial++
	uid := types.UID(fmt.Sprintf("%03d", w.serial))
	pod := Pod{UID: uid, Namespace: w.namespace, User: w.user, Requests: cores(cpu), Precedence: Precedence{Created: w.clock}, Object: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod-" + string(uid), UID: uid}}}
	pod.Part = partOf(kind, w.namespace, app, "")
	return pod
}

// groupKey is the key of an up-front gang, apart from those of applications.
func groupKey(namespace, name string) gang.Key {
	return gang.Key{Namespace: namespace, Name: "podgroup/" + name}
}

// newMember is a pod of an up-front gang that a Group declares.
func (w *world) newMember(group string, cpu int64) Pod {
	pod := w.newPod(Worker, "", cpu)
	pod.Gang, pod.Role, pod.Upfront = groupKey(w.namespace, group), fmt.Sprint("of ", cpu), true
	return pod
}

// partOf is what a pod shows to be in an application.
func partOf(kind Kind, namespace, app string, leader types.UID) Part {
	switch kind {
	case Leader:
		return Part{Kind: Leader, Gang: gang.Key{Namespace: namespace, Name: app}}
	case Worker:
		return Part{Kind: Worker, Gang: gang.Key{Namespace: namespace, Name: app}, Leader: leader, Role: "executor"}
	default:
		return Part{}
	}
}

func definition(count int, cpu int64) gang.Definition {
	return gang.Definition{Roles: []gang.Role{{Name: "executor", Count: count, Minimum: count, Maximum: &count, Requests: cores(cpu), Pod: &v1.Pod{}}}}
}

// selecting is a definition whose workers are known by a label of theirs only.
func selecting(d gang.Definition, label string) gang.Definition {
	d.Roles[0].Selector = map[string]string{"workers": label}
	return d
}

// room is a View, or one of the empty cluster.
type room interface {
	Len() int
	Name(int) string
	Object(int) *v1.Node
	Free(int) *resource.Vector
}

// plan finds room by first fit; the ledger does not care who plans.
func (w *world) plan(view room, pod Pod, d Demand) (node string, slots []gang.Slot, fits bool) {
	free, total := make([]resource.Vector, view.Len()), resource.Vector{}
	for i := range free {
		free[i] = *view.Free(i)
		total = total.Add(free[i].Max(resource.Vector{}))
	}
	if !d.Resources.Fits(total) {
		return "", nil, false
	}
	take := func(like *v1.Pod, request resource.Vector) string {
		eligible := placement.Eligibility(like)
		for i := range free {
			if object := view.Object(i); object != nil && eligible(object) && request.Fits(free[i]) {
				free[i] = free[i].Sub(request)
				return view.Name(i)
			}
		}
		return ""
	}
	if !d.Upfront {
		if node = take(pod.Object, pod.Requests); node == "" {
			return "", nil, false
		}
	}
	for r, role := range d.Roles {
		for range role.Count {
			slot := take(role.Pod, role.Requests)
			if slot == "" {
				return "", nil, false
			}
			slots = append(slots, gang.Slot{Role: r, Node: slot, Requests: role.Requests})
			if d.Upfront && role.Name == d.Role {
				node = slot
			}
		}
	}
	return node, slots, true
}

// pick draws a pod.
func (w *world) pick(t *rapid.T, of func(Pod) bool, label string) (Pod, bool) {
	var candidates []Pod
	for _, p := range w.pods {
		if of(p) {
			candidates = append(candidates, p)
		}
	}
	if len(candidates) == 0 {
		return Pod{}, false
	}
	return rapid.SampledFrom(sortedPods(candidates)).Draw(t, label), true
}

var (
	drawApp  = rapid.SampledFrom([]string{"x", "y"})
	drawNode = rapid.SampledFrom([]string{"a", "b", "c"})
	happened = []string{
		"node", "node", "node lost", "leader", "leader", "define", "define", "refute", "worker", "worker", "labelled", "lone", "foreign",
		"member", "member", "member", "together", "group", "group lost", "reject", "reject",
		"schedule", "schedule", "schedule", "schedule", "schedule", "schedule", "plan", "reserve", "bind", "bind", "bind", "fail", "late", "end", "repeat", "relabel", "resize", "ready", "hold", "tick",
	}
)

// upfrontHappened makes up-front gangs start, fail and end.
var upfrontHappened = []string{
	"node", "member", "member", "member", "group", "reject", "plan", "reserve", "schedule", "schedule", "schedule", "schedule", "schedule", "schedule", "bind", "bind", "fail", "end", "tick",
}

// divided makes queues stand in the way rather than nodes.
var divided = []string{
	"large", "leader", "leader", "define", "define", "plan", "reserve", "worker", "lone", "lone", "foreign", "member", "group", "reject",
	"schedule", "schedule", "schedule", "schedule", "schedule", "schedule", "schedule", "schedule", "bind", "bind", "bind", "fail", "end", "resize", "user", "queues", "tick",
}

// step lets one random thing happen.
func (w *world) step(t *rapid.T) {
	leads := func(p Pod) bool { return p.Kind == Leader }
	any := func(Pod) bool { return true }
	assumed := func(p Pod) bool { return w.assumed[p.UID] != "" && !w.barred[p.UID] }
	cpu := func(most int64) int64 { return rapid.Int64Range(1, most).Draw(t, "cpu") }
	w.drawWhose(t)

	switch rapid.SampledFrom(w.happens).Draw(t, "event") {
	case "node":
		node := newNode(drawNode.Draw(t, "node"), rapid.Int64Range(2, 8).Draw(t, "cpu"))
		node.Spec.Unschedulable = rapid.IntRange(0, 4).Draw(t, "cordoned") == 0
		if len(w.namespaces) > 0 {
			node.Labels = map[string]string{"pool": rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "pool")}
		}
		w.nodes[node.Name] = node
		_ = w.apply(NodeSeen{node})
	case "large":
		node := newNode(drawNode.Draw(t, "node"), 40)
		w.nodes[node.Name] = node
		_ = w.apply(NodeSeen{node})
	case "node lost":
		name := drawNode.Draw(t, "node")
		delete(w.nodes, name)
		_ = w.apply(NodeGone{name})
	case "leader":
		w.see(w.newPod(Leader, drawApp.Draw(t, "app"), cpu(2)))
	case "define":
		if p, ok := w.pick(t, leads, "leader"); ok {
			d := definition(rapid.IntRange(0, 3).Draw(t, "count"), cpu(3))
			d.Roles[0].Minimum = rapid.IntRange(0, d.Roles[0].Count).Draw(t, "minimum")
			if rapid.Bool().Draw(t, "by label") {
				d = selecting(d, drawApp.Draw(t, "selected"))
			}
			w.answer(p.UID, Defined{p.UID, d})
		}
	case "refute":
		if p, ok := w.pick(t, leads, "leader"); ok {
			w.answer(p.UID, Refuted{p.UID, "no such thing"})
		}
	case "worker":
		owner, owned := w.pick(t, leads, "owner")
		if owned {
			w.namespace = owner.Namespace
		}
		worker := w.newPod(Worker, drawApp.Draw(t, "app"), cpu(3))
		worker.Leader = owner.UID
		w.see(worker)
	case "labelled":
		pod := w.newPod(Lone, "", cpu(3))
		pod.Labels = map[string]string{"workers": drawApp.Draw(t, "label")}
		w.see(pod)
	case "lone":
		w.see(w.newPod(Lone, "", cpu(3)))
	case "foreign":
		pod := w.newPod(Lone, "", cpu(3))
		pod.Node, pod.Foreign = drawNode.Draw(t, "node"), rapid.Bool().Draw(t, "of another scheduler")
		w.see(pod)
	case "member":
		group := drawApp.Draw(t, "group")
		pod := w.newMember(group, cpu(2))
		pod.Joint = group == "y" // any of its pods may be the one that is tried for all
		w.see(pod)
	case "together":
		pod := w.newPod(Worker, drawApp.Draw(t, "app"), cpu(3))
		pod.Upfront, pod.Together, pod.Role = true, 2, fmt.Sprint("of ", pod.Requests.CPU)
		w.see(pod)
	case "group":
		group := Group{Key: groupKey(w.namespace, drawApp.Draw(t, "group")), Minimum: rapid.IntRange(1, 3).Draw(t, "minimum")}
		group.Whole = rapid.Bool().Draw(t, "whole")
		if group.Started = rapid.Bool().Draw(t, "started"); group.Started {
			group.Succeeded = rapid.IntRange(0, 4).Draw(t, "succeeded")
		}
		if rapid.IntRange(0, 9).Draw(t, "wrong") == 0 {
			group.Problem = "no such thing"
		}
		w.groups[group.Key] = group
		_ = w.apply(GroupSeen{group})
	case "group lost":
		key := groupKey(w.namespace, drawApp.Draw(t, "group"))
		delete(w.groups, key)
		_ = w.apply(GroupGone{key})
	case "reject":
		if p, ok := w.pick(t, func(p Pod) bool { return w.rejected[p.UID] }, "pod"); ok {
			w.takeBack(p.UID)
		}
	case "schedule":
		if p, ok := w.pick(t, func(p Pod) bool { return p.Node == "" && w.assumed[p.UID] == "" }, "pod"); ok {
			w.schedule(t, p)
		}
	case "plan":
		if p, ok := w.pick(t, func(p Pod) bool { return p.Node == "" && w.assumed[p.UID] == "" }, "pod"); ok && w.gate(p).Passes() {
			w.think(p)
		}
	case "reserve":
		w.reserve(t)
	case "bind":
		if p, ok := w.pick(t, assumed, "pod"); ok {
			w.bind(t, p)
		}
	case "fail":
		if p, ok := w.pick(t, assumed, "pod"); ok {
			delete(w.written, p.UID)
			w.takeBack(p.UID)
			_ = w.apply(Unplaced{p.UID}) // twice is once
		}
	case "late":
		// An attempt that has not heard that the pod is bound already.
		if p, ok := w.pick(t, func(p Pod) bool { return p.Node != "" }, "pod"); ok {
			_ = w.apply(Placed{p.UID, drawNode.Draw(t, "node")})
			if rapid.Bool().Draw(t, "ended") {
				_ = w.apply(Unplaced{p.UID})
			}
		}
	case "end":
		if p, ok := w.pick(t, any, "pod"); ok {
			w.end(p.UID)
		}
	case "repeat":
		if p, ok := w.pick(t, any, "pod"); ok {
			w.see(p)
		}
	case "relabel":
		if p, ok := w.pick(t, any, "pod"); ok {
			kind := rapid.SampledFrom([]Kind{Lone, Leader, Worker}).Draw(t, "kind")
			p.Part = partOf(kind, p.Namespace, drawApp.Draw(t, "app"), "")
			w.see(p)
		}
	case "user":
		if p, ok := w.pick(t, any, "pod"); ok {
			p.User = w.user
			w.see(p)
		}
	case "resize":
		if p, ok := w.pick(t, func(p Pod) bool { return p.Node != "" }, "pod"); ok {
			p.Requests = cores(cpu(3))
			w.see(p)
		}
	case "ready":
		if p, ok := w.pick(t, leads, "leader"); ok {
			p.Ready = true
			w.see(p)
		}
	case "hold":
		if p, ok := w.pick(t, leads, "leader"); ok {
			p.Held = !p.Held
			w.see(p)
		}
	case "queues":
		w.arrange(t)
	case "want":
		p := w.newPod(Leader, fmt.Sprint("app ", w.serial), cpu(2))
		w.see(p)
		w.answer(p.UID, Defined{p.UID, definition(rapid.IntRange(0, 4).Draw(t, "count"), cpu(4))})
		w.schedule(t, p)
	case "autoscaler":
		w.autoscale(t)
	case "tick":
		w.clock = w.clock.Add(time.Minute)
		_ = w.apply(Tick{Unclaimed: time.Minute, Unready: 3 * time.Minute, Collect: time.Minute})
	}
}

// answer tells what a leader's gang is.
func (w *world) answer(leader types.UID, event Event) {
	if e := w.members.gangs[leader]; e == nil || !e.Phase.Admitted() { // what an admitted gang is does not change
		w.defined[leader] = event
	}
	_ = w.apply(event)
}

func (w *world) see(p Pod) {
	w.pods[p.UID] = p
	_ = w.apply(PodSeen{p})
}

// bind ends a binding cycle well; now and then another scheduler was faster and chose another node.
func (w *world) bind(t *rapid.T, p Pod) {
	p.Node = w.assumed[p.UID]
	if rapid.IntRange(0, 9).Draw(t, "other") == 0 {
		p.Node = drawNode.Draw(t, "node")
	}
	p.Reservation = w.written[p.UID]
	delete(w.assumed, p.UID)
	w.see(p)
}

// takeBack ends a binding cycle badly.
func (w *world) takeBack(uid types.UID) {
	delete(w.assumed, uid)
	delete(w.barred, uid)
	delete(w.rejected, uid)
	_ = w.apply(Unplaced{uid})
}

func (w *world) end(uid types.UID) {
	delete(w.pods, uid)
	delete(w.assumed, uid)
	delete(w.barred, uid)
	delete(w.rejected, uid)
	delete(w.written, uid)
	_ = w.apply(PodGone{uid})
	_ = w.apply(PodGone{uid})  // a watch may tell twice
	_ = w.apply(Unplaced{uid}) // and the binding cycle notices later
}

func sortedPods(pods []Pod) []Pod {
	return slices.SortedFunc(slices.Values(pods), func(a, b Pod) int {
		if order := a.Created.Compare(b.Created); order != 0 {
			return order
		}
		return slices.Compare([]byte(a.UID), []byte(b.UID))
	})
}

// whatever lets random things happen to a world, some before all that existed has been told, and checks it after each.
func whatever(t *testing.T, check func(*rapid.T, *world)) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for range rapid.IntRange(0, 10).Draw(t, "early events") {
			w.step(t)
		}
		_ = w.apply(Synced{})
		check(t, w)
		for range w.drawEvents(t) {
			w.step(t)
			check(t, w)
		}
	})
}
