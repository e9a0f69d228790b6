package sparksim

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/cluster"
)

// world is a Simulator in front of an API that only stores: the test plays scheduler and nodes.
type world struct {
	t      *testing.T
	client *fake.Clientset
	clock  *clocktesting.FakeClock
}

func newWorld(t *testing.T, config Config) *world {
	w := &world{t: t, client: fake.NewClientset(), clock: clocktesting.NewFakeClock(epoch)}
	w.client.PrependReactor("create", "pods", identify)
	t.Cleanup(w.start(config))
	return w
}

// identify gives a new pod a UID, as an API server does.
func identify(action k8stesting.Action) (bool, runtime.Object, error) {
	action.(k8stesting.CreateAction).GetObject().(*v1.Pod).UID = types.UID(randomHex(8))
	return false, nil, nil
}

// start lets a Simulator run; the result stops it.
func (w *world) start(config Config) func() {
	config.Client, config.Clock = w.client, w.clock
	simulator, err := New(config)
	require.NoError(w.t, err)
	ctx, stop := context.WithCancel(w.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := simulator.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	return sync.OnceFunc(func() {
		stop()
		running.Wait()
	})
}

// submit creates an application whose driver is pending.
func (w *world) submit(properties map[string]string) *v1.Pod {
	w.t.Helper()
	driver, err := Submitter{Client: w.client, Clock: w.clock}.Submit(w.t.Context(), Application{Name: "app", Properties: properties})
	require.NoError(w.t, err)
	return driver
}

func (w *world) become(name string, phase v1.PodPhase) {
	w.t.Helper()
	pod, err := w.client.CoreV1().Pods("default").Get(w.t.Context(), name, metav1.GetOptions{})
	require.NoError(w.t, err)
	pod.Status.Phase = phase
	_, err = w.client.CoreV1().Pods("default").UpdateStatus(w.t.Context(), pod, metav1.UpdateOptions{})
	require.NoError(w.t, err)
}

// executors are those that exist, by name.
func (w *world) executors() map[string]*v1.Pod {
	list, err := w.client.CoreV1().Pods("default").List(w.t.Context(), metav1.ListOptions{LabelSelector: spark.LabelRole + "=" + spark.RoleExecutor})
	require.NoError(w.t, err)
	pods := map[string]*v1.Pod{}
	for i := range list.Items {
		pods[list.Items[i].Name] = &list.Items[i]
	}
	return pods
}

func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()
	require.Eventually(w.t, condition, time.Minute, time.Millisecond, what)
}

// awaitExecutors waits until so many exist and returns one name of them for each.
func (w *world) awaitExecutors(n int) []string {
	w.t.Helper()
	var names []string
	w.eventually("executors", func() bool {
		names = nil
		for name := range w.executors() {
			names = append(names, name)
		}
		return len(names) == n
	})
	return names
}

