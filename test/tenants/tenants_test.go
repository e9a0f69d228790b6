package tenants

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/sparksim"
	"retinue.dev/retinue/test/tenants/hostile"
)

var realClock = clock.RealClock{}

const (
	nodes, cpu = 12, 16
	// limit of the hostile namespace's queue, in cores.
	limit = 40
	// failures is how many attempts of a good tenant's application may fail although there is room for it.
	failures = 3
	// memory is how much more the scheduler may use than the objects themselves take, and of these several copies while they are
	// decoded, in bytes; twice, because garbage is collected when it is as much as what lives.
	memory = 2 * 64 << 20
	// later is how much more time an application of the good tenant may take to start beside the hostile one.
	later = time.Second
)

// TestNoTenantStopsRobsOrBlindsAnother plays every trick, and then a mixture of them, against a tenant with ordinary applications.
func TestNoTenantStopsRobsOrBlindsAnother(t *testing.T) {
	c := start(t, nodes, cpu)
	queues(t, fmt.Sprintf(`
{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: good}, spec: {namespaces: [good], guaranteed: {cpu: 64}}}
---
{apiVersion: retinue.dev/v1alpha1, kind: Queue, metadata: {name: hostile}, spec: {namespaces: [hostile], limit: {cpu: %d}}}
`, limit), "good", "hostile")
	good := namespace(t, "good", "alice")
	installPodGroups(t)
	m := hostile.New(namespace(t, "hostile", "mallory", rbacv1.PolicyRule{APIGroups: []string{"scheduling.x-k8s.io"}, Resources: []string{"podgroups"},
		Verbs: []string{"get", "list", "create", "patch", "delete"}}), "hostile", *seed, func(err error) { t.Error(err) })
	simulate(t, "good")

	work := sparksim.Submitter{Client: good, Clock: realClock, NoService: true}
	ordinary := 0
	// submit returns how long it takes until the driver has a node, and with it all its executors their room.
	submit := func() time.Duration {
		ordinary++
		began := time.Now()
		driver, err := work.Submit(t.Context(), sparksim.Application{Name: fmt.Sprint("app-", ordinary), Namespace: "good", Properties: map[string]string{
			"spark.kubernetes.scheduler.name": "retinue", "spark.driver.cores": "1", "spark.executor.cores": "2", "spark.executor.instances": "3",
			"spark.kubernetes.allocation.batch.delay": "200ms", "spark.scheduler.minRegisteredResourcesRatio": "1.0", "spark.scheduler.maxRegisteredResourcesWaitingTime": "10m",
			"spark.kubernetes.driver.annotation." + sparksim.AnnotationRunTime: "300ms",
		}})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			pod, err := good.CoreV1().Pods("good").Get(t.Context(), driver.Name, metav1.GetOptions{})
			return err == nil && pod.Spec.NodeName != ""
		}, patience, look/5, "%s does not start", driver.Name)
		return time.Since(began)
	}
	var alone, beside []time.Duration // until applications started, without the hostile tenant and with it
	names := hostile.Tricks()
	for range len(names) + *objects/50 {
		alone = append(alone, submit())
	}
	ended(t, ordinary)
	before := resident(t, c)

	for _, name := range names {
		m.Play(name)
		beside = append(beside, submit())
	}
	ended(t, ordinary)
	within(t)
	frugal(t)
	restart(t) // what is forged is read when it starts
	for batch := 0; m.Made < *objects; batch++ {
		for range 50 {
			m.PlayAny()
		}
		beside = append(beside, submit())
		if batch%8 == 7 {
			clear(t, m.Namespace) // pods come and go
		}
	}
	ended(t, ordinary)
	within(t)
	frugal(t)
	after := resident(t, c)
	t.Logf("%d hostile objects of %d KiB, %d refused by the API server; the scheduler has used %d MiB at most, and %d before them", m.Made, m.Bytes>>10, m.Refused, after>>20, before>>20)
	t.Logf("%d applications started after %v in the median and %v in the 99th percentile without the hostile tenant, %d after %v and %v beside it",
		len(alone), percentile(alone, 50), percentile(alone, 99), len(beside), percentile(beside, 50), percentile(beside, 99))
	assert.LessOrEqual(t, after-before, memory+8*m.Bytes)
	assert.LessOrEqual(t, percentile(beside, 50), percentile(alone, 50)+later)
	if len(beside) >= 50 { // as in make tenants; of fewer it is the slowest
		assert.LessOrEqual(t, percentile(beside, 99), percentile(alone, 99)+later)
	}
	namesNobody(t, "good", `hostile|mallory|\b(`+strings.Join(slices.Sorted(maps.Keys(m.Kinds)), "|")+`)-\d`)
	namesNobody(t, m.Namespace, `\bgood\b|alice|\bapp-\d`)
	for driver, failed := range failedAttempts(t, "good") {
		assert.LessOrEqual(t, failed, failures, "attempts of %s that failed", driver)
	}

	deleteGroups(t)
	// When they have gone, nothing is left: the sums are those of nothing, and a pod as large as a node fits on every node.
	clear(t, m.Namespace)
	clear(t, "good")
	for _, queue := range []string{"good", "hostile"} {
		awaitQueue(t, queue, func(status v1alpha1.QueueStatus) bool {
			for _, used := range status.Used {
				if !used.IsZero() {
					return false
				}
			}
			return status.Running == 0 && status.Waiting == 0
		})
	}
	for i := range nodes {
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("whole-node-", i)}, Spec: v1.PodSpec{SchedulerName: "retinue", Containers: []v1.Container{{
			Name: "main", Image: "whole", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(strconv.Itoa(cpu))}},
		}}}}
		_, err := good.CoreV1().Pods("good").Create(t.Context(), pod, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		list, err := good.CoreV1().Pods("good").List(t.Context(), metav1.ListOptions{})
		return err == nil && !slices.ContainsFunc(list.Items, func(pod v1.Pod) bool { return pod.Spec.NodeName == "" })
	}, patience, look, "something is held still")
	clear(t, "good")
}

