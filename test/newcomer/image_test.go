package newcomer

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A Docker engine is not needed to see that what the Dockerfile copies is enough to build from.
func TestTheImageHoldsWhatItsDockerfileCopies(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the scheduler")
	}
	read := func(name string) []string {
		content, err := os.ReadFile(filepath.Join("../..", name))
		require.NoError(t, err)
		return strings.Split(string(content), "\n")
	}
	const version = "v1.37.1-retinue.test"
	ignored := read(".dockerignore")
	require.Contains(t, ignored, "*", ".dockerignore names what is copied, and nothing else")
	source := filepath.Join(t.TempDir(), "src")
	built := false
	for _, line := range read("Dockerfile") {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 2 && fields[0] == "COPY" && !strings.HasPrefix(fields[1], "--from="):
			to := filepath.Join(source, fields[len(fields)-1])
			for _, from := range fields[1 : len(fields)-1] {
				require.True(t, slices.Contains(ignored, "!"+strings.TrimSuffix(from, "/")), ".dockerignore keeps %s away", from)
				if strings.HasSuffix(from, "/") {
					require.NoError(t, os.CopyFS(to, os.DirFS(filepath.Join("../..", from))))
					continue
				}
				content, err := os.ReadFile(filepath.Join("../..", from))
				require.NoError(t, err)
				require.NoError(t, os.MkdirAll(to, 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(to, from), content, 0o644))
			}
		case strings.HasPrefix(line, "RUN CGO_ENABLED=0 "):
			// Without cgo the standard library would be compiled once more, for the same answer.
			cmd := exec.CommandContext(t.Context(), "bash", "-euc", strings.TrimPrefix(line, "RUN CGO_ENABLED=0 "))
			cmd.Dir, cmd.Env = source, append(os.Environ(), "VERSION="+version, "MAKEFLAGS=")
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			built = true
		}
	}
	require.True(t, built, "no step of the Dockerfile builds the scheduler")
	out, err := exec.CommandContext(t.Context(), filepath.Join(source, "bin/scheduler"), "--version").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), version)
}
