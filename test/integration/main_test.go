// Package integration_test is Retinue at work on a real API server, with Spark applications that sparksim plays.
package integration_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"retinue.dev/retinue/test/cluster"
)

const (
	// patience is how long anything may take that happens at all; a busy machine needs seconds.
	patience = 3 * time.Minute
	// look is how often a condition is looked at that cannot be watched.
	look = 20 * time.Millisecond
)

// shared is the cluster of all tests of this package, which run one after the other. It starts with the first.
var shared struct {
	once    sync.Once
	dir     string
	cluster *cluster.Cluster
	err     error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	err := stopShared(code != 0)
	if err = errors.Join(err, checkRights(code == 0 && everything()), os.RemoveAll(audits.dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// needsCluster skips a test when only quick ones are asked for.
func needsCluster(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a cluster")
	}
}

// start returns the running cluster.
func start(t *testing.T) *cluster.Cluster {
	t.Helper()
	needsCluster(t)
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "retinue-integration-"); shared.err != nil {
			return
		}
		var config cluster.Config
		if config, shared.err = audited(cluster.Config{Dir: shared.dir, ExpectedNodes: 100}); shared.err != nil {
			return
		}
		// A test's context would end the processes too early.
		shared.cluster, shared.err = cluster.Start(context.Background(), config)
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

// stopShared ends the cluster; after a failure its logs stay.
func stopShared(failed bool) error {
	if shared.dir == "" {
		return nil
	}
	var err error
	if shared.cluster != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err = shared.cluster.Stop(ctx)
	}
	if failed {
		fmt.Fprintln(os.Stderr, "the logs of the cluster are kept in", shared.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(shared.dir))
}
