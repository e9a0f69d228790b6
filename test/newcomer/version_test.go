package newcomer

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestACheckoutHasAVersionWithoutTagsAndWithoutGit(t *testing.T) {
	c := newCheckout(t)
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = c.dir
		// A directory above may be a repository as well.
		cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+strings.TrimSuffix(c.dir, "/a check out"), "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return strings.TrimSpace(string(out))
	}
	require.Regexp(t, `^v1\.\d+\.\d+-retinue\.dev$`, run("hack/version"))
	run("git", "init", "--quiet")
	run("git", "commit", "--quiet", "--allow-empty", "-m", "first")
	require.Regexp(t, `^v1\.\d+\.\d+-retinue\.g[0-9a-f]{7,}$`, run("hack/version"))
	run("git", "tag", "v0.1.0")
	require.Regexp(t, `^v1\.\d+\.\d+-retinue\.v0\.1\.0$`, run("hack/version"))
	release := strings.Replace(run("hack/version"), "v0.1.0", "7", 1)
	run("git", "commit", "--quiet", "--allow-empty", "-m", "second")
	run("git", "tag", release)
	require.Equal(t, release, run("hack/version"))
}

func TestEveryMakeTargetBuildsWithoutThePathsOfTheMachine(t *testing.T) {
	for given, want := range map[string]string{
		"":                                 "-trimpath -buildvcs=false",
		"-mod=readonly":                    "-mod=readonly -trimpath -buildvcs=false",
		"-trimpath -buildvcs=true -tags=x": "-tags=x -trimpath -buildvcs=false",
	} {
		cmd := exec.CommandContext(t.Context(), "make", "--no-print-directory", "--eval=flags:;@echo $$GOFLAGS, $$GOWORK", "flags")
		cmd.Dir = "../.."
		cmd.Env = append(os.Environ(), "GOFLAGS="+given, "GOENV=off", "MAKEFLAGS=", "GOWORK=/above/go.work")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Equal(t, want+", off\n", string(out))
	}
}
