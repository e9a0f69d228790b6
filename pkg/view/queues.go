package view

import (
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/quota"
)

// Objects are what could be read of a cluster, at one time. None of them is ever changed.
type Objects struct {
	Now time.Time
	// Queues of the cluster; nil where they could not be read, or there are none.
	Queues []*v1alpha1.Queue
	// Namespaces are the labels of those that could be read: name -> labels.
	Namespaces map[string]map[string]string
	// Pods that could be read.
	Pods []*v1.Pod
	// Nodes of the cluster; nil where they could not be read.
	Nodes []*v1.Node
	// Groups are PodGroups: namespace/name -> how many of their pods start together.
	Groups map[string]int
	// NativeGroups are those of Kubernetes' own: namespace/name -> the same.
	NativeGroups map[string]int
	// Definitions are what drivers that wait will ask for: namespace/name -> definition.
	Definitions map[string]Definition
}

// Queue is one queue. Scripts read it: fields are added, never renamed.
type Queue struct {
	Place
	// State is the strictest of its own and of those above it, and ClosedBy which of those says so; empty for its own.
	State    string `json:"state"`
	ClosedBy string `json:"closedBy,omitempty"`
	Weight   int64  `json:"weight"`
	Sums
	Standing
	// Observed tells that the scheduler has said how the queue stands; without it there are no numbers.
	Observed bool `json:"observed"`
	// Problem is what does not count as it is written.
	Problem string `json:"problem,omitempty"`
}

// Place is where a queue stands in the tree, and who belongs to it.
type Place struct {
	Name   string `json:"name"`
	Parent string `json:"parent,omitempty"`
	// Pool selects the nodes that count for it; empty means those that no queue selects.
	Pool string `json:"pool,omitempty"`
	// Depth is how many queues are above it.
	Depth int `json:"depth"`
	// Namespaces are those that belong to it, as far as namespaces could be read, and Selector what it selects others by.
	Namespaces []string `json:"namespaces,omitempty"`
	Selector   string   `json:"namespaceSelector,omitempty"`
}

// Sums are the amounts of a queue and of all below it.
type Sums struct {
	Used v1.ResourceList `json:"used,omitempty"`
	// Guaranteed is what the nodes can keep of the guarantee.
	Guaranteed v1.ResourceList `json:"guaranteed,omitempty"`
	Limit      v1.ResourceList `json:"limit,omitempty"`
	FairShare  v1.ResourceList `json:"fairShare,omitempty"`
	Borrowed   v1.ResourceList `json:"borrowed,omitempty"`
	// Lent is what others use of the guarantee.
	Lent []Loan `json:"lent,omitempty"`
}

// Standing is who runs in a queue and who waits.
type Standing struct {
	Running int64 `json:"running"`
	Waiting int64 `json:"waiting"`
	// OldestWait is how long the one has waited that has waited longest, of those among the Waiters whose pods could be read, in seconds;
	// absent when there is none.
	OldestWait *int64                 `json:"oldestWaitSeconds,omitempty"`
	TopReason  string                 `json:"topReason,omitempty"`
	Waiters    []v1alpha1.QueueWaiter `json:"waiters,omitempty"`
}

// Queues are all queues as a tree: each below its parent, siblings by name.
func Queues(o Objects) []Queue {
	children := map[string][]*v1alpha1.Queue{} // queue -> those below it, by name
	byName := map[string]*v1alpha1.Queue{}
	for _, queue := range o.Queues {
		byName[queue.Name] = queue
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		queue, parent := byName[name], byName[name].Spec.Parent
		if byName[parent] == nil || circular(byName, queue) {
			parent = ""
		}
		children[parent] = append(children[parent], queue)
	}
	assigned, _ := quota.Assign(o.Queues, o.Namespaces)
	namespaces := map[string][]string{}
	for _, namespace := range slices.Sorted(maps.Keys(assigned)) {
		namespaces[assigned[namespace]] = append(namespaces[assigned[namespace]], namespace)
	}
	created := map[v1alpha1.QueueWaiter]metav1.Time{} // without a Reason
	for _, pod := range o.Pods {
		created[v1alpha1.QueueWaiter{Namespace: pod.Namespace, Name: pod.Name}] = pod.CreationTimestamp
	}
	var tree []Queue
	var walk func(parent *Queue, queues []*v1alpha1.Queue) (longest *int64)
	walk = func(parent *Queue, queues []*v1alpha1.Queue) (longest *int64) {
		for _, object := range queues {
			queue := queueOf(object, parent)
			queue.Namespaces = namespaces[object.Name]
			queue.OldestWait = oldest(o.Now, object.Status.Waiters, created)
			at := len(tree)
			tree = append(tree, queue)
			tree[at].OldestWait = longer(queue.OldestWait, walk(&queue, children[object.Name]))
			longest = longer(longest, tree[at].OldestWait)
		}
		return longest
	}
	walk(nil, children[""])
	lend(tree)
	return tree
}