// finished is what the fake node of a pod is told.
func (w *world) finished(name string) string {
	pod, err := w.client.CoreV1().Pods("default").Get(w.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return pod.Annotations[cluster.FinishAnnotation]
}

func TestADriverLivesItsLife(t *testing.T) {
	w := newWorld(t, Config{})
	driver := w.submit(map[string]string{
		"spark.executor.instances": "3", "spark.executor.memory": "2g", "spark.kubernetes.scheduler.name": "retinue",
		driverAnnotation + AnnotationRunTime: "10s",
	})
	require.Empty(t, w.executors(), "the driver does not run yet")
	w.become(driver.Name, v1.PodRunning)
	names := w.awaitExecutors(3)
	for _, name := range names {
		executor := w.executors()[name]
		require.Equal(t, "retinue", executor.Spec.SchedulerName)
		require.Equal(t, spark.AppID(driver), spark.AppID(executor))
		require.Equal(t, driver.UID, metav1.GetControllerOf(executor).UID)
		require.Equal(t, "2432Mi", executor.Spec.Containers[0].Resources.Requests.Memory().String())
		w.become(name, v1.PodRunning)
	}
	w.eventually("the end", func() bool {
		w.clock.Step(time.Second)
		return w.finished(driver.Name) == string(v1.PodSucceeded)
	})
	require.GreaterOrEqual(t, w.clock.Since(epoch), 10*time.Second)
	require.Empty(t, w.executors(), "a driver deletes its executors before it ends")
}

func TestACrashLeavesPendingExecutorsAndEndsRunningOnes(t *testing.T) {
	w := newWorld(t, Config{})
	driver := w.submit(map[string]string{driverAnnotation + AnnotationOutcome: "Failed"})
	w.become(driver.Name, v1.PodRunning)
	names := w.awaitExecutors(2)
	w.become(names[0], v1.PodRunning)
	_, err := w.client.CoreV1().Pods("default").Patch(t.Context(), driver.Name, types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"`+AnnotationRunTime+`":"0s"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	w.eventually("the crash", func() bool { return w.finished(driver.Name) == string(v1.PodFailed) })
	w.become(driver.Name, v1.PodFailed)
	w.eventually("the end of the running executor", func() bool { return w.finished(names[0]) == string(v1.PodFailed) })
	require.Empty(t, w.finished(names[1]))
	w.become(names[1], v1.PodRunning)
	w.eventually("the end of the one that came too late", func() bool { return w.finished(names[1]) == string(v1.PodFailed) })
}

func TestADriverStartsAfterItsStartUpTime(t *testing.T) {
	w := newWorld(t, Config{StartUp: 3 * time.Second})
	driver := w.submit(nil)
	w.become(driver.Name, v1.PodRunning)
	w.eventually("executors", func() bool {
		if len(w.executors()) == 2 {
			return true
		}
		w.clock.Step(100 * time.Millisecond)
		return false
	})
	require.GreaterOrEqual(t, w.clock.Since(epoch), 3*time.Second)
}

func TestADeletedExecutorIsReplaced(t *testing.T) {
	w := newWorld(t, Config{})
	driver := w.submit(map[string]string{"spark.executor.instances": "1"})
	w.become(driver.Name, v1.PodRunning)
	first := w.awaitExecutors(1)[0]
	require.NoError(t, w.client.CoreV1().Pods("default").Delete(t.Context(), first, metav1.DeleteOptions{}))
	w.eventually("another executor", func() bool {
		w.clock.Step(time.Second)
		for name := range w.executors() {
			return name != first
		}
		return false
	})
}

func TestADriverWaitsForItsConfigMap(t *testing.T) {
	w := newWorld(t, Config{})
	submitter := Submitter{Client: w.client, Clock: w.clock, Delay: time.Hour}
	done := make(chan *v1.Pod, 1)
	go func() {
		driver, err := submitter.Submit(t.Context(), Application{Name: "late"})
		if err != nil {
			t.Error(err)
		}
		done <- driver
	}()
	var driver v1.Pod
	w.eventually("the driver", func() bool {
		list, err := w.client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
		require.NoError(t, err)
		if len(list.Items) == 1 {
			driver = list.Items[0]
		}
		return len(list.Items) == 1
	})
	w.become(driver.Name, v1.PodRunning)
	w.eventually("the executors", func() bool {
		w.clock.Step(time.Minute)
		return len(w.executors()) == 2
	})
	require.NotNil(t, <-done)
}

func TestADriverThatCannotUseItsSettingsFails(t *testing.T) {
	w := newWorld(t, Config{})
	driver := w.submit(map[string]string{"spark.executor.memory": "a lot"})
	w.become(driver.Name, v1.PodRunning)
	w.eventually("the failure", func() bool { return w.finished(driver.Name) == string(v1.PodFailed) })
	require.Empty(t, w.executors())
}

func TestCodeOverrulesWhatWasSubmitted(t *testing.T) {
	w := newWorld(t, Config{})
	driver := w.submit(map[string]string{
		"spark.executor.instances":        "2",
		driverAnnotation + AnnotationCode: "spark.executor.instances=4\nspark.executor.memory=8g",
	})
	w.become(driver.Name, v1.PodRunning)
	for _, name := range w.awaitExecutors(4) {
		require.Equal(t, "9011Mi", w.executors()[name].Spec.Containers[0].Resources.Requests.Memory().String())
	}
}

func TestASimulatorThatWasRestartedGoesOn(t *testing.T) {
	w := &world{t: t, client: fake.NewClientset(), clock: clocktesting.NewFakeClock(epoch)}
	w.client.PrependReactor("create", "pods", identify)
	stop := w.start(Config{})
	driver := w.submit(map[string]string{"spark.executor.instances": "2"})
	w.become(driver.Name, v1.PodRunning)
	w.awaitExecutors(2)
	stop()
	for name, executor := range w.executors() {
		if executorID(executor) == 1 {
			require.NoError(t, w.client.CoreV1().Pods("default").Delete(t.Context(), name, metav1.DeleteOptions{}))
		}
	}
	t.Cleanup(w.start(Config{}))
	w.awaitExecutors(2)
	ids := map[int]bool{}
	for _, executor := range w.executors() {
		ids[executorID(executor)] = true
	}
	require.Equal(t, map[int]bool{2: true, 3: true}, ids)
}
