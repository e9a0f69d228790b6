package sim

import (
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/scaleup"
)

const (
	// cloudPeriod is how often the autoscaler looks, and emptyPeriod how long it leaves an empty node alone.
	cloudPeriod = 5 * time.Second
	emptyPeriod = 30 * time.Second
)

// disrupted is the taint of a node that the autoscaler is about to take away.
var disrupted = v1.Taint{Key: "karpenter.sh/disrupted", Effect: v1.TaintEffectNoSchedule}

// drained is how likely it is that a bought node on which there are pods is given up whenever the autoscaler looks, as when they would fit others.
const drained = 0.05

// cloud is an autoscaler and what it buys. It looks at pods whose condition says that they lack a node, and at what is asked for; what has
// no room on the nodes that are there or on their way it buys nodes for, which come later, one by one or never. It takes away those that
// are empty.
type cloud struct {
	world *World
	// requests are what the API server shows of what is asked for: leader -> request.
	requests *table[*request]
	// limit is how many nodes there are at a time that were bought, and limits those of what is asked for.
	limit  int
	limits scaleup.Limits
	serial int
	// coming are nodes that were bought, own those that have come: name -> since when it has been empty, zero if it is not.
	coming *table[*v1.Node]
	own    *table[time.Time]
}

// request is what is asked for one leader.
type request struct {
	ledger.ScaleUp
	answer scaleup.Answer
}

func (w *World) newCloud() *cloud {
	c := &cloud{world: w, requests: newTable[*request](), coming: newTable[*v1.Node](), own: newTable[time.Time](), limit: w.chance.number(2, 10)}
	c.limits = scaleup.Limits{After: w.chance.between(0, 20*time.Second), Timeout: w.chance.between(40*time.Second, 3*time.Minute), PerQueue: w.chance.number(1, 2), Total: w.chance.number(1, 4)}
	w.trace.add("autoscaler: up to %d nodes, %+v", c.limit, c.limits)
	w.idly(cloudPeriod, c.work)
	return c
}

// work looks again and again.
func (c *cloud) work() {
	c.look()
	c.world.idly(cloudPeriod, c.work)
}

// collect is the garbage collector: what belongs to a pod goes with it. There may be no cloud.
func (c *cloud) collect(owner types.UID) {
	if c != nil {
		c.requests.remove(string(owner))
	}
}

// lost tells whether a node that has gone was bought, and so does not come back. There may be no cloud.
func (c *cloud) lost(name string) bool {
	if c == nil {
		return false
	}
	_, own := c.own.get(name)
	c.own.remove(name)
	return own
}

// room is a node, or one that comes, and what is free on it by the autoscaler's reckoning.
type room struct {
	node *v1.Node
	free resource.Vector
	used bool // by somebody who lacks a node
}

// look buys what is lacking and takes away what nobody needs.
func (c *cloud) look() {
	w := c.world
	var rooms []*room
	for _, node := range w.api.nodes.all() {
		rooms = append(rooms, &room{node: node, free: w.freeOf(node)})
	}
	for _, node := range c.coming.all() {
		rooms = append(rooms, &room{node: node, free: resource.OfList(node.Status.Allocatable)})
	}
	for _, pod := range w.api.pods.all() {
		if lacks := condition(pod, v1.PodScheduled); pod.Spec.NodeName == "" && pod.DeletionTimestamp == nil && !ended(pod) && lacks.Reason == v1.PodReasonUnschedulable {
			rooms, _ = c.place(rooms, &pod.Spec, requestsOf(pod), string(pod.UID))
		}
	}
	for _, leader := range slices.Clone(c.requests.keys) {
		request, _ := c.requests.get(leader)
		failed, count := 0, 0
		for _, pods := range request.Pods {
			for range pods.Count {
				placed := false
				if rooms, placed = c.place(rooms, &pods.Pod.Spec, pods.Requests, leader); !placed {
					failed++
				}
				count++
			}
		}
		c.say(leader, request, failed, count)
	}
	for _, room := range rooms {
		c.consolidate(room)
	}
}

// place gives a pod the first room that holds it, or buys one.
func (c *cloud) place(rooms []*room, spec *v1.PodSpec, requests resource.Vector, who string) (now []*room, placed bool) {
	for _, room := range rooms {
		if admits(room.node, spec) && requests.Fits(room.free) {
			room.free, room.used = room.free.Sub(requests), true
			return rooms, true
		}
	}
	if c.own.len()+c.coming.len() >= c.limit || pinnedTo(spec) != "" {
		return rooms, false
	}
	for _, cpu := range []int64{4, 8, 16} {
		node := c.offer(cpu, spec)
		if free := resource.OfList(node.Status.Allocatable); admits(node, spec) && requests.Fits(free) {
			c.buy(node, who)
			return append(rooms, &room{node: node, free: free.Sub(requests), used: true}), true
		}
	}
	return rooms, false
}

