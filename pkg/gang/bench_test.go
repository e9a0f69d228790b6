package gang

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// large is a running gang of executors, ten slots on each node, all open.
func large(slots int) *Gang {
	g := New(Key{"ns", "app"}, "leader")
	g.Step(Defined{Definition{Roles: []Role{{Name: "executor", Count: slots, Minimum: slots, Requests: cores(1)}}}})
	list := make([]Slot, slots)
	for i := range list {
		list[i] = Slot{Node: fmt.Sprint("node-", i/10), Requests: cores(1)}
	}
	g.Step(Admitted{list})
	g.Step(Seated{})
	return g
}

func uids(n int) []types.UID {
	uids := make([]types.UID, n)
	for i := range uids {
		uids[i] = types.UID(fmt.Sprintf("executor-%06d", i))
	}
	return uids
}

// BenchmarkStart is all executors of a gang claiming their slots, in the order of the slots, each after a look at the
// open ones: what a start costs in all. Per executor it may grow with the number of slots, but not by much.
func BenchmarkStart(b *testing.B) {
	for _, slots := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprint("slots=", slots), func(b *testing.B) {
			workers := uids(slots)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				g := large(slots)
				b.StartTimer()
				for _, uid := range workers {
					node := ""
					g.OpenSlots("executor", func(slot Slot) bool { node = slot.Node; return false })
					g.Step(WorkerPlaced{Worker: uid, Role: "executor", Node: node, Requests: cores(1)})
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*slots), "ns/executor")
		})
	}
}

// BenchmarkReplace is one executor that is lost and comes back, in a gang that is full.
func BenchmarkReplace(b *testing.B) {
	for _, slots := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint("slots=", slots), func(b *testing.B) {
			g, workers := large(slots), uids(slots)
			for i, uid := range workers {
				g.Step(WorkerPlaced{Worker: uid, Role: "executor", Node: g.Slots[i].Node, Requests: cores(1)})
			}
			node := g.Slots[slots-1].Node
			b.ReportAllocs()
			for b.Loop() {
				g.Step(WorkerGone{workers[slots-1]})
				g.Step(WorkerPlaced{Worker: workers[slots-1], Role: "executor", Node: node, Requests: cores(1)})
			}
		})
	}
}

func BenchmarkCounts(b *testing.B) {
	for _, slots := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint("slots=", slots), func(b *testing.B) {
			g := large(slots)
			b.ReportAllocs()
			for b.Loop() {
				g.Counts()
			}
		})
	}
}
