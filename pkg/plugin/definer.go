package plugin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
)

const (
	// definerWorkers is how many ConfigMaps are fetched at once.
	definerWorkers = 8
	// firstRetry and lastRetry bound the wait between two attempts to fetch a ConfigMap; it doubles in between. Spark
	// creates the map a fraction of a second after the driver, and one that has not come in minutes may never come.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 5 * time.Minute
)

// definer finds out what a leader's gang will ask for: from its annotations, or from the ConfigMaps it mounts. It
// fetches them by name and keeps nothing of them but the definition.
//
// A ConfigMap may not be watched, and one that is asked for too early costs a request. Spark applies the driver's Service a moment
// before the ConfigMap, and Services are watched: the first request waits for it, or, where none comes, as long as it took for
// other drivers.
type definer struct {
	reader  reader
	clock   clock.WithTicker
	logger  klog.Logger
	tell    func(ledger.Event)
	report  func(context.Context, *v1.Pod, gang.Verdict)
	exists  func(*v1.Pod) bool
	gated   func(*v1.Pod) bool          // whether it has scheduling gates now
	serves  func(driver types.UID) bool // whether the driver's Service is there
	timeout time.Duration               // after which the configuration is overdue
	queue   workqueue.TypedDelayingInterface[types.UID]

	mu           sync.Mutex // guards everything below
	leaders      map[types.UID]*wanted
	defined      map[string]map[types.UID]*v1.Pod // namespace -> leaders without a node that have been, or are just being, defined
	sinceLeader  lateness                         // of ConfigMaps, since their driver was seen
	sinceService lateness                         // since the driver's Service was seen
}

// wanted is a leader whose gang is to be defined.
type wanted struct {
	pod    *v1.Pod
	since  time.Time
	warned bool          // its user has been told that the configuration is overdue
	served bool          // its Service is there
	fresh  bool          // the next attempt is the first, or the first since its Service is there
	due    time.Time     // of that attempt: none before it
	retry  time.Duration // after the next attempt that fails
}

func newDefiner(p *Plugin, client kubernetes.Interface) *definer {
	d := &definer{
		reader: reader{client: client, counted: p.counted, limits: p.namespaces.Of}, clock: p.clock, logger: p.logger, tell: p.tell, report: p.effects.report, exists: func(pod *v1.Pod) bool { return p.current(pod) != nil },
		gated:  func(pod *v1.Pod) bool { return gated(p.current(pod)) },
		serves: func(types.UID) bool { return false }, timeout: p.args.DefinitionTimeout.Duration,
		leaders: map[types.UID]*wanted{}, defined: map[string]map[types.UID]*v1.Pod{}, sinceLeader: lateness(2 * firstRetry), sinceService: lateness(firstRetry),
	}
	d.queue = workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[types.UID]{
		Clock: p.clock,
		Queue: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[types.UID]{Clock: p.clock, Queue: &lanes{urgent: d.urgent}}),
	})
	return d
}

// add asks for the definition of a leader's gang.
func (d *definer) add(leader *v1.Pod) {
	d.mu.Lock()
	_, again := d.leaders[leader.UID]
	d.leaders[leader.UID] = &wanted{pod: leader, since: d.clock.Now(), fresh: true, retry: firstRetry}
	wait := d.sinceLeader.wait()
	d.mu.Unlock()
	if again || !reads(leader) {
		wait = 0 // its user has mended something, or nothing has to be fetched
	}
	d.queue.AddAfter(leader.UID, wait)
	if d.serves(leader.UID) {
		d.served(leader.UID)
	}
}

// served is called when a driver's Service is there: its ConfigMap follows.
func (d *definer) served(driver types.UID) {
	d.mu.Lock()
	leader := d.leaders[driver]
	if leader == nil || leader.served {
		d.mu.Unlock()
		return
	}
	wait := d.sinceService.wait()
	leader.served, leader.fresh, leader.due, leader.retry = true, true, d.clock.Now().Add(wait), firstRetry
	d.mu.Unlock()
	d.queue.AddAfter(driver, wait)
}

// remember keeps a leader that is being defined, for again.
func (d *definer) remember(leader *v1.Pod) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.defined[leader.Namespace] == nil {
		d.defined[leader.Namespace] = map[types.UID]*v1.Pod{}
	}
	d.defined[leader.Namespace][leader.UID] = leader
}

