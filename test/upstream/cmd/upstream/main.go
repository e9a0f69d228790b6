// Command upstream runs Kubernetes' own integration tests of its scheduler without and with Retinue, and fails on every difference
// that docs/upstream.md does not list. Run it from the root of the module; `make upstream` does.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"retinue.dev/retinue/test/upstream"
)

type settings struct {
	list, cache, etcd, shipped string
	packages                   *regexp.Regexp
	run, skip                  string
	short, build               bool
	// lost means that only those tests are run without Retinue that do not pass with it and are not listed.
	lost bool
	// again is how often a test that was lost is tried once more, by itself: it counts as lost unless it passes every time.
	again int
}

func main() {
	var s settings
	flag.StringVar(&s.list, "list", "docs/upstream.md", "the `file` that lists the differences")
	flag.StringVar(&s.cache, "cache", ".cache/upstream", "the `folder` for the copy of Kubernetes, its test binaries and what they said")
	flag.StringVar(&s.etcd, "etcd", "bin", "the `folder` of the etcd binary")
	flag.StringVar(&s.shipped, "profile", "manifests/setup/scheduler-config.yaml", "the shipped KubeSchedulerConfiguration")
	packages := flag.String("packages", "", "only packages of which this `pattern` matches the whole name, such as preemption/misc")
	flag.StringVar(&s.run, "run", "", "only tests that match this `pattern`, as for go test -run")
	flag.StringVar(&s.skip, "skip", "", "no tests that match this `pattern`, as for go test -skip")
	flag.BoolVar(&s.short, "short", false, "only the short selection")
	flag.IntVar(&s.again, "again", 2, "how often a test that is lost and not listed is tried once more, by itself")
	flag.BoolVar(&s.lost, "lost", false, "run without Retinue only tests that do not pass with it and are not listed; the others count as they have ended with it")
	flag.BoolVar(&s.build, "build", false, "build the test binaries and run nothing")
	flag.Parse()
	pattern, err := regexp.Compile("^(?:" + *packages + ")$")
	if *packages == "" {
		pattern, err = regexp.MustCompile(""), nil
	}
	s.packages = pattern
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err == nil {
		err = s.play(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "upstream:", err)
		os.Exit(1)
	}
}

func (s settings) play(ctx context.Context) error {
	for _, path := range []*string{&s.cache, &s.etcd, &s.shipped} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	text, err := os.ReadFile(s.list)
	if err != nil {
		return err
	}
	list, err := upstream.ReadList(string(text), "Differences")
	if err != nil {
		return fmt.Errorf("%s: %w", s.list, err)
	}
	tree, err := plant(ctx, s.cache)
	if err != nil {
		return err
	}
	packages, err := tree.packages(ctx)
	if err != nil {
		return err
	}
	if len(packages) == 0 {
		return fmt.Errorf("no packages with tests in %s", tests)
	}
	var table upstream.Table
	for _, pkg := range packages {
		selected := s.run
		if s.short {
			selected = upstream.Short[pkg]
		}
		if !s.packages.MatchString(pkg) || s.short && selected == "" {
			continue
		}
		fmt.Fprintf(os.Stderr, "upstream: building %s\n", pkg)
		binary, err := tree.build(ctx, pkg)
		if err != nil {
			return err
		}
		if s.build {
			continue
		}
		row, err := s.compare(ctx, tree, list, pkg, binary, selected)
		if err != nil {
			return err
		}
		table = append(table, row)
	}
	table.Print(os.Stdout)
	return table.Verdict(s.list)
}

// compare runs a package without and with Retinue, and what was lost unlisted some times more.
func (s settings) compare(ctx context.Context, tree *tree, list []upstream.Entry, pkg, binary, selected string) (upstream.Row, error) {
	one := run{tree: tree, pkg: pkg, binary: binary, etcd: s.etcd, pattern: selected, skip: upstream.LeftOut(list, pkg)}
	if s.skip != "" {
		one.skip = append(one.skip, s.skip)
	}
	play := func(shipped, name string) (upstream.Results, time.Duration, error) {
		r := one
		r.shipped, r.log = shipped, filepath.Join(s.cache, "results", flat(pkg)+"."+name+".json")
		fmt.Fprintf(os.Stderr, "upstream: running %s %s\n", pkg, name)
		began := time.Now()
		results, err := r.play(ctx)
		return results, time.Since(began), err
	}
	var without, with upstream.Results
	var took, tookWith time.Duration
	var err error
	if !s.lost {
		if without, took, err = play("", "without"); err != nil {
			return upstream.Row{}, err
		}
	}
	if with, tookWith, err = play(s.shipped, "with"); err != nil {
		return upstream.Row{}, err
	}
	if s.lost {
		one.only = upstream.Unjudged(list, pkg, with)
		if without, took, err = play("", "without"); err != nil {
			return upstream.Row{}, err
		}
		one.only, without = nil, without.Besides(with)
	}
	row := upstream.Row{Package: pkg, Without: without, With: with, Took: took, TookWith: tookWith}
	row.Unlisted, row.Stale = upstream.Judge(list, pkg, without, with)
	for _, test := range slices.Clone(row.Unlisted) {
		passed := 0
		for range s.again {
			one.pattern = upstream.Pattern(test)
			results, _, err := play(s.shipped, "again")
			if err != nil {
				return upstream.Row{}, err
			}
			if results.Of(test) == upstream.Passed {
				passed++
			}
		}
		if s.again > 0 && passed == s.again {
			row.Flaky = append(row.Flaky, test)
			row.Unlisted = slices.DeleteFunc(row.Unlisted, func(unlisted string) bool { return unlisted == test })
		}
	}
	return row, nil
}
