//go:build e2e

package sandbox

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The test binary is also the program that runs in the box: scenarioVariable tells what to do there.
const (
	scenarioVariable = "RETINUE_SANDBOX_SCENARIO"
	dirVariable      = "RETINUE_SANDBOX_TEST_DIR"
	testCgroup       = "retinue-sandbox-test"
)

func TestMain(m *testing.M) {
	scenario, ok := scenarios[os.Getenv(scenarioVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	os.Exit(Run(Config{Dir: os.Getenv(dirVariable), Cgroup: testCgroup}, scenario))
}

var scenarios = map[string]func() int{
	// Leaves a running program, a mount, files and control groups behind, and ends with a code of its own.
	"leave everything behind": func() int {
		dir := os.Getenv(dirVariable)
		script := `set -e
			mkdir "$1/mounted" && mount -t tmpfs none "$1/mounted" && touch "$1/mounted/file" /var/left-by-sandbox-test /run/left-by-sandbox-test
			ip link add sandbox0 type bridge
			setsid sleep 1234567 >/dev/null 2>&1 &`
		if output, err := exec.Command("bash", "-c", script, "bash", dir).CombinedOutput(); err != nil {
			println(string(output))
			return 1
		}
		if err := MakeCgroup(testCgroup + "/child"); err != nil {
			println(err.Error())
			return 1
		}
		return 42
	},
	// Says that it is there and waits for its end.
	"wait": func() int {
		os.Stdout.WriteString("waiting\n")
		for {
			_ = unix.Pause() // returns after a signal, always with EINTR
		}
	},
}

// start prepares a scenario. What it complains about is in Stderr, a buffer, when it has ended.
func start(t *testing.T, scenario, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), scenarioVariable+"="+scenario, dirVariable+"="+dir)
	cmd.Stderr = &bytes.Buffer{}
	return cmd
}

func requireNothingLeft(t *testing.T, dir string) {
	t.Helper()
	left := []string{dir, "/var/left-by-sandbox-test", "/run/left-by-sandbox-test", "/sys/class/net/sandbox0"}
	for _, hierarchy := range hierarchies() {
		left = append(left, filepath.Join(hierarchy, testCgroup))
	}
	for _, path := range left {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("%s is left", path)
		}
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range commands {
		if content, err := os.ReadFile(command); err == nil && strings.Contains(string(content), "1234567") {
			t.Errorf("%s still runs", command)
		}
	}
}

func TestNothingStaysBehindAndTheExitCodeComesThrough(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "box")
	cmd := start(t, "leave everything behind", dir)
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 42 {
		t.Errorf("ended with %v, want exit code 42; it said:\n%s", err, cmd.Stderr)
	}
	requireNothingLeft(t, dir)
}

func TestAnInterruptEndsTheBox(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "box")
	cmd := start(t, "wait", dir)
	runUntilWaiting(t, cmd)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 128+int(syscall.SIGTERM) {
		t.Errorf("ended with %v, want exit code %d", err, 128+int(syscall.SIGTERM))
	}
	requireNothingLeft(t, dir)
}

func TestTheNextRunRemovesWhatAKilledOneLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "box")
	killed := start(t, "wait", dir)
	runUntilWaiting(t, killed)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it was killed: the error says so
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("a killed run cannot have removed its folder: %v", err)
	}
	next := start(t, "leave everything behind", dir)
	if err := next.Run(); next.ProcessState.ExitCode() != 42 {
		t.Errorf("the next run ended with %v, want exit code 42; it said:\n%s", err, next.Stderr)
	}
	requireNothingLeft(t, dir)
}

func TestASecondRunInTheSameFolderIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "box")
	first := start(t, "wait", dir)
	runUntilWaiting(t, first)
	second := start(t, "wait", dir)
	if err := second.Run(); second.ProcessState.ExitCode() != exitTrouble {
		t.Errorf("ended with %v, want exit code %d", err, exitTrouble)
	}
	if said := second.Stderr.(*bytes.Buffer).String(); !strings.Contains(said, "another run is using "+dir) {
		t.Errorf("it said %q", said)
	}
	if err := first.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was interrupted: the error says so
	requireNothingLeft(t, dir)
}

func runUntilWaiting(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("waiting\n"))
	if _, err := output.Read(line); err != nil || string(line) != "waiting\n" {
		t.Fatalf("it said %q (%v); on the error output: %s", line, err, cmd.Stderr)
	}
}
