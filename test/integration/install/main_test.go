package install

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/test/cluster"
)

const (
	manifests = "../../../manifests"
	// patience is how long anything may take that happens at all, on a busy machine.
	patience = 3 * time.Minute
	look     = 50 * time.Millisecond
)

// definitions are those of others, of which manifests and examples make objects.
var definitions = []string{"scheduler-plugins-crds.yaml", "prometheus-operator-crds.yaml", "spark-operator-crds.yaml"}

// shared is the cluster of all tests of this package, which run one after the other. It starts with the first that needs it.
var shared struct {
	once    sync.Once
	dir     string
	cluster *cluster.Cluster
	err     error
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if err := stopShared(code != 0); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func stopShared(failed bool) error {
	if shared.dir == "" {
		return nil
	}
	var err error
	if shared.cluster != nil {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err = shared.cluster.Stop(ctx)
	}
	if failed {
		fmt.Fprintln(os.Stderr, "the logs of the cluster are kept in", shared.dir)
		return err
	}
	return errors.Join(err, os.RemoveAll(shared.dir))
}

// start returns the cluster, with the definitions of others and what the examples stand on.
func start(t *testing.T) *cluster.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "retinue-install-"); shared.err != nil {
			return
		}
		ctx := context.Background()                                     // a test's would end the processes too early
		config := cluster.Config{Dir: shared.dir, LeaderElection: true} // its metrics tell who leads
		if shared.cluster, shared.err = cluster.Start(ctx, config); shared.err != nil {
			return
		}
		for _, file := range definitions {
			// Some are too large for the annotation of a client-side apply.
			_, err := shared.cluster.Kubectl(ctx, "apply", "--server-side", "-f", filepath.Join(shared.cluster.Config().Binaries, file))
			shared.err = errors.Join(shared.err, err)
		}
		for _, file := range []string{"namespace.yaml", "priority-class.yaml"} {
			_, err := shared.cluster.Kubectl(ctx, "apply", "--validate=strict", "-f", filepath.Join(manifests, "examples", file))
			shared.err = errors.Join(shared.err, err)
		}
		_, err := shared.cluster.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=2m", "--all", "crd")
		shared.err = errors.Join(shared.err, err)
	})
	require.NoError(t, shared.err)
	return shared.cluster
}

// eventually looks until it is so, and fails when it never is.
func eventually(t *testing.T, so func() bool, otherwise func() string) {
	t.Helper()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); !so(); {
		require.True(t, time.Now().Before(deadline), "%s", otherwise())
		<-ticker.C
	}
}

// kustomizations are the directories that somebody may apply, from the manifests; components are parts of them.
func kustomizations(t *testing.T) []string {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(manifests, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != "kustomization.yaml" {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte("\nkind: Kustomization\n")) {
			dir, err := filepath.Rel(manifests, filepath.Dir(path))
			found = append(found, dir)
			return err
		}
		return err
	}))
	require.Contains(t, found, "base")
	return found
}

// program runs one of bin/ that needs no cluster, and returns what it prints.
func program(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join("../../../bin", name)
	require.FileExists(t, path, "run `make binaries` first")
	cmd := exec.CommandContext(t.Context(), path, args...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "KUBECONFIG="+os.DevNull, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s%s", name, strings.Join(args, " "), err, out.String(), complaint.String())
	}
	return out.String(), err
}

// rendered: directory -> what kustomize has made of it, which takes a process.
var rendered = map[string]string{}

// kustomize renders a directory of the manifests.
func kustomize(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	if rendered[dir] == "" {
		out, err := program(t, "kubectl", "kustomize", filepath.Join(manifests, dir))
		require.NoError(t, err)
		rendered[dir] = out
	}
	return parse(t, rendered[dir])
}

// chart renders the chart, with the namespace, its definitions and these values besides.
func chart(t *testing.T, namespace string, set ...string) []*unstructured.Unstructured {
	t.Helper()
	args := []string{"template", "retinue", filepath.Join(manifests, "chart"), "--namespace=" + namespace, "--include-crds", "--set=namespace.create=true"}
	for _, value := range set {
		args = append(args, "--set="+value)
	}
	out, err := program(t, "helm", args...)
	require.NoError(t, err)
	return parse(t, out)
}

// parse reads the documents of a YAML stream.
func parse(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	var objects []*unstructured.Unstructured
	reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		object := &unstructured.Unstructured{}
		require.NoError(t, yaml.UnmarshalStrict(document, &object.Object), "%s", document)
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
	require.NotEmpty(t, objects)
	return objects
}

// nameOf is what tells an object from others.
func nameOf(object *unstructured.Unstructured) string {
	return strings.Join([]string{object.GetKind(), object.GetNamespace(), object.GetName()}, " ")
}
