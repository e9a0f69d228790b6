// Package autoscaler is the autoscaler of the cluster, as far as it is asked for nodes: a CapacityBuffer and a PodTemplate for every kind
// of pod that a gang lacks room for, owned by its leader.
package autoscaler

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
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
	// lookPeriod is how often is looked whether the mode still holds, and sweepLooks how many of these pass until buffers go that nobody asks
	// for any more: those of a scheduler before this one.
	lookPeriod = time.Second
	sweepLooks = 60
	// silence is how long the first buffer may stay without any condition in mode Auto. Then nobody is asked for deafPeriod.
	silence    = 30 * time.Second
	deafPeriod = 10 * time.Minute
)

// Outside is what the Autoscaler works with.
type Outside struct {
	Buffers   *crd.OptionalResource
	Dynamic   dynamic.Interface
	Client    kubernetes.Interface
	Clock     clock.WithTicker
	Logger    klog.Logger
	After     []cache.InformerSynced // before anything is done: a replica that waits for the lease does nothing
	Tell      func(ledger.Event)
	Args      v1alpha1.ScaleUp
	DomainKey string // the node label of zonal placements
}

// Autoscaler asks for what the ledger wants asked.
type Autoscaler struct {
	Outside
	elastic atomic.Bool
	served  func() bool                                     // tells whether the cluster has the kind
	queue   workqueue.TypedRateLimitingInterface[types.UID] // leaders whose buffers are to be looked at

	mu sync.Mutex // guards everything below
	// wanted is what is asked for: leader -> what the ledger said last.
	wanted map[types.UID]ledger.ScaleUp
	// there are the buffers that exist: leader -> namespace and name -> what it says.
	there map[types.UID]map[types.NamespacedName]scaleup.Answer
	// told is what the ledger was told last: leader -> answer.
	told map[types.UID]scaleup.Answer
	// asked is when the first buffer was made, while nobody has answered any; zero means that there is none, or that somebody has.
	asked    time.Time
	answered bool
	// deaf is until when nobody is asked, because nobody answers.
	deaf time.Time
}

// New makes it. It does nothing before Run.
func New(outside Outside) *Autoscaler {
	return &Autoscaler{
		Outside: outside, served: outside.Buffers.Served, wanted: map[types.UID]ledger.ScaleUp{}, there: map[types.UID]map[types.NamespacedName]scaleup.Answer{}, told: map[types.UID]scaleup.Answer{},
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(workqueue.DefaultTypedControllerRateLimiter[types.UID](),
			workqueue.TypedRateLimitingQueueConfig[types.UID]{Clock: outside.Clock}),
	}
}

// Elastic tells whether somebody is asked for nodes; never on nil, where there is no API server.
func (a *Autoscaler) Elastic() bool { return a != nil && a.elastic.Load() }

// Perform takes what the ledger wants asked, or not any more. It calls nobody.
func (a *Autoscaler) Perform(effect ledger.Effect) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch effect := effect.(type) {
	case ledger.ScaleUp:
		a.wanted[effect.Leader.UID] = effect
		a.queue.Add(effect.Leader.UID)
	case ledger.ScaleUpEnded:
		delete(a.wanted, effect.Leader)
		delete(a.told, effect.Leader)
		a.queue.Add(effect.Leader)
	}
	requests.Set(float64(len(a.wanted)))
}

