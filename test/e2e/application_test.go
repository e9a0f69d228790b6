//go:build e2e

package e2e

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"retinue.dev/retinue/test/e2e/distribution"
)

const (
	retinue           = "retinue"
	kubernetesDefault = "default-scheduler"
)

func TestSparkPiRunsOnTheJVM(t *testing.T) {
	keepEvidence(t)
	submit(t, application{name: "pi-jvm", scheduler: retinue})
	requireWholePi(t, awaitSuccess(t, "pi-jvm"))
	requireNoViolation(t)
	capture(t, "pi-jvm", "")
}

func TestSparkPiRunsInPython(t *testing.T) {
	keepEvidence(t)
	submit(t, application{name: "pi-python", scheduler: retinue, python: distribution.PiPython})
	requirePi(t, awaitSuccess(t, "pi-python"))
	requireNoViolation(t)
	capture(t, "pi-python", "-python")
}

//go:embed files/executor-template.yaml
var executorTemplate []byte

// The template sends all executors to one node, where there is room for just them. A driver in that room would be one
// executor too many.
func TestTheDriverLeavesRoomWhereExecutorsMustGo(t *testing.T) {
	keepEvidence(t)
	template := filepath.Join(box.dir, "executor-template.yaml")
	if err := os.WriteFile(template, executorTemplate, 0o644); err != nil {
		t.Fatal(err)
	}
	submit(t, application{name: "pi-template", scheduler: retinue, conf: map[string]string{
		"spark.kubernetes.executor.podTemplateFile": template,
	}})
	requireWholePi(t, awaitSuccess(t, "pi-template"))
	for _, birth := range birthsOf(t, "pi-template").Executors {
		if got := birth.Object.GetLabels()["team"]; got != "e2e" {
			t.Errorf("%s has the label team=%q, want that of the template, e2e", birth.Object.GetName(), got)
		}
	}
	requireNoViolation(t)
	capture(t, "pi-template", "-template")
}

// requireWholePi checks the result of an application that says how many executors it had.
func requireWholePi(t *testing.T, log string) {
	t.Helper()
	requirePi(t, log)
	if !strings.Contains(log, "Executors: 3\n") {
		t.Errorf("the driver did not see three executors:\n%s", log)
	}
}

// requirePi checks the result of an application.
func requirePi(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "Pi is roughly 3.1") {
			t.Log(strings.TrimSpace(line))
			return
		}
	}
	t.Errorf("the driver's log lacks the line \"Pi is roughly 3.1…\":\n%s", log)
}
