//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

func TestSparkPiRunsOnTheJVM(t *testing.T) {
	keepEvidence(t)
	submit(t, application{name: "pi-jvm", scheduler: retinue})
	log := awaitSuccess(t, "pi-jvm")
	requirePi(t, log)
	if !strings.Contains(log, "Executors: 3\n") {
		t.Errorf("the driver did not see three executors:\n%s", log)
	}
	requireNoViolation(t)
	capture(t, "pi-jvm", "")
}

func TestSparkPiRunsInPython(t *testing.T) {
	keepEvidence(t)
	submit(t, application{name: "pi-python", scheduler: retinue, python: true})
	requirePi(t, awaitSuccess(t, "pi-python"))
	requireNoViolation(t)
	capture(t, "pi-python", "-python")
}
