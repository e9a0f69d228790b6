package ledger

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/gang"
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
	nodes   map[string]*v1.Node
	serial  int
}

func newWorld() *world {
	return &world{Ledger: New(""), clock: start, pods: map[types.UID]Pod{}, assumed: map[types.UID]string{}, written: map[types.UID]*Reservation{}, nodes: map[string]*v1.Node{}}
}

func (w *world) apply(event Event) ([]Effect, error) {
	w.clock = w.clock.Add(time.Second)
	return w.Apply(w.clock, event)
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
	pod := Pod{UID: uid, Kind: kind, Requests: cores(cpu), Created: w.clock, Object: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod-" + string(uid), UID: uid}}}
	if kind != Lone {
		pod.Gang = gang.Key{Namespace: "ns", Name: app}
	}
	if kind == Worker {
		pod.Role = "executor"
	}
	return pod
}

func definition(count int, cpu int64) gang.Definition {
	return gang.Definition{Roles: []gang.Role{{Name: "executor", Count: count, Minimum: count, Maximum: &count, Requests: cores(cpu), Pod: &v1.Pod{}}}}
}

// plan finds room by first fit; the ledger does not care who plans.
func (w *world) plan(leader Pod, d gang.Definition) (node string, slots []gang.Slot, fits bool) {
	view := w.View()
	free := make([]resource.Vector, view.Len())
	for i := range free {
		free[i] = *view.Free(i)
	}
	take := func(request resource.Vector) string {
		for i := range free {
			if view.Object(i) != nil && request.Fits(free[i]) {
				free[i] = free[i].Sub(request)
				return view.Name(i)
			}
		}
		return ""
	}
	if node = take(leader.Requests); node == "" {
		return "", nil, false
	}
	for r, role := range d.Roles {
		for range role.Count {
			slot := take(role.Requests)
			if slot == "" {
				return "", nil, false
			}
			slots = append(slots, gang.Slot{Role: r, Node: slot, Requests: role.Requests})
		}
	}
	return node, slots, true
}

// step lets one random thing happen.
func (w *world) step(t *rapid.T) {
	pick := func(of func(Pod) bool, label string) (Pod, bool) {
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
	pending := func(p Pod) bool { return p.Node == "" && w.assumed[p.UID] == "" }

	switch rapid.SampledFrom([]string{"node", "node lost", "leader", "define", "worker", "lone", "schedule", "bind", "fail", "end", "repeat"}).Draw(t, "event") {
	case "node":
		name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "node")
		w.nodes[name] = newNode(name, rapid.Int64Range(2, 8).Draw(t, "cpu"))
		_, _ = w.apply(NodeSeen{w.nodes[name]})
	case "node lost":
		name := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "node")
		if w.nodes[name] != nil {
			delete(w.nodes, name)
			_, _ = w.apply(NodeGone{name})
		}
	case "leader":
		w.see(w.newPod(Leader, rapid.SampledFrom([]string{"x", "y"}).Draw(t, "app"), rapid.Int64Range(1, 2).Draw(t, "cpu")))
	case "define":
		if p, ok := pick(func(p Pod) bool { return p.Kind == Leader }, "leader"); ok {
			_, _ = w.apply(Defined{p.UID, definition(rapid.IntRange(0, 3).Draw(t, "count"), rapid.Int64Range(1, 3).Draw(t, "cpu"))})
		}
	case "worker":
		worker := w.newPod(Worker, rapid.SampledFrom([]string{"x", "y"}).Draw(t, "app"), rapid.Int64Range(1, 3).Draw(t, "cpu"))
		if p, ok := pick(func(p Pod) bool { return p.Kind == Leader }, "owner"); ok {
			worker.Leader = p.UID
		}
		w.see(worker)
	case "lone":
		w.see(w.newPod(Lone, "", rapid.Int64Range(1, 3).Draw(t, "cpu")))
	case "schedule":
		if p, ok := pick(pending, "pod"); ok {
			w.schedule(t, p)
		}
	case "bind":
		if p, ok := pick(func(p Pod) bool { return w.assumed[p.UID] != "" }, "pod"); ok {
			p.Node = w.assumed[p.UID]
			p.Reservation = w.written[p.UID]
			delete(w.assumed, p.UID)
			w.see(p)
		}
	case "fail":
		if p, ok := pick(func(p Pod) bool { return w.assumed[p.UID] != "" }, "pod"); ok {
			delete(w.assumed, p.UID)
			delete(w.written, p.UID)
			_, _ = w.apply(Unplaced{p.UID})
			_, _ = w.apply(Unplaced{p.UID}) // twice is once
		}
	case "end":
		if p, ok := pick(func(Pod) bool { return true }, "pod"); ok {
			w.end(p.UID)
		}
	case "repeat":
		if p, ok := pick(func(Pod) bool { return true }, "pod"); ok {
			w.see(p)
		}
	}
}

