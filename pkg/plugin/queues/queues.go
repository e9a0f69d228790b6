// Package queues is which queue a namespace belongs to, as Queues, ElasticQuotas and namespaces say it, and the status of
// Queues and ElasticQuotas.
package queues

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/plugin/crd"
	"retinue.dev/retinue/pkg/plugin/informer"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

const (
	// readingDelay gathers changes that come together, such as all namespaces at the start, into one reading.
	readingDelay = 200 * time.Millisecond
	// readingPause is how many times as long as the last reading has taken the next one is put off: thousands of namespaces
	// that come and go, and as many queues that select them, must not keep a processor busy.
	readingPause = 10
)

// Resource is that of Queues.
var Resource = v1alpha1.SchemeGroupVersion.WithResource("queues")

// Outside is what the queues use.
type Outside struct {
	// Queues and Elastic are the cluster's Queues and ElasticQuotas.
	Queues, Elastic *crd.OptionalResource
	Informers       informers.SharedInformerFactory
	// DefaultLimit is that of every namespace without a queue, each by itself; nil means that they have none.
	DefaultLimit v1.ResourceList
	Recorder     events.EventRecorder
	Clock        clock.WithTicker
	Logger       klog.Logger
	// Ledger says how queues stand; Tell applies an event to it.
	Ledger *ledger.Ledger
	Tell   func(ledger.Event)
}

// Queues follows what says which queue a namespace belongs to and what its queue may: Queues, ElasticQuotas and the
// namespaces themselves.
type Queues struct {
	outside          Outside
	namespaces       listers.NamespaceLister
	namespacesSynced cache.InformerSynced
	// changes holds one token while something has changed since the last reading.
	changes workqueue.TypedDelayingInterface[struct{}]
	status  *status
	// known is set when the ledger knows the queues that existed at the start.
	known atomic.Bool
	// latest is what the ledger has been told; nil before.
	latest atomic.Pointer[reading]
	// took is how long the last reading has taken, in nanoseconds.
	took atomic.Int64
}

// reading is what Queues, ElasticQuotas and namespaces say, all at one time.
type reading struct {
	queues ledger.Queues
	// problems of Queues that are not one queue's alone, such as a namespace that two of them name.
	problems []quota.Problem
	// generations of the Queues that were read: name -> generation.
	generations map[string]int64
	// unreadable Queues count as if they were not there: name -> why.
	unreadable map[string]string
	// idle ElasticQuotas do not count: the name their queue would have -> why.
	idle map[string]string
}

// New makes it.
func New(outside Outside) (*Queues, error) {
	namespaces := outside.Informers.Core().V1().Namespaces()
	q := &Queues{
		outside: outside, namespaces: namespaces.Lister(),
		changes: workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[struct{}]{Clock: outside.Clock}),
	}
	q.status = newStatus(q)
	handler, err := namespaces.Informer().AddEventHandler(informer.Handlers(func(before, namespace *v1.Namespace) {
		if before == nil || !equality.Semantic.DeepEqual(before.Labels, namespace.Labels) {
			q.changed()
		}
	}, func(*v1.Namespace) { q.changed() }))
	if err != nil {
		return nil, err
	}
	q.namespacesSynced = handler.HasSynced
	return q, nil
}

// Known tells whether the ledger knows the queues that existed at the start.
func (q *Queues) Known() bool { return q.known.Load() }

// changed asks for a reading.
func (q *Queues) changed() {
	q.changes.AddAfter(struct{}{}, max(readingDelay, readingPause*time.Duration(q.took.Load())))
}

// Run works until the context ends.
func (q *Queues) Run(ctx context.Context) {
	go func() {
		<-ctx.Done()
		q.changes.ShutDown()
	}()
	// Its status is no change of an object.
	seen := func(before, object *unstructured.Unstructured) {
		if before == nil || before.GetUID() != object.GetUID() || before.GetGeneration() != object.GetGeneration() {
			q.changed()
		}
	}
	gone := func(*unstructured.Unstructured) { q.changed() }
	go q.outside.Queues.Follow(ctx, seen, gone)
	go q.outside.Elastic.Follow(ctx, seen, gone)
	if !informer.Wait(ctx, q.namespacesSynced, q.outside.Queues.Known, q.outside.Elastic.Known) {
		return
	}
	q.read()
	q.known.Store(true)
	go q.status.run(ctx)
	for {
		token, shutdown := q.changes.Get()
		if shutdown {
			return
		}
		q.read()
		q.changes.Done(token)
	}
}

