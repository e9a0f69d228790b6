package sim

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

// climate is what a seed is like as a whole.
type climate struct {
	// faults are those that are at home in this seed.
	faults [numberOfFaults]bool
	// length of the storm.
	length time.Duration
	// pace is how much time passes between two applications, on average.
	pace time.Duration
	// pools, zones and dedicated nodes exist.
	pools, zones, dedicated bool
	// standby means that a second replica always stands by.
	standby bool
	// sweeps means that the scheduler tries again now and then what has been unschedulable for long; without it,
	// nothing but events wakes a pod.
	sweeps bool
	// nominates means that kube-scheduler writes down where a pod will go whose binding waits for anything. The shipped
	// manifests turn that off.
	nominates bool
	// queues exist; dryRun means that all of them only say what they would take back.
	queues, dryRun bool
	// moves is how many of those who wait the ledger goes through until it gives its lock back; 0 means as many as it wants.
	moves int
	// elastic means that there is an autoscaler.
	elastic   bool
	placement v1alpha1.Placement
	args      []byte
	nodes     int
}

func (w *World) drawClimate() climate {
	c := w.chance
	k := climate{
		length: c.between(time.Minute, 8*time.Minute),
		pace:   c.between(3*time.Second, 25*time.Second),
		pools:  c.happens(0.4), zones: c.happens(0.5), dedicated: c.happens(0.3),
		sweeps: c.happens(0.5), nominates: c.happens(0.5),
		nodes: c.number(2, 8),
	}
	// A third of the seeds is nearly undisturbed, so that small things are not hidden behind large ones.
	often := pick(c, 0.1, 0.4, 0.8)
	for f := range numberOfFaults {
		k.faults[f] = c.happens(often) && !w.options.Without[f]
	}
	k.standby = k.faults[Failover]
	k.placement = pick(c, v1alpha1.Pack, v1alpha1.Pack, v1alpha1.Spread, v1alpha1.SingleZone, v1alpha1.PreferSingleZone)
	k.args = fmt.Appendf(nil, `{"placement": %q, "definitionTimeout": "%ds", "unclaimedSlotTimeout": "%ds", "collectAfter": "%ds"}`,
		k.placement, c.number(5, 60), c.number(60, 300), c.number(60, 600))
	k.queues = c.happens(0.4)
	k.dryRun = k.queues && c.happens(0.2)
	k.moves = pick(c, 0, 1, 3)
	k.elastic = c.happens(0.3) && !w.options.Rigid
	var faults []string
	for f := range numberOfFaults {
		if k.faults[f] {
			faults = append(faults, f.String())
		}
	}
	w.trace.add("seed %d: storm of %s, %d nodes, %s, pools %v, zones %v, dedicated %v, sweeps %v, nominates %v, queues %v, dry run %v, moves %d, elastic %v, faults %s",
		w.seed, k.length, k.nodes, k.args, k.pools, k.zones, k.dedicated, k.sweeps, k.nominates, k.queues, k.dryRun, k.moves, k.elastic, strings.Join(faults, " "))
	return k
}

// addNode creates a node.
func (w *World) addNode(name string) {
	c := w.chance
	cpu, memory, pods := pick[int64](c, 4, 4, 8, 8, 16), pick[int64](c, 8, 16, 32, 64), int64(110)
	if c.happens(0.1) {
		pods = pick[int64](c, 3, 5, 8)
	}
	labels := map[string]string{v1.LabelHostname: name}
	if w.climate.zones {
		labels[labelZone] = pick(c, "a", "b")
	}
	if w.climate.pools {
		labels[labelPool] = pick(c, "blue", "blue", "green")
	}
	node := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: w.api.nextUID("node"), Labels: labels},
		Status: v1.NodeStatus{Allocatable: v1.ResourceList{
			v1.ResourceCPU:    *apiresource.NewQuantity(cpu, apiresource.DecimalSI),
			v1.ResourceMemory: *apiresource.NewQuantity(memory<<30, apiresource.BinarySI),
			v1.ResourcePods:   *apiresource.NewQuantity(pods, apiresource.DecimalSI),
		}},
	}
	if w.climate.dedicated && c.happens(0.3) {
		node.Spec.Taints = []v1.Taint{{Key: taintDedicated, Effect: v1.TaintEffectNoSchedule}}
	}
	w.trace.add("api: node %s cpu %d memory %dGi pods %d labels %v taints %v", name, cpu, memory, pods, labels, node.Spec.Taints)
	delete(w.dead, name)
	w.api.putNode(node)
}
