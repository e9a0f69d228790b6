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

// beside is small applications that start beside waiting gangs.
var beside = shape{250, 9}

// waiting measures what gangs cost that wait for room: to a scheduler that has nothing else to do, and to small applications
// that start beside them. As many pods of a scheduler that does not exist show what of that the API server and its watches cost.
func (s *stage) waiting(ctx context.Context, rounds int) (section, error) {
	err := s.createAll(ctx, waitingNodes, func(i int) *v1.Pod {
		p := pod(fmt.Sprint("full-", i), "nobody", fullCores)
		p.Spec.NodeName = fmt.Sprintf("node-%04d", i)
		return p
	})
	if err != nil {
		return section{}, err
	}
	backgrounds := []struct {
		title     string
		scheduler string // of the pods that wait; empty means that there are none
		baseline  string // what ranges call it; empty means that it is what is compared
	}{
		{"none waiting", "", "none waiting"},
		{fmt.Sprintf("%d pods of nobody's", waitingGangs), "nobody", "as many of nobody's"},
		{fmt.Sprintf("%d gangs waiting", waitingGangs), names[cluster.Scheduler], ""},
	}
	const gangs = 2              // the last of them
	var rates, idle [3][]float64 // by background
	for round := range rounds {
		for i, background := range backgrounds {
			if err := s.start(ctx, cluster.Scheduler); err != nil {
				return section{}, err
			}
			if background.scheduler != "" {
				if err := s.enqueue(ctx, background.scheduler); err != nil {
					return section{}, err
				}
			}
			spent, err := s.idle(ctx)
			if err != nil {
				return section{}, err
			}
			begun, err := s.run(ctx, beside, cluster.Scheduler, "app")
			if err != nil {
				return section{}, err
			}
			idle[i] = append(idle[i], 100*spent.Seconds()/idleTime.Seconds())
			rates[i] = append(rates[i], float64(beside.pods())/begun.took.Seconds())
			fmt.Fprintf(os.Stderr, "round %d, %s: idle %.2f %% of a processor, %.0f pods/s\n", round+1, background.title, idle[i][round], rates[i][round])
			if err := s.cluster.StopComponent(ctx, cluster.Scheduler); err != nil {
				return section{}, err
			}
			if err := s.deletePods(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName="}); err != nil {
				return section{}, err
			}
			if err := s.deletePods(ctx, metav1.ListOptions{FieldSelector: "spec.schedulerName=" + names[cluster.Scheduler]}); err != nil {
				return section{}, err
			}
		}
	}
	workload := fmt.Sprintf("%d gangs waiting on %d nodes", waitingGangs, waitingNodes)
	measured := map[figures.Key]figures.Spread{
		{Workload: workload, Figure: "idle scheduler", Baseline: "one processor in percent"}: figures.SpreadOf(idle[gangs]),
	}
	rows := [][]string{{fmt.Sprintf("%s on %d nodes", beside, waitingNodes), "pods/s", "gangs waiting, to that", "idle scheduler, % of one processor"}}
	for i, background := range backgrounds {
		row := []string{background.title, figures.SpreadOf(rates[i]).Format("%.0f"), "", figures.SpreadOf(idle[i]).Format("%.2f")}
		if background.baseline != "" {
			var ratios []float64
			for round := range rounds {
				ratios = append(ratios, rates[gangs][round]/rates[i][round])
			}
			row[2] = figures.SpreadOf(ratios).Format("%.2f")
			measured[figures.Key{Workload: workload, Figure: "pods/s", Baseline: background.baseline}] = figures.SpreadOf(ratios)
		}
		rows = append(rows, row)
	}
	return section{name: "waiting", measured: measured, tables: [][][]string{rows}}, nil
}

// enqueue creates gangs that cannot start, of eighty sizes, each of which would fit the empty cluster. If they are Retinue's,
// it returns when all have been told why they wait.
func (s *stage) enqueue(ctx context.Context, scheduler string) error {
	err := s.createAll(ctx, waitingGangs, func(i int) *v1.Pod {
		return driver(fmt.Sprint("waiting-", i), scheduler, 10+i%80, nodeCPU-fullCores+1)
	})
	if err != nil || scheduler != names[cluster.Scheduler] {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, time.Second, patience, true, func(ctx context.Context) (bool, error) {
		pods, err := s.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{FieldSelector: "spec.schedulerName=" + scheduler})
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
