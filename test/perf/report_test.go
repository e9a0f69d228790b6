//go:build perf

package perf_test

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"retinue.dev/retinue/test/perf/figures"
	"retinue.dev/retinue/test/perf/requests"
	"retinue.dev/retinue/test/perf/shares"
)

// run is what was measured.
type run struct {
	round              int
	pods, applications int
	took               time.Duration   // from the first pod to the last binding
	starts             []time.Duration // index: application, in no order; from its first pod to its last binding
	usage              usage
	requests           requests.Counts // to the API server, without those of the test; nil if they were not counted
}

func (r run) String() string {
	return fmt.Sprintf("%.0f pods/s, scheduler %.2f CPU s per 1,000 pods", r.podsPerSecond(), r.schedulerCPU())
}

func (r run) podsPerSecond() float64  { return float64(r.pods) / r.took.Seconds() }
func (r run) gangsPerSecond() float64 { return float64(r.applications) / r.took.Seconds() }

// schedulerCPU is in seconds per 1,000 pods, and schedulerAllocs in KiB per pod.
func (r run) schedulerCPU() float64 {
	return seconds(r.usage.cpu.Scheduler()) * 1000 / float64(r.pods)
}
func (r run) schedulerAllocs() float64 {
	return float64(r.usage.allocs.Scheduler()) / 1024 / float64(r.pods)
}

// requestsEach is per application.
func (r run) requestsEach() float64 { return r.requests.Total() / float64(r.applications) }

// The ratios that ranges.yaml speaks of: figure -> what of a run is compared.
var compared = map[string]func(run) float64{
	"pods/s":                   run.podsPerSecond,
	"scheduler CPU per pod":    run.schedulerCPU,
	"requests per application": run.requestsEach,
}

// waitingSuffix ends the name of a workload that is another one with gangs that wait besides; that other one, run by the same
// scheduler, is its baseline too.
const waitingSuffix = "Waiting"

// report collects the runs of all schedulers.
type report struct {
	order []string
	runs  map[string]map[string][]run // trial -> scheduler -> runs
}

func (r *report) add(trial, scheduler string, result run) {
	if r.runs == nil {
		r.runs = map[string]map[string][]run{}
	}
	if r.runs[trial] == nil {
		r.order = append(r.order, trial)
		r.runs[trial] = map[string][]run{}
	}
	r.runs[trial][scheduler] = append(r.runs[trial][scheduler], result)
}

// forms are the parts of the report: form of application -> what was measured of it.
func (r *report) forms() map[string]*report {
	forms := map[string]*report{}
	for _, trial := range r.order {
		form, _, _ := strings.Cut(trial, " ")
		if forms[form] == nil {
			forms[form] = &report{runs: r.runs}
		}
		forms[form].order = append(forms[form].order, trial)
	}
	return forms
}

// ratios of Retinue's figures to those of the others, each of two runs of the same round.
func (r *report) ratios() map[figures.Key]figures.Spread {
	ratios := map[figures.Key]figures.Spread{}
	for _, trial := range r.order {
		ours := r.runs[trial][contestants[0].Title]
		baselines := map[string][]run{}
		for _, other := range contestants[1:] {
			baselines[other.Title] = r.runs[trial][other.Title]
		}
		if without, _, found := cutLast(trial, "_"); found && strings.HasSuffix(trial, waitingSuffix) {
			baselines[noneWaiting] = r.runs[without][contestants[0].Title]
		}
		for baseline, theirs := range baselines {
			for figure, of := range compared {
				var values []float64
				for _, mine := range ours {
					for _, other := range theirs {
						if mine.round == other.round && of(other) > 0 {
							values = append(values, of(mine)/of(other))
						}
					}
				}
				if len(values) > 0 {
					ratios[figures.Key{Workload: trial, Figure: figure, Baseline: baseline}] = figures.SpreadOf(values)
				}
			}
		}
	}
	return ratios
}

const noneWaiting = "none waiting"

// baselines are what Retinue is compared with, in the order of tables.
func baselines() (titles []string) {
	for _, other := range contestants[1:] {
		titles = append(titles, other.Title)
	}
	return append(titles, noneWaiting)
}