// read tells the ledger of the queues if something about them has changed.
func (q *Queues) read() {
	logger, began := q.outside.Logger, q.outside.Clock.Now()
	namespaces, err := q.namespaces.List(labels.Everything())
	if err != nil {
		logger.Error(err, "Namespaces cannot be listed")
		return
	}
	labelled := make(map[string]map[string]string, len(namespaces))
	for _, namespace := range namespaces {
		labelled[namespace.Name] = namespace.Labels
	}
	r := readQueues(q.outside.Queues.All(), q.outside.Elastic.All(), labelled)
	r.addDefaults(q.outside.DefaultLimit, labelled)
	q.took.Store(int64(q.outside.Clock.Since(began)))
	latest := q.latest.Load()
	for name, why := range r.unreadable {
		if latest == nil || latest.unreadable[name] != why {
			logger.Info("Queue cannot be read and counts as if it were not there", "queue", name, "reason", why)
		}
	}
	if latest == nil || !reflect.DeepEqual(latest.queues, r.queues) {
		q.outside.Tell(ledger.QueuesSeen{Queues: r.queues})
		logger.V(2).Info("Ledger knows the queues", "queues", len(r.queues.Specs), "namespaces", len(r.queues.Namespaces))
	}
	q.latest.Store(r)
}

// addNamespaces makes a queue of every namespace that belongs to one which wants that.
func (r *reading) addNamespaces(queues []*v1alpha1.Queue) {
	templates := map[string]*v1alpha1.Queue{} // queue -> itself, if it has a template
	for _, queue := range queues {
		if queue.Spec.PerNamespace != nil {
			templates[queue.Name] = queue
		}
	}
	if len(templates) == 0 {
		return
	}
	for _, namespace := range slices.Sorted(maps.Keys(r.queues.Namespaces)) {
		queue := templates[r.queues.Namespaces[namespace]]
		if queue == nil {
			continue
		}
		spec := quota.OfNamespace(queue, namespace)
		r.queues.Specs = append(r.queues.Specs, spec)
		r.queues.Namespaces[namespace] = spec.Name
		if strategy, own := r.queues.Strategies[queue.Name]; own {
			r.queues.Strategies[spec.Name] = strategy
		}
	}
}

// addDefaults makes a queue with a limit of every namespace that belongs to none. Together they are to others what the one queue of
// all such namespaces is otherwise: without a guarantee, with weight 1.
func (r *reading) addDefaults(limit v1.ResourceList, namespaces map[string]map[string]string) {
	if len(limit) == 0 {
		return
	}
	r.queues.Specs = append(r.queues.Specs, quota.Spec{Name: quota.Defaults})
	if r.queues.Namespaces == nil {
		r.queues.Namespaces = map[string]string{}
	}
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		if _, assigned := r.queues.Namespaces[namespace]; assigned {
			continue
		}
		name := quota.Defaults + namespace
		r.queues.Namespaces[namespace] = name
		r.queues.Specs = append(r.queues.Specs, quota.OfQueue(&v1alpha1.Queue{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.QueueSpec{Parent: quota.Defaults, Limit: amountsOf(limit)},
		}))
	}
}

// readQueues reads what is written, without any regard for what it makes of the cluster. namespaces are the labels of those
// that exist: name -> labels.
func readQueues(queues, elastic []*unstructured.Unstructured, namespaces map[string]map[string]string) *reading {
	r := &reading{generations: map[string]int64{}, unreadable: map[string]string{}, idle: map[string]string{}}
	var readable []*v1alpha1.Queue
	for _, object := range queues {
		queue, err := crd.Decode[v1alpha1.Queue](object)
		if err != nil {
			r.unreadable[object.GetName()] = err.Error()
			continue
		}
		readable = append(readable, queue)
	}
	r.queues.Namespaces, r.problems = quota.Assign(readable, namespaces)
	for _, queue := range readable {
		r.generations[queue.Name] = queue.Generation
		r.queues.Specs = append(r.queues.Specs, quota.OfQueue(queue))
		if strategy := queue.Spec.Placement; strategy != "" {
			if r.queues.Strategies == nil {
				r.queues.Strategies = map[string]placement.Strategy{}
			}
			r.queues.Strategies[queue.Name] = placement.Strategy(strategy)
		}
	}
	r.addNamespaces(readable)
	var readableElastic []*schedulingv1alpha1.ElasticQuota
	for _, object := range elastic {
		quota, err := crd.Decode[schedulingv1alpha1.ElasticQuota](object)
		if err != nil {
			r.idle[queueOfElastic(object.GetNamespace(), object.GetName())] = "It does not count, because it cannot be read: " + err.Error()
			continue
		}
		if names := len(quota.Spec.Min) + len(quota.Spec.Max); names > 2*resource.MaxNames {
			r.idle[queueOfElastic(object.GetNamespace(), object.GetName())] = fmt.Sprintf("It does not count: min and max name %d resources, more than %d", names, 2*resource.MaxNames)
			continue
		}
		readableElastic = append(readableElastic, quota)
	}
	r.addElastic(readableElastic)
	return r
}
