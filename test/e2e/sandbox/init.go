package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// initProcess is process 1 of the box. Daemons detach from those who start them; their end is reported to process 1,
// which must take the report or they stay as zombies.
func initProcess(config Config) (int, error) {
	if os.Getpid() != 1 {
		return 0, fmt.Errorf("%s is %q but this is process %d: it is set by the program itself", roleVariable, roleInit, os.Getpid())
	}
	if err := mount(); err != nil {
		return 0, err
	}
	if err := enterCgroup(config); err != nil {
		return 0, err
	}
	if output, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("bring the loopback interface up: %w: %s", err, output)
	}
	cmd := command(roleInside)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the work: %w", err)
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for the work: %w", err)
		case pid == cmd.Process.Pid && status.Exited():
			return status.ExitStatus(), nil
		case pid == cmd.Process.Pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		}
	}
}

// mount gives the box its own view of processes, of /run and of /var. Nothing mounted inside shows outside.
func mount() error {
	const scratch = "/run/sandbox" // on the new /run, so in memory
	for _, step := range []struct {
		what, source, target, kind string
		flags                      uintptr
		data                       string
	}{
		{"separate the mounts from those outside", "", "/", "", unix.MS_REC | unix.MS_PRIVATE, ""},
		// Inside the box mounts propagate, as kubelet and containerd expect of a machine.
		{"share mounts inside", "", "/", "", unix.MS_REC | unix.MS_SHARED, ""},
		{"mount /proc", "proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"mount an empty /run", "tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
		{"mount a copy of /var", "overlay", "/var", "overlay", unix.MS_NOSUID | unix.MS_NODEV,
			"lowerdir=/var,upperdir=" + scratch + "/upper,workdir=" + scratch + "/work"},
	} {
		if step.kind == "overlay" {
			if err := errors.Join(os.MkdirAll(scratch+"/upper", 0o755), os.MkdirAll(scratch+"/work", 0o755)); err != nil {
				return fmt.Errorf("%s: %w", step.what, err)
			}
		}
		if err := unix.Mount(step.source, step.target, step.kind, step.flags, step.data); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}
