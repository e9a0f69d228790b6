package plugin

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

// However many pods are bound together, the API server's connection keeps room for other requests. Seen failing without the
// limit.
func TestSoManyPodsAreBoundAtATime(t *testing.T) {
	bubble(t, "", append(nodes(4, "a"), lone("p", 1)), func(h *harness) {
		for range maxBindings {
			h.plugin.bindings <- struct{}{}
		}
		bound := make(chan *fwk.Status)
		go func() { bound <- h.plugin.Bind(h.ctx, framework.NewCycleState(), h.pod("p"), "a") }()
		synctest.Wait()
		select {
		case <-bound:
			t.Fatal("it does not wait for its turn")
		default:
		}

		given, giveUp := context.WithCancel(h.ctx)
		giveUp()
		assert.Equal(t, fwk.Error, h.plugin.Bind(given, framework.NewCycleState(), h.pod("p"), "a").Code(), "who gives up does not wait")

		<-h.plugin.bindings
		assert.True(t, (<-bound).IsSuccess())
		assert.Len(t, h.plugin.bindings, maxBindings-1)
	})
}
