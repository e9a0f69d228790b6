package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/perf/figures"
)

// compared are the figures of which ranges speak, in the order of the table.
var compared = []string{"time until all are bound", "CPU of the scheduler's process", "memory of the scheduler's process"}

// outcome is one run of a shape by a scheduler.
type outcome struct {
	begun
	cpu  float64 // seconds that the scheduler's process took
	most float64 // MiB that it had in use at most
}

// starts runs every shape with every scheduler, by turns.
func (s *stage) starts(ctx context.Context, shapes []shape, rounds int) (section, error) {
	outcomes := map[shape]map[cluster.Component][]outcome{}
	for round := range rounds {
		for i, shape := range shapes {
			first := (round + i) % len(schedulers)
			for _, scheduler := range slices.Concat(schedulers[first:], schedulers[:first]) {
				o, err := s.once(ctx, shape, scheduler)
				if err != nil {
					return section{}, err
				}
				fmt.Fprintf(os.Stderr, "%s on %d nodes, round %d, %s: all bound after %.2f s, %.2f s of processor time, %.0f MiB\n",
					shape, s.nodes, round+1, titles[scheduler], o.took.Seconds(), o.cpu, o.most)
				if outcomes[shape] == nil {
					outcomes[shape] = map[cluster.Component][]outcome{}
				}
				outcomes[shape][scheduler] = append(outcomes[shape][scheduler], o)
			}
		}
	}
	result := section{name: fmt.Sprintf("cluster-%d", s.nodes), measured: map[figures.Key]figures.Spread{}}
	rows := [][]string{
		{"shape, nodes", "scheduler", "all bound after s", "ratio", "one application after, p50", "p99", "scheduler CPU s per 1,000 pods", "ratio", "memory at most MiB", "ratio"}}
	for _, shape := range shapes {
		for _, scheduler := range schedulers {
			mine, theirs := outcomes[shape][scheduler], outcomes[shape][cluster.DefaultScheduler]
			var each []time.Duration
			for _, o := range mine {
				each = append(each, o.each...)
			}
			row := []string{fmt.Sprintf("%s, %d", shape, s.nodes), titles[scheduler]}
			for i, of := range []func(outcome) float64{
				func(o outcome) float64 { return o.took.Seconds() },
				func(o outcome) float64 { return o.cpu * 1000 / float64(shape.pods()) },
				func(o outcome) float64 { return o.most },
			} {
				var values, ratios []float64
				for i := range mine {
					values = append(values, of(mine[i]))
					ratios = append(ratios, of(mine[i])/of(theirs[i]))
				}
				ratio := ""
				if scheduler != cluster.DefaultScheduler {
					spread := figures.SpreadOf(ratios)
					ratio = spread.Format("%.2f")
					result.measured[figures.Key{Workload: fmt.Sprintf("%s on %d nodes", shape, s.nodes), Figure: compared[i], Baseline: titles[cluster.DefaultScheduler]}] = spread
				}
				row = append(row, figures.SpreadOf(values).Format([]string{"%.2f", "%.2f", "%.0f"}[i]), ratio)
				if i == 0 {
					row = append(row, fmt.Sprintf("%.2f s", figures.Percentile(each, 0.5).Seconds()), fmt.Sprintf("%.2f s", figures.Percentile(each, 0.99).Seconds()))
				}
			}
			rows = append(rows, row)
		}
	}
	result.tables = [][][]string{rows}
	return result, nil
}

// once runs a shape with a scheduler that is started for it, and leaves the cluster empty.
func (s *stage) once(ctx context.Context, shape shape, scheduler cluster.Component) (o outcome, err error) {
	if err := s.start(ctx, scheduler); err != nil {
		return o, err
	}
	before, err := s.processorTime(scheduler)
	if err != nil {
		return o, err
	}
	if o.begun, err = s.run(ctx, shape, scheduler, "app"); err != nil {
		return o, err
	}
	after, err := s.processorTime(scheduler)
	if err != nil {
		return o, err
	}
	o.cpu = (after - before).Seconds()
	if _, o.most, err = s.memory(scheduler); err != nil {
		return o, err
	}
	if err := s.cluster.StopComponent(ctx, scheduler); err != nil {
		return o, err
	}
	return o, s.deletePods(ctx, metav1.ListOptions{})
}
