// Command metrics prints docs/metrics.md: the metrics of the scheduler that are Retinue's own, as the program knows them.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	_ "retinue.dev/retinue/pkg/plugin" // which makes the metrics
	"retinue.dev/retinue/pkg/plugin/metric"
	"retinue.dev/retinue/pkg/plugin/queues"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	if err := errors.Join(write(out), out.Flush()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const head = `# Metrics

Written by ` + "`make generate`" + ` from what the scheduler registers. The scheduler serves these beside kube-scheduler's own, at ` + "`/metrics`" + ` on port
10259 with TLS, to whoever may ` + "`get`" + ` that URL. [operations.md](operations.md#metrics) says when to look at which, and has the alerts;
the meter's metrics are in [metering.md](metering.md). All are ALPHA, as Kubernetes calls what may still change.

- What is said of queues is read every three seconds by the replica that leads; one that waits for the lease serves none of it.
- A queue's numbers are with all below it, as in ` + "`kubectl get queues`" + `. ` + "`parent`" + ` is the queue above and empty at the top, so that a sum over
  ` + "`parent=\"\"`" + ` counts nothing twice; what has a label
  ` + "`queue`" + ` and no ` + "`parent`" + ` is of the queue itself. ` + "`(none)`" + ` is the queue of namespaces that belong to none; where those have a limit, they are below ` + "`namespaces/`" + `.
- Queues that namespaces make, by ` + "`perNamespace`" + `, ElasticQuotas or a limit for namespaces without a queue, have no series of their own: they are counted in
  the Queue above. Of Queues the first %d by name have series. So whoever makes namespaces or pods makes no series.
- ` + "`unit`" + ` is ` + "`core`" + `, ` + "`byte`" + ` or ` + "`integer`" + `, as in kube-state-metrics. Resources are cpu, memory, ephemeral-storage, pods and %d that nodes offer.
- States of a gang are Forming, Invalid, Held, Waiting, Starting, Running and Degraded; reasons are those of [reasons.md](reasons.md).

`

// write writes the page.
func write(to io.Writer) error {
	if _, err := fmt.Fprintf(to, head, queues.MostQueues, queues.MostResources); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(to, "| metric | type | labels | meaning |\n|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, family := range metric.Families() {
		labels := ""
		if len(family.Labels) > 0 {
			labels = "`" + strings.Join(family.Labels, "`, `") + "`"
		}
		if _, err := fmt.Fprintf(to, "| `%s` | %s | %s | %s |\n", family.Name, family.Type, labels, family.Help); err != nil {
			return err
		}
	}
	return nil
}