// percentile of some durations, in milliseconds.
func percentile(of []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[(len(sorted)-1)*percent/100].Round(time.Millisecond)
}

// within shows that the hostile namespace holds no more than its queue may, but for pods that its user has bound, and for those it
// has resized: nobody asks a scheduler about the first, and that the others are infeasible a kubelet would say, which fake nodes have
// not.
func within(t *testing.T) {
	t.Helper()
	list, err := shared.Client().CoreV1().Pods("hostile").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	bound := int64(0)
	for i := range list.Items {
		if name := list.Items[i].Name; strings.HasPrefix(name, "forged") || strings.HasPrefix(name, "resized") && list.Items[i].Spec.NodeName != "" {
			bound += list.Items[i].Spec.Containers[0].Resources.Requests.Cpu().Value()
		}
	}
	used := int64(0)
	awaitQueue(t, "hostile", func(status v1alpha1.QueueStatus) bool { // which is written now and then
		used = status.Used.Cpu().Value()
		return used >= 0 && used <= limit+bound
	})
	t.Logf("the hostile queue holds %d cores, %d of them by pods that nobody was asked about", used, bound)
}

func queues(t *testing.T, manifests string, names ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "queues.yaml")
	require.NoError(t, os.WriteFile(file, []byte(manifests), 0o600))
	out, err := shared.Kubectl(t.Context(), "apply", "--validate=strict", "-f", file)
	require.NoError(t, err, "%s", out)
	t.Cleanup(func() {
		if out, err := shared.Kubectl(context.Background(), append([]string{"delete", "--ignore-not-found", "queue"}, names...)...); err != nil {
			t.Errorf("delete the queues: %v\n%s", err, out)
		}
	})
}

// awaitQueue waits until the status of a queue is as wanted.
func awaitQueue(t *testing.T, name string, condition func(v1alpha1.QueueStatus) bool) v1alpha1.QueueStatus {
	t.Helper()
	var queue v1alpha1.Queue
	require.Eventually(t, func() bool {
		out, err := shared.Kubectl(t.Context(), "get", "queue", name, "-o", "json")
		queue = v1alpha1.Queue{}
		return err == nil && json.Unmarshal(out, &queue) == nil && queue.Status.ObservedGeneration == queue.Generation && condition(queue.Status)
	}, patience, time.Second, "queue %s", name)
	return queue.Status
}

// simulate lets the drivers of a namespace do their work until the test ends.
func simulate(t *testing.T, namespace string) {
	t.Helper()
	simulator, err := sparksim.New(sparksim.Config{Client: shared.Client(), Clock: realClock, Namespace: namespace})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- simulator.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// ended waits until so many applications of the good tenant have succeeded.
func ended(t *testing.T, count int) {
	t.Helper()
	succeeded := 0
	require.Eventually(t, func() bool {
		list, err := shared.Client().CoreV1().Pods("good").List(t.Context(), metav1.ListOptions{LabelSelector: "spark-role=driver", FieldSelector: "status.phase=Succeeded"})
		if err == nil {
			succeeded = len(list.Items)
		}
		return err == nil && succeeded == count
	}, patience, 10*look, "not all of %d applications have ended", count)
}

// failedAttempts are how often the scheduler has tried drivers of a namespace in vain, as kube-scheduler logs it: of most attempts that fail
// users hear nothing new.
func failedAttempts(t *testing.T, namespace string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(shared.LogFile(cluster.Scheduler))
	require.NoError(t, err)
	require.Contains(t, string(text), "Unable to schedule pod", "the hostile tenant at least has failed")
	failed := map[string]int{}
	for _, match := range regexp.MustCompile(`"Unable to schedule pod[^"]*" pod="`+regexp.QuoteMeta(namespace)+`/([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
		failed[match[1]]++
	}
	return failed
}

// resident is the most memory that the scheduler has used since it started, in bytes.
func resident(t *testing.T, c *cluster.Cluster) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.PID(cluster.Scheduler)))
	require.NoError(t, err)
	_, line, found := strings.Cut(string(status), "VmHWM:")
	require.True(t, found)
	kib, err := strconv.Atoi(strings.Fields(line)[0])
	require.NoError(t, err)
	return kib << 10
}

// clear deletes all pods of a namespace, whatever holds up their deletion.
func clear(t *testing.T, namespace string) {
	t.Helper()
	pods, now := shared.Client().CoreV1().Pods(namespace), int64(0)
	require.Eventually(t, func() bool {
		if err := pods.DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}); err != nil {
			return false
		}
		list, err := pods.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return false
		}
		for _, pod := range list.Items {
			if len(pod.Finalizers) > 0 {
				_, err := pods.Patch(t.Context(), pod.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
				require.True(t, err == nil || apierrors.IsNotFound(err), "%v", err)
			}
		}
		return len(list.Items) == 0
	}, patience, look)
}
