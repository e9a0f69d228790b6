package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// Queues are not objects of the simulated API server: every replica is told of them at its start, before anything else, and
// of each change after a delay of its own, in order, as its informer of Queues would.

// namespaces are all that pods are in; rivals are in the last.
var namespaces = []string{"red", "white", "blue"}

// drawQueues is a tree of queues: those of red and white, and sometimes one above both, and one for the rivals.
func (w *World) drawQueues() ledger.Queues {
	c := w.chance
	layout := ledger.Queues{Namespaces: map[string]string{}}
	parent := ""
	if c.happens(0.6) {
		parent = "team"
		layout.Specs = append(layout.Specs, w.drawQueue(parent, ""))
	}
	for _, namespace := range namespaces {
		switch {
		case namespace == "blue" && c.happens(0.7):
		case parent != "" && c.happens(0.1):
			layout.Namespaces[namespace] = parent
		default:
			layout.Specs = append(layout.Specs, w.drawQueue("queue-"+namespace, parent))
			layout.Namespaces[namespace] = "queue-" + namespace
		}
	}
	return layout
}

func (w *World) drawQueue(name, parent string) quota.Spec {
	c := w.chance
	number := func(p float64, low, high int) *int64 {
		if !c.happens(p) {
			return nil
		}
		n := int64(c.number(low, high))
		return &n
	}
	amounts := func(cpu, memory float64, low, high int) (a quota.Amounts) {
		if c.happens(cpu) {
			a = append(a, resource.Amount{Name: v1.ResourceCPU, Value: 1000 * int64(c.number(low, high))})
		}
		if c.happens(memory) {
			a = append(a, resource.Amount{Name: v1.ResourceMemory, Value: int64(c.number(2*low, 4*high)) << 30})
		}
		return a
	}
	spec := quota.Spec{
		Name: name, Parent: parent,
		Guaranteed: amounts(0.6, 0.3, 1, 16), Limit: amounts(0.6, 0.2, 4, 30), Weight: number(0.3, 0, 3),
		MaxRunningGangs: number(0.2, 1, 6), MaxLeaderShare: number(0.3, 5, 60),
		Order: pick(c, quota.FIFO, quota.Fair), Priority: int32(c.number(0, 1)),
		State: pick(c, quota.Open, quota.Open, quota.Open, quota.Open, quota.Open, quota.Draining, quota.Stopped),
	}
	spec.Reclaim = quota.Reclaim{
		Enabled: c.happens(0.6), After: time.Duration(c.number(0, 30)) * time.Second, Budget: number(0.2, 10, 100),
		DeadZone: pick[int64](c, 0, 0, 10), Exempt: c.happens(0.1), DryRun: w.climate.dryRun,
	}
	if w.climate.pools && parent == "" && c.happens(0.6) {
		spec.NodeSelector = &metav1.LabelSelector{MatchLabels: map[string]string{labelPool: pick(c, "blue", "blue", "green")}}
	}
	if c.happens(0.3) {
		grace := c.between(time.Second, time.Minute)
		spec.Reclaim.Grace = &grace
	}
	if c.happens(0.3) {
		spec.Reclaim.Protect = c.between(10*time.Second, 2*time.Minute)
	}
	return spec
}

// rearrange changes the queues: some limit, where a namespace belongs, or all; or a node goes to another pool.
func (w *World) rearrange() {
	c := w.chance
	if w.climate.pools && w.api.nodes.len() > 0 && c.happens(0.3) {
		pool := pick(c, "blue", "green", "red")
		w.changeNode(pick(c, w.api.nodes.keys...), "goes to pool "+pool, func(node *v1.Node) {
			node.Labels = maps.Clone(node.Labels)
			node.Labels[labelPool] = pool
		})
		return
	}
	layout := w.layout
	layout.Specs, layout.Namespaces = slices.Clone(layout.Specs), maps.Clone(layout.Namespaces)
	switch at := c.IntN(len(layout.Specs)); c.number(0, 4) {
	case 0:
		layout = w.drawQueues()
	case 1:
		if !w.climate.dryRun { // where nothing may be taken back, everything is in a queue that says so
			layout.Specs = slices.Delete(layout.Specs, at, at+1)
		}
	case 2:
		layout.Namespaces[pick(c, namespaces...)] = layout.Specs[at].Name
	default:
		layout.Specs[at] = w.drawQueue(layout.Specs[at].Name, layout.Specs[at].Parent)
	}
	if len(layout.Specs) == 0 {
		layout = w.drawQueues()
	}
	w.arrange(layout)
}

