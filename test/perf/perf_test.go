//go:build perf

package perf_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "k8s.io/component-base/logs/json/register"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	schedulerperf "k8s.io/kubernetes/test/integration/scheduler_perf"
	"k8s.io/kubernetes/test/utils/client-go/ktesting"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/plugin"
)

var (
	rounds     = flag.Int("rounds", 3, "how often every workload is run by every scheduler; at least 1")
	reportFile = flag.String("report", "", "file to write the figures to; standard output if empty")
)

func TestMain(m *testing.M) {
	// scheduler_perf looks for etcd in PATH.
	bin, err := filepath.Abs("../../bin")
	if err == nil {
		err = os.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
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
	os.Exit(m.Run())
}

// BenchmarkPerfScheduling runs the workloads of performance-config.yaml that -short and -perf-scheduling-label-filter
// choose, and prints how Retinue compares.
func BenchmarkPerfScheduling(b *testing.B) {
	out := os.Stdout
	if *reportFile != "" {
		file, err := os.Create(*reportFile)
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		out = file
	}
	registry := frameworkruntime.Registry{plugin.Name: plugin.Factory(clock.RealClock{}), ceilingName: newCeiling}
	var report report
	for round := range *rounds {
		b.Run(fmt.Sprintf("Round%d", round+1), func(b *testing.B) {
			var current shape
			schedulerperf.RunBenchmarkPerfScheduling(b, "performance-config.yaml", "retinue", registry,
				schedulerperf.WithPreRunFn(func(_ ktesting.TContext, w *schedulerperf.Workload) (_ func(), err error) {
					current, err = shapeOf(w)
					return nil, err
				}),
				schedulerperf.WithPrepareFn(func(tCtx ktesting.TContext) error {
					tb := tCtx.TB()
					o := observe(tb, tCtx.Client(), current)
					tb.Cleanup(func() {
						// The name is benchmark/round/test case/workload.
						parts := strings.Split(tb.Name(), "/")
						if result, found := o.result(); found && len(parts) >= 2 {
							report.add(parts[len(parts)-2], parts[len(parts)-1], result)
						}
					})
					return nil
				}))
		})
	}
	report.print(out)
}

// shapeOf reads the params of a workload. It asks for all of them, because scheduler_perf takes one that nobody asks for
// for a mistake.
func shapeOf(w *schedulerperf.Workload) (shape, error) {
	s := shape{}
	pods := 0
	for name, value := range map[string]*int{"applications": &s.applications, "executors": &s.executors, "pods": &pods} {
		var err error
		if *value, err = w.GetParam(name); err != nil {
			return shape{}, err
		}
	}
	if s.applications < 1 || s.executors < 0 || pods != 1+s.executors {
		return shape{}, fmt.Errorf("applications=%d, executors=%d, pods=%d: want an application at least, and pods one more than executors", s.applications, s.executors, pods)
	}
	return s, nil
}
