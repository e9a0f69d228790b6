//go:build perf

package perf_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/test/utils/ktesting"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/perf/requests"
)

const (
	namespace = "applications" // what the namespaces of all pods begin with that are measured
	finish    = "finish"       // namespace and name of the pod that ends a workload

	// annotationGroup on a driver names the native PodGroup of its executors; without it they have none.
	annotationGroup = "perf.retinue.dev/executors-group"

	// creators is how many executors are created at a time, as many as scheduler_perf creates pods.
	creators = 30
)

// shape is how many pods a workload has.
type shape struct {
	applications int
	executors    int // of one application, besides its driver
	queues       int // namespaces that they are spread over
	// ends means that an application ends when all of it is bound.
	ends bool
	// held is how many pods have to be there before the scheduler gets any of them; zero means that it gets them as they come.
	held int
	// counted means that what the API server is asked is counted.
	counted bool
}

func (s shape) pods() int { return s.applications * (1 + s.executors) }

// observer watches one run of a workload and plays the drivers: a bound driver creates its executors.
type observer struct {
	shape  shape
	client kubernetes.Interface
	// drivers are bound and have not created their executors, and whole are one pod each of applications that have ended and
	// are not deleted. They hold all, so that the watch is never held up.
	drivers, whole chan *v1.Pod
	// submitted are drivers of Spark whose Service and ConfigMap do not exist yet.
	submitted chan *v1.Pod
	done      chan struct{} // closed when every pod is bound
	hold      *hold
	before    requests.Counts // answered before the first pod

	mu          sync.Mutex         // guards everything below
	bound       map[types.UID]bool // pod -> has a node
	first, last time.Time          // when the first pod was seen, or those that were held were let in, and the last binding
	starts      map[string]*start  // namespace/application -> its start
	node        string             // of the last pod
	requests    requests.Counts    // answered from the first pod to some time after the last binding; nil if they are not counted
	meter       *meter
}

// start of one application.
type start struct {
	created time.Time // its first pod was seen; zero if that was held
	bound   time.Time // its last pod was seen bound, so far
	pods    int       // that are bound
}

