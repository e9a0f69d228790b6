package reclaim

import (
	"cmp"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// SlotPatience is how long nobody of a gang may have come or gone before its open slots are taken back: executors of one
// that has just started arrive one after another.
const SlotPatience = 30 * time.Second

// Pod is a pod that has a node.
type Pod struct {
	UID      types.UID
	Object   *v1.Pod // it must not be modified
	Node     string
	Requests resource.Vector
	Priority int32
	Created  time.Time
	// Started is when it was bound.
	Started time.Time
	// Role of a worker; Worker is false for a leader and for a pod by itself.
	Role   string
	Worker bool
	// Leaves means that it has to go, or is going.
	Leaves bool
}

// Holder is a gang that runs, or a pod by itself, with all that it holds. It never changes.
type Holder struct {
	// ID of the leader, or of the pod by itself.
	ID  types.UID
	Key gang.Key
	// Object is the leader, or the pod by itself.
	Object   *v1.Pod
	Priority int32
	Created  time.Time
	// Charged is what it is charged as a whole besides amounts: to whom, and as how many gangs with which leader.
	Charged quota.Demand
	// Gang means that it is one; else its one pod is taken as Kind.
	Gang bool
	Kind quota.Kind
	// Leaves means that the whole gang has to go.
	Leaves bool
	// Pods that have a node: workers by age, then their leader.
	Pods []Pod
	// Needed is how many workers the gang needs to go on: role -> workers.
	Needed map[string]int
	// Whole means that it needs all of its pods, whatever Needed says.
	Whole bool
	// Open are the slots that nobody has claimed, and Amount what they ask for in all.
	Open   []gang.Slot
	Amount resource.Vector
	// Idle is since when nobody has come or gone; zero while the leader is not ready: then the slots stay.
	Idle time.Time

	victims []Victim
}

// Victim is something of a Holder that may be taken back. Its queue, and whether it is protected, are said by a Cluster.
type Victim struct {
	quota.Victim
	Holder *Holder
	// Pods that have to go, workers before their leader; empty for slots.
	Pods []Pod
	// leaves means that something of it is on its way out already.
	leaves bool
}

// With completes a new Holder.
func (h Holder) With(pods []Pod) *Holder {
	h.Pods = pods
	slices.SortFunc(h.Pods, func(a, b Pod) int {
		return cmp.Or(-compareBool(a.Worker, b.Worker), a.Created.Compare(b.Created), cmp.Compare(a.UID, b.UID))
	})
	h.divide()
	return &h
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// divide lists what may be taken of a Holder, rules of queues aside.
func (h *Holder) divide() {
	add := func(kind quota.Kind, id types.UID, priority int32, since time.Time, amount resource.Vector, pods []Pod) {
		leaves := h.Leaves || slices.ContainsFunc(pods, func(p Pod) bool { return p.Leaves })
		v := Victim{Holder: h, Pods: pods, leaves: leaves, Victim: quota.Victim{ID: id, Kind: kind, Gang: h.Key.String(), Priority: priority, Since: since, Started: startOf(pods), Amount: amount, User: h.Charged.User}}
		if kind == quota.Gang {
			v.Gangs, v.Leader = h.Charged.Gangs, h.Charged.Leader
		}
		h.victims = append(h.victims, v)
	}
	if !h.Gang {
		h.victims = make([]Victim, 0, 1)
		add(h.Kind, h.ID, h.Priority, h.Created, h.Pods[0].Requests, h.Pods)
		return
	}
	if len(h.Open) > 0 && !h.Idle.IsZero() {
		add(quota.Slot, "slots of "+h.ID, h.Priority, h.Created, h.Amount, nil)
	}
	for _, at := range h.expendable() {
		p := h.Pods[at]
		add(quota.Elastic, p.UID, p.Priority, p.Created, p.Requests, h.Pods[at:at+1])
	}
	whole := h.Amount
	for _, p := range h.Pods {
		whole = whole.Add(p.Requests)
	}
	if len(h.Pods) > 0 {
		add(quota.Gang, "gang of "+h.ID, h.Priority, h.Created, whole, h.Pods)
	}
}

// startOf is when the first of some pods was bound.
func startOf(pods []Pod) (first time.Time) {
	for _, p := range pods {
		if first.IsZero() || p.Started.Before(first) {
			first = p.Started
		}
	}
	return first
}

// expendable are the youngest workers beyond those that the gang needs to go on, of each role: indexes into Pods.
func (h *Holder) expendable() []int {
	if h.Whole {
		return nil
	}
	var expendable []int
	staying := map[string]int{} // role -> workers
	for _, p := range h.Pods {
		if p.Worker && !p.Leaves {
			staying[p.Role]++
		}
	}
	for at, p := range slices.Backward(h.Pods) {
		if p.Worker && !p.Leaves && staying[p.Role] > h.Needed[p.Role] {
			staying[p.Role]--
			expendable = append(expendable, at)
		}
	}
	return expendable
}

// Taken is what goes when one of its pods has to: an expendable worker by itself, anybody else with all the others; nil if the pod is not
// one of them.
func (h *Holder) Taken(pod types.UID) *Victim {
	for i := range h.victims {
		if v := &h.victims[i]; v.Kind != quota.Slot && slices.ContainsFunc(v.Pods, func(p Pod) bool { return p.UID == pod }) {
			return v // what is small comes first
		}
	}
	return nil
}

// Leaves tells whether something of it is on its way out already.
func (v *Victim) Leaves() bool { return v.leaves }

// tooEarly tells whether slots are still waited for.
func (v *Victim) tooEarly(now time.Time) bool {
	return v.Kind == quota.Slot && now.Sub(v.Holder.Idle) < SlotPatience
}

// EachRoom is what comes free where.
func (v *Victim) EachRoom(f func(node string, amount resource.Vector)) {
	for _, p := range v.Pods {
		f(p.Node, p.Requests)
	}
	if !v.Holder.Gang || v.Kind == quota.Elastic {
		return
	}
	for _, slot := range v.Holder.Open {
		if slot.Node != "" {
			f(slot.Node, slot.Requests)
		}
	}
}

// reaches tells whether anything of it comes free in a pool.
func (v *Victim) reaches(view *inventory.View, pool int) (reaches bool) {
	v.EachRoom(func(node string, _ resource.Vector) {
		i, known := view.Index(node)
		reaches = reaches || known && view.Pool(i) == pool
	})
	return reaches
}

// Budget is a PodDisruptionBudget.
type Budget struct {
	Namespace, Name string
	// Selector of its pods.
	Selector labels.Selector
	// Allowed is how many of them may go now.
	Allowed int
}

// budgetsAsked bounds how often the PodDisruptionBudgets of a namespace are asked about a pod for one answer: its users may make as many of
// both as they like. Whoever is asked about after that counts as protected.
const budgetsAsked = 20_000

// Guards tell of one victim after another whether a PodDisruptionBudget protects it.
type Guards struct {
	Budgets map[string][]Budget // namespace -> those in it
	left    map[string]int      // namespace -> how often they may still be asked about a pod
}

// Protect tells whether a PodDisruptionBudget has no room for a victim.
func (g *Guards) Protect(v *Victim) bool {
	namespace := v.Holder.Key.Namespace
	if _, asked := g.left[namespace]; !asked {
		if g.left == nil {
			g.left = map[string]int{}
		}
		g.left[namespace] = budgetsAsked
	}
	left := g.left[namespace]
	defer func() { g.left[namespace] = left }()
	return v.protected(g.Budgets[namespace], &left)
}

// protected tells whether a PodDisruptionBudget has no room for all of the pods that it selects. left is how often they may still be
// asked.
func (v *Victim) protected(budgets []Budget, left *int) bool {
	for _, b := range budgets {
		selected := 0
		if *left -= len(v.Pods); *left < 0 {
			return true
		}
		for _, p := range v.Pods {
			if b.Selector.Matches(labels.Set(p.Object.Labels)) {
				selected++
			}
		}
		if selected > b.Allowed {
			return true
		}
	}
	return false
}
