package plugin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/spark"
)

const (
	// dryRunQPS and dryRunBurst bound the dry runs of the whole cluster, each of which calls all webhooks for pods.
	dryRunQPS   = 20 // a second
	dryRunBurst = 40
	// dryRunPatience is how long one gang waits for its own, the wait for its turn included.
	dryRunPatience = 5 * time.Second
	// maxDryRunError bounds what is repeated of an error, in bytes: webhooks write what they like.
	maxDryRunError = 256
)

// dryRun asks the API server what admission makes of executors, once for every gang that is defined. The zero dryRun does not.
type dryRun struct {
	client kubernetes.Interface
}

// newDryRun has a client of its own: neither bindings nor those who look for ConfigMaps wait for webhooks.
func newDryRun(config *rest.Config) (dryRun, error) {
	config = rest.AddUserAgent(config, "dry-run")
	config.QPS, config.Burst = dryRunQPS, dryRunBurst
	client, err := kubernetes.NewForConfig(config)
	return dryRun{client}, err
}

// admit makes the executors of a definition what a server-side dry run says that they will be. Where it says nothing that can be
// used, the definition stays as it is, with a warning why: somebody else's webhook must not keep a driver from starting.
func (d dryRun) admit(ctx context.Context, driver *v1.Pod, definition *gang.Definition) {
	if d.client == nil || len(definition.Roles) != 1 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dryRunPatience)
	defer cancel()
	candidate := spark.Candidate(driver, definition.Roles[0])
	answered, err := d.client.CoreV1().Pods(driver.Namespace).Create(ctx, candidate, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err == nil {
		err = spark.Admit(driver, definition, answered)
	}
	switch {
	case err == nil:
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota"):
		// Used up at present: the gang waits for that by itself.
	default:
		text := strings.Join(strings.Fields(err.Error()), " ")
		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			text = fmt.Sprintf("no answer within %s", dryRunPatience)
		}
		if len(text) > maxDryRunError {
			text = strings.ToValidUTF8(text[:maxDryRunError], "") + "…"
		}
		definition.Warnings = append(slices.Clone(definition.Warnings), "what admission does to executors is not known, because a server-side dry run of one has failed: "+text)
	}
}
