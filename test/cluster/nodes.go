package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
)

// Nodes describes fake nodes that are all alike. They are named PREFIX-0000, PREFIX-0001, …
type Nodes struct {
	// Prefix of the names; empty means node.
	Prefix string
	Count  int
	// CPU and Memory are quantities such as 16 and 64Gi; empty means just these.
	CPU, Memory string
	// Pods is how many pods a node takes; 0 means 110.
	Pods int
	// Zones spreads the nodes in turn over zone-0, zone-1, … (topology.kubernetes.io/zone); 0 means no zones.
	Zones int
	// Labels and Taints of every node, besides the usual ones.
	Labels map[string]string
	Taints []corev1.Taint
}

// FakeNodeLabel and FakeNodeLabelValue are on every fake node.
const (
	FakeNodeLabel      = "type"
	FakeNodeLabelValue = "kwok"
)

// poolLabel holds the prefix of the Nodes a node was made from, so that they can be told from other fake nodes.
const poolLabel = "fakenode.retinue.dev/pool"

// nodeWriters is how many requests about nodes are under way at the same time.
const nodeWriters = 32

// EnsureNodes makes the fake nodes of this prefix exactly these: it creates the missing ones, deletes the surplus and
// gives the others the wanted capacity. It returns when kwok has made all of them Ready. In a cluster without kwok
// they are Ready from the start, and go on to be as long as no controller manager misses their heartbeats.
func (c *Cluster) EnsureNodes(ctx context.Context, nodes Nodes) error {
	nodes, capacity, err := nodes.complete()
	if err != nil {
		return err
	}
	wanted := make(map[string]*corev1.Node, nodes.Count) // name -> node
	for i := range nodes.Count {
		node := nodes.node(i, capacity)
		if !c.config.runs(Kwok) {
			node.Status.Conditions = []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
			}}
		}
		wanted[node.Name] = node
	}
	existing, err := c.listPool(ctx, nodes.Prefix)
	if err != nil {
		return err
	}
	if err := c.writeNodes(ctx, existing, wanted); err != nil {
		return err
	}
	return c.awaitNodes(ctx, nodes.Prefix, nodes.Count)
}

func (n Nodes) complete() (Nodes, corev1.ResourceList, error) {
	if n.Prefix == "" {
		n.Prefix = "node"
	}
	if n.CPU == "" {
		n.CPU = "16"
	}
	if n.Memory == "" {
		n.Memory = "64Gi"
	}
	if n.Pods == 0 {
		n.Pods = 110
	}
	for _, number := range []struct {
		field string
		value int
	}{{"Count", n.Count}, {"Pods", n.Pods}, {"Zones", n.Zones}} {
		if number.value < 0 {
			return n, nil, fmt.Errorf("cluster: nodes: %s %d is negative", number.field, number.value)
		}
	}
	capacity := corev1.ResourceList{corev1.ResourcePods: *resource.NewQuantity(int64(n.Pods), resource.DecimalSI)}
	for _, quantity := range []struct {
		field, value string
		name         corev1.ResourceName
	}{{"CPU", n.CPU, corev1.ResourceCPU}, {"Memory", n.Memory, corev1.ResourceMemory}} {
		parsed, err := resource.ParseQuantity(quantity.value)
		if err != nil || parsed.Sign() <= 0 {
			return n, nil, fmt.Errorf("cluster: nodes: %s %q is not a positive quantity such as 16 or 64Gi", quantity.field, quantity.value)
		}
		capacity[quantity.name] = parsed
	}
	return n, capacity, nil
}

func (n Nodes) node(index int, capacity corev1.ResourceList) *corev1.Node {
	name := fmt.Sprintf("%s-%04d", n.Prefix, index)
	// The labels a kubelet sets. The node lifecycle controller would add the beta ones, at two requests for each node.
	labels := map[string]string{
		corev1.LabelHostname:      name,
		corev1.LabelOSStable:      "linux",
		corev1.LabelArchStable:    "amd64",
		"beta.kubernetes.io/os":   "linux",
		"beta.kubernetes.io/arch": "amd64",
		FakeNodeLabel:             FakeNodeLabelValue,
		poolLabel:                 n.Prefix,
	}
	if n.Zones > 0 {
		labels[corev1.LabelTopologyZone] = fmt.Sprintf("zone-%d", index%n.Zones)
	}
	maps.Copy(labels, n.Labels)
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Labels:      labels,
			Annotations: map[string]string{fakeNodeAnnotation: fakeNodeValue},
		},
		Spec:   corev1.NodeSpec{Taints: n.Taints},
		Status: corev1.NodeStatus{Capacity: capacity, Allocatable: capacity, Phase: corev1.NodeRunning},
	}
}

