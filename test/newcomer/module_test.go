package newcomer

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// emptyModuleCache is a directory for modules that goes when the test ends.
func emptyModuleCache(t *testing.T) string {
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
	return cache
}

// fullModuleCache is the module cache of whoever runs the tests, as a proxy that an empty one is filled from.
func fullModuleCache(t *testing.T) string {
	t.Helper()
	full, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE").Output()
	require.NoError(t, err)
	return "file://" + filepath.Join(strings.TrimSpace(string(full)), "cache", "download")
}

// moduleDir runs hack/module-dir with a module cache of its own, which is empty.
func moduleDir(t *testing.T, proxy string, args ...string) (out, complaint string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../../hack/module-dir", args...)
	cmd.Env = append(os.Environ(), "GOMODCACHE="+emptyModuleCache(t), "GOPROXY="+proxy, "GOSUMDB=off", "GOFLAGS=-mod=readonly")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return strings.TrimSpace(stdout.String()), stderr.String(), err
}

func TestADirectoryOfAModuleThatNobodyHasDownloadedIsThereAfterwards(t *testing.T) {
	proxy := fullModuleCache(t)
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

// Nothing that is built before has to have downloaded the module.
func TestFilesFromTheSourcesOfModulesAreMadeWithNothingBuiltBefore(t *testing.T) {
	for name, content := range map[string]string{
		"kwok-stages.yaml":            "kind: Stage",
		"scheduler-plugins-crds.yaml": "name: elasticquotas.scheduling.x-k8s.io",
	} {
		c := newCheckout(t)
		c.path = os.Getenv("PATH") // with the real go
		for _, sums := range []string{"go.sum", "hack/tools.sum"} {
			sum, err := os.ReadFile(filepath.Join("../..", sums))
			require.NoError(t, err)
			c.write(sums, string(sum))
		}
		cmd := c.command(name)
		cmd.Env = append(cmd.Env, "GOMODCACHE="+emptyModuleCache(t), "GOPROXY="+fullModuleCache(t), "GOSUMDB=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		made, err := os.ReadFile(filepath.Join(c.dir, "bin", name))
		require.NoError(t, err)
		require.Contains(t, string(made), content)
	}
}

// What asks go for the directory of a module has it downloaded itself: on a used machine nobody sees that it does not.
func TestWhoeverAsksForTheDirectoryOfAModuleDownloadsIt(t *testing.T) {
	asks := regexp.MustCompile(`\{\{ *(if )?\.Dir|\.Module\.Dir`)
	lists := regexp.MustCompile(`go list|"go", "list"|"list", `)
	downloads := regexp.MustCompile(`mod download|"mod", "download"`)
	asking := 0
	for _, root := range []string{".ci", "cmd", "hack", "pkg", "test", "Makefile", "Dockerfile"} {
		err := filepath.WalkDir(filepath.Join("../..", root), func(path string, entry os.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() || strings.HasSuffix(path, "newcomer/module_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			if err == nil && asks.Match(content) && lists.Match(content) {
				asking++
				require.True(t, downloads.Match(content), "%s: use hack/module-dir", path)
			}
			return err
		})
		require.NoError(t, err)
	}
	require.Positive(t, asking)
}
