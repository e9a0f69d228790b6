package newcomer

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// playedGo stands for go: what it builds is a text that says about itself what a program tells `go version -m`. It fails as
// it is told to by files beside it.
const playedGo = `#!/usr/bin/env bash
set -euo pipefail
here=$(dirname "$0")
echo "$*" >>"$here/calls"
case "$1 ${2:-}" in
"env GOOS") echo linux ;;
"env GOARCH") echo amd64 ;;
"env GOPROXY") echo https://proxy.example ;;
"version -m") grep -q whole "$3" && cat "$3" ;;
"list "*)
  if [[ -e $here/offline ]]; then
    for package in 1 2 3 4 5 6 7; do
      echo "go: downloading k8s.io/api v0.37.1" >&2
      echo "package $package: Get \"https://proxy.example\": no such host" >&2
    done
    exit 1
  fi
  ;;
"build "*)
  while (($# > 1)); do
    [[ $1 != -o ]] || out=$2
    shift
  done
  echo half >"$out"
  if [[ -e $here/killed ]]; then
    rm "$here/killed"
    kill -KILL "$PPID" $$
  fi
  [[ ! -e $here/broken ]] || exit 1
  module=${1%%/cmd/*}
  version=$(awk -v module="$module" '$1 == module && $2 ~ /^v/ {print $2; exit}' hack/tools.mod go.mod)
  printf 'whole\n\tpath\t%s\n\tmod\t%s\t%s\th1:x\n\tbuild\tGOARCH=amd64\n\tbuild\tGOOS=linux\n' "$1" "$module" "$version" >"$out"
  chmod +x "$out"
  ;;
esac
`

// checkout is a copy of what hack/build needs, in a directory whose name holds a space, with a go that is played.
type checkout struct {
	t    *testing.T
	dir  string
	path string // PATH
}

func newCheckout(t *testing.T) *checkout {
	t.Helper()
	c := &checkout{t: t, dir: filepath.Join(t.TempDir(), "a check out")}
	for _, file := range []string{"go.mod", "hack/tools.mod", "hack/build", "hack/download", "hack/module-dir", "hack/version"} {
		content, err := os.ReadFile(filepath.Join("../..", file))
		require.NoError(t, err)
		c.write(file, strings.Replace(string(content), "pause=2 ", "pause=0 ", 1))
	}
	c.write("tools/go", playedGo)
	c.path = filepath.Join(c.dir, "tools") + ":" + os.Getenv("PATH")
	return c
}

func (c *checkout) write(file, content string) {
	c.t.Helper()
	path := filepath.Join(c.dir, file)
	require.NoError(c.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(c.t, os.WriteFile(path, []byte(content), 0o755))
}

func (c *checkout) command(names ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.t.Context(), filepath.Join(c.dir, "hack/build"), names...)
	cmd.Env = append(os.Environ(), "PATH="+c.path, "VERSION=v1-test", "GOFLAGS=")
	return cmd
}

// build returns everything that was printed.
func (c *checkout) build(names ...string) (string, error) {
	out, err := c.command(names...).CombinedOutput()
	return string(out), err
}