func cutLast(text, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

// figuresTable has one row for every workload and scheduler; figures are the least, the median and the largest of all rounds.
func (r *report) figuresTable() [][]string {
	rows := [][]string{{"workload", "scheduler", "pods/s", "gangs/s", "application whole after, p50", "p99", "scheduler CPU s per 1,000 pods", "scheduler allocates KiB per pod", "heap of the process MiB"}}
	for _, trial := range r.order {
		for _, c := range contestants {
			runs := r.runs[trial][c.Title]
			if len(runs) == 0 {
				continue
			}
			var starts []time.Duration
			for _, run := range runs {
				starts = append(starts, run.starts...)
			}
			rows = append(rows, []string{
				trial, c.Title, over(runs, run.podsPerSecond, "%.0f"), over(runs, run.gangsPerSecond, "%.1f"),
				fmt.Sprintf("%.2f s", figures.Percentile(starts, 0.5).Seconds()), fmt.Sprintf("%.2f s", figures.Percentile(starts, 0.99).Seconds()),
				over(runs, run.schedulerCPU, "%.2f"), over(runs, run.schedulerAllocs, "%.0f"),
				over(runs, func(r run) float64 { return float64(r.usage.heap) / (1 << 20) }, "%.0f"),
			})
		}
	}
	return rows
}

func over(runs []run, of func(run) float64, format string) string {
	var values []float64
	for _, run := range runs {
		values = append(values, of(run))
	}
	return figures.SpreadOf(values).Format(format)
}

func (r *report) ratiosTable() [][]string {
	rows := [][]string{{"workload", "Retinue's … to those of", "pods/s", "scheduler CPU per pod"}}
	measured := r.ratios()
	for _, trial := range r.order {
		for _, baseline := range baselines() {
			row := []string{trial, baseline}
			for _, figure := range []string{"pods/s", "scheduler CPU per pod"} {
				cell := ""
				if ratio, found := measured[figures.Key{Workload: trial, Figure: figure, Baseline: baseline}]; found {
					cell = ratio.Format("%.2f")
				}
				row = append(row, cell)
			}
			if row[2] != "" {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// sharesTable tells whose work the processor did, in percent of all samples of all runs.
func (r *report) sharesTable() [][]string {
	header := []string{"workload", "scheduler"}
	for _, owner := range shares.Owners {
		header = append(header, string(owner))
	}
	rows := [][]string{header}
	for _, trial := range r.order {
		for _, c := range contestants {
			sum := shares.Shares{}
			for _, run := range r.runs[trial][c.Title] {
				for owner, share := range run.usage.cpu {
					sum[owner] += share
				}
			}
			if sum.Total() == 0 {
				continue
			}
			row := []string{trial, c.Title}
			for _, owner := range shares.Owners {
				row = append(row, fmt.Sprintf("%.1f %%", 100*float64(sum[owner])/float64(sum.Total())))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// requestsTables tell what the API server was asked, a table for each workload in which that was counted.
func (r *report) requestsTables() (tables [][][]string) {
	for _, trial := range r.order {
		var titles []string
		asked := map[string][]requests.Counts{} // scheduler -> runs
		applications := 0
		for _, c := range contestants {
			for _, run := range r.runs[trial][c.Title] {
				if run.requests != nil {
					asked[c.Title], applications = append(asked[c.Title], run.requests), run.applications
				}
			}
			if len(asked[c.Title]) > 0 {
				titles = append(titles, c.Title)
			}
		}
		if len(titles) > 0 {
			tables = append(tables, requests.Table(applications, titles, asked, func(values []float64) string { return figures.SpreadOf(values).Format("%.2f") }))
		}
	}
	return tables
}

func (r *report) print(w io.Writer) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, rows := range append([][][]string{r.figuresTable(), r.ratiosTable(), r.sharesTable()}, r.requestsTables()...) {
		for _, row := range rows {
			fmt.Fprintln(table, strings.Join(row, "\t"))
		}
		fmt.Fprintln(table)
	}
	table.Flush()
}

// section is the report as docs/performance.md has it.
func (r *report) section(origin string) string {
	text := fmt.Sprintf("%s Least–median–most of %d rounds.\n\nFigures:\n\n%s\nRatios, each of two runs of one round:\n\n%s\nWhose work the processor did:\n\n%s",
		origin, *rounds, figures.Table(r.figuresTable()), figures.Table(r.ratiosTable()), figures.Table(r.sharesTable()))
	for _, rows := range r.requestsTables() {
		text += "\nWhat the API server was asked:\n\n" + figures.Table(rows)
	}
	return text
}
