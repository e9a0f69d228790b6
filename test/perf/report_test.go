//go:build perf

package perf_test

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// schedulers are compared in this order; the first with the others.
var schedulers = []string{"Retinue", "Default", "Native", "Ceiling"}

// workload is one form of one workload, such as AllUpFront 100x10_100Nodes.
type workload struct{ form, name string }

// report collects the runs of all schedulers.
type report struct {
	order []workload
	runs  map[workload]map[string][]run // scheduler -> one run per round
}

// add takes a run under the name that scheduler_perf gives it: form_scheduler, and the workload.
func (r *report) add(testCase, name string, result run) {
	form, scheduler, _ := strings.Cut(testCase, "_")
	key := workload{form, name}
	if r.runs == nil {
		r.runs = map[workload]map[string][]run{}
	}
	if r.runs[key] == nil {
		r.order = append(r.order, key)
		r.runs[key] = map[string][]run{}
	}
	r.runs[key][scheduler] = append(r.runs[key][scheduler], result)
}

// print writes a table of figures and one of ratios. Every figure is the least, the median and the largest of all rounds;
// a ratio is that of two runs of the same round.
func (r *report) print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "workload\tscheduler\tpods/s\tapplication started after, p50\tp99")
	for _, key := range r.order {
		for _, scheduler := range schedulers {
			var rates []float64
			var starts []time.Duration
			for _, run := range r.runs[key][scheduler] {
				rates = append(rates, run.podsPerSecond)
				starts = append(starts, run.starts...)
			}
			if len(rates) == 0 {
				continue
			}
			fmt.Fprintf(table, "%s %s\t%s\t%s\t%.2f s\t%.2f s\n", key.form, key.name, scheduler, spread(rates, "%.0f"),
				percentile(starts, 0.5).Seconds(), percentile(starts, 0.99).Seconds())
		}
	}
	fmt.Fprintln(table)
	fmt.Fprintln(table, "workload\tpods/s of Retinue to those of\tratio")
	for _, key := range r.order {
		ours := r.runs[key][schedulers[0]]
		for _, scheduler := range schedulers[1:] {
			var ratios []float64
			for round, theirs := range r.runs[key][scheduler] {
				if round < len(ours) {
					ratios = append(ratios, ours[round].podsPerSecond/theirs.podsPerSecond)
				}
			}
			if len(ratios) > 0 {
				fmt.Fprintf(table, "%s %s\t%s\t%s\n", key.form, key.name, scheduler, spread(ratios, "%.2f"))
			}
		}
	}
	table.Flush()
}

// spread is the least, the median and the largest of values, of which there is at least one.
func spread(values []float64, format string) string {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	median := (sorted[(n-1)/2] + sorted[n/2]) / 2
	return fmt.Sprintf(strings.Join([]string{format, format, format}, "–"), sorted[0], median, sorted[n-1])
}

// percentile is the smallest of durations that at least the given part of them does not exceed; zero if there are none.
func percentile(durations []time.Duration, part float64) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	return sorted[max(0, int(math.Ceil(part*float64(len(sorted))))-1)]
}