func (w *world) see(p Pod) {
	w.pods[p.UID] = p
	_, _ = w.apply(PodSeen{p})
}

func (w *world) end(uid types.UID) {
	delete(w.pods, uid)
	delete(w.assumed, uid)
	delete(w.written, uid)
	_, _ = w.apply(PodGone{uid})
	_, _ = w.apply(PodGone{uid})  // a watch may tell twice
	_, _ = w.apply(Unplaced{uid}) // and the binding cycle notices later
}

// schedule is one scheduling cycle, as the plugin's extension points run it.
func (w *world) schedule(t *rapid.T, p Pod) {
	verdict, _ := w.Gate(w.clock, p)
	if !verdict.Passes() {
		return
	}
	if d, waiting := w.Definition(p.UID); waiting {
		node, slots, fits := w.plan(p, d)
		if !fits {
			_, _ = w.apply(Refused{p.UID, w.View().Epoch, gang.Verdict{Reason: gang.ClusterFull}})
			return
		}
		_, err := w.apply(Admitted{p.UID, node, slots})
		require.NoError(t, err)
		w.assumed[p.UID] = node
		r, admitted := w.Reservation(p.UID)
		require.True(t, admitted)
		w.written[p.UID] = &r
		return
	}
	if p.Kind == Leader {
		return
	}
	seats := w.Seats(p.UID, 4)
	view := w.View()
	for i := range view.Len() {
		own, seated := seats.Slots[view.Name(i)]
		if view.Object(i) != nil && (seated || !seats.Pinned) && p.Requests.Fits(view.Free(i).Add(own)) {
			_, _ = w.apply(Placed{p.UID, view.Name(i)})
			w.assumed[p.UID] = view.Name(i)
			return
		}
	}
	_, _ = w.apply(Refused{p.UID, view.Epoch, gang.Verdict{Reason: gang.ClusterFull}})
}

// check compares the ledger's sums with sums made from scratch.
func (w *world) check(t require.TestingT) {
	used, held := map[string]resource.Vector{}, map[string]resource.Vector{}
	for uid, p := range w.pods {
		node := p.Node
		if node == "" {
			node = w.assumed[uid]
		}
		if node != "" {
			used[node] = used[node].Add(p.Requests)
		}
	}
	for uid, e := range w.gangs {
		require.Contains(t, w.pods, uid, "a gang outlives its leader")
		open := 0
		for _, slot := range e.Slots {
			if slot.Worker == "" && slot.Node != "" {
				held[slot.Node] = held[slot.Node].Add(slot.Requests)
				open++
			}
			if slot.Worker != "" {
				require.Contains(t, w.pods, slot.Worker, "a slot is claimed by a worker that has ended")
			}
		}
		if !e.Phase.Admitted() {
			require.Zero(t, open, "a gang that is %s holds slots", e.Phase)
		}
	}
	total := resource.Vector{}
	view := w.View()
	for i := range view.Len() {
		name := view.Name(i)
		row := w.Ledger.nodes.table.at(i)
		require.True(t, row.used.Equal(used[name]), "node %s: used %v, want %v", name, row.used, used[name])
		require.True(t, row.held.Equal(held[name]), "node %s: held %v, want %v", name, row.held, held[name])
		if node := w.nodes[name]; node != nil {
			free := resource.OfList(node.Status.Allocatable).Sub(used[name]).Sub(held[name])
			require.True(t, row.free.Equal(free), "node %s: free %v, want %v", name, row.free, free)
			total = total.Add(free)
		} else {
			require.Nil(t, row.object)
		}
	}
	require.True(t, w.Ledger.nodes.total.Equal(total), "total free %v, want %v", w.Ledger.nodes.total, total)
	w.checkRepaired(t)
}

