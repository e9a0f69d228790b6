//go:build perf

package perf_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"text/template"

	schedulerperf "k8s.io/kubernetes/test/integration/scheduler_perf"
	"sigs.k8s.io/yaml"
)

// contestant is a scheduler as performance-config.yaml knows it.
type contestant struct {
	// Title is what reports call it.
	Title string
	// Name is the schedulerName of its pods.
	Name string
	// Configuration file and FeatureGates (YAML) that it runs with; without a file it is kube-scheduler as it comes.
	Configuration, FeatureGates string
	// Held is the same file with the plugin Hold.
	Held string
	// Gangs, Default, Native and Bare tell the forms apart that only some of them run. Bare knows gangs, and gets no Queues.
	Gangs, Default, Native, Bare bool
}

// What Retinue is shipped with.
const (
	shippedConfiguration = "../../manifests/setup/scheduler-config.yaml"
	shippedGates         = "{NominatedNodeNameForExpectation: false, SchedulerPreQueueingHints: true}"
)

// contestants are compared in this order: the first with the others.
var contestants = []contestant{
	{Title: "Retinue", Name: "retinue", Configuration: shippedConfiguration, FeatureGates: shippedGates, Gangs: true},
	{Title: "Default", Name: "default-scheduler", FeatureGates: "{}", Default: true},
	{Title: "Native", Name: "default-scheduler", FeatureGates: "{GenericWorkload: true}", Native: true},
	{Title: "Ceiling", Name: "default-scheduler", Configuration: "ceiling.yaml", FeatureGates: "{}"},
	{Title: "no Queues", Name: "retinue", Configuration: shippedConfiguration, FeatureGates: shippedGates, Bare: true},
}

// trial is one workload of one form, and the schedulers that run it.
type trial struct {
	form, workload string
	entrants       []entrant
}

func (t trial) String() string { return t.form + " " + t.workload }

// entrant is a contestant with the file that makes scheduler_perf run the trial with it.
type entrant struct {
	contestant
	file string
}

// readSuite makes a configuration file in a folder for every workload and scheduler, so that the schedulers can take turns.
// short leaves only the workloads with that label, and chosen those runs whose names it matches.
func readSuite(folder string, short bool, chosen *regexp.Regexp) ([]trial, error) {
	text, err := template.ParseFiles("performance-config.yaml")
	if err != nil {
		return nil, err
	}
	var trials []trial
	for _, c := range contestants {
		if c.Held, err = withHold(folder, c.Configuration, c.Name); err != nil {
			return nil, err
		}
		var filled bytes.Buffer
		if err := text.Execute(&filled, c); err != nil {
			return nil, err
		}
		var cases []map[string]any
		if err := yaml.UnmarshalStrict(filled.Bytes(), &cases); err != nil {
			return nil, fmt.Errorf("performance-config.yaml for %s: %w", c.Title, err)
		}
		for _, testCase := range cases {
			form := fmt.Sprint(testCase["name"])
			workloads, _ := testCase["workloads"].([]any)
			for _, each := range workloads {
				workload, _ := each.(map[string]any)
				labels, _ := workload["labels"].([]any)
				if short && !slices.Contains(labels, any("short")) || !chosen.MatchString(fmt.Sprintf("%s/%v/%s", form, workload["name"], c.Title)) {
					continue
				}
				testCase["workloads"] = []any{workload}
				file := filepath.Join(folder, fmt.Sprintf("%s-%v-%s.yaml", form, workload["name"], c.Title))
				alone, err := yaml.Marshal([]any{testCase})
				if err == nil {
					err = os.WriteFile(file, alone, 0o600)
				}
				if err != nil {
					return nil, err
				}
				trials = enter(trials, form, fmt.Sprint(workload["name"]), entrant{c, file})
			}
		}
	}
	return trials, nil
}

func enter(trials []trial, form, workload string, e entrant) []trial {
	for i := range trials {
		if trials[i].form == form && trials[i].workload == workload {
			trials[i].entrants = append(trials[i].entrants, e)
			return trials
		}
	}
	return append(trials, trial{form, workload, []entrant{e}})
}

// turn is the entrants in the order of a round: each is first as often as any other.
func (t trial) turn(round int) []entrant {
	first := round % len(t.entrants)
	return slices.Concat(t.entrants[first:], t.entrants[:first])
}

// shapeOf reads the params of a workload. It asks for all of them, because scheduler_perf takes one that nobody asks for
// for a mistake.
func shapeOf(w *schedulerperf.Workload) (shape, error) {
	s := shape{queues: 1}
	pods, ends, held, counted := 0, 0, 0, 0
	for name, param := range map[string]struct {
		value    *int
		optional bool
	}{
		"applications": {&s.applications, false}, "executors": {&s.executors, false}, "pods": {&pods, false},
		"queues": {&s.queues, true}, "ends": {&ends, true}, "held": {&held, true}, "counted": {&counted, true},
	} {
		value, err := w.GetParam(name)
		if err == nil {
			*param.value = value
		} else if !param.optional {
			return shape{}, err
		}
	}
	s.applications *= s.queues
	s.ends, s.held, s.counted = ends != 0, held*s.applications, counted != 0
	if s.applications < 1 || s.executors < 0 || pods != 1+s.executors {
		return shape{}, fmt.Errorf("applications=%d, executors=%d, pods=%d: want an application at least, and pods one more than executors", s.applications, s.executors, pods)
	}
	return s, nil
}

// TestEverySchedulerTakesItsTurn is about the order of runs: what comes first in one round comes later in others.
func TestEverySchedulerTakesItsTurn(t *testing.T) {
	trials, err := readSuite(t.TempDir(), true, regexp.MustCompile(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, trial := range trials {
		firsts := map[string]int{} // scheduler -> rounds in which it was first
		for round := range 2 * len(trial.entrants) {
			firsts[trial.turn(round)[0].Title]++
		}
		for scheduler, count := range firsts {
			if count != 2 || len(firsts) != len(trial.entrants) {
				t.Errorf("%s: %s is first %d times, want 2", trial, scheduler, count)
			}
		}
	}
}