// open opens every queue, so that whatever fits may start in the calm.
func (w *World) open() {
	layout := w.layout
	layout.Specs = slices.Clone(layout.Specs)
	for i := range layout.Specs {
		layout.Specs[i].State = quota.Open
	}
	w.arrange(layout)
}

// arrange tells all replicas of new queues.
func (w *World) arrange(layout ledger.Queues) {
	w.layout = layout
	w.trace.add("api: queues %s", textOf(layout))
	for _, r := range w.replicas {
		r.arrivals = append(r.arrivals, layout)
		w.after(w.chance.delay(200*time.Millisecond, 5*time.Second), func() {
			if r.stopped.Load() {
				return
			}
			next := r.arrivals[0]
			r.arrivals = r.arrivals[1:]
			r.arrange(next)
		})
	}
}

// arrange tells a replica of queues.
func (r *replica) arrange(layout ledger.Queues) {
	r.former = append(r.former, formerLayout{r.layout, time.Now()})
	r.layout = layout
	r.told.changes++
	r.world.trace.add("%s: hears of queues %s", r.name, textOf(layout))
	effects, err := r.ledger.Apply(time.Now(), ledger.QueuesSeen{Queues: layout})
	if err != nil {
		panic(fmt.Sprintf("sim: %v", err))
	}
	r.dirty = true
	for _, effect := range effects {
		switch effect := effect.(type) {
		case ledger.Activate:
			r.queue.activate(effect.Pod)
		case ledger.Tell:
		default:
			panic(fmt.Sprintf("sim: new queues have effect %T", effect))
		}
	}
}

func textOf(layout ledger.Queues) string {
	var b strings.Builder
	for _, s := range layout.Specs {
		fmt.Fprintf(&b, "[%s in %q, nodes %s: guaranteed %v, limit %v, weight %s, gangs %s, leaders %s, %s, %s, reclaim %v after %s, grace %s, budget %s, dead zone %d, exempt %v, dry run %v, protect %s] ",
			s.Name, s.Parent, metav1.FormatLabelSelector(s.NodeSelector), s.Guaranteed, s.Limit, optional(s.Weight), optional(s.MaxRunningGangs), optional(s.MaxLeaderShare), s.Order, s.State,
			s.Reclaim.Enabled, s.Reclaim.After, optional(s.Reclaim.Grace), optional(s.Reclaim.Budget), s.Reclaim.DeadZone, s.Reclaim.Exempt, s.Reclaim.DryRun, s.Reclaim.Protect)
	}
	return b.String() + fmt.Sprint(layout.Namespaces)
}

func optional[T any](value *T) string {
	if value == nil {
		return "-"
	}
	return fmt.Sprint(*value)
}

// way is a queue and all above it, as a replica has been told; what belongs to nothing is Unassigned.
func (r *replica) way(namespace string) []quota.Spec { return wayIn(r.layout, namespace) }

func wayIn(layout ledger.Queues, namespace string) []quota.Spec {
	return wayOf(layout, layout.Namespaces[namespace])
}

// wayOf is way for a queue.
func wayOf(layout ledger.Queues, queue string) []quota.Spec {
	find := func(name string) int {
		return slices.IndexFunc(layout.Specs, func(s quota.Spec) bool { return s.Name == name })
	}
	at := find(queue)
	if at < 0 {
		return []quota.Spec{{Name: quota.Unassigned}}
	}
	var way []quota.Spec
	for ; at >= 0; at = find(layout.Specs[at].Parent) {
		way = append(way, layout.Specs[at])
	}
	return way
}