func (c *Cluster) listPool(ctx context.Context, prefix string) (map[string]corev1.Node, error) {
	list, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{LabelSelector: poolLabel + "=" + prefix})
	if err != nil {
		return nil, fmt.Errorf("cluster: list nodes: %w", err)
	}
	nodes := make(map[string]corev1.Node, len(list.Items)) // name -> node
	for _, node := range list.Items {
		nodes[node.Name] = node
	}
	return nodes, nil
}

// writeNodes turns existing into wanted; both are name -> node.
func (c *Cluster) writeNodes(ctx context.Context, existing map[string]corev1.Node, wanted map[string]*corev1.Node) error {
	api := c.client.CoreV1().Nodes()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(nodeWriters)
	begun, told := 0, time.Now()
	tell := func() {
		if begun++; time.Since(told) > stillWaiting {
			told = time.Now()
			c.progress("%-24s %d of %d written", "nodes", begun, len(wanted))
		}
	}
	for name := range existing {
		if wanted[name] != nil {
			continue
		}
		group.Go(func() error {
			if err := api.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("cluster: delete node %s: %w", name, err)
			}
			return nil
		})
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		node := wanted[name]
		tell()
		current, exists := existing[name]
		switch {
		case !exists:
			group.Go(func() error {
				if _, err := api.Create(ctx, node, metav1.CreateOptions{}); err != nil {
					return fmt.Errorf("cluster: create node %s: %w", name, err)
				}
				return nil
			})
		case !sameQuantities(current.Status.Capacity, node.Status.Capacity):
			group.Go(func() error { return c.resizeNode(ctx, name, node.Status.Capacity) })
		}
	}
	return group.Wait()
}

func (c *Cluster) resizeNode(ctx context.Context, name string, capacity corev1.ResourceList) error {
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"capacity": capacity, "allocatable": capacity}})
	if err != nil {
		return fmt.Errorf("cluster: resize node %s: %w", name, err)
	}
	if _, err := c.client.CoreV1().Nodes().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("cluster: resize node %s: %w", name, err)
	}
	return nil
}

func sameQuantities(a, b corev1.ResourceList) bool {
	return maps.EqualFunc(a, b, func(x, y resource.Quantity) bool { return x.Cmp(y) == 0 })
}

// nodesTimeout is how long each thousand nodes may take to become Ready, besides readyTimeout.
const nodesTimeout = 3 * time.Minute

// awaitNodes returns when count nodes of the prefix exist and every one can be scheduled on.
func (c *Cluster) awaitNodes(ctx context.Context, prefix string, count int) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, readyTimeout+nodesTimeout*time.Duration(count)/1000)
	defer cancel()
	// An informer, because a list of thousands of nodes is not a thing to ask for again and again.
	factory := informers.NewSharedInformerFactoryWithOptions(c.client, 0,
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = poolLabel + "=" + prefix }))
	lister := factory.Core().V1().Nodes().Lister()
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	defer cancel() // before Shutdown, which waits for the informer's end
	factory.WaitForCacheSync(ctx.Done())

	told := began
	ready := 0
	err := wait.PollUntilContextCancel(ctx, firstInterval, true, func(context.Context) (bool, error) {
		nodes, err := lister.List(labels.Everything())
		if err != nil {
			return false, err
		}
		ready = 0
		for _, node := range nodes {
			if usable(node) {
				ready++
			}
		}
		if time.Since(told) > stillWaiting {
			told = time.Now()
			c.progress("%-24s %d of %d ready after %.0f s", "nodes", ready, count, time.Since(began).Seconds())
		}
		return ready == count && len(nodes) == count, nil
	})
	if err != nil {
		err = fmt.Errorf("%d of %d nodes are ready after %.0f s: %w", ready, count, time.Since(began).Seconds(), err)
		if c.config.runs(Kwok) {
			return c.componentError(Kwok, err)
		}
		return fmt.Errorf("cluster: %w", err)
	}
	c.progress("%-24s %d ready after %.1f s", "nodes", count, time.Since(began).Seconds())
	return nil
}

// usable is a node that is Ready and has lost the taint that new nodes carry.
func usable(node *corev1.Node) bool {
	for _, taint := range node.Spec.Taints {
		if taint.Key == corev1.TaintNodeNotReady || taint.Key == corev1.TaintNodeUnreachable {
			return false
		}
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
