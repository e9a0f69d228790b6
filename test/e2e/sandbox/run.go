package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Config names what outlives the namespaces.
type Config struct {
	// Dir is for files; it exists and is empty when the work begins, and is removed after it. No path may run through
	// a symbolic link.
	Dir string
	// Cgroup is a name below the root of every control group hierarchy; the groups exist when the work begins.
	Cgroup string
	// Salvage is called when the box has ended, before Dir is removed, to keep some of it; nil keeps nothing.
	Salvage func() error
}

// roleVariable tells a started copy of this program which of the three processes it is.
const (
	roleVariable = "RETINUE_SANDBOX_ROLE"
	roleInit     = "init"
	roleInside   = "inside"
)

// exitTrouble is the exit code of a box that could not be made or cleaned. Tests end with 0, 1 or 2.
const exitTrouble = 3

// Run runs work inside the box and returns its exit code. Call it first thing in the program, on the main goroutine:
// copies of the program, with the same arguments, come to the same call.
func Run(config Config, work func() int) int {
	var err error
	code := exitTrouble
	switch role := os.Getenv(roleVariable); role {
	case "":
		code, err = outside(config)
	case roleInit:
		code, err = initProcess(config)
	case roleInside:
		return work()
	default:
		err = fmt.Errorf("%s is %q, want nothing: it is set by the program itself", roleVariable, role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		return exitTrouble
	}
	return code
}

func outside(config Config) (int, error) {
	if os.Geteuid() != 0 {
		return 0, fmt.Errorf("needs root to make namespaces, mounts and control groups, but runs as user %d", os.Geteuid())
	}
	lock, err := lock(config.Dir)
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	if err := clean(config); err != nil {
		return 0, fmt.Errorf("remove what an earlier run left: %w", err)
	}
	if err := prepare(config); err != nil {
		return 0, err
	}
	code, err := runInit()
	if config.Salvage != nil {
		err = errors.Join(err, config.Salvage())
	}
	return code, errors.Join(err, clean(config))
}

// lock keeps a second run away from the same folder. The lock ends with the file.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another run is using %s: wait for its end", dir)
		}
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return file, nil
}

// runInit starts process 1 of the box and waits for it. A signal to end ends the box.
func runInit() (int, error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	// The kernel sends the parent-death signal when the starting thread ends, so this goroutine keeps its thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := command(roleInit)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // an interrupt at the terminal reaches only this process, which then ends the box at once
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start process 1: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return exitCode(err)
	case sig := <-signals:
		fmt.Fprintf(os.Stderr, "sandbox: %v: ending everything inside\n", sig)
		killErr := cmd.Process.Kill()
		<-ended
		return 128 + int(sig.(syscall.Signal)), killErr
	}
}

// exitCode keeps what a test runner wants to know: a process killed by a signal is 128 and the signal's number.
func exitCode(waitErr error) (int, error) {
	var exit *exec.ExitError
	switch {
	case waitErr == nil:
		return 0, nil
	case !errors.As(waitErr, &exit):
		return 0, waitErr
	case exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	default:
		status, _ := exit.Sys().(syscall.WaitStatus)
		return 128 + int(status.Signal()), nil
	}
}

// command is this program once more, in another role.
func command(role string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}
