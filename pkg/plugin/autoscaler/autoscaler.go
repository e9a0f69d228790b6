// Package autoscaler is the autoscaler of the cluster, as far as it is asked for nodes: by a CapacityBuffer and a PodTemplate for every kind
// of pod that a gang lacks room for, owned by its leader, or by placeholder pods, one for every pod.
package autoscaler

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin/crd"
	"retinue.dev/retinue/pkg/plugin/informer"
	"retinue.dev/retinue/pkg/scaleup"
)

// Resource is what is made.
var Resource = schema.GroupVersionResource{Group: "autoscaling.x-k8s.io", Version: "v1beta1", Resource: "capacitybuffers"}

const (
	// lookPeriod is how often is looked whether the mode still holds, and sweepLooks how many of these pass until what is there goes that nobody
	// asks for any more: what a scheduler before this one has made.
	lookPeriod = time.Second
	sweepLooks = 60
	// silence is how long the first buffer may stay without any condition in mode Auto. Then no buffer is made for deafPeriod, or ever again
	// where placeholders serve.
	silence    = 30 * time.Second
	deafPeriod = 10 * time.Minute
	// workers are how many leaders are worked for at a time.
	workers = 4
)

// Outside is what the Autoscaler works with.
type Outside struct {
	Buffers   *crd.OptionalResource
	Dynamic   dynamic.Interface
	Client    kubernetes.Interface
	Discovery discovery.DiscoveryInterface
	Informers informers.SharedInformerFactory // shows the placeholders
	Clock     clock.WithTicker
	Logger    klog.Logger
	After     []cache.InformerSynced // before anything is done: a replica that waits for the lease does nothing
	Tell      func(ledger.Event)
	Args      v1alpha1.ScaleUp
	DomainKey string // the node label of zonal placements
	Lease     func() *Lease
}

// Autoscaler asks for what the ledger wants asked.
type Autoscaler struct {
	Outside
	mode  atomic.Pointer[v1alpha1.ScaleUpMode]            // never Auto
	queue workqueue.TypedRateLimitingInterface[types.UID] // leaders for whom something is to be made or deleted
	// served tells whether the cluster has CapacityBuffers, and whether that is known.
	served func() (served, known bool)
	finder finder
	board  board
	ways   map[v1alpha1.ScaleUpMode]way
	// listed tells whether it is known which placeholders there are.
	listed cache.InformerSynced

	mu sync.Mutex // guards everything below
	// wanted is what is asked for: leader -> what the ledger said last; since is when it did.
	wanted map[types.UID]ledger.ScaleUp
	since  map[types.UID]time.Time
	// there is what exists: leader -> object -> what is known of it.
	there map[types.UID]map[key]standing
	// told is what the ledger was told last: leader -> answer.
	told map[types.UID]scaleup.Answer
	// asked is when the first buffer was made, while nobody has answered any; zero means that there is none, or that somebody has.
	asked    time.Time
	answered bool
	// deaf is until when no buffer is made, because nobody answers.
	deaf time.Time
}

// way is in what words an autoscaler is asked. What exists under a name is what the name says: names tell the content.
type way interface {
	// objects are those that say what is wanted, by name; an error says why that cannot be said.
	objects(wanted ledger.ScaleUp) (map[types.NamespacedName]any, error)
	// create makes one of them, and remove deletes it. It is no error that it is there, or gone.
	create(ctx context.Context, name types.NamespacedName, object any) error
	remove(ctx context.Context, name types.NamespacedName) error
}

// key is an object that was made.
type key struct {
	mode v1alpha1.ScaleUpMode // whose way it is
	name types.NamespacedName
}

// standing is what is known of an object.
type standing struct {
	answer scaleup.Answer
	// said is when an Event said so; zero where conditions do.
	said time.Time
	// whole means that nothing is left to be done for it.
	whole bool
}

