package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/perf/figures"
)

const (
	restartNodes = 5000
	restartGangs = 500 // of a driver and 99 executors: 50,000 pods, ten on each node
	perNode      = 10
)

// restart measures how long a scheduler that starts beside many running applications takes from having read the cluster to
// its first binding.
func (s *stage) restart(ctx context.Context, rounds int) (section, error) {
	err := s.createAll(ctx, restartNodes*perNode, func(i int) *v1.Pod {
		lead := driver(fmt.Sprint("running", i/100), names[cluster.Scheduler], 99, 1)
		p := lead
		if i%100 > 0 {
			p = executor(lead, i%100-1)
		} else {
			// As the scheduler that started it has left it.
			var slots []string
			for n := range perNode {
				count := perNode
				if n == 0 {
					count-- // the driver sits there
				}
				slots = append(slots, fmt.Sprintf(`{"role":0,"node":"%s","count":%d}`, nodeOf(i+n*perNode), count))
			}
			p.Annotations[plugin.AnnotationReservation] = fmt.Sprintf(`{"roles":[{"name":"executor","count":99,"minimum":99,"requests":{"cpu":"1","memory":"2Gi"},"selector":%s}],"slots":[%s]}`,
				fmt.Sprintf(`{"retinue.dev/gang":%q,"retinue.dev/role":"executor"}`, lead.Name), strings.Join(slots, ","))
		}
		p.Spec.NodeName = nodeOf(i)
		return p
	})
	if err != nil {
		return section{}, err
	}
	var values, totals []float64
	for round := range rounds {
		if err := s.create(ctx, pod("first", names[cluster.Scheduler], 1)); err != nil {
			return section{}, err
		}
		log := s.cluster.LogFile(cluster.Scheduler)
		if err := os.Truncate(log, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return section{}, err
		}
		launched := time.Now()
		if err := s.start(ctx, cluster.Scheduler); err != nil {
			return section{}, err
		}
		synced, bound, err := readRestart(log, launched)
		if err != nil {
			return section{}, err
		}
		values, totals = append(values, bound.Sub(synced).Seconds()), append(totals, bound.Sub(launched).Seconds())
		fmt.Fprintf(os.Stderr, "restart %d: first binding %.2f s after the pods were read, %.2f s after the start\n", round+1, values[round], totals[round])
		if err := s.cluster.StopComponent(ctx, cluster.Scheduler); err != nil {
			return section{}, err
		}
		if err := s.deletePods(ctx, metav1.ListOptions{FieldSelector: "metadata.name=first"}); err != nil {
			return section{}, err
		}
	}
	measured := map[figures.Key]figures.Spread{
		{Workload: fmt.Sprintf("%d nodes, %d pods", restartNodes, restartNodes*perNode), Figure: "first binding after a restart", Baseline: "one second"}: figures.SpreadOf(values),
	}
	return section{name: "restart", measured: measured, tables: [][][]string{{
		{fmt.Sprintf("%d nodes, %d pods", restartNodes, restartNodes*perNode), "s"},
		{"from pods read to the first binding", figures.SpreadOf(values).Format("%.2f")},
		{"from the start of the process to the first binding", figures.SpreadOf(totals).Format("%.2f")},
	}}}, nil
}

// nodeOf is where a pod runs: each gang of a hundred has ten nodes to itself.
func nodeOf(pod int) string { return fmt.Sprintf("node-%04d", pod/perNode) }

// readRestart finds in the scheduler's log when the informer of pods had read the cluster, and when the first pod was bound.
func readRestart(log string, launched time.Time) (synced, bound time.Time, err error) {
	file, err := os.Open(log)
	if err != nil {
		return synced, bound, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.Contains(line, "Caches populated") && strings.Contains(line, "v1.Pod\""):
			synced = klogTime(line, launched)
		case bound.IsZero() && strings.Contains(line, "Successfully bound pod to node"):
			bound = klogTime(line, launched)
		}
	}
	if synced.IsZero() || bound.IsZero() {
		return synced, bound, fmt.Errorf("%s does not say when pods were read, or when one was bound", log)
	}
	return synced, bound, lines.Err()
}

// klogTime is when a line was logged: "I1121 14:47:57.991359 …", in local time, without the year.
func klogTime(line string, near time.Time) time.Time {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return time.Time{}
	}
	at, err := time.ParseInLocation("2006 0102 15:04:05.000000", fmt.Sprint(near.Year(), " ", fields[0][1:], " ", fields[1]), time.Local)
	if err != nil {
		return time.Time{}
	}
	return at
}
