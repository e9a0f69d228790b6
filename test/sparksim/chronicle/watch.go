package chronicle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Chronicle watches all pods and nodes of a cluster. Its methods may be called from several goroutines.
type Chronicle struct {
	clock   clock.PassiveClock
	factory informers.SharedInformerFactory

	mu      sync.Mutex // guards everything below
	state   *state
	changed chan struct{} // closed, and replaced, at every change
}

// Watch begins to record, and returns when it knows what is there already. It ends with the context; Close waits for
// that.
func Watch(ctx context.Context, client kubernetes.Interface, clock clock.PassiveClock) (*Chronicle, error) {
	c := &Chronicle{clock: clock, state: newState(), changed: make(chan struct{}), factory: informers.NewSharedInformerFactory(client, 0)}
	nodes, err := c.factory.Core().V1().Nodes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { c.node(object) },
		UpdateFunc: func(_, object any) { c.node(object) },
		DeleteFunc: func(object any) { c.nodeGone(object) },
	})
	if err != nil {
		return nil, fmt.Errorf("chronicle: %w", err)
	}
	pods, err := c.factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { c.pod(object) },
		UpdateFunc: func(_, object any) { c.pod(object) },
		DeleteFunc: func(object any) { c.deleted(object) },
	})
	if err != nil {
		return nil, fmt.Errorf("chronicle: %w", err)
	}
	c.factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), nodes.HasSynced, pods.HasSynced) {
		return nil, errors.Join(errors.New("chronicle: the cluster does not answer"), ctx.Err())
	}
	return c, nil
}

// Close returns when nothing is recorded any more. The context has to end for that.
func (c *Chronicle) Close() { c.factory.Shutdown() }

func (c *Chronicle) node(object any) {
	if node, ok := object.(*v1.Node); ok {
		c.change(func(s *state) { s.node(node) })
	}
}

func (c *Chronicle) nodeGone(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	if node, ok := object.(*v1.Node); ok {
		c.change(func(s *state) { s.nodeGone(node.Name) })
	}
}

func (c *Chronicle) pod(object any) {
	if pod, ok := object.(*v1.Pod); ok {
		now := c.clock.Now()
		c.change(func(s *state) { s.pod(now, pod) })
	}
}

func (c *Chronicle) deleted(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	if pod, ok := object.(*v1.Pod); ok {
		now := c.clock.Now()
		c.change(func(s *state) { s.deleted(now, pod) })
	}
}

func (c *Chronicle) change(do func(*state)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do(c.state)
	close(c.changed)
	c.changed = make(chan struct{})
}

// Blind tells that the API server is going away: who finds it again hears first of what is new and then of what has gone, in
// no order, so that nothing is judged until See.
func (c *Chronicle) Blind() {
	c.change(func(s *state) { s.blind = true })
}

// See judges again what is and what comes, once everything is known that was there when the API server was back.
func (c *Chronicle) See() {
	now := c.clock.Now()
	c.change(func(s *state) { s.see(now) })
}

// AwaitPod returns nil as soon as the pod was seen, and the context's error if that ends first.
func (c *Chronicle) AwaitPod(ctx context.Context, pod types.UID) error {
	return c.await(ctx, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, seen := c.state.pods[pod]
		return seen
	})
}

// Applications are all that were ever seen, in the order in which their drivers appeared.
func (c *Chronicle) Applications() []Application {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.list()
}

// Nodes are all nodes with who sits there, by name.
func (c *Chronicle) Nodes() []Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.seats()
}

// Overbooked tells which nodes had more pods bound to them than they hold, and since which pod.
func (c *Chronicle) Overbooked() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.state.overbooked)
}

// Changed is closed at the next change.
func (c *Chronicle) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Await returns nil as soon as the condition holds, and the context's error if that ends first.
func (c *Chronicle) Await(ctx context.Context, condition func([]Application) bool) error {
	return c.await(ctx, func() bool { return condition(c.Applications()) })
}

func (c *Chronicle) await(ctx context.Context, condition func() bool) error {
	for {
		changed := c.Changed()
		if condition() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
