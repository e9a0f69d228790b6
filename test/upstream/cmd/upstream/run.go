package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"retinue.dev/retinue/test/upstream"
)

// limit is how long one package may run before it is ended and its remaining tests count as absent.
const limit = 30 * time.Minute

// run of one package's test binary.
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
	// skip are patterns of tests not to run.
	skip []string
	// log is where what the tests said is kept, as test2json writes it.
	log string
}

// play runs the binary to its end. That tests fail is no error.
func (r run) play(ctx context.Context) (upstream.Results, error) {
	arguments := []string{"tool", "test2json", "-t", r.binary, "-test.v=test2json", "-test.timeout", limit.String()}
	if r.pattern != "" {
		arguments = append(arguments, "-test.run", r.pattern)
	}
	if len(r.skip) > 0 { // an alternative may have several parts: / divides within it
		arguments = append(arguments, "-test.skip", strings.Join(r.skip, "|"))
	}
	command := exec.CommandContext(ctx, "go", arguments...)
	// test2json runs the tests as a process of its own, which has to end with it, and so has their etcd.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.Dir = filepath.Join(r.tree.copied, strings.TrimPrefix(tests, "k8s.io/kubernetes/"), r.pkg)
	command.Env = append(os.Environ(),
		"PATH="+r.etcd+string(os.PathListSeparator)+os.Getenv("PATH"),
		// Nobody listens here, so that the tests start an etcd of their own whatever else runs on this machine.
		"KUBE_INTEGRATION_ETCD_URL=http://127.0.0.1:1",
	)
	if r.shipped != "" {
		command.Env = append(command.Env, upstream.ProfileFile+"="+r.shipped)
	}
	if err := os.MkdirAll(filepath.Dir(r.log), 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(r.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, os.Stderr
	err = command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		return nil, fmt.Errorf("running %s: %w", r.pkg, errors.Join(err, ctx.Err()))
	}
	text, err := os.ReadFile(r.log)
	if err != nil {
		return nil, err
	}
	return upstream.ReadResults(bytes.NewReader(text))
}
