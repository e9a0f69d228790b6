//go:build perf

package perf_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	_ "k8s.io/component-base/logs/json/register"
	fwk "k8s.io/kube-scheduler/framework"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	schedulerperf "k8s.io/kubernetes/test/integration/scheduler_perf"
	"k8s.io/kubernetes/test/utils/client-go/ktesting"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/test/perf/figures"
)

const (
	rangesFile = "ranges.yaml"
	document   = "../../docs/performance.md"
)

var (
	rounds      = flag.Int("rounds", 3, "how often every workload is run by every scheduler; at least 1")
	reportFile  = flag.String("report", "", "file to write the figures to; standard output if empty")
	workloads   = flag.String("workloads", "", "regular expression for what is run, of names such as DriverFirst/300x10_5000Nodes/Retinue")
	profilesDir = flag.String("profiles", "", "folder to leave CPU, allocation and mutex profiles of every run in; none if empty")
	record      = flag.Bool("record", false, "write the figures into docs/performance.md and ranges.yaml")
)

func TestMain(m *testing.M) {
	// scheduler_perf looks for etcd in PATH.
	bin, err := filepath.Abs("../../bin")
	if err == nil {
		err = os.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	if err == nil {
		err = findSources()
	}
	if err == nil {
		err = schedulerperf.InitTests()
	}
	if err == nil && *rounds < 1 {
		err = fmt.Errorf("-rounds=%d: want at least 1", *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if *profilesDir != "" {
		goruntime.SetMutexProfileFraction(10)
	}
	os.Exit(m.Run())
}

// findSources tells the test server of Kubernetes, which reads files beside its source, where that is: what is built with -trimpath, as
// make does, knows it only as Bazel would.
func findSources() error {
	modules, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		return fmt.Errorf("go env GOMODCACHE: %w", err)
	}
	for name, value := range map[string]string{"TEST_SRCDIR": strings.TrimSpace(string(modules)), "TEST_WORKSPACE": "."} {
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkPerfScheduling runs the workloads of performance-config.yaml that -short and -workloads choose, prints how Retinue
// compares, and fails if that is outside of ranges.yaml.
func BenchmarkPerfScheduling(b *testing.B) {
	chosen, err := regexp.Compile(*workloads)
	if err != nil {
		b.Fatalf("-workloads=%s: %v", *workloads, err)
	}
	trials, err := readSuite(b.TempDir(), testing.Short(), chosen)
	if err != nil {
		b.Fatal(err)
	}
	if len(trials) == 0 {
		b.Fatalf("-workloads=%s: no workload has such a name", *workloads)
	}
	// The first run of a process is slower than all others.
	b.Run("WarmUp", func(b *testing.B) { compete(b, trials[0].entrants[0], func(run) {}) })
	var report report
	for round := range *rounds {
		for i, trial := range trials {
			for _, e := range trial.turn(round + i) {
				b.Run(fmt.Sprintf("Round%d/%s/%s/%s", round+1, trial.form, trial.workload, e.Title), func(b *testing.B) {
					compete(b, e, func(result run) {
						result.round = round
						report.add(trial.String(), e.Title, result)
						fmt.Fprintf(os.Stderr, "%s round %d %s: %s\n", trial, round+1, e.Title, result)
					})
				})
			}
		}
	}
	publish(b, &report)
}

// compete runs one trial with one scheduler.
func compete(b *testing.B, e entrant, done func(run)) {
	var current shape
	var held *hold
	retinue := plugin.Factory(clock.RealClock{}, plugin.Process{})
	registry := frameworkruntime.Registry{
		ceilingName: newCeiling,
		plugin.Name: func(ctx context.Context, arguments runtime.Object, handle fwk.Handle) (fwk.Plugin, error) {
			made, err := retinue(ctx, arguments, handle)
			return held.before(made), err
		},
		holdName: func(ctx context.Context, arguments runtime.Object, handle fwk.Handle) (fwk.Plugin, error) {
			return held.factory(ctx, arguments, handle)
		},
	}
	schedulerperf.RunBenchmarkPerfScheduling(b, e.file, "retinue", registry,
		schedulerperf.WithPreRunFn(func(_ ktesting.TContext, w *schedulerperf.Workload) (_ func(), err error) {
			current, err = shapeOf(w)
			held = newHold(current.held)
			return nil, err
		}),
		schedulerperf.WithPrepareFn(func(tCtx ktesting.TContext) error {
			tb := tCtx.TB()
			o := observe(tb, tCtx.Client(), current, held, profilesPrefix(b))
			tb.Cleanup(func() {
				result, found, err := o.result()
				if err != nil {
					tb.Errorf("observer: %v", err)
				}
				if found {
					done(result)
				}
			})
			return nil
		}))
}

// profilesPrefix is what the names of a run's profiles begin with; empty when none are kept.
func profilesPrefix(b *testing.B) string {
	if *profilesDir == "" {
		return ""
	}
	_, name, _ := strings.Cut(b.Name(), "/")
	return filepath.Join(*profilesDir, strings.ReplaceAll(name, "/", "-"))
}

// publish prints the report, holds it against the ranges and, if that is wanted, records it.
func publish(b *testing.B, report *report) {
	out := os.Stdout
	if *reportFile != "" {
		file, err := os.Create(*reportFile)
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		out = file
	}
	report.print(out)
	measured := report.ratios()
	if *record {
		if err := figures.WriteMeasured(rangesFile, measured); err != nil {
			b.Fatal(err)
		}
		if err := figures.WriteTargets(document, rangesFile); err != nil {
			b.Fatal(err)
		}
		for form, part := range report.forms() {
			if err := figures.WriteSection(document, form, part.section(figures.Origin(time.Now()))); err != nil {
				b.Fatal(err)
			}
		}
	}
	ranges, err := figures.ReadRanges(rangesFile)
	if err != nil {
		b.Fatal(err)
	}
	for _, sentence := range figures.Outside(ranges, measured) {
		fmt.Fprintf(out, "outside of %s: %s\n", rangesFile, sentence)
		if !*record {
			b.Error(sentence)
		}
	}
}
