package integration_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"retinue.dev/retinue/test/cluster"
)

// TestWhatYarnsFilesBecomeIsAcceptedAndHolds: the API server takes every manifest that is made of whole files of YARN, those who may
// submit may, a user whom a mapping sends to a queue is refused elsewhere, and drivers have their lifetimes.
func TestWhatYarnsFilesBecomeIsAcceptedAndHolds(t *testing.T) {
	needsCluster(t)
	c := cluster.ForTest(t, cluster.Config{Components: []cluster.Component{cluster.Etcd, cluster.APIServer}})
	kubectl := func(args ...string) {
		out, err := c.Kubectl(t.Context(), args...)
		require.NoError(t, err, "%s", out)
	}
	kubectl("apply", "--server-side", "-f", "../../manifests/crd/retinue.dev_queues.yaml")
	kubectl("wait", "--for=condition=Established", "crd/queues.retinue.dev", "--timeout=60s")
	files, err := filepath.Glob("../../pkg/yarn/testdata/*-scheduler.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 3)
	for _, file := range files {
		kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", file)
	}
	for _, namespace := range []string{"orders", "clicks"} { // no controller runs that would make it
		_, err := c.Client().CoreV1().ServiceAccounts(namespace).Create(t.Context(), &v1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	submit := func(user, namespace, scheduler string) (*v1.Pod, error) {
		config := rest.CopyConfig(c.RESTConfig())
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated", "etl-team"}}
		client, err := kubernetes.NewForConfig(config)
		require.NoError(t, err)
		memory := v1.ResourceList{v1.ResourceMemory: resource.MustParse("1Gi")}
		return client.CoreV1().Pods(namespace).Create(context.Background(), &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "driver-", Labels: map[string]string{"spark-role": "driver"}},
			Spec: v1.PodSpec{SchedulerName: scheduler, Containers: []v1.Container{{Name: "main", Image: "spark",
				Resources: v1.ResourceRequirements{Requests: memory, Limits: memory}}}},
		}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	}
	var last error
	require.True(t, eventually(func() bool {
		pod, err := submit("etl", "clicks", "retinue")
		last = err
		return err == nil && pod.Spec.ActiveDeadlineSeconds != nil && *pod.Spec.ActiveDeadlineSeconds == 7200
	}), "drivers in clicks have a deadline: %v", &last)
	require.True(t, eventually(func() bool {
		_, last = submit("svc-orders", "clicks", "retinue")
		return last != nil
	}), "svc-orders is refused in clicks")
	require.ErrorContains(t, last, "applications of svc-orders belong to namespace orders")
	pod, err := submit("svc-orders", "orders", "retinue")
	require.NoError(t, err)
	require.Nil(t, pod.Spec.ActiveDeadlineSeconds)
	_, err = submit("svc-orders", "clicks", "default-scheduler")
	require.NoError(t, err, "drivers of other schedulers are not looked at")
	_, err = submit("etl", "adhoc", "retinue")
	require.ErrorContains(t, err, "forbidden")
}
