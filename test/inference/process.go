package main

import (
	"os/exec"
	"syscall"
	"time"
)

// ownGroup lets a command end with its context together with every process it started, and with this process if that
// is killed.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second // for output that a grandchild still holds open
}