// New makes it. It does nothing before Run.
func New(outside Outside) (*Autoscaler, error) {
	a := &Autoscaler{
		Outside: outside, served: func() (bool, bool) { return outside.Buffers.Served(), outside.Buffers.Known() }, finder: finder{discovery: outside.Discovery, client: outside.Client, clock: outside.Clock},
		board:  board{client: outside.Client, clock: outside.Clock, lease: outside.Lease},
		wanted: map[types.UID]ledger.ScaleUp{}, since: map[types.UID]time.Time{}, there: map[types.UID]map[key]standing{}, told: map[types.UID]scaleup.Answer{},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[types.UID](),
			workqueue.TypedRateLimitingQueueConfig[types.UID]{Clock: outside.Clock}),
	}
	off := v1alpha1.ScaleUpOff
	a.mode.Store(&off)
	a.ways = map[v1alpha1.ScaleUpMode]way{
		v1alpha1.ScaleUpCapacityBuffer: buffers{dynamic: outside.Dynamic, client: outside.Client, domainKey: outside.DomainKey},
		v1alpha1.ScaleUpPlaceholders:   placeholders{client: outside.Client, namespace: outside.Args.Namespace, most: *outside.Args.Placeholders, others: a.others, domainKey: outside.DomainKey},
	}
	if outside.Args.Mode == v1alpha1.ScaleUpOff {
		return a, nil
	}
	handler, err := outside.Informers.Core().V1().Pods().Informer().AddEventHandler(cache.FilteringResourceEventHandler{
		FilterFunc: a.isPlaceholder, Handler: informer.Handlers(func(_, pod *v1.Pod) { a.placeholderSeen(pod) }, a.placeholderGone),
	})
	if err != nil {
		return nil, err
	}
	a.listed = handler.HasSynced
	return a, nil
}

// Elastic tells whether somebody is asked for nodes.
func (a *Autoscaler) Elastic() bool { return *a.mode.Load() != v1alpha1.ScaleUpOff }

// Perform takes what the ledger wants asked, or not any more. It calls nobody.
func (a *Autoscaler) Perform(effect ledger.Effect) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch effect := effect.(type) {
	case ledger.ScaleUp:
		a.wanted[effect.Leader.UID] = effect
		a.since[effect.Leader.UID] = a.Clock.Now()
		a.queue.Add(effect.Leader.UID)
	case ledger.ScaleUpEnded:
		delete(a.wanted, effect.Leader)
		delete(a.since, effect.Leader)
		delete(a.told, effect.Leader)
		a.queue.Add(effect.Leader)
	}
	requests.Set(float64(len(a.wanted)))
}

// Run asks until the context ends.
func (a *Autoscaler) Run(ctx context.Context) {
	a.report()
	if a.Args.Mode == v1alpha1.ScaleUpOff {
		if informer.Wait(ctx, a.After...) {
			a.follow(ctx, func(int) {})
		}
		return
	}
	if !informer.Wait(ctx, append(slices.Clone(a.After), a.listed)...) {
		return
	}
	a.sweepOrphans()
	go a.Buffers.Follow(ctx, func(_, buffer *unstructured.Unstructured) { a.bufferSeen(buffer) }, a.bufferGone)
	go func() {
		<-ctx.Done()
		a.queue.ShutDown()
	}()
	for range workers {
		go a.work(ctx)
	}
	follow := sync.OnceFunc(func() { go a.followEvents(ctx) })
	a.follow(ctx, func(looks int) {
		if *a.mode.Load() == v1alpha1.ScaleUpPlaceholders {
			follow()
		}
		if looks%sweepLooks == 0 {
			a.sweep()
		}
	})
}