func (c *checkout) bin() []string {
	c.t.Helper()
	entries, err := os.ReadDir(filepath.Join(c.dir, "bin"))
	require.NoError(c.t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestABuildSaysWhichOfHowManyItIsAtAndHowLongThatMayTake(t *testing.T) {
	c := newCheckout(t)
	out, err := c.build("etcd", "kube-apiserver", "scheduler")
	require.NoError(t, err, out)
	require.Regexp(t, `^downloading the modules that are not here yet
building 1 of 3: etcd \(about \d+ min on two cores when nothing is compiled yet\)
building 2 of 3: kube-apiserver \(about \d+ min on two cores when nothing is compiled yet\)
building 3 of 3: scheduler \(about \d+ min on two cores when nothing is compiled yet\)
$`, out)
	require.Equal(t, []string{"etcd", "kube-apiserver", "scheduler"}, c.bin())

	out, err = c.build("etcd", "kube-apiserver", "scheduler")
	require.NoError(t, err, out)
	require.Equal(t, "building 1 of 1: scheduler\n", out, "only go knows whether our own are up to date")
}

func TestAnInterruptedBuildIsTakenUpAgain(t *testing.T) {
	for name, how := range map[string]string{"killed": "killed", "failed": "broken"} {
		t.Run(name, func(t *testing.T) {
			c := newCheckout(t)
			out, err := c.build("etcd")
			require.NoError(t, err, out)
			c.write("tools/"+how, "")
			_, err = c.build("etcd", "kwok", "scheduler")
			require.Error(t, err)
			require.NotContains(t, c.bin(), "kwok", "what is half is not there")
			_ = os.Remove(filepath.Join(c.dir, "tools", how))

			out, err = c.build("etcd", "kwok", "scheduler")
			require.NoError(t, err, out)
			require.Contains(t, out, "building 1 of 2: kwok", "what was whole is kept")
			require.Equal(t, []string{"etcd", "kwok", "scheduler"}, c.bin())
		})
	}
}

func TestWhatAnotherVersionLeftInBinIsBuiltAgain(t *testing.T) {
	c := newCheckout(t)
	out, err := c.build("etcd", "kwok", "kubectl")
	require.NoError(t, err, out)

	tools, err := os.ReadFile(filepath.Join(c.dir, "hack/tools.mod"))
	require.NoError(t, err)
	c.write("hack/tools.mod", regexp.MustCompile(`(\tgo\.etcd\.io/etcd/server/v3) v\S+`).ReplaceAllString(string(tools), "$1 v3.99.0"))
	c.write("bin/kubectl", "\x7fELF, and the disk was full")
	out, err = c.build("etcd", "kwok", "kubectl")
	require.NoError(t, err, out)
	require.Equal(t, "building 1 of 2: etcd\nbuilding 2 of 2: kubectl\n", out)
	content, err := os.ReadFile(filepath.Join(c.dir, "bin/etcd"))
	require.NoError(t, err)
	require.Contains(t, string(content), "v3.99.0")
}

func TestADownloadThatFailsSaysWhatIsMissingAndWhatToDo(t *testing.T) {
	c := newCheckout(t)
	c.write("tools/offline", "")
	out, err := c.build("kubectl")
	require.Error(t, err)
	require.Equal(t, `downloading the modules that are not here yet
download: after 3 attempts at 'go list -modfile=go.mod -deps k8s.io/kubernetes/cmd/kubectl' some modules are missing (GOPROXY=https://proxy.example):
  package 1: Get "https://proxy.example": no such host
  package 2: Get "https://proxy.example": no such host
  package 3: Get "https://proxy.example": no such host
  package 4: Get "https://proxy.example": no such host
  package 5: Get "https://proxy.example": no such host
  … and 2 more lines
What was downloaded is kept: the same command goes on from there. Behind a proxy set HTTPS_PROXY, or GOPROXY to a mirror.
`, strings.ReplaceAll(out, "`", "'"))
	require.Empty(t, c.bin())
}

func TestASecondBuildOfACheckoutWaitsForTheFirst(t *testing.T) {
	c := newCheckout(t)
	c.write(".cache/build.lock", "")
	lock, err := os.OpenFile(filepath.Join(c.dir, ".cache/build.lock"), os.O_RDWR, 0)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	second := c.command("etcd")
	out, err := second.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, second.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	require.Equal(t, "build: another build of this checkout is at work; waiting for it", lines.Text())
	require.Empty(t, c.bin())
	require.NoError(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_UN))
	for lines.Scan() {
		t.Log(lines.Text())
	}
	require.NoError(t, second.Wait())
	require.Equal(t, []string{"etcd"}, c.bin())
}

func TestAMachineWithoutGoIsToldWhatItLacks(t *testing.T) {
	c := newCheckout(t)
	tools := filepath.Join(c.dir, "no go")
	require.NoError(t, os.Mkdir(tools, 0o755))
	for _, name := range []string{"bash", "env", "awk", "dirname", "cut", "mkdir"} {
		path, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(path, filepath.Join(tools, name)))
	}
	c.path = tools
	out, err := c.build("etcd")
	require.Error(t, err)
	require.Regexp(t, `^build: there is no go in PATH: Retinue needs Go 1\.\S+ or later`, out)
}
