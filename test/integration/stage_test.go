package integration_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/sparksim"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

// stage is a cluster with fresh nodes, watched from before the first pod on.
type stage struct {
	t         *testing.T
	cluster   *cluster.Cluster
	client    kubernetes.Interface
	chronicle *chronicle.Chronicle
	submitter sparksim.Submitter
	// namespaces are those of the test besides default.
	namespaces []string
	// halves are the applications that the test expects to be half-started, by name.
	halves []string
}

// newStage gives the test so many nodes of so many CPUs. When the test ends, no gang may ever have been half-started
// and no node overbooked.
func newStage(t *testing.T, nodes, cpu int) *stage {
	t.Helper()
	return newStageOn(t, start(t), nodes, cpu)
}

// newStageOn does so on a cluster of its own.
func newStageOn(t *testing.T, c *cluster.Cluster, nodes, cpu int) *stage {
	t.Helper()
	s := &stage{t: t, cluster: c, client: c.Client(), submitter: sparksim.Submitter{Client: c.Client(), Clock: clock.RealClock{}}}
	require.NoError(t, c.EnsureNodes(t.Context(), cluster.Nodes{Count: nodes, CPU: strconv.Itoa(cpu), Memory: "256Gi"}))
	ctx, stop := context.WithCancel(context.Background()) // it has to see the end of the test
	var err error
	s.chronicle, err = chronicle.Watch(ctx, c.Client(), clock.RealClock{})
	require.NoError(t, err)
	t.Cleanup(func() {
		s.requireWhole()
		if t.Failed() {
			s.tell()
		}
		s.clear()
		stop()
		s.chronicle.Close()
	})
	return s
}

// requireWhole holds the chronicle of the whole test against what Retinue promises.
func (s *stage) requireWhole() {
	for _, a := range s.chronicle.Applications() {
		if a.HalfStarted != "" && !slices.Contains(s.halves, a.Name) {
			s.t.Errorf("half-started gang: %s", a.HalfStarted)
		}
		if a.TakenBack && a.Ended.IsZero() {
			s.t.Errorf("half-started gang: driver %s is there although its executors were told that the gang is taken back", a.Driver)
		}
	}
	for _, node := range s.chronicle.Overbooked() {
		s.t.Errorf("overbooked node: %s", node)
	}
}

// tell prints what a failed test saw.
func (s *stage) tell() {
	for _, a := range s.chronicle.Applications() {
		s.t.Logf("%-12s driver %s on %q, slots %d, executors %d running (%d at most) %d pending %d refused; %s",
			a.Name, a.Phase, a.Node, a.Slots, a.Running, a.MostRunning, a.Pending, a.Refused, a.Reason)
	}
}

// clear deletes all pods, so that the next test finds the cluster empty.
func (s *stage) clear() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, namespace := range append(s.namespaces, metav1.NamespaceDefault) {
		pods := s.client.CoreV1().Pods(namespace)
		err := wait.PollUntilContextCancel(ctx, look, true, func(ctx context.Context) (bool, error) {
			if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
				return false, err
			}
			list, err := pods.List(ctx, metav1.ListOptions{Limit: 1})
			return err == nil && len(list.Items) == 0, err
		})
		if err != nil {
			s.t.Errorf("delete the pods of %s: %v", namespace, err)
		}
	}
	for _, namespace := range s.namespaces {
		if err := s.client.CoreV1().Namespaces().Delete(ctx, namespace, metav1.DeleteOptions{}); err != nil {
			s.t.Errorf("delete the namespace %s: %v", namespace, err)
		}
	}
}

// simulate lets drivers that run do their work. The result stops it.
func (s *stage) simulate() func() {
	simulator, err := sparksim.New(sparksim.Config{Client: s.client, Clock: clock.RealClock{}})
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := simulator.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	stop := sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	s.t.Cleanup(stop)
	return stop
}

// sized is an application of a driver with some CPUs and executors with some CPUs each. It works until it is told to
// end.
func sized(name string, driverCPU, executors, executorCPU int) sparksim.Application {
	return sparksim.Application{Name: name, Properties: map[string]string{
		"spark.kubernetes.scheduler.name": "retinue",
		"spark.driver.cores":              strconv.Itoa(driverCPU),
		"spark.executor.cores":            strconv.Itoa(executorCPU),
		"spark.executor.instances":        strconv.Itoa(executors),
	}}
}

func (s *stage) submit(application sparksim.Application) *v1.Pod {
	s.t.Helper()
	driver, err := s.submitter.Submit(s.t.Context(), application)
	require.NoError(s.t, err)
	return driver
}

// submitAll is several users who submit at the same time.
func (s *stage) submitAll(applications []sparksim.Application) {
	s.t.Helper()
	group, ctx := errgroup.WithContext(s.t.Context())
	group.SetLimit(16)
	for _, application := range applications {
		group.Go(func() error {
			_, err := s.submitter.Submit(ctx, application)
			return err
		})
	}
	require.NoError(s.t, group.Wait())
}

// await waits until the applications are as they should be; what says how.
func (s *stage) await(what string, condition func([]chronicle.Application) bool) {
	s.t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	require.NoError(s.t, s.chronicle.Await(ctx, condition), "%s: not so after %s", what, patience)
	s.t.Logf("%s after %.1f s", what, time.Since(began).Seconds())
}

// awaitOne waits for one application of the name.
func (s *stage) awaitOne(name, what string, condition func(chronicle.Application) bool) {
	s.t.Helper()
	s.await(name+" "+what, func(all []chronicle.Application) bool {
		for _, a := range all {
			if a.Name == name && condition(a) {
				return true
			}
		}
		return false
	})
}

