package sparksim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/spark"
)

// Config of a Simulator.
type Config struct {
	Client kubernetes.Interface
	Clock  clock.WithTicker
	// Namespace whose drivers are played; "" means all.
	Namespace string
	// StartUp is how long a driver's JVM takes from the start of its container until it asks for executors.
	StartUp time.Duration
	// Workers is how many drivers may have a request under way at the same time; 0 means 16.
	Workers int
}

const defaultWorkers = 16

// The time between two attempts after a request that failed; it doubles in between.
const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// Simulator plays the drivers of a cluster. All of them share one queue of things to do: a driver that waits costs
// nothing but its entry.
type Simulator struct {
	config    Config
	pods      cache.SharedIndexInformer
	queue     workqueue.TypedRateLimitingInterface[driverKey]
	factories informers.SharedInformerFactory

	mu      sync.Mutex // guards everything below
	drivers map[driverKey]*played
}

// driverKey names one driver pod; another pod of its name is another driver.
type driverKey struct {
	namespace, name string
	uid             types.UID
}

// played is a driver and what is known of it. Only the worker that holds its key in the queue may touch it, except
// for vanished.
type played struct {
	driver *driver // nil before its configuration was read
	ended  bool
	// vanished holds ids of executors that were deleted, for those that were gone before the driver looked. Guarded
	// by Simulator.mu.
	vanished []int
}

// byDriver is the index of executors by the driver that owns them.
const byDriver = "driver"

// New is a Simulator that has not started.
func New(config Config) (*Simulator, error) {
	if config.Client == nil || config.Clock == nil {
		return nil, errors.New("sparksim: Client and Clock are required")
	}
	if config.Workers <= 0 {
		config.Workers = defaultWorkers
	}
	s := &Simulator{config: config, drivers: map[driverKey]*played{}}
	s.queue = workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[driverKey](firstRetry, lastRetry),
		workqueue.TypedRateLimitingQueueConfig[driverKey]{Name: "sparksim", Clock: config.Clock})
	s.factories = informers.NewSharedInformerFactoryWithOptions(config.Client, 0,
		informers.WithNamespace(config.Namespace),
		informers.WithTransform(slim),
		informers.WithTweakListOptions(func(options *metav1.ListOptions) { options.LabelSelector = spark.LabelRole }))
	s.pods = s.factories.Core().V1().Pods().Informer()
	if err := s.pods.AddIndexers(cache.Indexers{byDriver: indexByDriver}); err != nil {
		return nil, fmt.Errorf("sparksim: %w", err)
	}
	_, err := s.pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(pod any) { s.changed(pod) },
		UpdateFunc: func(_, pod any) { s.changed(pod) },
		DeleteFunc: func(pod any) { s.changed(pod); s.deleted(pod) },
	})
	if err != nil {
		return nil, fmt.Errorf("sparksim: %w", err)
	}
	return s, nil
}

// Run plays drivers until the context ends.
func (s *Simulator) Run(ctx context.Context) error {
	s.factories.Start(ctx.Done())
	defer s.factories.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), s.pods.HasSynced) {
		return nil // the context ended
	}
	var workers sync.WaitGroup
	for range s.config.Workers {
		workers.Go(func() {
			for s.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	s.queue.ShutDown()
	workers.Wait()
	return nil
}

// slim keeps of a pod what a driver looks at.
func slim(object any) (any, error) {
	pod, ok := object.(*v1.Pod)
	if !ok {
		return object, nil
	}
	kept := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, Labels: pod.Labels,
			OwnerReferences: pod.OwnerReferences, DeletionTimestamp: pod.DeletionTimestamp,
			Annotations: pod.Annotations,
		},
		Status: v1.PodStatus{Phase: pod.Status.Phase},
	}
	if spark.IsDriver(pod) {
		kept.Spec = v1.PodSpec{Volumes: pod.Spec.Volumes, SchedulerName: pod.Spec.SchedulerName}
	}
	return kept, nil
}

func indexByDriver(object any) ([]string, error) {
	pod, ok := object.(*v1.Pod)
	if !ok || !spark.IsExecutor(pod) {
		return nil, nil
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		return []string{string(owner.UID)}, nil
	}
	return nil, nil
}

// keyOf is the driver that a pod is, or that owns it.
func keyOf(pod *v1.Pod) (driverKey, bool) {
	if spark.IsDriver(pod) {
		return driverKey{pod.Namespace, pod.Name, pod.UID}, true
	}
	if owner := metav1.GetControllerOf(pod); owner != nil && owner.Kind == "Pod" {
		return driverKey{pod.Namespace, owner.Name, owner.UID}, true
	}
	return driverKey{}, false
}

func podOf(object any) (*v1.Pod, bool) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	pod, ok := object.(*v1.Pod)
	return pod, ok
}

func (s *Simulator) changed(object any) {
	if pod, ok := podOf(object); ok {
		if key, ok := keyOf(pod); ok {
			s.queue.Add(key)
		}
	}
}

func (s *Simulator) deleted(object any) {
	pod, ok := podOf(object)
	if !ok || !spark.IsExecutor(pod) {
		return
	}
	key, _ := keyOf(pod)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.drivers[key]; p != nil {
		p.vanished = append(p.vanished, executorID(pod))
	}
}

func (s *Simulator) next(ctx context.Context) bool {
	key, shutdown := s.queue.Get()
	if shutdown {
		return false
	}
	defer s.queue.Done(key)
	wake, err := s.play(ctx, key)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		klog.FromContext(ctx).V(2).Info("Driver is tried again", "driver", klog.KRef(key.namespace, key.name), "problem", err.Error())
		s.queue.AddRateLimited(key)
		return true
	case !wake.IsZero():
		s.queue.AddAfter(key, wake.Sub(s.config.Clock.Now()))
	}
	s.queue.Forget(key)
	return true
}

// executors are the pods that a driver owns, as far as the informer knows.
func (s *Simulator) executors(key driverKey) ([]*v1.Pod, error) {
	objects, err := s.pods.GetIndexer().ByIndex(byDriver, string(key.uid))
	if err != nil {
		return nil, fmt.Errorf("sparksim: %w", err)
	}
	pods := make([]*v1.Pod, 0, len(objects))
	for _, object := range objects {
		pods = append(pods, object.(*v1.Pod))
	}
	return pods, nil
}

// pod is the driver's pod, if it still exists.
func (s *Simulator) pod(key driverKey) (pod *v1.Pod, exists bool, err error) {
	object, found, err := s.pods.GetIndexer().GetByKey(key.namespace + "/" + key.name)
	if err != nil || !found {
		return nil, false, err
	}
	pod = object.(*v1.Pod)
	return pod, pod.UID == key.uid, nil
}
