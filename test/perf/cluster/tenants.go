package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/perf/figures"
	"retinue.dev/retinue/test/tenants/hostile"
)

const (
	tenantsNodes = 100
	// ordinary is how many applications of the well-behaved tenant are started alone, and as many beside the hostile one.
	ordinary = 100
	// tricksEach is how many tricks are played before each of the latter, and tricksKept how many pass until the hostile pods are deleted.
	tricksEach, tricksKept = 20, 400
	// mostLater is how much more time an application may take to start beside the hostile namespace, in the median and in the 99th percentile.
	mostLater = time.Second

	hostileNamespace = "hostile"
	tenantsQueues    = `
{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: good}, spec: {namespaces: [default], guaranteed: {cpu: 6400}}}
---
{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: hostile}, spec: {namespaces: [hostile], limit: {cpu: 1000}}}
`
)

// tenants measures how long ordinary applications take to start, alone and beside a hostile namespace, in the same run.
func (s *stage) tenants(ctx context.Context) (section, error) {
	if err := s.install(ctx); err != nil {
		return section{}, err
	}
	if err := s.start(ctx, cluster.Scheduler); err != nil {
		return section{}, err
	}
	start := func(name string) (time.Duration, error) {
		begun, err := s.run(ctx, shape{1, 3}, cluster.Scheduler, name)
		if err != nil {
			return 0, err
		}
		return begun.each[0], s.deletePods(ctx, metav1.ListOptions{})
	}
	var alone, beside []time.Duration
	for i := range ordinary {
		took, err := start(fmt.Sprintf("alone-%d", i))
		if err != nil {
			return section{}, err
		}
		alone = append(alone, took)
	}
	var failed error
	player := hostile.New(s.client, hostileNamespace, 20261129, func(err error) { failed = errors.Join(failed, err) })
	for i := range ordinary {
		for range tricksEach {
			player.PlayAny()
		}
		took, err := start(fmt.Sprintf("beside-%d", i))
		if err = errors.Join(err, failed); err != nil {
			return section{}, err
		}
		beside = append(beside, took)
		if (i+1)*tricksEach%tricksKept == 0 {
			if err := s.clearHostile(ctx); err != nil {
				return section{}, err
			}
		}
	}
	rows := [][]string{{"3 executors, 100 nodes", "p50", "p99"}}
	for _, of := range []struct {
		title string
		each  []time.Duration
	}{{"alone", alone}, {fmt.Sprintf("beside a namespace with %d hostile objects", player.Made), beside}} {
		rows = append(rows, []string{of.title, fmt.Sprintf("%.2f s", figures.Percentile(of.each, 0.5).Seconds()), fmt.Sprintf("%.2f s", figures.Percentile(of.each, 0.99).Seconds())})
	}
	result := section{name: "cluster-tenants", tables: [][][]string{rows}}
	for _, part := range []float64{0.5, 0.99} {
		if more := figures.Percentile(beside, part) - figures.Percentile(alone, part); more > mostLater {
			result.print()
			return result, fmt.Errorf("beside a hostile namespace an application starts %s later in the %gth percentile, more than %s", more, 100*part, mostLater)
		}
	}
	return result, s.cluster.StopComponent(ctx, cluster.Scheduler)
}

// install makes the kinds, the queues and the namespace of the hostile tenant.
func (s *stage) install(ctx context.Context) error {
	config := s.cluster.Config()
	queues := filepath.Join(config.Dir, "queues.yaml")
	if err := os.WriteFile(queues, []byte(tenantsQueues), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"apply", "-f", filepath.Join(config.Binaries, "scheduler-plugins-crds.yaml")},
		{"apply", "-k", filepath.Join(config.Manifests, "..", "crd")},
		{"wait", "--for=condition=Established", "crd/podgroups.scheduling.x-k8s.io", "crd/queues.retinue.dev"},
		{"apply", "-f", queues},
		{"create", "namespace", hostileNamespace},
		{"create", "serviceaccount", "default", "--namespace=" + hostileNamespace},
	} {
		if out, err := s.cluster.Kubectl(ctx, args...); err != nil {
			return fmt.Errorf("kubectl %v: %w: %s", args, err, out)
		}
	}
	return nil
}

// clearHostile deletes the pods of the hostile namespace, whatever holds up their deletion.
func (s *stage) clearHostile(ctx context.Context) error {
	pods, now := s.client.CoreV1().Pods(hostileNamespace), int64(0)
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}); err != nil {
			return false, err
		}
		left, err := pods.List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		for _, p := range left.Items {
			if len(p.Finalizers) > 0 {
				_, _ = pods.Patch(ctx, p.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}) // it may have gone
			}
		}
		return len(left.Items) == 0, nil
	})
}
