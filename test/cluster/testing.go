package cluster

import (
	"context"
	"os"
	"testing"
	"time"
)

// stopTimeout is how long a test's cluster may take to end.
const stopTimeout = 2 * time.Minute

// ForTest starts a cluster for one test in a temporary directory and on free ports, unless config says otherwise, and
// stops it when the test ends. After a failure the logs are kept, and the test says where. If the whole test process
// dies, the kernel ends the cluster's processes.
func ForTest(t testing.TB, config Config) *Cluster {
	t.Helper()
	temporary := config.Dir == ""
	if temporary {
		dir, err := os.MkdirTemp("", "retinue-test-cluster-")
		if err != nil {
			t.Fatal(err)
		}
		config.Dir = dir
	}
	if config.Progress == nil {
		config.Progress = t.Output()
	}
	began := time.Now()
	c, err := Start(t.Context(), config)
	if err != nil {
		t.Fatalf("the cluster does not start (logs are kept in %s): %v", config.Dir, err)
	}
	t.Logf("cluster started in %.1f s", time.Since(began).Seconds())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if err := c.Stop(ctx); err != nil {
			t.Errorf("stop the cluster: %v", err)
		}
		if t.Failed() {
			t.Logf("the logs of the cluster are kept in %s", c.path(logsDir))
			return
		}
		if temporary {
			if err := os.RemoveAll(config.Dir); err != nil {
				t.Errorf("remove the cluster's directory: %v", err)
			}
		}
	})
	return c
}
