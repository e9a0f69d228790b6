package view

import (
	"fmt"
	"maps"
	"slices"
	"sort"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/limits"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// Question is whether an application may start.
type Question struct {
	Namespace string
	User      string
	Leader    *v1.Pod
	gang.Definition
	// Limits are the LimitRanges and ResourceQuotas of the namespace.
	Limits limits.Namespace
}

// Result is the answer in one word.
type Result string

const (
	// Fits: nothing that could be seen stands in its way.
	Fits Result = "Fits"
	// WouldWait: something does that may pass.
	WouldWait Result = "WouldWait"
	// Never: waiting alone cannot help.
	Never Result = "Never"
)

// Finding is one thing that stands in the way.
type Finding struct {
	Reason  gang.Reason `json:"reason"`
	Message string      `json:"message"`
	// Queue that it is about; empty where it is about none.
	Queue string `json:"queue,omitempty"`
	// Resource that is short, by how much; empty where there are no such numbers.
	Resource v1.ResourceName `json:"resource,omitempty"`
	Short    string          `json:"short,omitempty"`
}

// Assessment is all that stands in an application's way, what can never pass first.
type Assessment struct {
	Result   Result    `json:"result"`
	Findings []Finding `json:"findings"`
	// Unseen is what was not looked at, in sentences.
	Unseen []string `json:"unseen"`
}

// Cluster is the objects made ready for many Questions.
type Cluster struct {
	objects  Objects
	assigned map[string]string // namespace -> queue
	queues   map[string]*v1alpha1.Queue
	tree     *quota.Tree
	view     *inventory.View // nil where nodes could not be read
	// everywhere tells that the pods of all namespaces could be read: what is free on nodes is known.
	everywhere bool
}

// NewCluster makes them ready. everywhere tells that the pods of all namespaces are among them.
func NewCluster(o Objects, everywhere bool) *Cluster {
	c := &Cluster{objects: o, queues: map[string]*v1alpha1.Queue{}, everywhere: everywhere}
	c.assigned, _ = quota.Assign(o.Queues, o.Namespaces)
	for _, queue := range o.Queues {
		c.queues[queue.Name] = queue
	}
	c.charge()
	if o.Nodes != nil {
		c.fill()
	}
	return c
}

// somebody is the user to whom what runs is charged: whose it is, is not known.
const somebody = "\x00"

// charge makes the tree of queues, charged with what their statuses say that they use.
func (c *Cluster) charge() {
	var specs []quota.Spec
	own := map[string]resource.Vector{} // queue -> what it uses itself
	gangs := map[string]int64{}
	for _, queue := range c.objects.Queues {
		specs = append(specs, quota.OfQueue(queue))
		own[queue.Name] = own[queue.Name].Add(resource.OfList(queue.Status.Used))
		gangs[queue.Name] += queue.Status.Running
		if parent := queue.Spec.Parent; c.queues[parent] != nil && !circular(c.queues, queue) {
			own[parent] = own[parent].Sub(resource.OfList(queue.Status.Used))
			gangs[parent] -= queue.Status.Running
		}
	}
	held := map[string]resource.Vector{} // namespace -> what is seen of its use
	apps := gather(c.objects.Pods)
	for i := range apps {
		apps[i].workers(c.objects)
		apps[i].amounts(c.objects)
		held[apps[i].Namespace] = held[apps[i].Namespace].Add(resource.OfList(apps[i].Holds))
	}
	for _, namespace := range slices.Sorted(maps.Keys(c.assigned)) {
		queue := c.queues[c.assigned[namespace]]
		if queue == nil || queue.Spec.PerNamespace == nil {
			continue
		}
		spec := quota.OfNamespace(queue, namespace)
		specs = append(specs, spec)
		c.assigned[namespace] = spec.Name
		own[spec.Name] = held[namespace]
		own[queue.Name] = own[queue.Name].Sub(held[namespace])
	}
	c.tree = quota.New(specs)
	for _, name := range slices.Sorted(maps.Keys(own)) {
		c.tree.Charge(name, quota.Demand{User: somebody, Amount: own[name].Bounded(), Gangs: max(gangs[name], 0)})
	}
}

// fill makes the nodes with what pods and slots take of them.
func (c *Cluster) fill() {
	nodes := inventory.New(v1.LabelTopologyZone)
	for _, node := range c.objects.Nodes {
		nodes.See(node)
	}
	for _, pod := range c.objects.Pods {
		if pod.Spec.NodeName == "" || over(pod) {
			continue
		}
		nodes.Use(pod.Spec.NodeName, resource.OfPod(pod))
		if inventory.Permanent(pod) {
			nodes.Stay(pod.Spec.NodeName, resource.OfPod(pod))
		}
	}
	apps := gather(c.objects.Pods)
	for i := range apps {
		apps[i].workers(c.objects)
		for node, open := range apps[i].openSlots() {
			nodes.Hold(node, open)
		}
	}
	nodes.Settle()
	c.view = nodes.View(0)
}

// openSlots are what is kept on nodes for workers that are not there: node -> amount. A worker may sit elsewhere than on its slot; then
// the slots of its role are open on as many nodes less, the last ones.
func (a *App) openSlots() map[string]resource.Vector {
	open := map[string]resource.Vector{}
	if a.leader == nil || over(a.leader) {
		return open
	}
	seated := map[[2]string]int{} // role and node -> workers there
	for _, pod := range a.pods {
		if pod != a.leader && pod.Spec.NodeName != "" && !over(pod) {
			seated[[2]string{roleOf(pod), pod.Spec.NodeName}]++
		}
	}
	for _, slots := range a.reservation.Slots {
		if slots.Role < 0 || slots.Role >= len(a.reservation.Roles) || slots.Count < 0 || slots.Count > spark.MaxWorkers {
			continue
		}
		role := a.reservation.Roles[slots.Role]
		at := [2]string{role.Name, slots.Node}
		taken := min(seated[at], slots.Count)
		seated[at] -= taken
		if left := slots.Count - taken; left > 0 {
			open[slots.Node] = open[slots.Node].Add(resource.OfList(role.Requests).Scale(left))
		}
	}
	return open
}

// QueueOf is the queue of a namespace; empty where it is in none, or it is not known.
func (c *Cluster) QueueOf(namespace string) string { return c.assigned[namespace] }

// Assess answers a Question.
func (c *Cluster) Assess(q Question) Assessment {
	a := Assessment{Findings: []Finding{}, Unseen: []string{}}
	definition := q.Definition
	if problem := q.Limits.Apply(q.Leader, &definition); problem != "" {
		a.Findings = append(a.Findings, Finding{Reason: gang.InvalidGang, Message: problem})
	} else if short := q.Limits.Short(q.Limits.NeedOf(definition.Roles), nil); short != nil {
		a.Findings = append(a.Findings, Finding{Reason: gang.QuotaUsedUp, Message: short.String()})
	}
	q.Definition = definition
	c.askQueue(q, &a)
	c.askNodes(q, &a)
	sort.SliceStable(a.Findings, func(i, j int) bool {
		return a.Findings[i].Reason.Trait().Permanent && !a.Findings[j].Reason.Trait().Permanent
	})
	a.Result = Fits
	if len(a.Findings) > 0 {
		a.Result = WouldWait
		if a.Findings[0].Reason.Trait().Permanent {
			a.Result = Never
		}
	}
	return a
}

// askQueue asks whether the queue lets it start.
func (c *Cluster) askQueue(q Question, a *Assessment) {
	name := c.assigned[q.Namespace]
	if name == "" {
		return
	}
	amount := resource.OfPod(q.Leader)
	leader := amount
	for _, role := range q.Roles {
		amount = amount.Add(role.Requests.Scale(role.Count))
	}
	verdict := c.tree.Fits(name, quota.Demand{User: q.User, Amount: amount.Bounded(), Leader: leader, Gangs: 1})
	if !verdict.Passes() {
		finding := Finding{Reason: gang.Reason(verdict.Reason), Message: verdict.String(), Queue: verdict.Queue, Resource: verdict.Resource}
		if short := verdict.Used + verdict.Asked - verdict.Limit; verdict.Resource != "" && short > 0 {
			finding.Short = resource.Quantity(verdict.Resource, short).String()
		}
		a.Findings = append(a.Findings, finding)
	}
	queue := c.queues[name]
	for steps := 0; queue != nil && steps <= len(c.queues); queue, steps = c.queues[queue.Spec.Parent], steps+1 {
		if queue.Status.ObservedGeneration == 0 {
			a.Unseen = append(a.Unseen, fmt.Sprintf("the scheduler has not said yet what queue %s holds", queue.Name))
		}
		if users := queue.Spec.Users; users != nil && (len(users.Limit) > 0 || users.MaxRunningGangs != nil) {
			a.Unseen = append(a.Unseen, fmt.Sprintf("what the user has in queue %s, which limits each user, is not looked at", queue.Name))
		}
		if queue.Spec.MaxLeaderShare != nil {
			a.Unseen = append(a.Unseen, fmt.Sprintf("what drivers hold in queue %s, which limits it, is not looked at", queue.Name))
		}
	}
}

// askNodes asks whether the nodes hold it.
func (c *Cluster) askNodes(q Question, a *Assessment) {
	if c.view == nil {
		a.Unseen = append(a.Unseen, "the nodes may not be read: whether they hold it is not known")
		return
	}
	demand := inventory.Demand{Leader: &inventory.Pods{Name: "driver", Pod: q.Leader, Requests: resource.OfPod(q.Leader), Count: 1}}
	if queue := c.queues[c.assigned[q.Namespace]]; queue != nil {
		demand.Strategy = placement.Strategy(queue.Spec.Placement)
	}
	for _, role := range q.Roles {
		demand.Roles = append(demand.Roles, inventory.Pods{Name: role.Name, Pod: role.Pod, Requests: role.Requests, Count: role.Count})
	}
	if q.Rehearsed {
		a.Unseen = append(a.Unseen, "pod affinity, topology spread, host ports and claims, which the application has, are not looked at")
	}
	asked := demand.On(c.view)
	var solver placement.Solver
	if _, never := solver.Fit(c.view.Empty(), asked); never != nil && never.Proven {
		message := never.String()
		if never.Kind != placement.NoEligibleNode { // else it does not matter what is on them
			message += " of the empty cluster"
		}
		message += demand.Exclusions(c.view, never)
		a.Findings = append(a.Findings, shortOf(never, inventory.NeverReason(never), message))
		return
	}
	if !c.everywhere {
		a.Unseen = append(a.Unseen, "the pods of all namespaces may not be read: what is free on nodes is not known, only that the empty cluster holds it")
		return
	}
	if _, shortage := solver.Fit(c.view, asked); shortage != nil {
		a.Findings = append(a.Findings, shortOf(shortage, inventory.PresentReason(shortage), shortage.String()+demand.Exclusions(c.view, shortage)))
	}
}

func shortOf(shortage *placement.Shortage, reason gang.Reason, message string) Finding {
	finding := Finding{Reason: reason, Message: message, Resource: shortage.Resource}
	if short := shortage.Needed - shortage.Free; shortage.Kind == placement.Insufficient && short > 0 {
		finding.Short = resource.Quantity(shortage.Resource, short).String()
	}
	return finding
}

// Largest is with how many workers of its only role, fewer than it asks for, an application would fit; −1 if with none, or it has several
// roles.
func (c *Cluster) Largest(q Question) int {
	if len(q.Roles) != 1 {
		return -1
	}
	fits := func(count int) bool {
		less := q
		less.Roles = slices.Clone(q.Roles)
		less.Roles[0].Count = count
		return c.Assess(less).Result == Fits
	}
	// The largest for which it is true: with fewer workers it fits all the more.
	return sort.Search(q.Roles[0].Count, func(n int) bool { return !fits(n) }) - 1
}
