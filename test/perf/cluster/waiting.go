package main

import (
	"context"
	"fmt"
	"os"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/perf/figures"
)

const (
	waitingNodes = 100
	waitingGangs = 10_000
	// fullCores of every node are taken, so that no waiting gang finds room, and small ones do.
	fullCores = 100
	// idleTime is how long the scheduler is watched doing nothing.
	idleTime = 20 * time.Second
)

// waiting measures what gangs cost that wait for room: to a scheduler that has nothing else to do, and to small applications
// that start beside them.
func (s *stage) waiting(ctx context.Context, rounds int) (section, error) {
	err := s.createAll(ctx, waitingNodes, func(i int) *v1.Pod {
		p := pod(fmt.Sprint("full-", i), "nobody", fullCores)
		p.Spec.NodeName = fmt.Sprintf("node-%04d", i)
		return p
	})
	if err != nil {
		return section{}, err
	}
	var took, idle [2][]float64 // index: without and with waiting gangs
	for round := range rounds {
		for with := range 2 {
			if err := s.start(ctx, cluster.Scheduler); err != nil {
				return section{}, err
			}
			if with == 1 {
				if err := s.enqueue(ctx); err != nil {
					return section{}, err
				}
			}
			spent, err := s.idle(ctx)
			if err != nil {
				return section{}, err
			}
			begun, err := s.run(ctx, shapes[0], cluster.Scheduler, "app")
			if err != nil {
				return section{}, err
			}
			idle[with] = append(idle[with], 100*spent.Seconds()/idleTime.Seconds())
			took[with] = append(took[with], float64(shapes[0].pods())/begun.took.Seconds())
			fmt.Fprintf(os.Stderr, "round %d, %d waiting: idle %.2f %% of a processor, %.0f pods/s\n", round+1, with*waitingGangs, idle[with][round], took[with][round])
			if err := s.cluster.StopComponent(ctx, cluster.Scheduler); err != nil {
				return section{}, err
			}
			if err := s.deletePods(ctx, metav1.ListOptions{FieldSelector: "spec.schedulerName=" + names[cluster.Scheduler]}); err != nil {
				return section{}, err
			}
		}
	}
	var ratios []float64
	for i := range took[0] {
		ratios = append(ratios, took[1][i]/took[0][i])
	}
	workload := fmt.Sprintf("%d gangs waiting on %d nodes", waitingGangs, waitingNodes)
	measured := map[figures.Key]figures.Spread{
		{Workload: workload, Figure: "pods/s", Baseline: "none waiting"}:                     figures.SpreadOf(ratios),
		{Workload: workload, Figure: "idle scheduler", Baseline: "one processor in percent"}: figures.SpreadOf(idle[1]),
	}
	return section{name: "waiting", measured: measured, rows: [][]string{
		{fmt.Sprintf("%s on %d nodes", shapes[0], waitingNodes), "none waiting", fmt.Sprintf("%d gangs waiting", waitingGangs), "ratio"},
		{"pods/s", figures.SpreadOf(took[0]).Format("%.0f"), figures.SpreadOf(took[1]).Format("%.0f"), figures.SpreadOf(ratios).Format("%.2f")},
		{"idle scheduler, % of one processor", figures.SpreadOf(idle[0]).Format("%.2f"), figures.SpreadOf(idle[1]).Format("%.2f"), ""},
	}}, nil
}

// enqueue makes gangs wait, of eighty sizes, each of which would fit the empty cluster, and returns when all have been told why.
func (s *stage) enqueue(ctx context.Context) error {
	err := s.createAll(ctx, waitingGangs, func(i int) *v1.Pod {
		return driver(fmt.Sprint("waiting-", i), names[cluster.Scheduler], 10+i%80, nodeCPU-fullCores+1)
	})
	if err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, time.Second, patience, true, func(ctx context.Context) (bool, error) {
		pods, err := s.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{FieldSelector: "spec.schedulerName=" + names[cluster.Scheduler]})
		if err != nil {
			return false, err
		}
		for i := range pods.Items {
			if len(pods.Items[i].Status.Conditions) == 0 {
				return false, nil
			}
		}
		return true, nil
	})
}

// idle is the processor time that the scheduler takes while nothing happens.
func (s *stage) idle(ctx context.Context) (time.Duration, error) {
	before, err := s.processorTime(cluster.Scheduler)
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(idleTime):
	}
	after, err := s.processorTime(cluster.Scheduler)
	return after - before, err
}
