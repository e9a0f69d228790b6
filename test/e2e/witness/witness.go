package witness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Witness watches pods, services and configuration maps of all namespaces from the start on.
type Witness struct {
	mu     sync.Mutex // guards everything below
	record *Record
	births births
	lives  lives
	err    error // a watch that failed; what was seen is then incomplete
}

// Watch begins to watch a cluster whose nodes are there already. It ends with the context.
func Watch(ctx context.Context, client kubernetes.Interface, gangs Gangs) (*Witness, error) {
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	allocatable := map[string]corev1.ResourceList{}
	for _, node := range nodes.Items {
		allocatable[node.Name] = node.Status.Allocatable
	}
	w := &Witness{record: NewRecord(gangs, allocatable), births: newBirths(), lives: lives{}}
	core := client.CoreV1()
	for _, watched := range []struct {
		list  func(context.Context) (runtime.Object, error)
		watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
	}{
		{func(ctx context.Context) (runtime.Object, error) {
			return core.Pods("").List(ctx, metav1.ListOptions{})
		}, core.Pods("").Watch},
		{func(ctx context.Context) (runtime.Object, error) {
			return core.Services("").List(ctx, metav1.ListOptions{})
		}, core.Services("").Watch},
		{func(ctx context.Context) (runtime.Object, error) {
			return core.ConfigMaps("").List(ctx, metav1.ListOptions{})
		}, core.ConfigMaps("").Watch},
	} {
		if err := w.follow(ctx, watched.list, watched.watch); err != nil {
			return nil, fmt.Errorf("witness: %w", err)
		}
	}
	return w, nil
}

// follow takes what exists and then every change. The goroutine ends with the context or with the watch.
func (w *Witness) follow(
	ctx context.Context,
	list func(context.Context) (runtime.Object, error),
	watchFrom func(context.Context, metav1.ListOptions) (watch.Interface, error),
) error {
	existing, err := list(ctx)
	if err != nil {
		return err
	}
	listMeta, err := meta.ListAccessor(existing)
	if err != nil {
		return err
	}
	if err := eachItem(existing, func(object Object) error { return w.see(watch.Added, object, time.Now()) }); err != nil {
		return err
	}
	// It goes on after a broken connection, from where it was, so that no change is missed.
	watcher, err := watchtools.NewRetryWatcherWithContext(ctx, listMeta.GetResourceVersion(),
		&cache.ListWatch{WatchFuncWithContext: watchFrom})
	if err != nil {
		return err
	}
	go func() {
		defer watcher.Stop()
		for event := range watcher.ResultChan() {
			object, ok := event.Object.(Object)
			if event.Type == watch.Error || !ok {
				w.fail(fmt.Errorf("watch: %v event %v", event.Type, event.Object))
				return
			}
			if err := w.see(event.Type, object, time.Now()); err != nil {
				w.fail(err)
				return
			}
		}
		if ctx.Err() == nil {
			w.fail(errors.New("a watch ended early"))
		}
	}()
	return nil
}

func (w *Witness) see(kind watch.EventType, object Object, at time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	pod, isPod := object.(*corev1.Pod)
	if isPod {
		if err := w.lives.add(pod, kind == watch.Deleted, at); err != nil {
			return err
		}
	}
	if kind == watch.Deleted {
		if isPod {
			w.record.Deleted(pod)
		}
		return nil
	}
	if isPod {
		w.record.Pod(pod)
	}
	return w.births.add(object, at)
}

func (w *Witness) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = errors.Join(w.err, err)
}

// Violations are what must not have happened to pods of one scheduler. An error means that the witness did not see
// everything.
func (w *Witness) Violations(scheduler string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var violations []string
	for _, violation := range w.record.Violations() {
		if violation.Scheduler == scheduler {
			violations = append(violations, violation.What)
		}
	}
	return violations, w.err
}

// Applications are the births of every application seen, in the order of their drivers.
func (w *Witness) Applications() []Births {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Births
	for uid := range w.births.drivers {
		all = append(all, w.births.of(uid))
	}
	slices.SortFunc(all, func(x, y Births) int { return int(x.Driver.Version) - int(y.Driver.Version) })
	return all
}

// Lives are what became of the pods of one application, by its id, in the order of their birth. An error means that the
// witness did not see everything.
func (w *Witness) Lives(app string) ([]Life, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lives.of(app), w.err
}
