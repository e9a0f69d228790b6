package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

func TestTakenPortIsNamedTogetherWithItsOwner(t *testing.T) {
	dir := t.TempDir()
	base, err := freePorts("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", base))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, err = Start(t.Context(), Config{Dir: dir, PortBase: base, Components: []Component{Etcd, APIServer}, Progress: t.Output()})
	var taken *PortTakenError
	if !errors.As(err, &taken) {
		t.Fatalf("got error %v, want a PortTakenError", err)
	}
	if taken.Port != base || taken.Component != APIServer || !strings.HasPrefix(taken.Owner, fmt.Sprintf("pid %d (", os.Getpid())) {
		t.Errorf("got %+v, want port %d for %s, taken by this process %d", taken, base, APIServer, os.Getpid())
	}
	if left := commandsNaming(t, dir); len(left) > 0 {
		t.Errorf("processes left after the failure: %q", left)
	}
}

func TestFailingComponentShowsTheEndOfItsLogAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	_, err := Start(t.Context(), Config{
		Dir:        dir,
		Components: []Component{Etcd, APIServer},
		ExtraArgs:  map[Component][]string{APIServer: {"--no-such-flag"}},
		Progress:   t.Output(),
	})
	var failure *ComponentError
	if !errors.As(err, &failure) || failure.Component != APIServer || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("got error %v, want one of %s with its complaint", err, APIServer)
	}
	if left := commandsNaming(t, dir); len(left) > 0 {
		t.Errorf("processes left after the failure: %q", left)
	}
}

func TestMissingBinariesNameTheMakeTarget(t *testing.T) {
	_, err := Start(t.Context(), Config{Dir: t.TempDir(), Binaries: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "etcd") || !strings.Contains(err.Error(), "make binaries") {
		t.Errorf("got error %v, want one that names etcd and make binaries", err)
	}
}

// crashDir tells this test binary, started once more, to start etcd in that directory and wait to be killed.
const crashDir = "RETINUE_TEST_CRASH_DIR"

func TestProcessesEndWithTheProgramThatStartedThem(t *testing.T) {
	if dir := os.Getenv(crashDir); dir != "" {
		if _, err := Start(t.Context(), Config{Dir: dir, Components: []Component{Etcd}}); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "up"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		select {} // until it is killed
	}
	dir := t.TempDir()
	program := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	program.Env = append(os.Environ(), crashDir+"="+dir)
	program.Stdout, program.Stderr = t.Output(), t.Output()
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	defer program.Process.Kill()
	awaitCondition(t, "etcd runs", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("the program ended by itself: %v", err)
		default:
		}
		_, err := os.Stat(filepath.Join(dir, "up"))
		return err == nil
	})
	if err := program.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitCondition(t, "nothing is left", func() bool { return len(commandsNaming(t, dir)) == 0 })
}

func awaitCondition(t *testing.T, what string, condition func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, patience, true,
		func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		t.Fatalf("waited in vain until %s: %v", what, err)
	}
}