// charged is what a queue has to be charged with.
type charged struct {
	namespace string
	demand    quota.Demand
}

// charges are everything that runs by what the plugin has been told, and the slots of admitted gangs. A driver that has a node
// is a gang, whatever the scheduler knows of it.
// A pod may be left out, with all that it leads.
func (r *replica) charges(without types.UID) (charges []charged) {
	for uid, m := range r.told.pods {
		if m.counted == "" || uid == without {
			continue
		}
		d := quota.Demand{Amount: m.requests}
		switch {
		case r.lone(m.last):
			d.Gangs = 1
		case leads(m.last):
			d.Gangs, d.Leader = 1, m.requests
		}
		charges = append(charges, charged{m.last.Namespace, d})
	}
	for _, g := range r.ledger.Gangs() {
		if !g.Phase.Admitted() || g.Leader == without {
			continue
		}
		d := quota.Demand{}
		if leaderless(g.Leader) {
			d.Gangs = 1
		}
		for _, slot := range g.Slots {
			if slot.Worker == "" {
				d.Amount = d.Amount.Add(slot.Requests)
			}
		}
		charges = append(charges, charged{g.Key.Namespace, d})
	}
	return charges
}

// lone tells whether a pod is a gang by itself.
func (r *replica) lone(pod *v1.Pod) bool {
	return pod.Spec.SchedulerName == schedulerName && !leads(pod) && !spark.IsExecutor(pod)
}

// leads tells whether a pod leads a gang.
func leads(pod *v1.Pod) bool {
	_, lists := pod.Annotations[spark.AnnotationRoles]
	return lists || spark.IsDriver(pod)
}

// holding is what a queue, with all below it, holds.
type holding struct {
	used, leaders  resource.Vector
	gangs, leading int64
}

func (r *replica) holdings() map[string]holding {
	holdings := map[string]holding{}
	for _, c := range r.charges("") {
		for _, spec := range r.way(c.namespace) {
			h := holdings[spec.Name]
			h.used, h.leaders, h.gangs = h.used.Add(c.demand.Amount), h.leaders.Add(c.demand.Leader), h.gangs+c.demand.Gangs
			if !c.demand.Leader.IsZero() {
				h.leading++
			}
			holdings[spec.Name] = h
		}
	}
	return holdings
}

// checkQueues: every queue is charged with what runs and is held in it and below it.
func (r *replica) checkQueues() {
	holdings := r.holdings()
	for _, s := range r.standings() {
		want := holdings[s.Name]
		if !s.Used.Equal(want.used) || !s.Leaders.Equal(want.leaders) || s.Gangs != want.gangs {
			r.world.fail("charged", "%s: queue %s is charged %s, leaders %s, %d gangs; it holds %s, leaders %s, %d gangs",
				r.name, s.Name, s.Used, s.Leaders, s.Gangs, want.used, want.leaders, want.gangs)
		}
	}
	r.checkPools()
}

// checkPools: what the queues of a pool are guaranteed in all is never more than its nodes have, and what those have is the sum of the
// nodes that take pods and count for it.
func (r *replica) checkPools() {
	guaranteed, capacities := map[string]resource.Vector{}, map[string]resource.Vector{}
	for _, s := range r.standings() {
		way := wayOf(r.layout, s.Name)
		if len(way) != 1 { // below another, or of nobody
			continue
		}
		pool, capacity := r.capacityOf(way)
		guaranteed[pool], capacities[pool] = guaranteed[pool].Add(s.Guaranteed.Vector()), capacity
		if s.Pool != nil && !s.Pool.Capacity.Equal(capacity) {
			r.world.fail("pool", "%s: the nodes of queue %s have %s, and it counts %s", r.name, s.Name, capacity, s.Pool.Capacity)
		}
	}
	for pool, sum := range guaranteed {
		if !sum.Fits(capacities[pool]) {
			r.world.fail("pool", "%s: the queues of %q are guaranteed %s, and its nodes have %s", r.name, pool, sum, capacities[pool])
		}
	}
}