func (s *stage) awaitWhole(name string, executors int) {
	s.t.Helper()
	s.awaitOne(name, "runs whole", func(a chronicle.Application) bool {
		return a.Phase == v1.PodRunning && a.Running == executors && a.Slots == executors
	})
}

// awaitWaiting waits for a reason with this code and returns all of it.
func (s *stage) awaitWaiting(name, reason string) string {
	s.t.Helper()
	var got string
	s.awaitOne(name, "waits, "+reason, func(a chronicle.Application) bool {
		got = a.Reason
		return a.Node == "" && strings.Contains(got, reason)
	})
	s.t.Logf("%s: %s", name, got)
	return got
}

func (s *stage) awaitEnd(name string) {
	s.t.Helper()
	s.awaitOne(name, "has ended", func(a chronicle.Application) bool { return !a.Ended.IsZero() && a.Running+a.Pending == 0 })
}

// annotate changes what a driver is told by annotations.
func (s *stage) annotate(driver *v1.Pod, key, value string) {
	s.t.Helper()
	require.NoError(s.t, s.tryAnnotate(driver.Namespace, driver.Name, key, value))
}

func (s *stage) tryAnnotate(namespace, pod, key, value string) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value)
	_, err := s.client.CoreV1().Pods(namespace).Patch(s.t.Context(), pod, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// annotateIfThere does so unless the driver has gone.
func (s *stage) annotateIfThere(namespace, driver, key, value string) {
	s.t.Helper()
	if err := s.tryAnnotate(namespace, driver, key, value); !apierrors.IsNotFound(err) {
		require.NoError(s.t, err)
	}
}

// namespace makes one, which goes with all that is in it when the test ends.
func (s *stage) namespace(name string) {
	s.t.Helper()
	_, err := s.client.CoreV1().Namespaces().Create(s.t.Context(), &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	require.NoError(s.t, err)
	s.namespaces = append(s.namespaces, name)
}

// apply creates objects of any kind; they go when the test ends.
func (s *stage) apply(manifests string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "objects.yaml")
	require.NoError(s.t, os.WriteFile(file, []byte(manifests), 0o600))
	out, err := s.cluster.Kubectl(s.t.Context(), "apply", "--validate=strict", "-f", file)
	require.NoError(s.t, err, "%s", out)
	s.t.Cleanup(func() {
		if out, err := s.cluster.Kubectl(context.Background(), "delete", "--ignore-not-found", "-f", file); err != nil {
			s.t.Errorf("delete the objects: %v\n%s", err, out)
		}
	})
}

// finish ends an application in good order.
func (s *stage) finish(driver *v1.Pod) {
	s.t.Helper()
	s.annotate(driver, sparksim.AnnotationRunTime, "0s")
}

// lone creates a pod that belongs to nothing and asks for so many CPUs.
func (s *stage) lone(name string, cpu int) {
	s.t.Helper()
	s.plain(name, v1.PodSpec{SchedulerName: "retinue", Containers: []v1.Container{{Name: "main", Image: "lone", Resources: v1.ResourceRequirements{
		Requests: v1.ResourceList{v1.ResourceCPU: *resource.NewQuantity(int64(cpu), resource.DecimalSI)},
	}}}})
}

func (s *stage) plain(name string, spec v1.PodSpec) *v1.Pod {
	s.t.Helper()
	pod, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).Create(s.t.Context(), &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}, metav1.CreateOptions{})
	require.NoError(s.t, err)
	return pod
}

func (s *stage) pod(name string) *v1.Pod {
	s.t.Helper()
	pod, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).Get(s.t.Context(), name, metav1.GetOptions{})
	require.NoError(s.t, err)
	return pod
}

// awaitBound waits until a lone pod has a node.
func (s *stage) awaitBound(name string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.pod(name).Spec.NodeName != "" }, patience, look, "%s is not bound", name)
}

// awaitRefused waits until the scheduler has tried a lone pod and says that there is no room for it.
func (s *stage) awaitRefused(name string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return refused(s.pod(name)) }, patience, look, "%s is not refused", name)
	s.requireUnbound(name)
}

// refused tells whether a pod says that the scheduler found no room for it.
func refused(pod *v1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c v1.PodCondition) bool {
		return c.Type == v1.PodScheduled && c.Status == v1.ConditionFalse
	})
}

func (s *stage) requireUnbound(name string) {
	s.t.Helper()
	require.Empty(s.t, s.pod(name).Spec.NodeName, "%s is bound", name)
}

func (s *stage) remove(name string) {
	s.t.Helper()
	require.NoError(s.t, s.client.CoreV1().Pods(metav1.NamespaceDefault).Delete(s.t.Context(), name, metav1.DeleteOptions{}))
}

// executorsOf names the executors of an application that run.
func (s *stage) executorsOf(name string) []string {
	s.t.Helper()
	list, err := s.client.CoreV1().Pods(metav1.NamespaceDefault).List(s.t.Context(), metav1.ListOptions{
		LabelSelector: spark.LabelRole + "=" + spark.RoleExecutor + "," + spark.LabelAppName + "=" + name,
		FieldSelector: "status.phase=Running",
	})
	require.NoError(s.t, err)
	var names []string
	for _, pod := range list.Items {
		names = append(names, pod.Name)
	}
	return names
}

// requireEmpty shows that nothing is held any more: a pod as large as a node fits on every node.
func (s *stage) requireEmpty(nodes, cpu int) {
	s.t.Helper()
	for i := range nodes {
		s.lone(fmt.Sprintf("whole-node-%d", i), cpu)
	}
	for i := range nodes {
		s.awaitBound(fmt.Sprintf("whole-node-%d", i))
	}
}
