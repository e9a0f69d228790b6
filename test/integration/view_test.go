package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/test/sparksim"
)

// inNamespace is an application of a namespace.
func inNamespace(namespace string, application sparksim.Application) sparksim.Application {
	application.Namespace = namespace
	return application
}

// TestKubectlShowsAUserHisOwnAndAnAdministratorAll: queues, applications and reasons of a scheduler that runs, for somebody who may read
// one namespace and nothing else, and for an administrator, who drains the queue. Nobody is told the name of another's application.
func TestKubectlShowsAUserHisOwnAndAnAdministratorAll(t *testing.T) {
	s := newStage(t, 2, 8)
	run := newKubectl(t, s.cluster)
	may := func(group, resource string, verbs ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	user := asUser(t, s.cluster, "viewer", may("", "pods", "get", "list", "watch", "patch"), may("", "configmaps", "get"), may("", "events", "list"))
	s.namespaces = append(s.namespaces, "viewer")
	s.namespace("stranger")
	s.queue("viewers", "{namespaces: [viewer], guaranteed: {cpu: 2}, limit: {cpu: 6}}")
	s.queue("strangers", "{namespaces: [stranger]}")
	s.awaitValid("viewers")
	s.simulate()
	s.submit(inNamespace("stranger", sized("hush", 1, 1, 1)))
	s.awaitWhole("hush", 1)
	s.submit(inNamespace("viewer", sized("first", 1, 2, 2)))
	s.awaitWhole("first", 2)
	second := s.submit(inNamespace("viewer", sized("second", 1, 3, 1)))
	s.awaitWaiting("second", "QueueLimit: ")
	s.awaitQueue("viewers", "shows who runs and who waits", func(status v1alpha1.QueueStatus) bool { return status.Running == 1 && status.Waiting == 1 })

	code, out, complaint := run(user, "apps", "--no-headers")
	require.Zero(t, code, complaint)
	require.Regexp(t, `(?m)^first-\S+-driver +sparksim +Running +2/2\(2\) +5 `, out)
	require.Regexp(t, `(?m)^second-\S+-driver +sparksim +Waiting +0/3\(3\) +4 .* QueueLimit$`, out)
	require.Contains(t, complaint, "note: you may not read Queues: ")
	code, why, complaint := run(user, "why", "second")
	require.Zero(t, code, complaint)
	require.Regexp(t, `reason +QueueLimit: queue viewers holds cpu 5 of at most 6, and 4 more is asked for; 3 too much\n`, why)
	require.Regexp(t, `held by +viewer/first-\S+-driver \(sparksim\): cpu 5, `, why)
	code, app, complaint := run(user, "app", "first")
	require.Zero(t, code, complaint)
	require.Contains(t, app, "2 × executor, each cpu 2, memory 1.4Gi: the first that came is as predicted\n")
	code, checked, _ := run(user, "check", "--", "spark-submit", "--num-executors", "100", "--executor-cores", "2", "--conf", "spark.kubernetes.scheduler.name=retinue", "local:///app.jar")
	require.Zero(t, code, "nothing that he may see stands in its way: %s", checked)
	require.Contains(t, checked, "not seen: the nodes may not be read")
	code, queues, complaint := run(user, "queues")
	require.Zero(t, code)
	require.Empty(t, queues)
	require.Contains(t, complaint, "no queues\n")
	for _, command := range []string{"drain", "stop", "open"} {
		code, _, complaint = run(user, command, "viewers")
		require.Equal(t, 1, code)
		require.Contains(t, complaint, "forbidden")
	}
	code, held, complaint := run(user, "hold", "second")
	require.Zero(t, code, complaint)
	require.Equal(t, "application "+second.Name+" is held back, and was not held back\n", held)
	s.awaitWaiting("second", "HeldByUser: ")
	code, _, complaint = run(user, "hold", "first")
	require.Equal(t, 2, code)
	require.Contains(t, complaint, "is Running: only one that waits can be held back")
	for _, refused := range [][]string{{"hold", "hush", "-n", "stranger"}, {"release", "hush", "-n", "stranger"}, {"why", "hush", "-n", "stranger"}, {"apps", "-A"}} {
		code, said, complaint := run(user, refused...)
		require.Equal(t, 1, code, refused)
		require.Empty(t, said)
		require.Contains(t, complaint, "forbidden", refused)
	}
	// A watch looks again when something changes, with the rights of one namespace.
	watching := make(chan string, 1)
	go func() {
		_, said, complaint := run(user, "apps", "--watch", "--rounds", "2", "--interval", "1h", "--no-headers")
		watching <- said + complaint
	}()
	touched, watched := 0, ""
	require.True(t, eventually(func() bool {
		touched++
		require.NoError(t, s.tryAnnotate("viewer", second.Name, "touched", fmt.Sprint(touched)))
		select {
		case watched = <-watching:
			return true
		default:
			return false
		}
	}), "nobody has told the watch")
	require.Contains(t, watched, "HeldByUser")
	require.NotContains(t, watched, "you may not watch pods")
	code, top, complaint := run(user, "top", "--rounds", "1")
	require.Zero(t, code, complaint)
	require.Contains(t, top, "namespace viewer: 2 applications, 1 wait\n")
	code, released, complaint := run(user, "release", "second")
	require.Zero(t, code, complaint)
	s.awaitWaiting("second", "QueueLimit: ")
	s.awaitQueue("viewers", "counts who was released", func(status v1alpha1.QueueStatus) bool { return status.Waiting == 1 })
	code, gang, complaint := run(user, "gang", second.Name)
	require.Zero(t, code, complaint)
	require.Contains(t, gang, "executor   3       3         3         1")
	code, doctor, complaint := run(user, "doctor")
	require.Zero(t, code, complaint)
	code, version, complaint := run(user, "version")
	require.Zero(t, code, complaint)
	for _, text := range []string{out, why, app, checked, held, released, top, gang, doctor, version} {
		require.NotContains(t, text, "hush")
		require.NotContains(t, text, "stranger")
	}

	admin := s.cluster.Kubeconfig()
	code, out, complaint = run(admin, "queues", "--no-headers")
	require.Zero(t, code, complaint)
	require.Regexp(t, `(?m)^viewers +Open +5/2/6 .* 1 +1 +\S+ +QueueLimit$`, out)
	before := s.count()
	for want, args := range map[int][]string{
		3: {"--num-executors", "3"},
		4: {"--num-executors", "100"},
	} {
		code, out, complaint = run(admin, append([]string{"check", "-n", "viewer", "--", "spark-submit", "--conf", "spark.kubernetes.scheduler.name=retinue"}, args...)...)
		require.Equal(t, want, code, out+complaint)
	}
	code, out, complaint = run(admin, "check", "-n", "stranger", "--", "spark-submit", "--conf", "spark.kubernetes.scheduler.name=retinue")
	require.Zero(t, code, out+complaint)
	require.True(t, strings.HasPrefix(out, "fits now\n"), out)
	require.Equal(t, before, s.count(), "nothing is created")

	code, out, complaint = run(admin, "drain", "viewers")
	require.Zero(t, code, complaint)
	require.Equal(t, "queue viewers is Draining, and was Open\n", out)
	s.awaitWaiting("second", "QueueClosed: ")
	code, why, complaint = run(user, "why", second.Name)
	require.Zero(t, code, complaint)
	require.Contains(t, why, "whoever has closed its queue can open it: kubectl retinue open NAME")
	code, _, complaint = run(admin, "open", "viewers")
	require.Zero(t, code, complaint)
	s.specify("viewers", "{limit: {cpu: 16}}")
	s.awaitWhole("second", 3)
}

// count is how many pods, ConfigMaps and Services there are.
func (s *stage) count() (n int) {
	s.t.Helper()
	for _, namespace := range append(s.namespaces, v1.NamespaceDefault) {
		pods, err := s.client.CoreV1().Pods(namespace).List(s.t.Context(), metav1.ListOptions{})
		require.NoError(s.t, err)
		maps, err := s.client.CoreV1().ConfigMaps(namespace).List(s.t.Context(), metav1.ListOptions{})
		require.NoError(s.t, err)
		services, err := s.client.CoreV1().Services(namespace).List(s.t.Context(), metav1.ListOptions{})
		require.NoError(s.t, err)
		n += len(pods.Items) + len(maps.Items) + len(services.Items)
	}
	return n
}