// Run asks until the context ends.
func (a *Autoscaler) Run(ctx context.Context) {
	a.report()
	if a.Args.Mode == v1alpha1.ScaleUpOff {
		a.Logger.Info("No autoscaler is asked for nodes", "mode", a.Args.Mode)
		return
	}
	if !informer.Wait(ctx, a.After...) {
		return
	}
	go a.Buffers.Follow(ctx, func(_, buffer *unstructured.Unstructured) { a.seen(buffer) }, a.gone)
	go a.work(ctx)
	ticker := a.Clock.NewTicker(lookPeriod)
	defer ticker.Stop()
	for looks := 1; ; looks++ {
		a.look()
		if looks%sweepLooks == 0 {
			a.sweep()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

// look finds out whether there is somebody to ask.
func (a *Autoscaler) look() {
	now := a.Clock.Now()
	a.mu.Lock()
	silent := !a.asked.IsZero() && now.Sub(a.asked) >= silence && a.Args.Mode == v1alpha1.ScaleUpAuto
	if silent {
		a.asked, a.deaf = time.Time{}, now.Add(deafPeriod)
	}
	deaf := now.Before(a.deaf)
	a.mu.Unlock()
	switch {
	case silent:
		a.choose(false, "nobody has answered a CapacityBuffer", "waited", silence, "again", deafPeriod)
	case deaf:
	case a.Args.Mode == v1alpha1.ScaleUpCapacityBuffer:
		a.choose(true, "scaleUp.mode says so")
	case a.served():
		a.choose(true, "the cluster has the kind")
	}
}

// choose begins or ends to ask, and says why.
func (a *Autoscaler) choose(elastic bool, why string, more ...any) {
	if a.elastic.Swap(elastic) == elastic {
		return
	}
	mode, event := v1alpha1.ScaleUpOff, ledger.Elastic{}
	if elastic {
		mode = v1alpha1.ScaleUpCapacityBuffer
		event.Limits = &scaleup.Limits{After: a.Args.After.Duration, Timeout: a.Args.Timeout.Duration, PerQueue: *a.Args.GangsPerQueue, Total: *a.Args.Gangs}
	}
	a.Logger.Info("Mode of scale-up chosen", append([]any{"mode", mode, "configured", a.Args.Mode, "because", why}, more...)...)
	a.report()
	a.Tell(event)
}

// report writes the mode down as a metric.
func (a *Autoscaler) report() {
	for mode, holds := range map[v1alpha1.ScaleUpMode]bool{v1alpha1.ScaleUpCapacityBuffer: a.elastic.Load(), v1alpha1.ScaleUpOff: !a.elastic.Load()} {
		value := 0.0
		if holds {
			value = 1
		}
		modes.WithLabelValues(string(mode)).Set(value)
	}
}

// sweep looks at the buffers of leaders for whom nothing is asked.
func (a *Autoscaler) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for leader := range a.there {
		if _, wanted := a.wanted[leader]; !wanted {
			a.queue.Add(leader)
		}
	}
}

// seen is a buffer that came or changed.
func (a *Autoscaler) seen(buffer *unstructured.Unstructured) {
	leader, ours := leaderOf(buffer)
	if !ours {
		return
	}
	answer, answered := answerOf(buffer)
	a.mu.Lock()
	if a.there[leader] == nil {
		a.there[leader] = map[types.NamespacedName]scaleup.Answer{}
	}
	a.there[leader][nameOf(buffer)] = answer
	if answered {
		a.asked, a.answered = time.Time{}, true
	}
	a.mu.Unlock()
	a.pass(leader)
}

// gone is one that was deleted.
func (a *Autoscaler) gone(buffer *unstructured.Unstructured) {
	leader, ours := leaderOf(buffer)
	if !ours {
		return
	}
	a.mu.Lock()
	delete(a.there[leader], nameOf(buffer))
	if len(a.there[leader]) == 0 {
		delete(a.there, leader)
	}
	_, wanted := a.wanted[leader]
	a.mu.Unlock()
	if wanted {
		a.queue.AddRateLimited(leader) // somebody else has deleted it
	}
}

// pass tells the ledger what all buffers of a leader say, if that is something else than before.
func (a *Autoscaler) pass(leader types.UID) {
	a.mu.Lock()
	wanted, wants := a.wanted[leader]
	answer := scaleup.Answer{}
	var words []string
	for name, said := range a.there[leader] {
		if !wants || name.Namespace != wanted.Leader.Namespace {
			continue // whoever may make one elsewhere says nothing here
		}
		answer.Failing = answer.Failing || said.Failing
		if said.Words != "" {
			words = append(words, said.Words)
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

// fails tells the ledger that nobody could be asked.
func (a *Autoscaler) fails(leader types.UID, err error) {
	answer := scaleup.Answer{Words: "it cannot be asked: " + err.Error()}
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
func (a *Autoscaler) state(leader types.UID) (wanted ledger.ScaleUp, wants bool, there []types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wanted, wants = a.wanted[leader]
	return wanted, wants, slices.Collect(maps.Keys(a.there[leader]))
}

// made notes that a buffer was made; it may be long until its arrival is heard of.
func (a *Autoscaler) made(leader types.UID, name types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.there[leader] == nil {
		a.there[leader] = map[types.NamespacedName]scaleup.Answer{}
	}
	if _, known := a.there[leader][name]; !known {
		a.there[leader][name] = scaleup.Answer{}
	}
	if a.asked.IsZero() && !a.answered {
		a.asked = a.Clock.Now()
	}
}

// work makes and deletes until the context ends.
func (a *Autoscaler) work(ctx context.Context) {
	go func() {
		<-ctx.Done()
		a.queue.ShutDown()
	}()
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
		}
		a.queue.Done(leader)
	}
}