// circular tells whether a queue is above itself.
func circular(byName map[string]*v1alpha1.Queue, queue *v1alpha1.Queue) bool {
	for steps, at := 0, byName[queue.Spec.Parent]; at != nil; steps, at = steps+1, byName[at.Spec.Parent] {
		if at == queue || steps > len(byName) {
			return true
		}
	}
	return false
}

func queueOf(object *v1alpha1.Queue, parent *Queue) Queue {
	spec, status := object.Spec, object.Status
	queue := Queue{
		Place: Place{Name: object.Name}, State: string(v1alpha1.Open), Weight: 1, Observed: status.ObservedGeneration > 0,
		Sums:     Sums{Used: status.Used, Guaranteed: status.Guaranteed, Limit: listOf(spec.Limit), FairShare: status.FairShare, Borrowed: status.Borrowed},
		Standing: Standing{Running: status.Running, Waiting: status.Waiting, TopReason: status.TopReason, Waiters: status.Waiters},
	}
	if spec.State != "" {
		queue.State = string(spec.State)
	}
	if spec.Weight != nil {
		queue.Weight = int64(*spec.Weight)
	}
	if spec.NamespaceSelector != nil {
		queue.Selector = metav1.FormatLabelSelector(spec.NamespaceSelector)
	}
	if !queue.Observed {
		queue.Guaranteed = listOf(spec.Guaranteed)
	}
	if valid := meta.FindStatusCondition(status.Conditions, v1alpha1.ConditionValid); valid != nil && valid.Status == metav1.ConditionFalse {
		queue.Problem = Clean(valid.Message)
	}
	if parent == nil && spec.NodeSelector != nil {
		queue.Pool = metav1.FormatLabelSelector(spec.NodeSelector)
	}
	if parent != nil {
		queue.Parent, queue.Depth, queue.Pool = parent.Name, parent.Depth+1, parent.Pool
		if strictness(parent.State) > strictness(queue.State) {
			queue.State, queue.ClosedBy = parent.State, parent.Name
			if parent.ClosedBy != "" {
				queue.ClosedBy = parent.ClosedBy
			}
		}
	}
	return queue
}

// strictness orders states.
func strictness(state string) int {
	return slices.Index([]string{string(v1alpha1.Open), string(v1alpha1.Draining), string(v1alpha1.Stopped)}, state)
}

func listOf(amounts v1alpha1.Amounts) v1.ResourceList {
	if len(amounts) == 0 {
		return nil
	}
	list := v1.ResourceList{}
	for name, amount := range amounts {
		list[name] = amount.Quantity
	}
	return list
}

// oldest is the longest wait of those whose pods could be read.
func oldest(now time.Time, waiters []v1alpha1.QueueWaiter, created map[v1alpha1.QueueWaiter]metav1.Time) *int64 {
	var longest *int64
	for _, waiter := range waiters {
		waiter.Reason = ""
		since, known := created[waiter]
		if !known {
			continue
		}
		if waited := int64(now.Sub(since.Time) / time.Second); longest == nil || waited > *longest {
			longest = &waited
		}
	}
	return longest
}

// longer is the longer of two waits; nil means that nobody waits.
func longer(a, b *int64) *int64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// usage is used/guaranteed/limit of a resource; a dash is what is not there.
func (q Queue) usage(name v1.ResourceName) string {
	parts := make([]string, 0, 3)
	for _, list := range []v1.ResourceList{q.Used, q.Guaranteed, q.Limit} {
		quantity, there := list[name]
		if !there {
			parts = append(parts, none)
			continue
		}
		parts = append(parts, Amount(name, quantity))
	}
	if !q.Observed {
		parts[0] = "?"
	} else if parts[0] == none {
		parts[0] = "0"
	}
	return strings.Join(parts, "/")
}

