//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"retinue.dev/retinue/test/e2e/witness"
)

// submissions are needed for a table worth reading.
const submissions = 5

// Spark creates the driver first, and what the driver needs afterwards: the fact Retinue's gate is built on.
func TestSparkCreatesTheDriverBeforeItsConfigMap(t *testing.T) {
	keepEvidence(t)
	for i := len(box.witness.Applications()); i < submissions; i++ {
		name := fmt.Sprintf("parked-%d", i)
		// No scheduler takes it, so that it costs nothing but its submission.
		submit(t, application{name: name, scheduler: "nobody"})
		remove(t, name)
	}
	var table strings.Builder
	columns := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(columns, "application\tservice\tconfig map\tfirst executor\tlast executor\t")
	for _, app := range box.witness.Applications() {
		config, ok := sparkProperties(app)
		if !ok || len(app.Services) == 0 {
			t.Errorf("%s: the witness saw no ConfigMap or no Service", app.Driver.Object.GetName())
			continue
		}
		if service := app.Services[0].Version; app.Driver.Version > service || service > config.Version {
			t.Errorf("%s: driver at version %d, service %d, ConfigMap %d, want them in this order",
				app.Driver.Object.GetName(), app.Driver.Version, service, config.Version)
		}
		fmt.Fprintf(columns, "%s\t%s\t%s\t", app.Driver.Object.GetLabels()[witness.NameLabel], since(app, app.Services[0]), since(app, config))
		if n := len(app.Executors); n > 0 {
			fmt.Fprintf(columns, "%s\t%s\t", since(app, app.Executors[0]), since(app, app.Executors[n-1]))
		} else {
			fmt.Fprint(columns, "-\t-\t")
		}
		fmt.Fprintln(columns)
	}
	columns.Flush()
	t.Logf("Spark %s: from the creation of the driver pod to that of\n%s", box.spark.Version, table.String())
}

func since(app witness.Births, birth witness.Birth) string {
	return birth.Seen.Sub(app.Driver.Seen).Round(time.Millisecond).String()
}

// sparkProperties is the ConfigMap that holds the application's configuration.
func sparkProperties(app witness.Births) (witness.Birth, bool) {
	for _, birth := range app.ConfigMaps {
		if hasProperties(birth.Object) {
			return birth, true
		}
	}
	return witness.Birth{}, false
}
