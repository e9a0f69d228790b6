package newcomer

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sources are the packages that something is made of, import path -> version of its module.
func sources(t *testing.T, args ...string) map[string]string {
	t.Helper()
	const form = `{{if not .Standard}}{{.ImportPath}} {{with .Module}}{{.Version}}{{with .Replace}} {{.Version}}{{end}}{{end}}{{end}}`
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps", "-f", form}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	require.NoError(t, err)
	versions := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, version, _ := strings.Cut(strings.TrimSpace(line), " ")
		versions[path] = version
	}
	return versions
}

// A package of another version is another package for the compiler, and so is everything that imports it.
func TestWhatToolsShareWithKubernetesIsCompiledOnce(t *testing.T) {
	kubernetes := sources(t, "k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kube-controller-manager", "k8s.io/kubernetes/cmd/kubectl")
	shared := 0
	for path, version := range sources(t, "-modfile=hack/tools.mod", "go.etcd.io/etcd/server/v3", "sigs.k8s.io/kwok/cmd/kwok") {
		ours, both := kubernetes[path]
		if !both || strings.HasPrefix(ours, "v0.0.0 ") || strings.HasPrefix(path, "k8s.io/cri-client/") { // Kubernetes replaces what it calls v0.0.0
			continue
		}
		if _, replaced, found := strings.Cut(ours, " "); found && strings.HasPrefix(ours, replaced+" ") {
			ours = replaced // by itself
		}
		require.Equal(t, ours, version, "%s: run hack/align-tools", path)
		shared++
	}
	require.Greater(t, shared, 500)
}
