package newcomer

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// moduleDir runs hack/module-dir with a module cache of its own, which is empty.
func moduleDir(t *testing.T, proxy string, args ...string) (out, complaint string, err error) {
	t.Helper()
	cache := t.TempDir()
	t.Cleanup(func() { // a module cache is read-only, so it cannot be removed as it is
		require.NoError(t, filepath.WalkDir(cache, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				err = os.Chmod(path, 0o700)
			}
			return err
		}))
	})
	cmd := exec.CommandContext(t.Context(), "../../hack/module-dir", args...)
	cmd.Env = append(os.Environ(), "GOMODCACHE="+cache, "GOPROXY="+proxy, "GOSUMDB=off", "GOFLAGS=-mod=readonly")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return strings.TrimSpace(stdout.String()), stderr.String(), err
}

// The module cache of whoever runs the tests is the proxy that the empty one is filled from.
func TestADirectoryOfAModuleThatNobodyHasDownloadedIsThereAfterwards(t *testing.T) {
	full, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE").Output()
	require.NoError(t, err)
	proxy := "file://" + filepath.Join(strings.TrimSpace(string(full)), "cache", "download")
	for _, args := range [][]string{
		{"sigs.k8s.io/scheduler-plugins"},
		{"sigs.k8s.io/kwok", "-modfile=hack/tools.mod"},
	} {
		dir, complaint, err := moduleDir(t, proxy, args...)
		require.NoError(t, err, complaint)
		require.DirExists(t, dir)
		require.FileExists(t, filepath.Join(dir, "go.mod"))
	}
}

func TestAModuleThatCannotBeDownloadedIsNamed(t *testing.T) {
	out, complaint, err := moduleDir(t, "off", "sigs.k8s.io/scheduler-plugins")
	require.Error(t, err)
	require.Empty(t, out)
	require.Contains(t, complaint, "sigs.k8s.io/scheduler-plugins")
	require.Contains(t, complaint, "some modules are missing (GOPROXY=off)")
}