// poolOf is what selects a node: the first queue at the top, by name, that does; empty means none.
func (r *replica) poolOf(node *v1.Node) string {
	first, selects := "", ""
	for _, spec := range r.layout.Specs {
		if spec.NodeSelector == nil || len(wayOf(r.layout, spec.Name)) != 1 || first != "" && first < spec.Name {
			continue
		}
		if selector, err := metav1.LabelSelectorAsSelector(spec.NodeSelector); err == nil && selector.Matches(labels.Set(node.Labels)) {
			first, selects = spec.Name, selector.String()
		}
	}
	return selects
}

// capacityOf is the pool of the queue at the top of a way, and what its nodes have that take pods.
func (r *replica) capacityOf(way []quota.Spec) (pool string, capacity resource.Vector) {
	if selector := way[len(way)-1].NodeSelector; selector != nil {
		pool = metav1.FormatLabelSelector(selector)
	}
	for _, node := range r.told.nodes {
		if !node.Spec.Unschedulable && !slices.Contains(node.Spec.Taints, disrupted) && r.poolOf(node) == pool {
			capacity = capacity.Add(resource.OfList(node.Status.Allocatable))
		}
	}
	return pool, capacity
}

// letIn checks what the plugin has just let a pod have a node for, unless that claims a slot: no queue holds more than it may
// of what is asked for. Neither other schedulers nor other queues are an excuse: while it holds more, nobody is let in.
func (r *replica) letIn(pod *v1.Pod) {
	if len(r.layout.Specs) == 0 || r.told.buried[pod.UID] {
		return
	}
	if m := r.told.pods[pod.UID]; m != nil && m.pod != nil && m.pod.Spec.NodeName != "" {
		return // somebody else has bound it, and the scheduler has not heard of it yet
	}
	d := quota.Demand{Amount: requestsOf(pod)}
	app := r.world.appOf(pod)
	switch {
	case app != nil && pod.UID == app.driver:
		if app.unpredicted {
			return
		}
		d = app.plan.asks()
	case r.lone(pod):
		d.Gangs = 1
	default:
		for _, g := range r.ledger.Gangs() {
			claims, claimed := false, 0
			for _, slot := range g.Slots {
				claims = claims || slot.Worker == pod.UID
				if slot.Worker != "" {
					claimed++
				}
			}
			k := r.world.members[pod.UID]
			switch {
			case !claims:
			case k != nil && g.Phase == gang.Reserved && claimed == 1:
				d = k.asks() // it was let in for all of them
			default:
				return
			}
		}
	}
	holdings := r.holdings()
	way := r.way(pod.Namespace)
	for i, spec := range way {
		h := holdings[spec.Name]
		if spec.State == quota.Stopped || spec.State == quota.Draining && d.Gangs > 0 {
			r.world.fail("closed", "%s: %s was let in although queue %s is %s", r.name, keyOf(pod), spec.Name, spec.State)
		}
		for _, limit := range spec.Limit {
			if d.Amount.Of(limit.Name) > 0 && h.used.Of(limit.Name) > limit.Value {
				r.world.fail("limit", "%s: %s was let in, and queue %s holds %s of at most %s %d", r.name, keyOf(pod), spec.Name, h.used, limit.Name, limit.Value)
			}
		}
		if spec.MaxRunningGangs != nil && d.Gangs > 0 && h.gangs > *spec.MaxRunningGangs {
			r.world.fail("limit", "%s: %s was let in, and queue %s runs %d of at most %d gangs", r.name, keyOf(pod), spec.Name, h.gangs, *spec.MaxRunningGangs)
		}
		if spec.MaxLeaderShare == nil || h.leading <= 1 {
			continue
		}
		for name := range d.Leader.List() {
			_, capacity := r.capacityOf(way)
			most := capacity.Of(name)
			for _, above := range way[i:] {
				if limit, limited := above.Limit.Of(name); limited {
					most = min(most, limit)
				}
			}
			if 100*h.leaders.Of(name) > *spec.MaxLeaderShare*most {
				r.world.fail("limit", "%s: %s was let in, and the leaders in queue %s hold %s, more than %d%% of %s %d", r.name, keyOf(pod), spec.Name, h.leaders, *spec.MaxLeaderShare, name, most)
			}
		}
	}
}

