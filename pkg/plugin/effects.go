package plugin

import (
	"context"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
)

// effects performs what the ledger asks for on a goroutine of its own: events are applied in places, such as
// PreEnqueue, that hold locks which performing them would need. What wakes somebody never waits for a call to the API
// server: calls are made by a second goroutine, one after another.
type effects struct {
	plugin *Plugin
	pods   pods
	// prechecker keeps those from being tried who would fail again.
	prechecker prechecker
	// autoscaler is asked for nodes.
	autoscaler Autoscaler

	// notices are what pods that wait have been told.
	notices *notices

	// preBinding is the pod that is about to be bound under a UID; nil if there is none.
	preBinding func(types.UID) fwk.PodInPreBind

	mu      sync.Mutex // guards everything below
	pending []ledger.Effect
	failed  []ledger.Effect // to be tried again
	arrived chan struct{}   // holds one token while pending is not empty
	calls   calls
	due     chan struct{} // holds one token while there may be calls
	looks   chan struct{} // holds one token while the ledger is to be asked whether somebody may take something back

	// leaves tells whether a pod still has to go, and begins the same of one that is evicted then; the ledger's answers.
	leaves, begins func(types.UID) bool
}

// Autoscaler is whoever is asked for nodes.
type Autoscaler interface {
	// Elastic tells whether somebody is asked.
	Elastic() bool
	// Perform takes a ledger.ScaleUp or ledger.ScaleUpEnded. It must not wait for anybody.
	Perform(ledger.Effect)
}

// noAutoscaler is there where there is no API server to ask by.
type noAutoscaler struct{}

func (noAutoscaler) Elastic() bool         { return false }
func (noAutoscaler) Perform(ledger.Effect) {}

func newEffects(p *Plugin, preBinding func(types.UID) fwk.PodInPreBind) *effects {
	leaves := func(uid types.UID) bool {
		_, preemptor := p.ledger.Situation(uid)
		return preemptor != ""
	}
	return &effects{
		plugin: p, notices: newNotices(p.clock, p.names(), func(uid types.UID, reason gang.Reason) bool { return ledger.Holds(p.ledger, uid, reason) }),
		preBinding: preBinding, pods: p.reservations.pods, prechecker: prechecker{plugin: p}, autoscaler: noAutoscaler{},
		arrived: make(chan struct{}, 1), due: make(chan struct{}, 1), looks: make(chan struct{}, 1), leaves: leaves, begins: p.ledger.Evicting,
	}
}

func (e *effects) add(added []ledger.Effect) {
	if len(added) == 0 {
		return
	}
	e.mu.Lock()
	e.pending = append(e.pending, added...)
	e.mu.Unlock()
	signal(e.arrived)
}

// clear takes back a pod's nomination.
func (e *effects) clear(pod *v1.Pod) {
	e.call(func(c *calls) { c.clear(pod) })
}

// call adds to what has to be said to the API server.
func (e *effects) call(add func(*calls)) {
	e.mu.Lock()
	add(&e.calls)
	e.mu.Unlock()
	signal(e.due)
}

func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// take returns what has arrived.
func (e *effects) take() []ledger.Effect {
	e.mu.Lock()
	defer e.mu.Unlock()
	batch := e.pending
	e.pending = nil
	return batch
}

// again performs what has failed before.
func (e *effects) again() {
	e.mu.Lock()
	failed := e.failed
	e.failed = nil
	e.mu.Unlock()
	e.add(failed)
}

// fail keeps an effect for again.
func (e *effects) fail(failed ledger.Effect) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failed = append(e.failed, failed)
}

// run wakes until the context ends. It waits for no call to the API server: those are made by another goroutine.
func (e *effects) run(ctx context.Context) {
	go e.write(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.arrived:
		}
		e.wake(e.take())
	}
}

// wake performs what must not wait and leaves the calls to write.
func (e *effects) wake(batch []ledger.Effect) {
	e.call(func(c *calls) {
		for _, effect := range batch {
			c.add(effect)
		}
	})
	var activated []*v1.Pod
	for _, effect := range batch {
		switch effect := effect.(type) {
		case ledger.Activate:
			if !e.prechecker.fails(effect) {
				activated = append(activated, effect.Pod)
			}
		case ledger.Allow:
			for _, uid := range effect.Pods {
				if waiting := e.plugin.handle.GetWaitingPod(uid); waiting != nil {
					waiting.Allow(Name)
				}
			}
		case ledger.Reject:
			for _, uid := range effect.Pods {
				if waiting := e.plugin.handle.GetWaitingPod(uid); waiting != nil {
					waiting.Reject(Name, effect.Verdict.Say(e.plugin.names()))
				}
			}
		case ledger.Unnominate:
			if node, _ := e.plugin.ledger.Nomination(effect.Pod.UID); node == "" {
				e.plugin.forgetNomination(effect.Pod)
			}
		case ledger.Look:
			signal(e.looks)
		case ledger.ScaleUp, ledger.ScaleUpEnded:
			e.autoscaler.Perform(effect)
		case ledger.Define:
			e.plugin.definer.add(effect.Leader)
		}
	}
	e.activate(activated)
}

// activate moves pods out of their wait.
func (e *effects) activate(pods []*v1.Pod) {
	named := map[string]*v1.Pod{} // namespace/name -> pod
	for _, pod := range pods {
		named[klog.KObj(pod).String()] = pod
	}
	if len(named) > 0 {
		e.plugin.handle.Activate(e.plugin.logger, named)
	}
}
