package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"retinue.dev/retinue/test/upstream"
)

// limit is how long one test of a package may run, with all in it, before it is ended and what it has not reached counts as absent.
const limit = time.Hour

// run of one package's test binary. Every test has a process of its own: an API server that a test has left behind ends its process on a
// busy machine, half a minute later.
type run struct {
	tree   *tree
	pkg    string
	binary string
	// etcd is the folder of the etcd binary.
	etcd string
	// shipped is the profile's file; empty for a run without Retinue.
	shipped string
	// pattern of the tests to run; empty means all.
	pattern string
	// only are the tests to run of those that the pattern selects; nil means all.
	only []string
	// skip are patterns of tests not to run.
	skip []string
	// log is where what the tests said is kept, as test2json writes it.
	log string
}

// play runs the tests to their end. That some fail is no error.
func (r run) play(ctx context.Context) (upstream.Results, error) {
	own, inside, divided := strings.Cut(r.pattern, "/")
	list := exec.CommandContext(ctx, r.binary, "-test.list", cmp.Or(own, "."))
	list.Env = r.environment() // the tests' main function starts an etcd before it lists them
	names, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the tests of %s: %w", r.pkg, err)
	}
	if err := os.MkdirAll(filepath.Dir(r.log), 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(r.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	var ran []string
	for name := range strings.FieldsSeq(string(names)) {
		if !strings.HasPrefix(name, "Test") || r.only != nil && !slices.Contains(r.only, name) {
			continue
		}
		ran = append(ran, name)
		pattern := upstream.Pattern(name)
		if divided {
			pattern += "/" + inside
		}
		if err := r.one(ctx, pattern, log); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(r.log)
	if err != nil {
		return nil, err
	}
	results, err := upstream.ReadResults(bytes.NewReader(text))
	for _, name := range ran { // one whose process ended before it began has said nothing
		if _, known := results[name]; !known && err == nil {
			results[name] = upstream.Absent
		}
	}
	return results, err
}

// environment of the test binary.
func (r run) environment() []string {
	environment := append(os.Environ(),
		"PATH="+r.etcd+string(os.PathListSeparator)+os.Getenv("PATH"),
		// Nobody listens here, so that the tests start an etcd of their own whatever else runs on this machine.
		"KUBE_INTEGRATION_ETCD_URL=http://127.0.0.1:1",
	)
	if r.shipped != "" {
		environment = append(environment, upstream.ProfileFile+"="+r.shipped)
	}
	return environment
}

// one runs one test, with all in it that the pattern selects.
func (r run) one(ctx context.Context, pattern string, log *os.File) error {
	arguments := []string{"tool", "test2json", "-t", r.binary, "-test.v=test2json", "-test.timeout", limit.String(), "-test.run", pattern}
	if len(r.skip) > 0 { // an alternative may have several parts: / divides within it
		arguments = append(arguments, "-test.skip", strings.Join(r.skip, "|"))
	}
	command := exec.CommandContext(ctx, "go", arguments...)
	// test2json runs the tests as a process of its own, which has to end with it, and so has their etcd.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.Dir = filepath.Join(r.tree.copied, strings.TrimPrefix(tests, "k8s.io/kubernetes/"), r.pkg)
	command.Env = r.environment()
	command.Stdout, command.Stderr = log, os.Stderr
	err := command.Run()
	if command.Process != nil { // a test that ended its own process has left its etcd behind
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		return fmt.Errorf("running %s: %w", r.pkg, errors.Join(err, ctx.Err()))
	}
	return nil
}
