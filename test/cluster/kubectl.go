package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Kubectl runs kubectl as the administrator and returns its standard output. An error carries its standard error.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) ([]byte, error) {
	args = append([]string{"--kubeconfig=" + c.Kubeconfig(), "--cache-dir=" + c.path("kubectl")}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(c.config.Binaries, "kubectl"), args...)
	cmd.Env = environment(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var output, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &complaint
	err := startOnSpawner(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return nil, fmt.Errorf("cluster: kubectl %s: %w: %s", strings.Join(args[2:], " "), err, strings.TrimSpace(complaint.String()))
	}
	return output.Bytes(), nil
}
