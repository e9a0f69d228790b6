package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/history/meter"
	"retinue.dev/retinue/pkg/history/store"
)

// How often the watch does what it does.
const (
	flushEvery = time.Second
	beatEvery  = 15 * time.Second
	rollEvery  = time.Minute
	// lookEvery is how often it is looked whether the cluster has Queues by now.
	lookEvery  = time.Minute
	purgeEvery = time.Hour
	checkEvery = day
	// checked is how much of the past is checked every day.
	checked = 3 * day
)

// watch is the meter at work: informers tell it what is there, and a loop writes.
type watch struct {
	options *options
	clients *clients
	store   *store.Store
	meter   *meter.Meter
	sweeper *meter.Sweeper
	metrics *meterMetrics
	// first are the informers of what the meter has to know before the first pod: nodes and namespaces.
	first, pods informers.SharedInformerFactory
	queues      bool // the cluster's Queues are followed
	// connected is whether the last that was heard of pods was an object, rather than an error of the watch.
	connected atomic.Bool
	// known means that all pods have been seen once.
	known atomic.Bool
	done  map[string]time.Time // what is done every so often -> when it was done last
}

// newWatch makes it; nothing is watched yet.
func newWatch(o *options, c *clients, s *store.Store) (*watch, error) {
	w := &watch{options: o, clients: c, store: s, done: map[string]time.Time{}, metrics: newMetrics()}
	w.meter = meter.New(meter.Outside{Apply: s.Apply, Clock: o.clock, ClassLabel: o.classLabel})
	slim := informers.WithTransform(meter.Slim)
	w.first = informers.NewSharedInformerFactory(c.typed, 0)
	w.pods = informers.NewSharedInformerFactoryWithOptions(c.typed, 0, slim)
	nodes := w.first.Core().V1().Nodes().Informer()
	if err := nodes.SetTransform(meter.Slim); err != nil {
		return nil, err
	}
	pods := w.pods.Core().V1().Pods().Informer()
	err := pods.SetWatchErrorHandlerWithContext(func(ctx context.Context, reflector *cache.Reflector, err error) {
		w.connected.Store(false)
		cache.DefaultWatchErrorHandler(ctx, reflector, err)
	})
	return w, errors.Join(err,
		follow(nodes, w.meter.Node),
		follow(w.first.Core().V1().Namespaces().Informer(), w.meter.Namespace),
		follow(pods, func(pod *v1.Pod, gone bool) {
			w.connected.Store(true)
			w.meter.Pod(pod, gone)
		}))
}

// follow tells of every object that is there, comes, changes or goes. An object of the name of another, whose deletion the watch has
// missed, is another: its UID differs.
func follow[T interface{ GetUID() types.UID }](informer cache.SharedIndexInformer, tell func(object T, gone bool)) error {
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { tell(object.(T), false) },
		UpdateFunc: func(before, object any) {
			if was := before.(T); was.GetUID() != object.(T).GetUID() {
				tell(was, true)
			}
			tell(object.(T), false)
		},
		DeleteFunc: func(object any) {
			if unknown, missed := object.(cache.DeletedFinalStateUnknown); missed {
				object = unknown.Obj
			}
			if last, ok := object.(T); ok {
				tell(last, true)
			}
		},
	})
	return err
}

// run watches and writes until the context ends.
func (w *watch) run(ctx context.Context) error {
	state, err := w.store.State(ctx)
	if err != nil {
		return err
	}
	w.sweeper = meter.NewSweeper(w.store, w.meter, state.Heartbeat)
	w.first.Start(ctx.Done())
	w.first.WaitForCacheSync(ctx.Done())
	w.followQueues(ctx)
	w.pods.Start(ctx.Done())
	w.pods.WaitForCacheSync(ctx.Done())
	w.known.Store(ctx.Err() == nil)
	klog.InfoS("Watching", "epoch", time.UnixMilli(state.Epoch).UTC(), "heartbeat", time.UnixMilli(state.Heartbeat).UTC())
	ticker := w.options.clock.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			// What was seen last is written, however it ends.
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return w.meter.Flush(last)
		case <-ticker.C():
			w.step(ctx)
		}
	}
}

