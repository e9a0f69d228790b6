package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// process identifies a started program. A pid alone may be another program's by now, so its start time is part of it.
type process struct {
	PID int `json:"pid"`
	// StartTicks is the start time in clock ticks since boot, field 22 of /proc/PID/stat.
	StartTicks uint64 `json:"startTicks"`
}

const (
	stopGrace    = 20 * time.Second      // from SIGTERM to SIGKILL
	killPatience = 30 * time.Second      // from SIGKILL to giving up
	pollInterval = 20 * time.Millisecond // between looks at /proc
)

// spawn starts a program that writes its output to logFile. A detached one outlives this program.
func spawn(logFile string, detached bool, path string, args ...string) (process, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return process{}, fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir, cmd.Env = "/", environment(os.Environ())
	if detached {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	} else {
		// Its own process group, so that an interrupt at the terminal reaches only this process, which then decides.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	}
	if err := startOnSpawner(cmd); err != nil {
		return process{}, fmt.Errorf("start %s: %w", path, err)
	}
	stat, err := readStat(cmd.Process.Pid) // works even if it has ended, until it is waited for
	// The goroutine ends with the program; it only keeps the program from staying behind as a zombie.
	go func() { _ = cmd.Wait() }()
	if err != nil {
		return process{}, fmt.Errorf("identify %s: %w", path, err)
	}
	return process{PID: cmd.Process.Pid, StartTicks: stat.startTicks}, nil
}

// alive is false for a zombie: it runs nothing and holds nothing but its pid. A program whose first thread ended while
// others still hold its files and ports looks like a zombie, but has more than one thread.
func (p process) alive() bool {
	if p.PID == 0 {
		return false
	}
	stat, err := readStat(p.PID)
	if err != nil || stat.startTicks != p.StartTicks || stat.state == 'X' {
		return false
	}
	if stat.state != 'Z' {
		return true
	}
	threads, err := os.ReadDir("/proc/" + strconv.Itoa(p.PID) + "/task")
	return err == nil && len(threads) > 1
}

// signal reaches this very process or nobody: FindProcess holds on to the pid before alive compares the start time.
func (p process) signal(sig syscall.Signal) error {
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return fmt.Errorf("find process %d: %w", p.PID, err)
	}
	defer handle.Release()
	if !p.alive() {
		return nil
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to process %d: %w", sig, p.PID, err)
	}
	return nil
}

// stop asks, waits, and then insists. It returns when the process is gone.
func (p process) stop(ctx context.Context) error {
	if !p.alive() {
		return nil
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if p.waitGone(ctx, stopGrace) == nil {
		return nil
	}
	return p.kill(ctx)
}

// kill ends the process without asking and returns when it is gone.
func (p process) kill(ctx context.Context) error {
	if !p.alive() {
		return nil
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if err := p.waitGone(ctx, killPatience); err != nil {
		return fmt.Errorf("process %d does not end after SIGKILL: %w", p.PID, err)
	}
	return nil
}

func (p process) waitGone(ctx context.Context, timeout time.Duration) error {
	return wait.PollUntilContextTimeout(ctx, pollInterval, timeout, true, func(context.Context) (bool, error) {
		return !p.alive(), nil
	})
}

// procStat is what /proc/PID/stat tells.
type procStat struct {
	state      byte // R running, S sleeping, Z zombie, …
	startTicks uint64
}

func readStat(pid int) (procStat, error) {
	content, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, err
	}
	// The second field is the program's name in parentheses and may itself hold spaces and parentheses.
	end := bytes.LastIndexByte(content, ')')
	fields := strings.Fields(string(content[end+1:]))
	const stateField, startField = 3 - 3, 22 - 3 // the first field after the name is number 3
	if end < 0 || len(fields) <= startField {
		return procStat{}, fmt.Errorf("/proc/%d/stat has an unknown form", pid)
	}
	ticks, err := strconv.ParseUint(fields[startField], 10, 64)
	if err != nil {
		return procStat{}, fmt.Errorf("/proc/%d/stat: start time %q: %w", pid, fields[startField], err)
	}
	return procStat{state: fields[stateField][0], startTicks: ticks}, nil
}

// bootID tells one boot of the machine from the next; start times are comparable within one boot only.
func bootID() (string, error) {
	content, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}
