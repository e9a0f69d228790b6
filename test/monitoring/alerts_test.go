package monitoring

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	prom "retinue.dev/retinue/test/monitoring/prometheus"
)

// rule is an alert.
type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	Annotations map[string]string `json:"annotations"`
}

// rules are the alerts, and the same as Prometheus reads them.
func rules(t *testing.T) (alerts []rule, file []byte) {
	t.Helper()
	file = prom.Rules(t)
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
	prom.Promtool(t, dir, "check", "rules", "--lint=all", "--lint-fatal", "rules.yaml")
	prom.Promtool(t, dir, "test", "rules", "alerts.yaml")

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