// step does what is due. What fails is tried again when it is due next.
func (w *watch) step(ctx context.Context) {
	at := w.options.clock.Now()
	if err := w.meter.Flush(ctx); err != nil {
		w.failed(ctx, "flush", err)
		return // nothing else can be written either
	}
	w.metrics.behind(w.meter.Behind())
	w.every(ctx, beatEvery, "beat", func() error {
		if !w.connected.Load() {
			return nil
		}
		w.metrics.heartbeat.Set(float64(at.Unix()))
		return w.store.Beat(ctx, at.UnixMilli())
	})
	w.every(ctx, rollEvery, "roll", func() error { return w.store.Roll(ctx, at.UnixMilli()) })
	w.every(ctx, rollEvery, "sweep", func() error { return w.sweep(ctx) })
	w.every(ctx, lookEvery, "queues", func() error { w.followQueues(ctx); return nil })
	w.every(ctx, purgeEvery, "purge", func() error { return w.purge(ctx, at) })
	w.every(ctx, checkEvery, "check", func() error {
		sums, err := w.store.Check(ctx, at.Add(-checked).UnixMilli(), at.UnixMilli())
		klog.V(2).InfoS("Sums checked", "sums", sums)
		return err
	})
}

// every does something if it is due.
func (w *watch) every(ctx context.Context, period time.Duration, name string, f func() error) {
	now := w.options.clock.Now()
	if ctx.Err() != nil || now.Sub(w.done[name]) < period {
		return
	}
	w.done[name] = now
	if err := f(); err != nil {
		w.failed(ctx, name, err)
	}
}

// failed tells of what did not succeed, unless that is because the process ends.
func (w *watch) failed(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	w.metrics.errors.WithLabelValues(what).Inc()
	klog.ErrorS(err, "Failed, and will be tried again", "step", what)
}

func (w *watch) sweep(ctx context.Context) error {
	nodes := map[string]bool{}
	swept, err := w.sweeper.Sweep(ctx, func() meter.Present {
		present := meter.Present{UIDs: map[string]bool{}, Applications: map[string]bool{}}
		for _, object := range w.pods.Core().V1().Pods().Informer().GetStore().List() {
			pod := object.(*v1.Pod)
			present.UIDs[string(pod.UID)], present.Applications[meter.ApplicationOf(pod)] = true, true
		}
		for _, object := range w.first.Core().V1().Nodes().Informer().GetStore().List() {
			node := object.(*v1.Node)
			present.UIDs[string(node.UID)], nodes[node.Name] = true, true
		}
		return present
	}, w.clients.list)
	if err != nil {
		return err
	}
	w.meter.Forget(nodes, w.options.clock.Now().Add(-day).UnixMilli())
	w.metrics.missing.Set(float64(swept.Missing))
	switch {
	case swept.Doubtful:
		klog.InfoS("So many are missing that the list may be wrong: they are believed to be gone only if it stays so", "missing", swept.Missing, "ended", swept.Ended)
	case swept.Ended > 0:
		klog.InfoS("Ended what had gone unseen", "ended", swept.Ended)
	}
	return nil
}

func (w *watch) purge(ctx context.Context, now time.Time) error {
	before := func(keep time.Duration) int64 {
		if keep <= 0 {
			return 0
		}
		return now.Add(-keep).UnixMilli()
	}
	keep := w.options.keep
	removed, err := w.store.Purge(ctx, store.Retention{Spans: before(keep.pods), Applications: before(keep.applications), Hours: before(keep.hours)})
	if removed > 0 {
		klog.InfoS("Purged", "rows", removed)
	}
	return err
}

// followQueues follows the cluster's Queues as soon as it has the kind.
func (w *watch) followQueues(ctx context.Context) {
	if w.queues {
		return
	}
	resources, err := w.clients.typed.Discovery().ServerResourcesForGroupVersion(v1alpha1.GroupVersion)
	if err != nil || len(resources.APIResources) == 0 {
		return // it has none, or does not say: it is asked again
	}
	w.queues = true
	factory := dynamicinformer.NewDynamicSharedInformerFactory(w.clients.dynamic, 0)
	informer := factory.ForResource(v1alpha1.SchemeGroupVersion.WithResource("queues")).Informer()
	if err := follow(informer, func(queue *unstructured.Unstructured, gone bool) {
		if err := w.meter.Queue(queue, gone); err != nil {
			klog.InfoS("Queue cannot be read and counts as if it were not there", "queue", queue.GetName(), "reason", err)
		}
	}); err != nil {
		w.failed(ctx, "queues", err)
		return
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
}
