package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/features"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	internalcache "k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/defaultbinder"
	plfeature "k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/interpodaffinity"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/names"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodeaffinity"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/noderesources"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/nodeunschedulable"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/tainttoleration"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	"k8s.io/kubernetes/pkg/scheduler/metrics"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin"
)

// prepare makes Kubernetes' libraries fit to be simulated, once a process: the framework's metrics exist but are not
// registered anywhere, so they cost and tell nothing; and errors are logged without the pause that follows each, whose
// length depends on when the last one was, in whatever simulation.
var prepare = sync.OnceFunc(func() {
	metrics.InitMetrics()
	utilruntime.ErrorHandlers = utilruntime.ErrorHandlers[:1]
	// As in manifests/base.
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(map[string]bool{string(features.SchedulerPreQueueingHints): true}); err != nil {
		panic(fmt.Sprintf("sim: %v", err))
	}
})

// schedulerName is what pods name that want to be scheduled by Retinue; rivalName names the other scheduler.
const (
	schedulerName = "retinue"
	rivalName     = "default-scheduler"
)

// replica is one process of the scheduler.
type replica struct {
	world   *World
	name    string
	ctx     context.Context
	cancel  context.CancelFunc
	stopped atomic.Bool
	logger  klog.Logger

	framework framework.Framework
	ledger    *ledger.Ledger
	cache     internalcache.Cache
	snapshot  *internalcache.Snapshot
	queue     *queue

	pods, nodes *informer
	// own are the scheduler's listeners; it schedules once they have heard of everything that existed.
	own []*listener

	// leads means that it holds the lease: others only listen.
	leads bool
	// attempting means that a scheduling cycle runs; scheduled, that the next one is on the agenda.
	attempting, scheduled bool
	// flushing means that the next flush of the backoff is on the agenda; sweeping, that of the leftover.
	flushing, sweeping bool
	// outstanding are calls that were not answered yet.
	outstanding []*call

	told told
	// layout is the queues that it knows, and arrivals those that it will hear of, in order.
	layout   ledger.Queues
	arrivals []ledger.Queues
	// former are the queues that it knew before, the oldest first.
	former []formerLayout
	// ghosts are pods that its scheduler's cache goes on counting although they are gone: pod -> where.
	ghosts map[types.UID]ghost
	// claims is what others have had to go for.
	claims []*claim
	// teller is what the plugin says of pods that fail.
	teller plugin.Teller
	// asker is what asks for nodes; nil where there is no autoscaler.
	asker *asker
	// dirty means that the plugin may have done something since the last check.
	dirty bool
	// reduced are leaders whose gangs have fewer slots than their minimum, and how: each has to say so before long.
	reduced map[types.UID]string
	passes  passes
	spent   spent
}

