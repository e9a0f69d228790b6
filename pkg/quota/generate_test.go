package quota

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/resource"
)

const gpu v1.ResourceName = "nvidia.com/gpu"

var (
	resourceNames = []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, gpu}
	queueNames    = []string{"a", "b", "c", "d", "e"}
	userNames     = []string{"", "ann", "bob", "kim"}
	start         = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
)

func pointer[T any](value T) *T { return &value }

// vector is small amounts in units of millicores, bytes and devices; they need not look like a pod.
func vector(cpu, memory, gpus int64) resource.Vector {
	return resource.Vector{CPU: cpu, Memory: memory}.WithExtended(map[v1.ResourceName]int64{gpu: gpus})
}

// even is a number from least to most, all of about the same probability: rapid's own ranges prefer small ones, and
// queues that want little never meet.
func even(t *rapid.T, label string, least, most int64) int64 {
	steps := int64(0)
	for _, bit := range rapid.SliceOfN(rapid.Bool(), 6, 6).Draw(t, label) {
		steps *= 2
		if bit {
			steps++
		}
	}
	return least + (most-least)*steps/63
}

// drawVector is mostly small, so that many of them fit into one queue.
func drawVector(t *rapid.T, most int64) resource.Vector {
	amount := rapid.Int64Range(0, most)
	return vector(amount.Draw(t, "cpu"), amount.Draw(t, "memory"), rapid.Int64Range(0, 1).Draw(t, "gpus")*amount.Draw(t, "gpu"))
}

func drawCapacity(t *rapid.T, most int64) resource.Vector {
	return vector(even(t, "nodes' cpu", 0, most), even(t, "nodes' memory", 0, most), even(t, "nodes' gpu", 0, most))
}

// poolNames are the values of the label by which queues select nodes.
var poolNames = []string{"x", "y"}

func selecting(pool string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"pool": pool}}
}

// drawCapacities are what the nodes of every pool have that queues may declare: selector -> amount.
func drawCapacities(t *rapid.T, most int64) map[string]resource.Vector {
	capacities := map[string]resource.Vector{"": drawCapacity(t, most)}
	for _, pool := range poolNames {
		capacities[metav1.FormatLabelSelector(selecting(pool))] = drawCapacity(t, most)
	}
	return capacities
}

// drawSelector is none for most, and no selector for some.
func drawSelector(t *rapid.T) *metav1.LabelSelector {
	odd := &metav1.LabelSelector{MatchLabels: map[string]string{"pool": "-odd-"}}
	return rapid.SampledFrom([]*metav1.LabelSelector{nil, nil, nil, selecting("x"), selecting("x"), selecting("y"), odd, {}}).Draw(t, "node selector")
}

func drawAmounts(t *rapid.T, label string, least, most int64) Amounts {
	var amounts Amounts
	for _, name := range resourceNames {
		if rapid.Bool().Draw(t, label+" has "+string(name)) {
			amounts = append(amounts, resource.Amount{Name: name, Value: even(t, label+" "+string(name), least, most)})
		}
	}
	return amounts
}

func maybe(t *rapid.T, label string, least, most int64) *int64 {
	if rapid.Bool().Draw(t, "has "+label) {
		return nil
	}
	return pointer(even(t, label, least, most))
}

// drawSpecs are queues that may contradict themselves and each other in every way.
func drawSpecs(t *rapid.T) []Spec {
	var specs []Spec
	for _, name := range queueNames[:rapid.IntRange(0, len(queueNames)).Draw(t, "queues")] {
		specs = append(specs, Spec{
			Name:            name,
			Parent:          rapid.SampledFrom([]string{"", "", "nobody", "a", "a", "b", "c", name, "e"}).Draw(t, "parent"),
			NodeSelector:    drawSelector(t),
			Guaranteed:      drawAmounts(t, "guaranteed", -1, 40),
			Limit:           drawAmounts(t, "limit", -1, 60),
			Weight:          maybe(t, "weight", -1, 3),
			MaxRunningGangs: maybe(t, "gangs", -1, 4),
			MaxLeaderShare:  maybe(t, "leaders", 0, 60),
			Order:           rapid.SampledFrom([]Order{"", FIFO, Fair, Fair, "odd"}).Draw(t, "order"),
			Priority:        rapid.Int32Range(0, 1).Draw(t, "priority"),
			State:           rapid.SampledFrom([]State{"", Open, Open, Open, Open, Open, Open, Draining, Stopped, "odd"}).Draw(t, "state"),
			Users:           Users{MinimumShare: rapid.SampledFrom([]*int64{nil, pointer[int64](1), pointer[int64](10), pointer[int64](40), pointer[int64](101)}).Draw(t, "minimum"), Limit: drawAmounts(t, "user limit", -1, 60), MaxRunningGangs: maybe(t, "user's gangs", -1, 4)},
			Reclaim: Reclaim{
				Enabled: rapid.Bool().Draw(t, "reclaims"), Budget: maybe(t, "budget", 0, 101),
				DeadZone: rapid.SampledFrom([]int64{-1, 0, 0, 10}).Draw(t, "dead zone"), Exempt: rapid.IntRange(0, 5).Draw(t, "exempt") == 0,
			},
		})
	}
	return specs
}

func drawQueue(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "a", "b", "b", "c", "d", "e", Unassigned, "nobody"}).Draw(t, "queue")
}

func drawDemand(t *rapid.T) Demand {
	d := Demand{User: rapid.SampledFrom(userNames).Draw(t, "user"), Amount: drawVector(t, 12)}
	if rapid.Bool().Draw(t, "gang") {
		d.Gangs = 1
		if rapid.Bool().Draw(t, "led") {
			d.Leader = resource.Vector{CPU: d.Amount.CPU / 2, Memory: d.Amount.Memory / 3}
		}
	}
	return d
}

// drawWaiter has a signature that says what it asks for, as Push wants it.
func drawWaiter(t *rapid.T, number int) Waiter {
	w := Waiter{
		ID: types.UID(fmt.Sprint(number)), Queue: drawQueue(t), Priority: rapid.Int32Range(0, 1).Draw(t, "priority"), Rank: rapid.Int32Range(0, 1).Draw(t, "rank"),
		Since: start.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "since")) * time.Second), Demand: drawDemand(t),
	}
	if w.Demand.Gangs == 0 {
		w.Elastic, w.Held = true, drawVector(t, 10)
	}
	w.Signature = fmt.Sprint(w.Demand)
	return w
}