// checkRepaired asserts that slots stay only where there is room for them, and are homeless only where there is none.
func (w *world) checkRepaired(t require.TestingT) {
	view := w.View()
	for i := range view.Len() {
		held := view.Held(i)
		require.True(t, held.IsZero() || view.Object(i) != nil, "node %s is gone and holds %v", view.Name(i), held)
		require.True(t, held.IsZero() || held.Fits(view.Free(i).Add(*held)), "node %s holds %v more than it has", view.Name(i), held)
	}
	for _, e := range w.gangs {
		for _, slot := range e.Slots {
			if slot.Worker != "" || slot.Node != "" {
				continue
			}
			for i := range view.Len() {
				require.False(t, view.Object(i) != nil && slot.Requests.Fits(*view.Free(i)),
					"a slot of %v has no home although node %s has %v free", slot.Requests, view.Name(i), view.Free(i))
			}
		}
	}
}

func TestSumsAreThoseOfPodsAndSlotsWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		_, _ = w.apply(Synced{})
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			w.step(t)
			w.check(t)
		}
	})
}

func TestNothingIsHeldWhenNothingRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		_, _ = w.apply(Synced{})
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			w.step(t)
		}
		for uid := range w.pods {
			w.end(uid)
		}
		w.check(t)
		view := w.View()
		for i := range view.Len() {
			row := w.Ledger.nodes.table.at(i)
			require.True(t, row.used.IsZero() && row.held.IsZero(), "node %s keeps %v used and %v held", row.name, row.used, row.held)
		}
		require.Empty(t, w.Ledger.pods)
		require.Empty(t, w.gangs)
		require.Empty(t, w.apps)
		require.Empty(t, w.waiting.byPod)
		require.Empty(t, w.waiting.shapes)
		require.Empty(t, w.probe)
	})
}

func TestALeaderIsPlacedOnlyWithASlotForEveryWorkerOfTheStart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		_, _ = w.apply(Synced{})
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			before := map[types.UID]gang.Phase{}
			for uid, e := range w.gangs {
				before[uid] = e.Phase
			}
			w.step(t)
			for uid, e := range w.gangs {
				if before[uid] == gang.Waiting && e.Phase == gang.Reserved {
					require.Len(t, e.Slots, e.Gang.Definition.Workers())
				}
			}
		}
	})
}

// A restarted scheduler is told what exists, in any order, and must hold on every node what its predecessor held, as
// far as nodes still exist. Gangs that were only assumed start anew.
func TestRebuildingFromPodsHoldsWhatWasHeld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		_, _ = w.apply(Synced{})
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			w.step(t)
		}
		for uid := range w.assumed {
			_, _ = w.apply(Unplaced{uid})
		}
		rebuilt := New("")
		told := make([]Pod, 0, len(w.pods))
		for _, p := range w.pods {
			told = append(told, p)
		}
		for _, p := range rapid.Permutation(sortedPods(told)).Draw(t, "order") {
			_, _ = rebuilt.Apply(start, PodSeen{p})
		}
		for _, node := range w.nodes {
			_, _ = rebuilt.Apply(start, NodeSeen{node})
		}
		_, _ = rebuilt.Apply(start, Synced{})

		for uid, e := range w.gangs {
			if e.Phase != gang.Running || w.pods[uid].Reservation == nil {
				continue
			}
			again := rebuilt.gangs[uid]
			require.Equal(t, gang.Running, again.Phase)
			claimed, open := e.Counts()
			claimedAgain, openAgain := again.Counts()
			require.Equal(t, claimed, claimedAgain, "claimed slots")
			require.Equal(t, open, openAgain, "open slots")
		}
		view := rebuilt.View()
		for i := range view.Len() {
			row := rebuilt.nodes.table.at(i)
			if row.object == nil {
				require.True(t, row.held.IsZero(), "a node that is gone holds %v", row.held)
			}
		}
	})
}

func sortedPods(pods []Pod) []Pod {
	byUID := map[types.UID]*pod{}
	for _, p := range pods {
		byUID[p.UID] = &pod{Pod: p}
	}
	var ordered []Pod
	for _, p := range sorted(byUID) {
		ordered = append(ordered, p.Pod)
	}
	return ordered
}
