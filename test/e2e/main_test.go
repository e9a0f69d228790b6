//go:build e2e

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"retinue.dev/retinue/test/e2e/distribution"
	"retinue.dev/retinue/test/e2e/sandbox"
)

var (
	sparkVersion = flag.String("spark-version", "", "version of Spark, for example 4.1.4 (required)")
	cacheDir     = flag.String("cache", ".cache/e2e", "folder that keeps downloads and images, and the logs of the last run")
	binaries     = flag.String("bin", "bin", "folder of the built binaries")
	captureDir   = flag.String("capture", "", "folder below which the objects Spark made are written; empty means nowhere")
)

const cgroup = "retinue-e2e"

// cluster under test; set before any test runs.
var box *environment

func TestMain(m *testing.M) {
	flag.Parse()
	cache, err := filepath.Abs(*cacheDir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	s := settings{dir: filepath.Join(cache, "run"), binaries: *binaries, progress: &progressWriter{began: time.Now()}}
	config := sandbox.Config{Dir: s.dir, Cgroup: cgroup, Salvage: func() error { return s.salvage(filepath.Join(cache, "logs")) }}
	os.Exit(sandbox.Run(config, func() int { return runTests(m, cache, s) }))
}

// salvage keeps the logs of a run, whatever its end, in place of those of the run before.
func (s settings) salvage(logs string) error {
	if err := os.RemoveAll(logs); err != nil {
		return err
	}
	if err := os.Rename(s.logs(), logs); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := os.Rename(filepath.Join(s.controlDir(), "logs"), filepath.Join(logs, "control-plane"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the run ended before there were any
	}
	return err
}

// runTests is the inside of the sandbox. Nothing is stopped: the end of the sandbox ends everything.
func runTests(m *testing.M, cache string, s settings) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var err error
	s.spark, err = distribution.Open(cache, *sparkVersion)
	for _, version := range []string{firstVersion, secondVersion} {
		archive := filepath.Join(cache, "scheduler-"+version+".tar")
		if _, missing := os.Stat(archive); missing != nil {
			err = errors.Join(err, fmt.Errorf("run `make e2e-images` first: %w", missing))
		}
		s.schedulers = append(s.schedulers, archive)
	}
	if err == nil {
		box, err = startEnvironment(ctx, s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	fmt.Fprintf(s.progress, "%d nodes are ready\n", nodeCount)
	return m.Run()
}

// progressWriter puts the seconds since the start before every line. It is given whole lines.
type progressWriter struct{ began time.Time }

func (p *progressWriter) Write(line []byte) (int, error) {
	if _, err := fmt.Printf("%6.1f s  %s", time.Since(p.began).Seconds(), line); err != nil {
		return 0, err
	}
	return len(line), nil
}