// allows tells whether the queue of a namespace lets somebody in who asks for so much.
func (r *replica) allows(namespace string, d quota.Demand) bool {
	return r.wouldAllow("", namespace, d)
}

// wouldAllow is allows as if a pod were not there, with all that it leads.
func (r *replica) wouldAllow(without types.UID, namespace string, d quota.Demand) bool {
	if len(r.layout.Specs) == 0 {
		return true
	}
	tree := quota.New(r.layout.Specs)
	capacities := []resource.Vector{}
	for _, pool := range quota.Pools(tree) {
		way := []quota.Spec{{}}
		if len(pool.Queues) > 0 {
			way = wayOf(r.layout, pool.Queues[0])
		}
		_, capacity := r.capacityOf(way)
		capacities = append(capacities, capacity)
	}
	tree.SetCapacity(capacities...)
	for _, c := range r.charges(without) {
		tree.Charge(r.way(c.namespace)[0].Name, c.demand)
	}
	return tree.Fits(r.way(namespace)[0].Name, d).Passes()
}

// asks is what an application asks its queue for at its start.
func (p plan) asks() quota.Demand {
	return quota.Demand{Amount: p.driver.vector().Add(p.executor.vector().Scale(p.count)), Leader: p.driver.vector(), Gangs: 1}
}

// asks is what a crew asks its queue for at its start.
func (k *crew) asks() quota.Demand {
	return quota.Demand{Amount: k.executor.vector().Scale(k.count), Gangs: 1}
}

// evicted checks an eviction before it takes effect: where queues only say what they would take back nothing is taken, and no
// driver goes before its executors of which the scheduler knew, when it asked for that, that they have a node (seed 31000595).
func (w *World) evicted(by *replica, pod *v1.Pod, asked time.Time) {
	w.stats.Evictions++
	if pod.Spec.NodeName == "" {
		w.fail("unbound", "%s: %s is evicted before it is bound: nothing makes it again", by.name, keyOf(pod))
	}
	by.claim(pod)
	w.disturbReclaim(by)
	by.checkProtected(pod)
	w.daemon.goes(pod)
	w.replace(pod)
	if w.climate.dryRun && !by.amongStrangers(pod) {
		w.fail("dry run", "%s: %s is evicted although every queue only says what it would take back", by.name, keyOf(pod))
	}
	a := w.appOf(pod)
	if a == nil || pod.UID != a.driver || a.unpredicted {
		return
	}
	for _, other := range w.api.pods.all() {
		m := by.told.pods[other.UID]
		known := m != nil && m.pod != nil && m.pod.Spec.NodeName != "" && m.bound.Before(asked)
		if w.appOf(other) == a && other.UID != pod.UID && known && !ended(other) && other.DeletionTimestamp == nil && !w.usurped[other.UID] {
			w.fail("driver first", "%s: driver %s is evicted before its executor %s", by.name, keyOf(pod), other.Name)
		}
	}
}

// amongStrangers tells whether a pod of the strangers goes for another of them: they belong to no queue, so none says that nothing is done.
func (r *replica) amongStrangers(victim *v1.Pod) bool {
	_, taker := r.ledger.Situation(victim.UID)
	namespace, known := r.namespaceOf(taker)
	return victim.Namespace == namespaceOfStrangers && known && namespace == namespaceOfStrangers
}

// standings are all queues as the ledger sees them, by name.
func (r *replica) standings() []ledger.QueueStanding {
	standings, _ := r.ledger.Queues()
	return standings
}

// used is what every queue holds, for people and comparison.
func (r *replica) used() string {
	var b strings.Builder
	for _, s := range r.standings() {
		fmt.Fprintf(&b, "%q %s leaders %s gangs %d; ", s.Name, s.Used, s.Leaders, s.Gangs)
	}
	return b.String()
}