// follow looks in which mode nodes are asked for, writes down what has changed, and does what depends on it, until the context ends.
func (a *Autoscaler) follow(ctx context.Context, then func(looks int)) {
	ticker := a.Clock.NewTicker(lookPeriod)
	defer ticker.Stop()
	for looks := 1; ; looks++ {
		a.look(ctx)
		if err := a.board.update(ctx); err != nil && ctx.Err() == nil {
			a.Logger.Error(err, "Mode of scale-up not written on the Lease")
		}
		then(looks)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

// look finds out whether there is somebody to ask, and how. Nothing is chosen before it is known whether there are CapacityBuffers: who was shown
// placeholders meanwhile would be asked twice.
func (a *Autoscaler) look(ctx context.Context) {
	if a.Args.Mode != v1alpha1.ScaleUpAuto {
		a.choose(a.Args.Mode, "scaleUp.mode says so")
		return
	}
	served, known := a.served()
	if !served && !known {
		return
	}
	now := a.Clock.Now()
	a.mu.Lock()
	silent := !a.asked.IsZero() && now.Sub(a.asked) >= silence
	if silent {
		a.asked, a.deaf = time.Time{}, now.Add(deafPeriod)
	}
	deaf, tried := now.Before(a.deaf), !a.deaf.IsZero()
	kind := "the cluster has CapacityBuffers"
	if a.answered {
		kind += ", and an autoscaler answers them"
	}
	a.mu.Unlock()
	if served && !tried {
		a.choose(v1alpha1.ScaleUpCapacityBuffer, kind)
		return
	}
	other, why := a.finder.find(ctx)
	switch {
	case !served && a.finder.buffers: // they have just come, together with who answers them, and are soon heard of
	case tried && !deaf && other == v1alpha1.ScaleUpOff: // it may have come meanwhile
		a.choose(v1alpha1.ScaleUpCapacityBuffer, kind)
	case tried:
		a.choose(other, "nobody has answered a CapacityBuffer; "+why, "waited", silence)
	default:
		a.choose(other, why)
	}
}

// choose changes the mode, and says why.
func (a *Autoscaler) choose(mode v1alpha1.ScaleUpMode, why string, more ...any) {
	former, first := *a.mode.Swap(&mode), a.board.text == ""
	a.board.text = string(mode) + ": " + why
	if former == mode && !first {
		return
	}
	a.Logger.Info("Mode of scale-up chosen", append([]any{"mode", mode, "configured", a.Args.Mode, "because", why}, more...)...)
	a.report()
	if former == mode {
		return // Off, as it was
	}
	if former != v1alpha1.ScaleUpOff {
		a.Tell(ledger.Elastic{}) // what is asked for in one way is not in the other
	}
	if mode != v1alpha1.ScaleUpOff {
		a.Tell(ledger.Elastic{Limits: &scaleup.Limits{After: a.Args.After.Duration, Timeout: a.Args.Timeout.Duration, PerQueue: *a.Args.GangsPerQueue, Total: *a.Args.Gangs,
			BeforeReclaim: a.Args.Order == v1alpha1.ScaleUpFirst}})
	}
}

// report writes the mode down as a metric.
func (a *Autoscaler) report() {
	now := *a.mode.Load()
	for _, mode := range []v1alpha1.ScaleUpMode{v1alpha1.ScaleUpCapacityBuffer, v1alpha1.ScaleUpPlaceholders, v1alpha1.ScaleUpOff} {
		value := 0.0
		if mode == now {
			value = 1
		}
		modes.WithLabelValues(string(mode)).Set(value)
	}
}

// sweep looks at what is there of leaders for whom nothing is asked.
func (a *Autoscaler) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for leader := range a.there {
		if _, wanted := a.wanted[leader]; !wanted {
			a.queue.Add(leader)
		}
	}
}

// seen is an object that came or changed.
func (a *Autoscaler) seen(leader types.UID, object key, now standing, answered bool) {
	a.mu.Lock()
	if a.there[leader] == nil {
		a.there[leader] = map[key]standing{}
	}
	if object.mode == v1alpha1.ScaleUpPlaceholders { // what is said of it is not said by it
		former := a.there[leader][object]
		now.answer, now.said = former.answer, former.said
	}
	a.there[leader][object] = now
	if answered {
		a.asked, a.answered = time.Time{}, true
	}
	a.mu.Unlock()
	a.pass(leader)
}

// gone is one that was deleted.
func (a *Autoscaler) gone(leader types.UID, object key) {
	a.mu.Lock()
	delete(a.there[leader], object)
	if len(a.there[leader]) == 0 {
		delete(a.there, leader)
	}
	_, wanted := a.wanted[leader]
	a.mu.Unlock()
	if wanted {
		a.queue.AddRateLimited(leader) // somebody else has deleted it
	}
}

// pass tells the ledger what all objects of a leader say, if that is something else than before.
func (a *Autoscaler) pass(leader types.UID) {
	a.mu.Lock()
	wanted, wants := a.wanted[leader]
	answer := scaleup.Answer{}
	var words []string
	for object, now := range a.there[leader] {
		if !wants || object.mode == v1alpha1.ScaleUpCapacityBuffer && object.name.Namespace != wanted.Leader.Namespace {
			continue // whoever may make one elsewhere says nothing here
		}
		answer.Failing = answer.Failing || now.answer.Failing
		if now.answer.Words != "" {
			words = append(words, now.answer.Words)
		}
	}
	slices.Sort(words)
	answer.Words = strings.Join(slices.Compact(words), "; ")
	news := wants && a.told[leader] != answer
	if news {
		a.told[leader] = answer
	}
	a.mu.Unlock()
	if news {
		a.Tell(ledger.ScaleUpAnswered{Leader: leader, Answer: answer})
	}
}

// fails tells the ledger that nobody could be asked. Others are, if it stays so.
func (a *Autoscaler) fails(leader types.UID, err error) {
	answer := scaleup.Answer{Words: "it cannot be asked: " + err.Error(), Failing: true}
	a.mu.Lock()
	_, wants := a.wanted[leader]
	if wants {
		a.told[leader] = answer
	}
	a.mu.Unlock()
	if wants {
		a.Tell(ledger.ScaleUpAnswered{Leader: leader, Answer: answer})
	}
}

// state is what there is of a leader and what ought to be.
func (a *Autoscaler) state(leader types.UID) (wanted ledger.ScaleUp, wants bool, there map[key]standing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wanted, wants = a.wanted[leader]
	return wanted, wants, maps.Clone(a.there[leader])
}

// others counts the objects of a mode that are there of all leaders but one.
func (a *Autoscaler) others(mode v1alpha1.ScaleUpMode, leader types.UID) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	count := 0
	for other, objects := range a.there {
		if other == leader {
			continue
		}
		for object := range objects {
			if object.mode == mode {
				count++
			}
		}
	}
	return count
}

