// Command inference compares the gangs that Retinue infers with the pods that real versions of Spark create.
//
// Every case is submitted by a real spark-submit in cluster mode to a real API server. The gang is inferred from the
// driver pod and its ConfigMaps. Then the driver runs as a process of this machine, with the arguments, environment
// and files of its container, until its executors exist; they are compared field by field. No pod ever runs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"retinue.dev/retinue/test/cluster"
)

// defaultVersions is the newest release of every line that is supported, in order.
const defaultVersions = "3.3.4,3.4.4,3.5.9,4.0.5,4.1.4,4.2.1,4.3.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := matrix(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func matrix(ctx context.Context) error {
	versions := flag.String("versions", defaultVersions, "Spark versions, separated by commas; the last one gets every case, the others the telling ones")
	all := flag.Bool("all", false, "every case on every version")
	cases := flag.String("cases", "", "regular expression of the cases to run; empty means all")
	cache := flag.String("cache", ".cache/spark", "folder of downloaded Sparks")
	parallel := flag.Int("parallel", 2, "applications at once; each takes a processor and 1 GiB")
	document := flag.String("update", "", "file whose table is replaced by the result; empty means none")
	flag.Parse()
	filter, err := regexp.Compile(*cases)
	if err != nil {
		return fmt.Errorf("--cases=%q: %w", *cases, err)
	}
	if *parallel < 1 {
		return fmt.Errorf("--parallel=%d: want at least 1", *parallel)
	}

	began := time.Now()
	log := func(format string, args ...any) {
		fmt.Printf("%6.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	homes, err := fetchHomes(ctx, strings.Split(*versions, ","), *cache, log)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "retinue-inference-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log("starting etcd and the API server")
	c, err := cluster.Start(ctx, cluster.Config{
		Dir:        filepath.Join(dir, "cluster"),
		Components: []cluster.Component{cluster.Etcd, cluster.APIServer},
	})
	if err != nil {
		return err
	}
	defer func() {
		if err := c.Stop(context.WithoutCancel(ctx)); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the cluster:", err)
		}
	}()

	var rows []*row
	for i, home := range homes {
		for _, testCase := range casesFor(home.version, *all || i == len(homes)-1) {
			if filter.MatchString(testCase.name + " " + testCase.language()) {
				rows = append(rows, &row{home: home, testCase: testCase})
			}
		}
	}
	runRows(ctx, rows, *parallel, c, dir, log)
	table := markdown(rows)
	fmt.Print("\n", table, "\n")
	failed := 0
	for _, r := range rows {
		if !r.right() {
			failed++
			fmt.Printf("%s %s %s:\n", r.home.version, r.testCase.language(), r.testCase.name)
			for _, line := range r.complaints() {
				fmt.Println("    " + strings.ReplaceAll(line, "\n", "\n    "))
			}
		}
	}
	log("%d of %d predictions were right", len(rows)-failed, len(rows))
	if failed > 0 {
		return fmt.Errorf("%d of %d predictions were wrong", failed, len(rows))
	}
	if *document != "" {
		return updateDocument(*document, table)
	}
	return nil
}

func fetchHomes(ctx context.Context, versions []string, cache string, log func(string, ...any)) ([]home, error) {
	var homes []home
	for _, version := range versions {
		h, err := fetchHome(ctx, cache, strings.TrimSpace(version), log)
		if err != nil {
			return nil, fmt.Errorf("Spark %s: %w", version, err)
		}
		homes = append(homes, h)
	}
	return homes, nil
}

// runRows fills in the outcomes.
func runRows(ctx context.Context, rows []*row, parallel int, c *cluster.Cluster, dir string, log func(string, ...any)) {
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, r := range rows {
		group.Go(func() error {
			name := fmt.Sprintf("trial-%d", i)
			t := trial{
				home: r.home, testCase: r.testCase,
				client:    c.Client(),
				server:    "https://127.0.0.1:" + strconv.Itoa(c.Port(cluster.APIServer)),
				authority: c.AuthorityFile(),
				namespace: name,
				dir:       filepath.Join(dir, name),
			}
			r.outcome, r.err = t.run(ctx)
			log("%s  %-6s  %-32s  %s", r.home.version, r.testCase.language(), r.testCase.name, r.verdict())
			return nil
		})
	}
	group.Wait()
}

// numbers are the numbers of a version, in its order.
func numbers(version string) []int {
	var parts []int
	for _, text := range strings.Split(version, ".") {
		n, err := strconv.Atoi(text)
		if err != nil {
			return parts
		}
		parts = append(parts, n)
	}
	return parts
}
