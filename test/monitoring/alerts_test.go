package monitoring

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// directory is where the manifests are.
const directory = "../../manifests/components/monitoring/"

// rule is an alert.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	Annotations map[string]string `json:"annotations"`
}

// rules are the alerts, and the same as Prometheus reads them.
func rules(t *testing.T) (alerts []rule, file []byte) {
	t.Helper()
	text, err := os.ReadFile(directory + "rules.yaml")
	require.NoError(t, err)
	var object struct {
		Spec any `json:"spec"`
	}
	require.NoError(t, yaml.Unmarshal(text, &object))
	file, err = yaml.Marshal(object.Spec)
	require.NoError(t, err)
	var spec struct {
		Groups []struct {
			Rules []rule `json:"rules"`
		} `json:"groups"`
	}
	require.NoError(t, yaml.Unmarshal(file, &spec))
	for _, group := range spec.Groups {
		alerts = append(alerts, group.Rules...)
	}
	require.NotEmpty(t, alerts)
	return alerts, file
}

// binary is a program that hack/build makes.
func binary(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/" + name)
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: run hack/build %s", err, name)
	}
	return path
}

// promtool runs in a directory in which the rules are rules.yaml.
func promtool(t *testing.T, dir string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary(t, "promtool"), arguments...)
	command.Dir = dir
	said, err := command.CombinedOutput()
	require.NoError(t, err, "%s", said)
}

// TestEveryAlertFiresOnItsFault, as recorded in alerts.yaml, and not before.
//
// Seen failing with other thresholds, and with an alert that had no fault.
func TestEveryAlertFiresOnItsFault(t *testing.T) {
	alerts, file := rules(t)
	recorded, err := os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.yaml"), file, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yaml"), recorded, 0o600))
	promtool(t, dir, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")
	promtool(t, dir, "test", "rules", "alerts.yaml")

	var faults struct {
		Tests []struct {
			Cases []struct {
				Alert string `json:"alertname"`
				Fires []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	require.NoError(t, yaml.Unmarshal(recorded, &faults))
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, fault := range faults.Tests {
		for _, c := range fault.Cases {
			if len(c.Fires) > 0 {
				fires[c.Alert] = true
			} else {
				quiet[c.Alert] = true
			}
		}
	}
	for _, alert := range alerts {
		require.True(t, fires[alert.Alert], "no fault on which %s fires", alert.Alert)
		require.True(t, quiet[alert.Alert], "nothing on which %s does not fire", alert.Alert)
		require.NotEmpty(t, alert.Annotations["summary"], alert.Alert)
	}
}
