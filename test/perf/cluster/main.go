// Command cluster measures schedulers on a real control plane: etcd, kube-apiserver and one scheduler at a time are processes
// of their own, nodes are objects, and what happens is seen by a watch.
//
// Drivers are submitted all at once, and the executors of each are created when it is bound, as Spark does. Retinue and the
// default scheduler take turns on the same cluster; the default scheduler knows no gangs. Measured are the time until all are
// bound, the processor time that the scheduler's process takes, and its memory. In a burst the drivers are those of Spark, whose
// ConfigMap comes after them, and what is asked of the API server is counted. Both schedulers have the same limits of requests. Of tenants
// the time is measured until an ordinary application has its nodes, alone and beside a namespace whose user plays every trick of test/tenants.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/perf/figures"
)

// Where -record writes, from the top of the repository.
const (
	document   = "docs/performance.md"
	rangesFile = "test/perf/ranges.yaml"
)

// shape is how many applications there are, of one driver and so many executors.
type shape struct{ applications, executors int }

func (s shape) pods() int { return s.applications * (1 + s.executors) }

func (s shape) String() string { return fmt.Sprintf("%d×(1+%d)", s.applications, s.executors) }

var (
	shapes     = []shape{{100, 9}, {500, 19}, {20, 499}}
	schedulers = []cluster.Component{cluster.Scheduler, cluster.DefaultScheduler}
	titles     = map[cluster.Component]string{cluster.Scheduler: "Retinue", cluster.DefaultScheduler: "Default"}
	// names are the schedulerNames of pods.
	names = map[cluster.Component]string{cluster.Scheduler: "retinue", cluster.DefaultScheduler: "default-scheduler"}
)

func main() {
	rounds := flag.Int("rounds", 3, "how often every shape is run by every scheduler; at least 1")
	nodes := flag.String("nodes", "100,5000", "numbers of nodes, separated by commas")
	only := flag.String("only", "starts,burst,waiting,restart,tenants", "what is measured")
	applications := flag.Int("burst", burst.applications, "how many applications a burst has")
	limit := flag.Int("shapes", len(shapes), "how many of the shapes are run, the smallest first")
	record := flag.Bool("record", false, "write the figures into "+document)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	burst.applications = *applications
	if err := measure(ctx, *rounds, *nodes, strings.Split(*only, ","), shapes[:*limit], *record); err != nil {
		fmt.Fprintln(os.Stderr, "perf-cluster:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, rounds int, nodes string, parts []string, shapes []shape, record bool) error {
	if rounds < 1 {
		return fmt.Errorf("-rounds=%d: want at least 1", rounds)
	}
	var sections []section
	if slices.Contains(parts, "starts") {
		for _, text := range strings.Split(nodes, ",") {
			var count int
			if _, err := fmt.Sscan(text, &count); err != nil || count < 1 {
				return fmt.Errorf("-nodes=%s: %q is not a number of nodes", nodes, text)
			}
			if err := onCluster(ctx, count, func(s *stage) error {
				section, err := s.starts(ctx, shapes, rounds)
				sections = append(sections, section)
				return err
			}); err != nil {
				return err
			}
		}
	}
	if slices.Contains(parts, "burst") {
		if err := onCluster(ctx, burstNodes, func(s *stage) error {
			section, err := s.bursts(ctx, rounds)
			sections = append(sections, section)
			return err
		}); err != nil {
			return err
		}
	}
	if slices.Contains(parts, "waiting") {
		if err := onCluster(ctx, waitingNodes, func(s *stage) error {
			section, err := s.waiting(ctx, rounds)
			sections = append(sections, section)
			return err
		}); err != nil {
			return err
		}
	}
	if slices.Contains(parts, "restart") {
		if err := onCluster(ctx, restartNodes, func(s *stage) error {
			section, err := s.restart(ctx, rounds)
			sections = append(sections, section)
			return err
		}); err != nil {
			return err
		}
	}
	if slices.Contains(parts, "tenants") {
		if err := onCluster(ctx, tenantsNodes, func(s *stage) error {
			section, err := s.tenants(ctx)
			sections = append(sections, section)
			return err
		}); err != nil {
			return err
		}
	}
	ranges, err := figures.ReadRanges(rangesFile)
	if err != nil {
		return err
	}
	var outside []string
	for _, s := range sections {
		s.print()
		outside = append(outside, figures.Outside(ranges, s.measured)...)
		if !record {
			continue
		}
		text := figures.Origin(time.Now()) + "\n"
		for _, rows := range s.tables {
			text += "\n" + figures.Table(rows)
		}
		if err := figures.WriteSection(document, s.name, text); err != nil {
			return err
		}
		if err := figures.WriteMeasured(rangesFile, s.measured); err != nil {
			return err
		}
	}
	for _, sentence := range outside {
		fmt.Printf("outside of %s: %s\n", rangesFile, sentence)
	}
	if record {
		return figures.WriteTargets(document, rangesFile)
	}
	if len(outside) > 0 {
		return fmt.Errorf("%d figures are outside of %s", len(outside), rangesFile)
	}
	return nil
}

// section is what one part has found.
type section struct {
	name     string                         // in the document
	tables   [][][]string                   // the first row of each names its columns
	measured map[figures.Key]figures.Spread // what ranges speak of
}

func (s section) print() {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, rows := range s.tables {
		for _, row := range rows {
			fmt.Fprintln(table, strings.Join(row, "\t"))
		}
		fmt.Fprintln(table)
	}
	table.Flush()
}

// onCluster runs f on a new cluster, which is gone afterwards.
func onCluster(ctx context.Context, nodes int, f func(*stage) error) (err error) {
	dir, err := os.MkdirTemp("", "retinue-perf-")
	if err != nil {
		return err
	}
	s, err := newStage(ctx, dir, nodes)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer func() {
		err = errors.Join(err, s.cluster.Stop(context.WithoutCancel(ctx)))
		if err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	return f(s)
}
