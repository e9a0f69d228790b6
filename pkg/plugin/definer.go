package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/rehearsal"
	"retinue.dev/retinue/pkg/spark"
)

const (
	// definerWorkers is how many ConfigMaps are fetched at once.
	definerWorkers = 8
	// firstRetry and lastRetry bound the wait between two attempts to fetch a ConfigMap; it doubles in between. Spark
	// creates the map a fraction of a second after the driver.
	firstRetry = 50 * time.Millisecond
	lastRetry  = 15 * time.Second
)

// definer finds out what a leader's gang will ask for: from its annotations, or from the ConfigMaps it mounts. It
// fetches them by name and keeps nothing of them but the definition.
type definer struct {
	plugin *Plugin
	queue  workqueue.TypedRateLimitingInterface[types.UID]

	// texts is held by whoever decodes what a user wrote: one text's need of memory has a bound, and that of all workers together
	// is the same.
	texts sync.Mutex

	mu      sync.Mutex // guards everything below
	leaders map[types.UID]*wanted
}

// wanted is a leader whose gang is to be defined.
type wanted struct {
	pod    *v1.Pod
	since  time.Time
	warned bool // its user has been told that the configuration is overdue
}

func newDefiner(p *Plugin) *definer {
	return &definer{
		plugin:  p,
		leaders: map[types.UID]*wanted{},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[types.UID](firstRetry, lastRetry),
			workqueue.TypedRateLimitingQueueConfig[types.UID]{Clock: p.clock}),
	}
}

// add asks for the definition of a leader's gang.
func (d *definer) add(leader *v1.Pod) {
	d.mu.Lock()
	d.leaders[leader.UID] = &wanted{pod: leader, since: d.plugin.clock.Now()}
	d.mu.Unlock()
	d.queue.Add(leader.UID)
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
	d.mu.Lock()
	leader := d.leaders[uid]
	d.mu.Unlock()
	if leader != nil && d.plugin.exists(leader.pod) && !d.define(ctx, leader) {
		d.queue.AddRateLimited(uid)
		return true
	}
	d.mu.Lock()
	if d.leaders[uid] == leader {
		// Else it was asked for again meanwhile, and is in the queue again.
		delete(d.leaders, uid)
	}
	d.mu.Unlock()
	d.queue.Forget(uid)
	return true
}

// define tells the ledger what a leader's gang is and returns whether that is settled.
func (d *definer) define(ctx context.Context, leader *wanted) bool {
	p, pod := d.plugin, leader.pod
	definition, err := p.define(ctx, pod)
	switch {
	case err == nil:
		p.logger.V(2).Info("Gang defined", "gang", klog.KObj(pod), "source", definition.Source, "workers", definition.Workers())
		for _, warning := range definition.Warnings {
			p.report(ctx, pod, gang.Verdict{Reason: gang.GangGuessed, Message: warning})
		}
		p.tell(ledger.Defined{Leader: pod.UID, Definition: definition})
		return true
	case isInvalid(err):
		p.logger.V(2).Info("Gang cannot be defined", "gang", klog.KObj(pod), "problem", err.Error())
		p.tell(ledger.Refuted{Leader: pod.UID, Problem: err.Error()})
		return true
	}
	if !leader.warned && p.clock.Since(leader.since) > p.args.DefinitionTimeout.Duration {
		leader.warned = true
		p.report(ctx, pod, gang.Verdict{
			Reason:  gang.GangIncomplete,
			Message: fmt.Sprintf("the configuration of the application is missing for %s: %v", p.args.DefinitionTimeout.Duration, err),
		})
	}
	p.logger.V(4).Info("Gang not defined yet", "gang", klog.KObj(pod), "problem", err.Error())
	return false
}

// invalid is an error that trying again cannot mend.
type invalid struct{ error }

func (i invalid) Unwrap() error { return i.error }

func isInvalid(err error) bool {
	var i invalid
	return errors.As(err, &i)
}

// define reads what a leader's gang will ask for. The error is invalid when the leader's user has to change something.
func (p *Plugin) define(ctx context.Context, leader *v1.Pod) (gang.Definition, error) {
	var definition gang.Definition
	var found bool
	var err error
	p.definer.read(func() { definition, found, err = spark.FromAnnotations(leader) })
	if err != nil {
		return gang.Definition{}, invalid{err}
	}
	if !found {
		if definition, err = p.infer(ctx, leader); err != nil {
			return gang.Definition{}, err
		}
	}
	if _, err := spark.Rank(leader); err != nil {
		definition.Warnings = append(definition.Warnings, err.Error())
	}
	for i := range definition.Roles {
		definition.Roles[i].Shape = signatureOf(definition.Roles[i].Pod)
	}
	if rehearsal.Needed(leader, definition.Roles) {
		definition.Roles[0].Shape += " " + gangSignature(leader, definition.Roles)
	}
	return definition, nil
}

// read decodes one text while nobody else does.
func (d *definer) read(decode func()) {
	d.texts.Lock()
	defer d.texts.Unlock()
	decode()
}

// infer reads the ConfigMaps that spark-submit made for a driver.
func (p *Plugin) infer(ctx context.Context, driver *v1.Pod) (gang.Definition, error) {
	refs := spark.ConfigMaps(driver)
	if refs.Properties == "" {
		return gang.Definition{Source: "pod", Warnings: []string{"the driver mounts no Spark configuration, so no room is kept for its executors"}}, nil
	}
	configMap, err := p.configMap(ctx, driver.Namespace, refs.Properties)
	if err != nil {
		return gang.Definition{}, err
	}
	var properties spark.Properties
	p.definer.read(func() { properties, err = spark.PropertiesOf(configMap, driver) })
	if err != nil {
		return gang.Definition{}, unlessForeign(err)
	}
	var template *v1.Pod
	if refs.Template != "" {
		if configMap, err = p.configMap(ctx, driver.Namespace, refs.Template); err != nil {
			return gang.Definition{}, err
		}
		p.definer.read(func() { template, err = spark.TemplateOf(configMap, driver) })
		if err != nil {
			return gang.Definition{}, unlessForeign(err)
		}
	}
	definition, err := spark.Infer(driver, properties, template)
	if err != nil {
		return gang.Definition{}, invalid{err}
	}
	return definition, nil
}

// unlessForeign calls an error invalid unless it says that the ConfigMap belongs to another driver: the right one will
// take its place.
func unlessForeign(err error) error {
	if errors.Is(err, spark.ErrOwner) {
		return err
	}
	return invalid{err}
}

func (p *Plugin) configMap(ctx context.Context, namespace, name string) (*v1.ConfigMap, error) {
	configMap, err := p.handle.ClientSet().CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("ConfigMap %s/%s is not there yet", namespace, name)
	}
	return configMap, err
}

// exists tells whether the pod has neither ended nor been replaced by another of its name.
func (p *Plugin) exists(pod *v1.Pod) bool {
	return p.current(pod) != nil
}

// current is the pod as the informer knows it; nil when it has ended or been replaced by another of its name.
func (p *Plugin) current(pod *v1.Pod) *v1.Pod {
	current, err := p.handle.SharedInformerFactory().Core().V1().Pods().Lister().Pods(pod.Namespace).Get(pod.Name)
	if err != nil || current.UID != pod.UID {
		return nil
	}
	return current
}
