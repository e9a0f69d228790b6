//go:build unix

package placement_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// measure runs f as a benchmark and reports, beside the wall time, the processor time of an operation: on a machine that
// does other work as well, it is the figure to compare.
func measure(b *testing.B, f func()) {
	b.Helper()
	b.ReportAllocs()
	f() // the Solver's memory is made once
	begin := processorTime(b)
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(processorTime(b)-begin)/float64(b.N), "cpu-ns/op")
}

func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// mixedNodes are n nodes of three sizes in three zones, each used to another degree, as a busy cluster is.
func mixedNodes(n int) *cluster {
	c := &cluster{}
	for i := range n {
		size := int64(1) << (i % 3)
		used := int64(i*7919%100) * size
		c.free = append(c.free, resource.Vector{
			CPU: 16_000*size - 100*used, Memory: (64*size)<<30 - used<<28, EphemeralStorage: 100 << 30, Pods: 110 - used%50,
		})
		c.domains = append(c.domains, fmt.Sprintf("zone-%d", i%3))
	}
	return c
}

func sparkGang(executors int, strategy placement.Strategy) placement.Gang {
	return placement.Gang{
		Leader:   &placement.Member{Name: "driver", Request: resource.Vector{CPU: 1_000, Memory: 1408 << 20, Pods: 1}},
		Roles:    []placement.Role{{Member: placement.Member{Name: "executor", Request: resource.Vector{CPU: 4_000, Memory: 9011 << 20, Pods: 1}}, Count: executors}},
		Strategy: strategy,
	}
}

var sizes = []int{500, 1_500, 5_000, 15_000}

// BenchmarkFit is the whole answer for 1,000 identical workers: once per gang and scheduling attempt.
func BenchmarkFit(b *testing.B) {
	for _, strategy := range []placement.Strategy{placement.Pack, placement.Spread, placement.SingleZone} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%s/workers=1000/nodes=%d", strategy, size), func(b *testing.B) {
				nodes, gang := mixedNodes(size), sparkGang(1000, strategy)
				if size < 1_500 {
					gang.Roles[0].Count = 500
				}
				benchmarkFit(b, nodes, gang)
			})
		}
	}
	nodes, gang := mixedNodes(15_000), sparkGang(1000, placement.Pack)
	gang.Roles[0].Eligible = func(node int) bool { return node%10 != 0 }
	gang.Leader.Eligible = gang.Roles[0].Eligible
	b.Run("eligible/workers=1000/nodes=15000", func(b *testing.B) { benchmarkFit(b, nodes, gang) })
}

// BenchmarkFitSeveralRoles lays the workers out, since roles compete for nodes.
func BenchmarkFitSeveralRoles(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("workers=2x400/nodes=%d", size), func(b *testing.B) {
			gang := sparkGang(400, placement.Pack)
			second := gang.Roles[0]
			second.Name, second.Request = "task", resource.Vector{CPU: 2_000, Memory: 20 << 30, Pods: 1}
			gang.Roles = append(gang.Roles, second)
			benchmarkFit(b, mixedNodes(size), gang)
		})
	}
}

func benchmarkFit(b *testing.B, nodes placement.Nodes, gang placement.Gang) {
	var solver placement.Solver
	if fit, shortage := solver.Fit(nodes, gang); fit == nil {
		b.Fatal(shortage)
	}
	measure(b, func() { solver.Fit(nodes, gang) })
}

// BenchmarkShortage is Fit for a gang that does not fit, with its numbers.
func BenchmarkShortage(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("nodes=%d", size), func(b *testing.B) {
			nodes, gang := mixedNodes(size), sparkGang(1_000_000, placement.Pack)
			var solver placement.Solver
			measure(b, func() {
				if fit, _ := solver.Fit(nodes, gang); fit != nil {
					b.Fatal("fits")
				}
			})
		})
	}
}

// BenchmarkSeveralRolesNearlyFit asks for more than the nodes hold together, but not by any sum: the search runs until
// its bound.
func BenchmarkSeveralRolesNearlyFit(b *testing.B) {
	for _, size := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("nodes=%d", size), func(b *testing.B) {
			nodes := identicalNodes(size, resource.Vector{CPU: 10_000, Memory: 10 << 30, Pods: 110})
			gang := placement.Gang{
				Leader: &placement.Member{Name: "driver", Request: resource.Vector{CPU: 1_000, Pods: 1}},
				Roles: []placement.Role{
					{Member: placement.Member{Name: "big", Request: resource.Vector{CPU: 6_000, Memory: 3 << 30, Pods: 1}}, Count: size - 5},
					{Member: placement.Member{Name: "wide", Request: resource.Vector{CPU: 3_000, Memory: 4 << 30, Pods: 1}}, Count: size + 8},
				},
			}
			var solver placement.Solver
			fit, shortage := solver.Fit(nodes, gang)
			b.Log(fit != nil, shortage)
			measure(b, func() { solver.Fit(nodes, gang) })
		})
	}
}

// BenchmarkSmallGangs is the whole life of a decision: Fit, LeaderFits and Score for every node, Plan.
func BenchmarkSmallGangs(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprintf("workers=4/nodes=%d", size), func(b *testing.B) {
			nodes, gang := mixedNodes(size), sparkGang(4, placement.Pack)
			var solver placement.Solver
			measure(b, func() {
				fit, _ := solver.Fit(nodes, gang)
				if _, ok := fit.Plan(bestSeat(nodes, fit)); !ok {
					b.Fatal("no plan")
				}
			})
		})
	}
}

func BenchmarkLeaderFits(b *testing.B) {
	nodes := mixedNodes(15_000)
	var solver placement.Solver
	fit, _ := solver.Fit(nodes, sparkGang(1000, placement.Pack))
	node := 0
	measure(b, func() {
		fit.LeaderFits(node)
		node = (node + 1) % 15_000
	})
}

func BenchmarkPlan(b *testing.B) {
	for _, strategy := range []placement.Strategy{placement.Pack, placement.Spread} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%s/workers=500/nodes=%d", strategy, size), func(b *testing.B) {
				nodes := mixedNodes(size)
				var solver placement.Solver
				fit, shortage := solver.Fit(nodes, sparkGang(500, strategy))
				if fit == nil {
					b.Fatal(shortage)
				}
				leader := bestSeat(nodes, fit)
				measure(b, func() {
					if _, ok := fit.Plan(leader); !ok {
						b.Fatal("no plan")
					}
				})
			})
		}
	}
}