// offer is a node that could be bought for a pod.
func (c *cloud) offer(cpu int64, spec *v1.PodSpec) *v1.Node {
	c.serial++
	name := fmt.Sprintf("bought-%d", c.serial)
	labels := map[string]string{v1.LabelHostname: name, labelZone: "a"}
	if pool := spec.NodeSelector[labelPool]; pool != "" {
		labels[labelPool] = pool
	}
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Status: v1.NodeStatus{Allocatable: v1.ResourceList{
			v1.ResourceCPU: *apiresource.NewQuantity(cpu, apiresource.DecimalSI), v1.ResourceMemory: *apiresource.NewQuantity(4*cpu<<30, apiresource.BinarySI),
			v1.ResourcePods: *apiresource.NewQuantity(110, apiresource.DecimalSI),
		}},
	}
}

// buy lets a node come, after a while and now and then never.
func (c *cloud) buy(node *v1.Node, who string) {
	w := c.world
	w.stats.Bought++
	w.trace.add("autoscaler: buys %s with cpu %s for %s", node.Name, node.Status.Allocatable.Cpu(), who)
	c.coming.put(node.Name, node)
	never := w.act == storm && w.chance.happens(0.05)
	w.after(w.chance.delay(8*time.Second, time.Minute), func() {
		c.coming.remove(node.Name)
		if never || w.act == end {
			w.trace.add("autoscaler: %s does not come", node.Name)
			return
		}
		node.UID = w.api.nextUID("node")
		w.trace.add("api: node %s has come", node.Name)
		c.own.put(node.Name, time.Time{})
		w.api.putNode(node)
	})
}

// say writes into the conditions of a request what has become of it; whoever leads reads that.
func (c *cloud) say(leader string, request *request, failed, count int) {
	answer := scaleup.Answer{}
	if failed > 0 {
		answer = scaleup.Answer{Words: fmt.Sprintf("%d of %d pods have no room, %d failed", failed, count, failed), Failing: true}
	}
	if answer == request.answer {
		return
	}
	request.answer = answer
	c.world.trace.add("autoscaler: says of %s: %q", leader, answer.Words)
	for _, r := range c.world.replicas {
		r.asker.hear(types.UID(leader), answer)
	}
}

// consolidate takes a node away that was bought and has been empty for long, in two steps as Karpenter does.
func (c *cloud) consolidate(room *room) {
	w, name := c.world, room.node.Name
	since, own := c.own.get(name)
	if !own {
		return
	}
	if room.used || !c.empty(name) {
		c.own.put(name, time.Time{})
		if w.act != calm && !room.used && !slices.Contains(room.node.Spec.Taints, disrupted) && w.chance.happens(drained) {
			c.drain(name)
		}
		return
	}
	if since.IsZero() {
		c.own.put(name, time.Now())
		return
	}
	if time.Since(since) < emptyPeriod || slices.Contains(room.node.Spec.Taints, disrupted) {
		return
	}
	w.changeNode(name, "is to go", func(node *v1.Node) { node.Spec.Taints = append(node.Spec.Taints, disrupted) })
	c.takeAway(name, w.chance.between(time.Second, 5*time.Second))
}

// drain takes a node away on which there are pods, which have to go first: their owners make them again elsewhere.
func (c *cloud) drain(name string) {
	w := c.world
	w.changeNode(name, "is drained", func(node *v1.Node) { node.Spec.Taints = append(node.Spec.Taints, disrupted) })
	w.after(w.chance.between(time.Second, 5*time.Second), func() {
		for _, pod := range w.api.pods.all() {
			if pod.Spec.NodeName == name && !ended(pod) && pod.DeletionTimestamp == nil {
				w.deletePod(pod)
			}
		}
	})
	w.stats.Drained++
	c.takeAway(name, w.chance.between(10*time.Second, 2*time.Minute))
}

// takeAway does so later, if the node is empty then; else it stays.
func (c *cloud) takeAway(name string, later time.Duration) {
	w := c.world
	w.after(later, func() {
		node, there := w.api.nodes.get(name)
		if _, own := c.own.get(name); !there || !own {
			return
		}
		if !c.empty(name) {
			w.changeNode(name, "stays", func(node *v1.Node) { node.Spec.Taints = without(node.Spec.Taints, disrupted.Key) })
			return
		}
		c.own.remove(name)
		w.trace.add("api: node %s, which is empty, goes", name)
		w.api.removeNode(node)
	})
}

// empty tells whether no pod is on a node.
func (c *cloud) empty(name string) bool {
	return !slices.ContainsFunc(c.world.api.pods.all(), func(pod *v1.Pod) bool { return pod.Spec.NodeName == name && !ended(pod) })
}
