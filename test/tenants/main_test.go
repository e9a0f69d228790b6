package tenants

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"retinue.dev/retinue/test/cluster"
)

const (
	// patience is how long anything may take that happens at all; a busy machine needs seconds.
	patience = 2 * time.Minute
	look     = 50 * time.Millisecond
)

// objects is how many hostile objects there are in all. A full run has 10,000 (make tenants).
var objects = flag.Int("tenants.objects", 300, "how many hostile objects are made in all")

// seed of the mixture.
var seed = flag.Uint64("tenants.seed", 20261128, "what the mixture of hostile objects is drawn from")

// cluster of all tests, which run one after the other.
var shared *cluster.Cluster

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "retinue-tenants-")
	if err == nil && !testing.Short() {
		shared, err = cluster.Start(context.Background(), cluster.Config{Dir: dir, ExpectedNodes: 100})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if shared != nil {
		if err := shared.Stop(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if code != 0 {
		fmt.Fprintln(os.Stderr, "the logs of the cluster are kept in", dir)
	} else if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// start gives a test the cluster with so many nodes of so many CPUs.
func start(t *testing.T, nodes, cpu int) *cluster.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	require.NoError(t, shared.EnsureNodes(t.Context(), cluster.Nodes{Count: nodes, CPU: strconv.Itoa(cpu), Memory: "256Gi"}))
	return shared
}

// namespace makes one with an account that may do there what users may: it is the client of the answer.
func namespace(t *testing.T, name, user string, more ...rbacv1.PolicyRule) kubernetes.Interface {
	t.Helper()
	_, err := shared.Client().CoreV1().Namespaces().Create(t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(t, err)
	cluster.Grant(t, shared, name, "user", rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}, append([]rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods", "configmaps", "services"}, Verbs: []string{"get", "list", "create", "patch", "update", "delete", "deletecollection"}},
		{APIGroups: []string{""}, Resources: []string{"pods/resize"}, Verbs: []string{"patch"}},
	}, more...)...)
	config := shared.RESTConfig()
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	return client
}

// apply sends manifests of the repository to the API server, and deletes their objects when the test ends.
func apply(t *testing.T, kustomization string) {
	t.Helper()
	dir := filepath.Join(shared.Config().Manifests, "..", kustomization)
	out, err := shared.Kubectl(t.Context(), "apply", "--validate=strict", "-k", dir)
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		if out, err := shared.Kubectl(context.Background(), "delete", "--ignore-not-found", "-k", dir); err != nil {
			t.Errorf("delete %s: %v\n%s", kustomization, err, out)
		}
	})
}

// restart kills the scheduler and starts it again.
func restart(t *testing.T) {
	t.Helper()
	require.NoError(t, shared.KillComponent(t.Context(), cluster.Scheduler))
	require.NoError(t, shared.StartComponent(t.Context(), cluster.Scheduler))
}

// installPodGroups teaches the API server the PodGroups of the scheduler-plugins project, and the scheduler that there are any.
func installPodGroups(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"apply", "-f", filepath.Join(shared.Config().Binaries, "scheduler-plugins-crds.yaml")},
		{"wait", "--for=condition=Established", "crd/podgroups.scheduling.x-k8s.io"},
	} {
		out, err := shared.Kubectl(t.Context(), args...)
		require.NoError(t, err, "%s", out)
	}
	restart(t)
}

// deleteGroups deletes all PodGroups of the hostile tenant.
func deleteGroups(t *testing.T) {
	t.Helper()
	out, err := shared.Kubectl(t.Context(), "delete", "podgroups", "--all", "--namespace=hostile", "--wait=false")
	require.NoError(t, err, "%s", out)
}