// observe begins, and ends with the test.
// profiles is what the names of profiles begin with; empty means that none are kept.
func observe(tb ktesting.TB, client kubernetes.Interface, shape shape, hold *hold, profiles string) *observer {
	o := &observer{
		shape:     shape,
		client:    client,
		drivers:   make(chan *v1.Pod, shape.applications),
		whole:     make(chan *v1.Pod, shape.applications),
		submitted: make(chan *v1.Pod, shape.applications),
		done:      make(chan struct{}),
		hold:      hold,
		bound:     map[types.UID]bool{},
		starts:    map[string]*start{},
		meter:     &meter{profiles: profiles},
	}
	ctx, cancel := context.WithCancel(context.Background())
	if shape.counted {
		var err error
		if o.before, err = requests.Answered(ctx, client); err != nil {
			tb.Fatalf("observer: %v", err)
		}
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(pod any) { o.see(pod.(*v1.Pod)) },
		UpdateFunc: func(_, pod any) { o.see(pod.(*v1.Pod)) },
	}); err != nil {
		tb.Fatalf("observer: %v", err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	var running sync.WaitGroup
	fail := func(err error) {
		if ctx.Err() == nil {
			tb.Errorf("observer: %v", err)
		}
	}
	each := func(pods <-chan *v1.Pod, do func(context.Context, *v1.Pod) error) {
		for range creators {
			running.Go(func() {
				for {
					select {
					case <-ctx.Done():
						return
					case pod := <-pods:
						if err := do(ctx, pod); err != nil {
							fail(err)
						}
					}
				}
			})
		}
	}
	each(o.submitted, o.submit)
	each(o.drivers, o.createExecutors)
	each(o.whole, o.end)
	if shape.held > 0 {
		running.Go(func() {
			select {
			case <-ctx.Done():
			case <-hold.all:
				o.letIn()
			}
		})
	}
	running.Go(func() {
		select {
		case <-ctx.Done():
		case <-o.done:
			err := o.count(ctx)
			if err == nil {
				err = o.finish(ctx)
			}
			if err != nil {
				fail(err)
			}
		}
	})
	tb.Cleanup(func() {
		cancel()
		running.Wait()
		factory.Shutdown()
	})
	return o
}

// see takes note of a pod.
func (o *observer) see(pod *v1.Pod) {
	if !strings.HasPrefix(pod.Namespace, namespace) {
		return
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	held := o.shape.held > 0
	if o.first.IsZero() && !held {
		o.first = now
		o.meter.start()
	}
	application := pod.Namespace + "/" + applicationOf(pod)
	if o.starts[application] == nil {
		o.starts[application] = &start{}
		if !held {
			o.starts[application].created = now
		}
		if spark.IsDriver(pod) {
			o.submitted <- pod
		}
	}
	if pod.Spec.NodeName == "" || o.bound[pod.UID] {
		return
	}
	o.bound[pod.UID] = true
	s := o.starts[application]
	s.pods++
	o.last, s.bound, o.node = now, now, pod.Spec.NodeName
	if pod.Annotations[spark.AnnotationRoles] != "" || spark.IsDriver(pod) {
		o.drivers <- pod
	}
	if o.shape.ends && s.pods == 1+o.shape.executors {
		o.whole <- pod
	}
	if len(o.bound) == o.shape.pods() {
		o.meter.stop()
		close(o.done)
	}
}

// applicationOf names the application that a pod belongs to.
func applicationOf(pod *v1.Pod) string {
	return cmp.Or(pod.Labels[spark.LabelGang], pod.Labels[spark.LabelApp])
}

// count takes what the API server has been asked. Events are written behind the bindings.
func (o *observer) count(ctx context.Context) error {
	if !o.shape.counted {
		return nil
	}
	after, err := requests.Settled(ctx, o.client)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.requests = after.Since(o.before)
	return nil
}

// letIn lets all pods in that are held: what is measured begins.
func (o *observer) letIn() {
	o.mu.Lock()
	o.meter.start()
	o.first = time.Now()
	o.mu.Unlock()
	o.hold.release()
}

// end deletes all pods of the application that a pod belongs to.
func (o *observer) end(ctx context.Context, pod *v1.Pod) error {
	now := int64(0)
	application := applicationOf(pod) // and the name of its driver
	for i := range 1 + o.shape.executors {
		name := application
		if i > 0 {
			name = executorName(application, i)
		}
		if err := o.client.CoreV1().Pods(pod.Namespace).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			return fmt.Errorf("delete a pod of an application that has ended: %w", err)
		}
	}
	return nil
}

func executorName(driver string, number int) string { return fmt.Sprintf("%s-exec-%d", driver, number) }

func (o *observer) createExecutors(ctx context.Context, driver *v1.Pod) error {
	for i := range o.shape.executors {
		executor := &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: driver.Namespace,
				Name:      executorName(driver.Name, i+1),
				Labels:    map[string]string{spark.LabelGang: driver.Labels[spark.LabelGang], spark.LabelGangRole: "executor"},
			},
			Spec: *driver.Spec.DeepCopy(),
		}
		executor.Spec.NodeName = ""
		if spark.IsDriver(driver) {
			likeSpark(executor, driver, i+1)
		}
		if group := driver.Annotations[annotationGroup]; group != "" {
			executor.Spec.SchedulingGroup = &v1.PodSchedulingGroup{PodGroupName: &group}
		}
		if _, err := o.client.CoreV1().Pods(driver.Namespace).Create(ctx, executor, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("create executor: %w", err)
		}
	}
	return nil
}

// finish binds the pod that the workload waits for, as soon as it is there.
func (o *observer) finish(ctx context.Context) error {
	binding := &v1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: finish, Name: finish}, Target: v1.ObjectReference{Kind: "Node", Name: o.node}}
	var last error
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = o.client.CoreV1().Pods(finish).Bind(ctx, binding, metav1.CreateOptions{})
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("bind pod %s/%s: %w (%w)", finish, finish, err, last)
	}
	return nil
}

// result of a workload that has ended; found is false if it has not.
func (o *observer) result() (result run, found bool, err error) {
	select {
	case <-o.done:
	default:
		return run{}, false, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	result = run{pods: o.shape.pods(), applications: o.shape.applications, took: o.last.Sub(o.first)}
	for _, s := range o.starts {
		created := s.created
		if created.IsZero() {
			created = o.first
		}
		result.starts = append(result.starts, s.bound.Sub(created))
	}
	result.requests = o.requests
	result.usage, err = o.meter.usage()
	return result, true, err
}