// number is an amount of a list for programs, in cores or bytes.
func number(list v1.ResourceList, name v1.ResourceName) any {
	quantity, there := list[name]
	if !there {
		return nil
	}
	return quantity.AsApproximateFloat64()
}

// QueueTable is how queues are shown.
func QueueTable() Table[Queue] {
	amount := func(field string, name v1.ResourceName, of func(Queue) v1.ResourceList) Field[Queue] {
		return Field[Queue]{field, func(q Queue) any { return number(of(q), name) }}
	}
	used := func(q Queue) v1.ResourceList { return q.Used }
	guaranteed := func(q Queue) v1.ResourceList { return q.Guaranteed }
	limit := func(q Queue) v1.ResourceList { return q.Limit }
	borrowed := func(q Queue) v1.ResourceList { return q.Borrowed }
	return Table[Queue]{
		Name: func(q Queue) string { return "queue.retinue.dev/" + q.Name },
		Columns: []Column[Queue]{
			{Name: "QUEUE", Text: func(q Queue) string { return strings.Repeat("  ", q.Depth) + q.Name }},
			{Name: "STATE", Text: func(q Queue) string { return q.State }, Tone: func(q Queue) Tone {
				return [...]Tone{Plain, Waits, Bad, Plain}[max(strictness(q.State), 0)]
			}},
			{Name: "CPU", Text: func(q Queue) string { return q.usage(v1.ResourceCPU) }},
			{Name: "MEMORY", Text: func(q Queue) string { return q.usage(v1.ResourceMemory) }},
			{Name: "BORROWED", Text: func(q Queue) string { return or(Amounts(q.Borrowed)) }},
			{Name: "LENT", Text: func(q Queue) string { return or(loans(q.Lent)) }},
			{Name: "RUN", Text: func(q Queue) string { return inCSV(q.Running) }},
			{Name: "WAIT", Text: func(q Queue) string { return inCSV(q.Waiting) }},
			{Name: "OLDEST", Passes: true, Text: func(q Queue) string {
				if q.OldestWait == nil {
					return none
				}
				return Age(time.Duration(*q.OldestWait) * time.Second)
			}},
			{Name: "REASON", Text: func(q Queue) string { return or(q.TopReason) }, Tone: func(q Queue) Tone { return toneOf(q.TopReason) }},
			{Name: "FAIR SHARE", Wide: true, Text: func(q Queue) string { return or(Amounts(q.FairShare)) }},
			{Name: "WEIGHT", Wide: true, Text: func(q Queue) string { return inCSV(q.Weight) }},
			{Name: "OTHER", Wide: true, Text: func(q Queue) string { return or(q.others()) }},
			{Name: "NAMESPACES", Wide: true, Text: func(q Queue) string { return or(strings.Join(q.Namespaces, ",")) }},
			{Name: "PROBLEM", Wide: true, Text: func(q Queue) string { return or(q.Problem) }, Tone: func(Queue) Tone { return Bad }},
		},
		Fields: []Field[Queue]{
			{"name", func(q Queue) any { return q.Name }},
			{"parent", func(q Queue) any { return q.Parent }},
			{"state", func(q Queue) any { return q.State }},
			amount("cpuUsed", v1.ResourceCPU, used), amount("cpuGuaranteed", v1.ResourceCPU, guaranteed), amount("cpuLimit", v1.ResourceCPU, limit), amount("cpuBorrowed", v1.ResourceCPU, borrowed),
			amount("memoryUsed", v1.ResourceMemory, used), amount("memoryGuaranteed", v1.ResourceMemory, guaranteed), amount("memoryLimit", v1.ResourceMemory, limit), amount("memoryBorrowed", v1.ResourceMemory, borrowed),
			{"running", func(q Queue) any { return q.Running }},
			{"waiting", func(q Queue) any { return q.Waiting }},
			{"oldest", func(q Queue) any {
				if q.OldestWait == nil {
					return nil
				}
				return *q.OldestWait
			}},
			{"reason", func(q Queue) any { return q.TopReason }},
			{"weight", func(q Queue) any { return q.Weight }},
		},
	}
}

// others is the usage of every resource that has no column of its own.
func (q Queue) others() string {
	var parts []string
	for _, name := range names(q.Used, q.Guaranteed, q.Limit) {
		if name != v1.ResourceCPU && name != v1.ResourceMemory {
			parts = append(parts, string(name)+" "+q.usage(name))
		}
	}
	return strings.Join(parts, ", ")
}
