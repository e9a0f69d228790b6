package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPodsRunAndFinishWhileComponentsAreKilled(t *testing.T) {
	c := ForTest(t, Config{})
	ctx := t.Context()
	if err := c.EnsureNodes(ctx, Nodes{Count: 3, CPU: "4", Memory: "8Gi", Zones: 3}); err != nil {
		t.Fatal(err)
	}

	createPod(t, c, "first")
	awaitPhase(t, c, "first", corev1.PodRunning)
	finish(t, c, "first", corev1.PodSucceeded)

	createPod(t, c, "second")
	awaitPhase(t, c, "second", corev1.PodRunning)
	finish(t, c, "second", corev1.PodFailed)

	createPod(t, c, "deleted")
	awaitPhase(t, c, "deleted", corev1.PodRunning)
	if _, err := c.Kubectl(ctx, "delete", "pod", "deleted", "--timeout=60s"); err != nil {
		t.Error(err)
	}

	// Before the API server is killed: it refuses everything until it has read its roles again.
	noPermissionIsMissing(t, c, Scheduler)

	for _, component := range []Component{Scheduler, Kwok, APIServer, ControllerManager, Etcd} {
		before := c.PID(component)
		if err := c.KillComponent(ctx, component); err != nil {
			t.Fatal(err)
		}
		if c.Running(component) {
			t.Errorf("%s runs after it was killed", component)
		}
		if component == Scheduler {
			createPod(t, c, "waits-for-the-scheduler")
		}
		if err := c.StartComponent(ctx, component); err != nil {
			t.Fatal(err)
		}
		if after := c.PID(component); after == before || after == 0 {
			t.Errorf("%s has pid %d after the restart, had %d before", component, after, before)
		}
	}
	awaitPhase(t, c, "waits-for-the-scheduler", corev1.PodRunning)
	createPod(t, c, "after-the-restarts")
	awaitPhase(t, c, "after-the-restarts", corev1.PodRunning)
}

func TestSecondReplicaTakesOverWhenTheLeaderIsKilled(t *testing.T) {
	c := ForTest(t, Config{
		Components:     []Component{Etcd, APIServer, ControllerManager, Kwok, Scheduler, StandbyScheduler},
		LeaderElection: true,
	})
	ctx := t.Context()
	if err := c.EnsureNodes(ctx, Nodes{Count: 1}); err != nil {
		t.Fatal(err)
	}
	createPod(t, c, "first")
	awaitPhase(t, c, "first", corev1.PodRunning)

	// Both replicas of one machine have its name in their identity, so the log tells who leads.
	leader := Scheduler
	if !strings.Contains(read(t, c.LogFile(Scheduler)), "Successfully acquired lease") {
		leader = StandbyScheduler
	}
	if err := c.KillComponent(ctx, leader); err != nil {
		t.Fatal(err)
	}
	createPod(t, c, "second")
	awaitPhase(t, c, "second", corev1.PodRunning)
	noPermissionIsMissing(t, c, Scheduler)
	noPermissionIsMissing(t, c, StandbyScheduler)

	t.Run("the production manifests are accepted", func(t *testing.T) { manifestsAreAccepted(t, c) })
	for _, component := range []Component{Scheduler, StandbyScheduler} { // they would write over a status that is written by hand
		if err := c.StopComponent(ctx, component); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("queues are checked", func(t *testing.T) { queuesAreChecked(t, c) })
}

func TestStartAgainKeepsWhatRunsAndStopLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	config := Config{Dir: dir, Components: []Component{Etcd, APIServer}}
	c := ForTest(t, config)
	again, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	for _, component := range config.Components {
		if want, got := c.PID(component), again.PID(component); want != got {
			t.Errorf("%s has pid %d after the second start, had %d", component, got, want)
		}
	}

	_, err = Start(t.Context(), Config{Dir: dir, Components: config.Components, ServiceCIDR: "10.97.0.0/16"})
	if err == nil || !strings.Contains(err.Error(), "ServiceCIDR 10.96.0.0/16, not 10.97.0.0/16") {
		t.Errorf("another ServiceCIDR on the running cluster gives %v", err)
	}

	if err := Down(t.Context(), dir, t.Output()); err != nil {
		t.Error(err)
	}
	if left := commandsNaming(t, dir); len(left) > 0 {
		t.Errorf("processes left after the stop: %q", left)
	}
	var told strings.Builder
	if err := Down(t.Context(), dir, &told); err != nil || !strings.Contains(told.String(), "no cluster in "+dir) {
		t.Errorf("a second stop says %q and returns %v", told.String(), err)
	}
	if _, err := os.Stat(filepath.Join(dir, "etcd")); !os.IsNotExist(err) {
		t.Errorf("the data is still there after the stop: %v", err)
	}
}
