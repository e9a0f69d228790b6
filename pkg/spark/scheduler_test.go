package spark

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
)

func TestSlotsAreKeptOnlyForExecutorsThatComeHere(t *testing.T) {
	elsewhere := func(name string) []string {
		return []string{`executors use scheduler "` + name + `", so no room is kept for them; set spark.kubernetes.scheduler.name to "retinue"`}
	}
	tests := map[string]struct {
		version, text, template string
		labels, annotations     map[string]string // of the driver
		schedulers              []string
		wantScheduler           string // "" means that there is no role
		wantWarnings            []string
	}{
		"one name for both roles":                {text: "spark.kubernetes.scheduler.name=retinue", wantScheduler: "retinue"},
		"a name for executors only":              {text: "spark.kubernetes.executor.scheduler.name=retinue", wantScheduler: "retinue"},
		"the executors' name wins":               {text: "spark.kubernetes.scheduler.name=retinue\nspark.kubernetes.executor.scheduler.name=other", wantWarnings: elsewhere("other")},
		"an empty name is the cluster's default": {text: "spark.kubernetes.scheduler.name=retinue\nspark.kubernetes.executor.scheduler.name=", wantWarnings: elsewhere("default-scheduler")},
		// Seen failing when only pods of the operator were thought to have passed admission.
		"no name at all: admission has named the driver's": {wantScheduler: "retinue"},
		"admission names a driver's alone, its user says":  {annotations: map[string]string{AnnotationLikeDriver: "false"}, wantWarnings: elsewhere("default-scheduler")},
		"a name for drivers only":                          {text: "spark.kubernetes.driver.scheduler.name=retinue", wantWarnings: elsewhere("default-scheduler")},
		"a driver's template may have named it":            {text: "spark.kubernetes.driver.podTemplateFile=/driver.yaml", wantWarnings: elsewhere("default-scheduler")},
		"a template's name":                                {template: "spec: {schedulerName: retinue}", wantScheduler: "retinue"},
		"a setting wins over the template":                 {text: "spark.kubernetes.scheduler.name=other", template: "spec: {schedulerName: retinue}", wantWarnings: elsewhere("other")},
		"3.2 does not know the common setting":             {version: "3.2.0", text: "spark.kubernetes.scheduler.name=retinue", wantWarnings: elsewhere("default-scheduler")},
		"another profile of this scheduler":                {text: "spark.kubernetes.scheduler.name=retinue-spread", schedulers: []string{"retinue", "retinue-spread"}, wantScheduler: "retinue-spread"},
		"the operator's webhook names the driver's":        {labels: map[string]string{operatorLabel: "true"}, wantScheduler: "retinue"},
		"what is set wins over the operator's label":       {text: "spark.kubernetes.scheduler.name=other", labels: map[string]string{operatorLabel: "true"}, wantWarnings: elsewhere("other")},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			properties, err := ParseProperties(test.text)
			if err != nil {
				t.Fatal(err)
			}
			var template *v1.Pod
			if test.template != "" {
				if template, err = ParseTemplate(test.template); err != nil {
					t.Fatal(err)
				}
			}
			driver := driverPod("4.2.0")
			if test.version != "" {
				driver.Labels[LabelVersion] = test.version
			}
			for key, value := range test.labels {
				driver.Labels[key] = value
			}
			driver.Annotations = test.annotations
			definition, err := Infer(driver, properties, template, test.schedulers...)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if role := definition.Role(RoleExecutor); role != nil {
				got = role.Pod.Spec.SchedulerName
			}
			if got != test.wantScheduler {
				t.Errorf("scheduler %q, want %q", got, test.wantScheduler)
			}
			if diff := cmp.Diff(test.wantWarnings, definition.Warnings); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