// forget is called when a leader has a node or has gone: its definition stays.
func (d *definer) forget(leader *v1.Pod) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if delete(d.defined[leader.Namespace], leader.UID); len(d.defined[leader.Namespace]) == 0 {
		delete(d.defined, leader.Namespace)
	}
}

// again defines the leaders of a namespace anew that have no node yet: what the API server lets in there has changed.
func (d *definer) again(namespace string) {
	d.mu.Lock()
	leaders := slices.Collect(maps.Values(d.defined[namespace]))
	d.mu.Unlock()
	for _, leader := range leaders {
		d.add(leader)
	}
}

// urgent tells whether a leader's attempt comes before those of leaders whose ConfigMap was not there.
func (d *definer) urgent(uid types.UID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	leader := d.leaders[uid]
	return leader != nil && leader.fresh
}

// run works until the context ends.
func (d *definer) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range definerWorkers {
		workers.Go(func() {
			for d.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	d.queue.ShutDown()
	workers.Wait()
}

func (d *definer) next(ctx context.Context) bool {
	uid, shutdown := d.queue.Get()
	if shutdown {
		return false
	}
	defer d.queue.Done(uid)
	leader, early := d.leader(uid)
	if early > 0 {
		d.queue.AddAfter(uid, early)
		return true
	}
	if leader != nil && d.exists(leader.pod) {
		if leader.pod.Spec.NodeName == "" {
			d.remember(leader.pod) // before the namespace is looked at
		}
		if !d.define(ctx, leader) {
			d.forget(leader.pod)
			d.queue.AddAfter(uid, d.putOff(leader))
			return true
		}
	}
	d.mu.Lock()
	if d.leaders[uid] == leader {
		// Else it was asked for again meanwhile, and is in the queue again.
		delete(d.leaders, uid)
	}
	d.mu.Unlock()
	return true
}

// leader is whose turn it is, nil when nobody asks any more; early is how long before its time that is.
func (d *definer) leader(uid types.UID) (leader *wanted, early time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if leader = d.leaders[uid]; leader != nil {
		early = leader.due.Sub(d.clock.Now()) // far below zero for most, who have no time
	}
	return leader, early
}

// putOff is how long a leader waits for its next attempt.
func (d *definer) putOff(leader *wanted) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	wait := leader.retry
	leader.retry = min(2*leader.retry, lastRetry)
	if !leader.warned && !d.gated(leader.pod) {
		wait = min(wait, d.timeout-d.clock.Since(leader.since)) // its user hears in time
	}
	return wait
}

// learn takes from a first attempt how late ConfigMaps are.
func (d *definer) learn(leader *wanted, absent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !leader.fresh {
		return
	}
	leader.fresh = false
	if leader.served {
		d.sinceService.learn(absent)
	} else {
		d.sinceLeader.learn(absent)
	}
}

// define tells the ledger what a leader's gang is and returns whether that is settled.
func (d *definer) define(ctx context.Context, leader *wanted) bool {
	pod := leader.pod
	definition, err := d.reader.define(ctx, pod)
	if reads(pod) {
		d.learn(leader, errors.Is(err, errAbsent))
	}
	switch {
	case err == nil:
		d.logger.V(2).Info("Gang defined", "gang", klog.KObj(pod), "source", definition.Source, "workers", definition.Workers())
		for _, warning := range definition.Warnings {
			d.report(ctx, pod, gang.Verdict{Reason: gang.GangGuessed, Message: warning})
		}
		d.tell(ledger.Defined{Leader: pod.UID, Definition: definition})
		return true
	case isInvalid(err):
		d.logger.V(2).Info("Gang cannot be defined", "gang", klog.KObj(pod)) // why, which repeats what its user wrote, its pod says
		d.tell(ledger.Refuted{Leader: pod.UID, Problem: err.Error()})
		return true
	case errors.Is(err, errNoClass):
		if !leader.warned {
			leader.warned = true
			d.tell(ledger.Refuted{Leader: pod.UID, Problem: err.Error()})
		}
		return false // somebody may create it
	}
	if !leader.warned && !d.gated(pod) && d.clock.Since(leader.since) >= d.timeout {
		leader.warned = true
		d.report(ctx, pod, gang.Verdict{
			Reason:  gang.GangIncomplete,
			Message: fmt.Sprintf("the configuration of the application is missing for %s: %v", d.timeout, err),
		})
	}
	d.logger.V(4).Info("Gang not defined yet", "gang", klog.KObj(pod), "problem", err.Error())
	return false
}