// made notes that an object was made; it may be long until its arrival is heard of.
func (a *Autoscaler) made(leader types.UID, object key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.there[leader] == nil {
		a.there[leader] = map[key]standing{}
	}
	if _, known := a.there[leader][object]; !known {
		a.there[leader][object] = standing{}
	}
	if object.mode == v1alpha1.ScaleUpCapacityBuffer && a.asked.IsZero() && !a.answered {
		a.asked = a.Clock.Now()
	}
}

// forget notes that an object is gone.
func (a *Autoscaler) forget(leader types.UID, object key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.there[leader], object)
	if len(a.there[leader]) == 0 {
		delete(a.there, leader)
	}
	if len(a.there) == 0 {
		a.asked = time.Time{} // who was asked for less than silence need not have answered
	}
}

// work makes and deletes until the context ends.
func (a *Autoscaler) work(ctx context.Context) {
	for {
		leader, shutdown := a.queue.Get()
		if shutdown {
			return
		}
		if err := a.reconcile(ctx, leader); err != nil && ctx.Err() == nil {
			a.Logger.Error(err, "Autoscaler not asked", "leader", leader)
			a.fails(leader, err)
			a.queue.AddRateLimited(leader)
		} else {
			a.queue.Forget(leader)
			a.pass(leader)
		}
		a.queue.Done(leader)
	}
}

// reconcile makes what is wanted for a leader and deletes what is not.
func (a *Autoscaler) reconcile(ctx context.Context, leader types.UID) error {
	wanted, wants, there := a.state(leader)
	mode := *a.mode.Load()
	if way := a.ways[mode]; wants && way != nil {
		objects, err := way.objects(wanted)
		if err != nil {
			return err
		}
		for name, object := range objects {
			object, at := object, key{mode, name}
			if !there[at].whole {
				a.made(leader, at) // or it could not be deleted if it is made and nobody hears of it
				if err := way.create(ctx, name, object); err != nil {
					return err
				}
			}
			delete(there, at)
		}
		a.Logger.V(2).Info("Autoscaler asked for nodes", "gang", klog.KObj(wanted.Leader), "mode", mode, "objects", len(objects), "amount", scaleup.Total(wanted.Pods).String())
	}
	for object := range there {
		if err := a.ways[object.mode].remove(ctx, object.name); err != nil {
			return err
		}
		a.forget(leader, object)
	}
	return nil
}