// start starts a process of the scheduler. It leads at once, or stands by.
func (w *World) start(leads bool) *replica {
	w.generation++
	r := &replica{world: w, name: fmt.Sprintf("s%d", w.generation), told: newTold(), ghosts: map[types.UID]ghost{}, reduced: map[types.UID]string{}, passes: passes{map[types.UID]map[types.UID]int{}, map[types.UID]bool{}}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.logger = klog.New(sink{r})
	r.ctx = klog.NewContext(r.ctx, r.logger)
	r.pods, r.nodes = newInformer(r, podKind), newInformer(r, nodeKind)
	r.snapshot = internalcache.NewEmptySnapshot()
	w.trace.add("%s: starts, leads %v", r.name, leads)
	w.replicas = append(w.replicas, r)
	r.build()
	for _, i := range []*informer{r.nodes, r.pods} {
		l := &listener{informer: i, name: "scheduler", handler: handlers{r, i.kind}}
		i.listeners = append(i.listeners, l)
		r.own = append(r.own, l)
	}
	if leads {
		r.lead()
	}
	return r
}

// lead is called when the replica holds the lease: only now it reads the cluster, as delayCacheUntilActive in
// manifests/setup/scheduler-config.yaml wants it.
func (r *replica) lead() {
	r.leads = true
	r.asker.begin()
	for _, i := range []*informer{r.nodes, r.pods} {
		r.world.after(r.world.chance.delay(20*time.Millisecond, 3*time.Second), func() {
			if !r.stopped.Load() {
				i.list()
			}
		})
	}
}

// build makes the framework with its plugins, as kube-scheduler would from manifests/setup/scheduler-config.yaml.
func (r *replica) build() {
	w := r.world
	prepare()
	// What the framework and the cache start in the background only feeds metrics: it ends at once.
	ended, end := context.WithCancel(klog.NewContext(context.Background(), r.logger))
	end()
	r.cache = internalcache.New(ended, nil, false, false)
	enabled := plfeature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate)
	registry := frameworkruntime.Registry{
		plugin.Name: func(_ context.Context, args runtime.Object, handle fwk.Handle) (fwk.Plugin, error) {
			ignores := func(_ string, name v1.ResourceName) bool { return name == resourceIgnored }
			return plugin.Factory(clock.RealClock{}, plugin.Process{Ignores: ignores, Autoscaler: r.asks(), Made: func(teller plugin.Teller) { r.teller = teller }})(r.ctx, args, handle)
		},
		nameOfDear:              func(context.Context, runtime.Object, fwk.Handle) (fwk.Plugin, error) { return dear{r}, nil },
		names.InterPodAffinity:  frameworkruntime.FactoryAdapter(enabled, interpodaffinity.New),
		names.NodeResourcesFit:  frameworkruntime.FactoryAdapter(enabled, noderesources.NewFit),
		names.NodeUnschedulable: frameworkruntime.FactoryAdapter(enabled, nodeunschedulable.New),
		names.NodeAffinity:      frameworkruntime.FactoryAdapter(enabled, nodeaffinity.New),
		names.TaintToleration:   frameworkruntime.FactoryAdapter(enabled, tainttoleration.New),
		names.DefaultBinder:     defaultbinder.New,
	}
	profile := &config.KubeSchedulerProfile{
		SchedulerName: schedulerName,
		Plugins: &config.Plugins{Bind: config.PluginSet{Enabled: []config.Plugin{{Name: plugin.Name}}}, MultiPoint: config.PluginSet{Enabled: []config.Plugin{
			{Name: names.NodeUnschedulable}, {Name: names.TaintToleration}, {Name: names.NodeAffinity},
			{Name: names.NodeResourcesFit}, {Name: names.InterPodAffinity}, {Name: nameOfDear}, {Name: names.DefaultBinder}, {Name: plugin.Name, Weight: 10},
		}}},
		PluginConfig: []config.PluginConfig{
			{Name: plugin.Name, Args: &runtime.Unknown{Raw: w.climate.args}},
			{Name: names.NodeAffinity, Args: &config.NodeAffinityArgs{}},
			{Name: names.InterPodAffinity, Args: &config.InterPodAffinityArgs{HardPodAffinityWeight: 1}},
			{Name: names.NodeResourcesFit, Args: &config.NodeResourcesFitArgs{IgnoredResources: []string{string(resourceIgnored)}, ScoringStrategy: &config.ScoringStrategy{
				Type:      config.MostAllocated,
				Resources: []config.ResourceSpec{{Name: string(v1.ResourceCPU), Weight: 1}, {Name: string(v1.ResourceMemory), Weight: 1}},
			}}},
		},
	}
	f, err := frameworkruntime.NewFramework(ended, registry, profile,
		frameworkruntime.WithClientSet(client{replica: r}),
		frameworkruntime.WithInformerFactory(factory{replica: r}),
		frameworkruntime.WithSnapshotSharedLister(r.snapshot),
		frameworkruntime.WithMutableSnapshotLister(r.snapshot),
		frameworkruntime.WithEventRecorder(recorder{r}),
		frameworkruntime.WithPodNominator(nominator{r}),
		frameworkruntime.WithPodActivator(activator{r}),
		frameworkruntime.WithWaitingPods(frameworkruntime.NewWaitingPodsMap()),
		frameworkruntime.WithPodsInPreBind(frameworkruntime.NewPodsInPreBindMap()),
		frameworkruntime.WithParallelism(1),
		frameworkruntime.WithLogger(r.logger),
	)
	if err != nil {
		panic(fmt.Sprintf("sim: framework: %v", err))
	}
	r.framework = f
	r.queue = &queue{
		less: f.QueueSortFunc(), gates: f.PreEnqueuePlugins(), hints: map[fwk.ClusterEvent][]hint{}, gateKeys: map[string][]fwk.ClusterEvent{},
		now: time.Now, call: r.call, unschedulable: newTable[*framework.QueuedPodInfo](),
		nominated: newNominations(r.current), narrows: map[fwk.ClusterEvent][]fwk.PreQueueingHintFn{},
	}
	for _, extension := range f.EnqueueExtensions() {
		r.queue.register(r.ctx, extension)
	}
	for _, p := range f.PreEnqueuePlugins() {
		if p, ok := p.(*plugin.Plugin); ok {
			r.ledger = p.Ledger()
		}
	}
	if w.climate.moves > 0 {
		ledger.MoveAtOnce(r.ledger, w.climate.moves)
	}
	r.queue.left, r.queue.passed, r.queue.asked = r.checkLeft, r.checkHeard, r.missed
	if w.climate.queues {
		r.arrange(w.layout)
	}
}

// call runs code of the plugin and waits until the goroutines it may have woken are blocked again.
func (r *replica) call(f func()) {
	f()
	r.dirty = true
	r.world.quiesce()
}

// current is a pod as the replica's informer knows it; nil when it is not there.
func (r *replica) current(key string) *v1.Pod {
	if o, there := r.pods.store.get(key); there {
		return o.(*v1.Pod)
	}
	return nil
}

func (r *replica) informer(k kind) *informer {
	if k == nodeKind {
		return r.nodes
	}
	return r.pods
}

