package sim

import (
	"encoding/json"
	"fmt"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// check looks at every replica after every event.
//
// Seen failing, by the names of the invariants: held and room, when a claimed slot went on holding its room; sums, when
// an attempt moved a pod that was bound, and when two nodes shared an entry; overbooked, when repair looked at
// eligibility only; admitted, when a leader that lost its node kept its gang; half, when one slot less was reserved than
// planned; stolen, when Filter did not subtract slots; refused, when Filter did not add a worker's own, and when kube-scheduler tried it with a pod for which others had yet to leave; stuck, when no
// epoch began; minimum, when a lost executor's slot was dropped whatever was left; rest, when room was collected again
// at once after it had been in vain; rebuilt, when a reservation that could not be saved was not saved later; orphan, when
// the Gate let workers of a leader pass that had ended; twice, when slots were admitted twice; leak, when applications
// without pods were remembered; together, see crew.bound; charged, when new queues were charged nothing of what ran; limit,
// when nobody asked the queue about a pod that claims no slot; closed, when a queue that drains let gangs in; dry run, when
// what is only to be said was done; driver first, when leaders came first and nothing made them wait for their workers; left, when every pod that had failed was
// taken for one that the ledger keeps; overtaken, when an attempt on a snapshot that was behind gave up what was collected; heard, without Gate's
// keeping of such workers; names, with the argument tell: names; arrival, when the last of a second went first; bound, when a condition named no
// version of its pod; asked, when one executor less was asked for; asks, when a request did not end with the wait; bought, when every pod that
// waits was a reason to buy nodes; spared, when nobody claimed what others left who were going already.
func (w *World) check() {
	for _, r := range w.replicas {
		if r.dirty {
			r.dirty = false
			r.checkSpared()
			r.checkClaims()
			r.checkNodes()
			r.checkGangs()
			r.checkFitting()
			r.asker.check()
			if w.climate.queues {
				r.checkQueues()
			}
		}
	}
}

// checkLeft: a pod that an event would have moved is left alone only if it has gone, has a node, or the Gate would not let it
// through. One may have a node although it is still in the queue: another scheduler has bound it, the informer knows, and
// kube-scheduler's own handler, which takes it out of the queue, has yet to hear of that.
func (r *replica) checkLeft(info *framework.QueuedPodInfo, event fwk.ClusterEvent) {
	current := r.current(queueKey(info.Pod))
	if current != nil && current.UID == info.Pod.UID && current.Spec.NodeName == "" && !r.ledger.Waits(info.Pod.UID) && info.GatingPlugin != plugin.Name {
		r.world.fail("left", "%s: %s would move %s, and nobody has named it", r.name, event.Label(), keyOf(info.Pod))
	}
}

// checkHeard: an executor without a slot passes the Gate only after the plugin has been told of it, and so of all that came before it,
// such as the end of the executor that it replaces.
func (r *replica) checkHeard(pod *v1.Pod) {
	if m := r.told.pods[pod.UID]; !spark.IsExecutor(pod) || len(pod.OwnerReferences) == 0 || m != nil && m.pod != nil {
		return
	}
	for _, g := range r.ledger.Gangs() {
		open := slices.ContainsFunc(g.Slots, func(slot gang.Slot) bool { return slot.Worker == "" })
		if g.Leader == pod.OwnerReferences[0].UID && g.Phase.Admitted() && !open {
			r.world.fail("heard", "%s: executor %s passes the Gate without a slot before the plugin is told of it", r.name, keyOf(pod))
		}
	}
}

// checkBound: nobody is told that it waits who has a node by the API server's word, whatever the plugin has heard of that.
func (r *replica) checkBound(key string, before *v1.Pod) {
	after, there := r.world.api.pods.get(key)
	if !there || before == nil || before.UID != after.UID || before.Spec.NodeName == "" {
		return
	}
	if said := condition(after, v1.PodScheduled); said.Status == v1.ConditionFalse && condition(before, v1.PodScheduled).Status != v1.ConditionFalse {
		r.world.fail("bound", "%s: %s is on node %s and is told that it waits: %s", r.name, key, after.Spec.NodeName, said.Message)
	}
}

// checkArrival: of two pods of one priority that were created in the same second, and of which the plugin has heard since it knows the
// cluster, the one goes first of which it heard first.
func (r *replica) checkArrival(next *framework.QueuedPodInfo) {
	m := r.told.pods[next.Pod.UID]
	if r.world.climate.queues || m == nil || m.place == 0 || next.Attempts != 1 {
		return
	}
	for _, other := range r.queue.active {
		o := r.told.pods[other.Pod.UID]
		if o == nil || o.place == 0 || other.Attempts > 0 || *other.Pod.Spec.Priority != *next.Pod.Spec.Priority || !other.Pod.CreationTimestamp.Equal(&next.Pod.CreationTimestamp) {
			continue
		}
		r.world.stats.Arrivals++
		if o.place < m.place {
			r.world.fail("arrival", "%s: %s, which came as number %d, is tried before %s, which came as number %d", r.name, keyOf(next.Pod), m.place, keyOf(other.Pod), o.place)
		}
	}
}

// checkNodes: what the ledger believes to be free is what nodes offer, less what pods take by what the plugin has been
// told, less the slots; and a node that holds slots is not overbooked.
func (r *replica) checkNodes() {
	w := r.world
	synced := r.ledger.Census().Synced
	view := r.ledger.View()
	for i := range view.Len() {
		name, held, free := view.Name(i), *view.Held(i), *view.Free(i)
		node := r.told.nodes[name]
		if !held.Fits(held) || !(resource.Vector{}).Sub(held).Fits(resource.Vector{}) {
			w.fail("held", "%s: node %s holds less than nothing: %s", r.name, name, held)
		}
		if (node == nil) != (view.Object(i) == nil) {
			w.fail("sums", "%s: node %s is there: %v, the ledger says %v", r.name, name, node != nil, view.Object(i) != nil)
		}
		if view.Open(i) != placement.Open(view.Object(i)) {
			w.fail("sums", "%s: node %s takes everybody: %v, the Node says %v", r.name, name, view.Open(i), placement.Open(view.Object(i)))
		}
		if synced && node == nil && !held.IsZero() {
			w.fail("overbooked", "%s: %s is held on node %s, which is not there", r.name, held, name)
		}
		offers := resource.Vector{} // a node that is not there offers nothing, and may still have pods
		if node != nil {
			offers = resource.OfList(node.Status.Allocatable)
		}
		want := offers.Sub(r.told.used[name]).Sub(held)
		if !free.Equal(want) {
			w.fail("sums", "%s: node %s has %s free by the ledger, %s in truth (pods take %s, slots %s)", r.name, name, free, want, r.told.used[name], held)
		}
		// A resource that slots do not ask for may be short.
		if synced && !held.Fits(want.Add(held)) {
			w.fail("overbooked", "%s: node %s holds slots of %s although it is short: free %s", r.name, name, held, want)
		}
	}
}

// checkGangs: who holds slots is admitted, has a leader that lives and a place for it, and holds neither more than it
// may nor less than its minimum; what is held on nodes is what gangs hold and what is collected.
func (r *replica) checkGangs() {
	w := r.world
	held := r.ledger.Collected()
	if held == nil {
		held = map[string]resource.Vector{}
	}
	owners := map[gang.Key]types.UID{}
	for _, g := range r.ledger.Gangs() {
		if !g.Phase.Admitted() {
			if len(g.Slots) > 0 {
				w.fail("admitted", "%s: gang %s is %s and has %d slots", r.name, g.Key, g.Phase, len(g.Slots))
			}
			continue
		}
		if other, taken := owners[g.Key]; taken {
			w.fail("twice", "%s: gang %s is admitted twice, with leaders %s and %s", r.name, g.Key, other, g.Leader)
		}
		owners[g.Key] = g.Leader
		leader := r.told.pods[g.Leader]
		if !leaderless(g.Leader) && (leader == nil || leader.counted == "") {
			w.fail("admitted", "%s: gang %s is %s, but its leader %s has no place (known %v)", r.name, g.Key, g.Phase, g.Leader, leader != nil)
		}
		if most := g.Definition.Workers(); len(g.Slots) > most {
			w.fail("twice", "%s: gang %s has %d slots for %d workers", r.name, g.Key, len(g.Slots), most)
		}
		r.checkMinimum(g)
		for _, slot := range g.Slots {
			switch {
			case slot.Worker == "" && slot.Node != "":
				held[slot.Node] = held[slot.Node].Add(slot.Requests)
			case slot.Worker != "":
				if worker := r.told.pods[slot.Worker]; worker == nil || worker.counted == "" {
					w.fail("held", "%s: gang %s: a slot is claimed by %s, which has no place", r.name, g.Key, slot.Worker)
				}
			}
		}
	}
	view := r.ledger.View()
	for i := range view.Len() {
		if name := view.Name(i); !view.Held(i).Equal(held[name]) {
			w.fail("held", "%s: node %s holds %s, its slots are %s", r.name, name, view.Held(i), held[name])
		}
	}
}

// checkMinimum: a gang that was admitted with slots keeps its minimum, in slots or workers, unless it says that it let
// go what nobody claimed. It may say so a little later.
func (r *replica) checkMinimum(g ledger.Standing) {
	delete(r.reduced, g.Leader)
	if r.world.released[g.Leader] || leaderless(g.Leader) {
		return
	}
	if r.world.usurped[g.Leader] || r.world.strangers[g.Leader] {
		return // nothing was reserved for it
	}
	minimum := 0
	for _, role := range g.Definition.Roles {
		minimum += role.Minimum
	}
	if len(g.Slots) < minimum {
		r.reduced[g.Leader] = fmt.Sprintf("gang %s has %d slots and needs %d", g.Key, len(g.Slots), minimum)
	}
}

// orphaned says why a pod must not be placed by a cycle that begins now; empty when it may be. One that the plugin knows
// to be gone itself takes nothing, and cannot be bound.
func (r *replica) orphaned(pod *v1.Pod) string {
	if !spark.IsExecutor(pod) || r.told.buried[pod.UID] {
		return ""
	}
	if owner := metav1.GetControllerOf(pod); owner != nil && owner.Kind == "Pod" && r.told.buried[owner.UID] {
		return "the plugin knew that driver " + owner.Name + " had ended"
	}
	return ""
}

// caughtUp tells whether plugin and scheduler have heard everything that the informers have read, so that neither knows
// what the other does not.
func (r *replica) caughtUp() bool {
	for _, i := range []*informer{r.pods, r.nodes} {
		for _, l := range i.listeners {
			if len(l.backlog) > 0 {
				return false
			}
		}
	}
	return true
}

// homes is where the slots of every gang are, but for the gang of a pod: leader -> node -> open slots.
func (r *replica) homes(except *v1.Pod) map[types.UID]map[string]int {
	homes := map[types.UID]map[string]int{}
	for _, g := range r.ledger.Gangs() {
		if g.Key.Namespace == except.Namespace && g.Key.Name == spark.AppID(except) {
			continue
		}
		homes[g.Leader] = map[string]int{}
		for _, slot := range g.Slots {
			if slot.Worker == "" && slot.Node != "" {
				homes[g.Leader][slot.Node]++
			}
		}
	}
	return homes
}

// left tells whether slots have left a node. Those that had none may find one.
func left(before, after map[types.UID]map[string]int) bool {
	for leader, nodes := range before {
		for node, count := range nodes {
			if after[leader][node] < count {
				return true
			}
		}
	}
	return false
}

// reserved checks what a scheduling cycle has just decided; before is where the slots of other gangs were.
func (r *replica) reserved(a *attempt, node string, before map[types.UID]map[string]int) {
	w := r.world
	undisturbed := r.told.changes == a.seen
	pod := a.info.Pod
	r.told.reserve(pod, node)
	if w.mistaken[pod.UID] {
		w.fail("mistaken", "%s: %s was given node %s although nobody may ask for what it asks for", r.name, keyOf(pod), node)
	}
	if a.orphaned != "" {
		w.fail("orphan", "%s: %s was given node %s although %s", r.name, keyOf(pod), node, a.orphaned)
	}
	if after := r.homes(pod); undisturbed && r.caughtUp() && left(before, after) {
		w.fail("stolen", "%s: %s was given node %s, and slots of others had to leave: they were on %v and are on %v", r.name, keyOf(pod), node, before, after)
	}
	if there := r.told.nodes[node]; there != nil && undisturbed && r.caughtUp() {
		view := r.ledger.View()
		i, _ := view.Index(node)
		asks, free := requestsOf(pod), resource.OfList(there.Status.Allocatable).Sub(r.told.used[node]).Sub(*view.Held(i))
		if !asks.Fits(free.Add(asks)) {
			w.fail("room", "%s: %s was given node %s, which has no room for it: free %s with it", r.name, keyOf(pod), node, free)
		}
	}
	r.letIn(pod)
	if app := w.appOf(pod); app != nil && pod.UID == app.driver {
		r.admitted(app, pod, node, undisturbed)
	}
}

// refused checks a scheduling cycle that found no place: an executor is not refused the room that is kept for it on a
// node where it was tried, unless kube-scheduler keeps it for a pod that it has nominated, and for whom nobody leaves. An attempt takes its
// time: what it knew is what was heard before it (seed 22000263).
func (r *replica) refused(a *attempt) {
	w, pod := r.world, a.info.Pod
	app := w.appOf(pod)
	if app == nil || pod.UID == app.driver || !spark.InDefaultProfile(pod) || w.contested(app) || r.told.changes != a.seen || a.behind || !r.caughtUp() {
		return
	}
	for _, g := range r.ledger.Gangs() {
		if g.Leader != app.driver {
			continue
		}
		for _, slot := range g.Slots {
			node := r.told.nodes[slot.Node]
			tried := slices.ContainsFunc(a.nodes, func(info fwk.NodeInfo) bool { // as the snapshot has it, which may be behind
				return info.Node().Name == slot.Node && admits(info.Node(), &pod.Spec)
			})
			if !tried || r.keepsForOthers(slot.Node) {
				continue
			}
			if slot.Worker == "" && node != nil && !r.haunted(slot.Node) && admits(node, &pod.Spec) && requestsOf(pod).Fits(slot.Requests) {
				w.fail("refused", "%s: executor %s was refused although a slot of %s is kept for it on %s: %v", r.name, keyOf(pod), slot.Requests, slot.Node, a.diagnosis.NodeToStatus.Get(slot.Node))
			}
		}
	}
}

// keepsForOthers tells whether a node is that of a nominated pod for which the ledger keeps nothing.
func (r *replica) keepsForOthers(node string) bool {
	return slices.ContainsFunc(r.queue.nominated.byNode[node], func(nominated nomination) bool {
		kept, _ := r.ledger.Nomination(nominated.uid)
		return kept != node
	})
}

// admitted checks a leader that has just been given a node: its whole minimum must have room.
func (r *replica) admitted(app *application, pod *v1.Pod, node string, undisturbed bool) {
	w := r.world
	var found ledger.Standing
	for _, g := range r.ledger.Gangs() {
		if g.Leader == pod.UID {
			found = g
		}
	}
	if found.Phase != gang.Reserved {
		if r.told.buried[pod.UID] {
			return // gone meanwhile; binding it will fail
		}
		w.fail("half", "%s: driver %s was given node %s, but its gang is %q", r.name, keyOf(pod), node, found.Phase)
	}
	if len(found.Slots) != app.plan.count {
		w.fail("half", "%s: driver %s was given node %s with %d slots, and %d executors will come", r.name, keyOf(pod), node, len(found.Slots), app.plan.count)
	}
	if app.unpredicted {
		return
	}
	like := app.plan.executorPod(pod, "executor", app.id, false)
	if app.plan.pinned != "" {
		like.Spec.NodeSelector = nil
	}
	zones := map[string]bool{}
	if leader := r.told.nodes[node]; leader != nil {
		zones[leader.Labels[labelZone]] = true
	}
	for _, slot := range found.Slots {
		if !slot.Requests.Equal(app.plan.executor.vector()) {
			w.fail("half", "%s: a slot of %s is %s, its executors will ask for %v", r.name, keyOf(pod), slot.Requests, app.plan.executor)
		}
		if !undisturbed {
			continue
		}
		at := r.told.nodes[slot.Node]
		if at == nil || !admits(at, &like.Spec) {
			w.fail("half", "%s: a slot of %s is on node %q, which takes no such executor", r.name, keyOf(pod), slot.Node)
		}
		zones[at.Labels[labelZone]] = true
	}
	if undisturbed && w.climate.placement == "SingleZone" && len(zones) > 1 {
		w.fail("half", "%s: the gang of %s is in several zones", r.name, keyOf(pod))
	}
}

// bound checks a pod that has just been bound, in the API server's eyes.
func (w *World) bound(pod *v1.Pod, by string) {
	if by == "rival" {
		if app := w.appOf(pod); app != nil {
			app.unpredicted = true
		}
		w.usurped[pod.UID] = true
		if k := w.members[pod.UID]; k != nil {
			k.started = true
		}
		return
	}
	if k := w.members[pod.UID]; k != nil {
		k.bound(pod, by)
		w.stats.Executors++
		return
	}
	app := w.appOf(pod)
	switch {
	case app == nil:
		return
	case pod.UID != app.driver:
		w.stats.Executors++
		return
	case app.plan.count == 0:
		return
	}
	w.stats.Gangs++
	var written struct {
		Slots []struct {
			Count int `json:"count"`
		} `json:"slots"`
	}
	text := pod.Annotations[plugin.AnnotationReservation]
	if err := json.Unmarshal([]byte(text), &written); err != nil {
		w.fail("half", "driver %s was bound with the reservation %q: %v", keyOf(pod), text, err)
	}
	slots := 0
	for _, s := range written.Slots {
		slots += s.Count
	}
	if slots != app.plan.count {
		w.fail("half", "driver %s was bound with a reservation of %d slots, and %d executors will come", keyOf(pod), slots, app.plan.count)
	}
}