// stop kills the process. What it has asked for may take effect all the same.
func (r *replica) stop() {
	w := r.world
	w.trace.add("%s: killed", r.name)
	for leader := range r.reduced { // what its gang has was written down first, and who was to be told of it has not been: seed 9000204
		w.released[leader] = true
	}
	if r.leads {
		w.bequeathed = r.claims
	}
	r.stopped.Store(true)
	w.replicas = slices.DeleteFunc(w.replicas, func(other *replica) bool { return other == r })
	r.cancel()
	r.framework.IterateOverWaitingPods(func(waiting fwk.WaitingPod) { waiting.Reject("", errStopped.Error()) })
	for _, c := range slices.Clone(r.outstanding) {
		w.answer(c, errStopped)
	}
	w.quiesce()
}

func (r *replica) forget(c *call) {
	r.outstanding = slices.DeleteFunc(r.outstanding, func(other *call) bool { return other == c })
}

// wake puts on the agenda what the state of the queue asks for.
func (r *replica) wake() {
	w := r.world
	if !r.leads || r.stopped.Load() {
		return
	}
	for _, l := range r.own {
		if !l.HasSynced() {
			return
		}
	}
	if !r.attempting && !r.scheduled && r.queue.ready() {
		r.scheduled = true
		delay := w.chance.between(10*time.Microsecond, time.Millisecond)
		if w.chance.happens(0.02) {
			delay = w.chance.between(time.Millisecond, time.Second)
		}
		w.after(delay, func() {
			r.scheduled = false
			r.scheduleOne()
		})
	}
	if !r.flushing && (len(r.queue.backoff) > 0 || len(r.queue.errors) > 0) {
		r.flushing = true
		w.after(time.Until(time.Now().Truncate(backoffWindow).Add(backoffWindow)), func() {
			r.flushing = false
			r.queue.flushBackoff()
		})
	}
	if w.climate.sweeps && w.act == storm && !r.sweeping && r.queue.unschedulable.len() > 0 {
		r.sweeping = true
		w.idly(leftoverPeriod, func() {
			r.sweeping = false
			if w.act == storm && !r.stopped.Load() {
				r.queue.flushLeftover()
			}
		})
	}
}

// activator is the queue as the plugin's goroutines see it.
type activator struct{ replica *replica }

func (a activator) Activate(_ klog.Logger, pods map[string]*v1.Pod) {
	r := a.replica
	ordered := newTable[*v1.Pod]()
	for key, pod := range pods {
		ordered.put(key, pod)
	}
	_ = r.world.desk.ask(&call{replica: r, kind: callActivate, key: fmt.Sprint(ordered.keys), serve: func() error {
		for _, pod := range ordered.all() {
			r.queue.activate(pod)
		}
		return nil
	}})
}

// nominator is the queue's nominations as the framework sees them.
type nominator struct{ replica *replica }

func (n nominator) AddNominatedPod(_ klog.Logger, pod fwk.PodInfo, info *fwk.NominatingInfo) {
	n.replica.queue.nominated.add(pod.GetPod(), info)
}

func (n nominator) DeleteNominatedPodIfExists(pod *v1.Pod) {
	n.replica.queue.nominated.remove(pod.UID)
}

func (n nominator) UpdateNominatedPod(_ klog.Logger, old *v1.Pod, new fwk.PodInfo) {
	n.replica.queue.nominated.update(old, new.GetPod())
}

func (n nominator) NominatedPodsForNode(node string) []fwk.PodInfo {
	var infos []fwk.PodInfo
	for _, nominated := range n.replica.queue.nominated.byNode[node] {
		pod := n.replica.current(nominated.key)
		if pod == nil {
			continue
		}
		if info, err := framework.NewPodInfo(pod); err == nil {
			infos = append(infos, info)
		}
	}
	return infos
}

// register takes the events that a plugin wants to hear of.
func (q *queue) register(ctx context.Context, extension fwk.EnqueueExtensions) {
	events, err := extension.EventsToRegister(ctx)
	if err != nil {
		panic(fmt.Sprintf("sim: plugin %s: %v", extension.Name(), err))
	}
	for _, e := range events {
		judge := e.QueueingHintFn
		if judge == nil {
			judge = func(klog.Logger, *v1.Pod, any, any) (fwk.QueueingHint, error) { return fwk.Queue, nil }
		}
		unrolled := []fwk.ClusterEvent{e.Event}
		if e.Event.Resource == fwk.Pod {
			unrolled = framework.UnrollPodEvent(e.Event)
		}
		for _, event := range unrolled {
			q.hints[event] = append(q.hints[event], hint{extension.Name(), judge})
			q.gateKeys[extension.Name()] = append(q.gateKeys[extension.Name()], event)
			if e.PreQueueingHintFn != nil {
				q.narrows[event] = append(q.narrows[event], e.PreQueueingHintFn)
			}
		}
	}
}
