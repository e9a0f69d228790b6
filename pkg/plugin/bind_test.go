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
			h.plugin.bindings.tokens <- struct{}{}
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

		<-h.plugin.bindings.tokens
		assert.True(t, (<-bound).IsSuccess())
		assert.Len(t, h.plugin.bindings.tokens, maxBindings-1)
	})
}

// Seen failing when every pod was bound here, so that a Bind plugin that a profile puts after this one was never asked.
func TestAPodWithoutReservationIsLeftToTheBindPluginAfterThisOne(t *testing.T) {
	asked := 0
	otherwise := func(h *harness) {
		h.process.BindsOtherwise = func(handle fwk.Handle) bool { asked++; return handle != nil }
	}
	bubbleWith(t, nil, "", append(nodes(4, "a"), lone("p", 1)), func(h *harness) {
		for range 2 {
			assert.True(t, h.plugin.Bind(h.ctx, framework.NewCycleState(), h.pod("p"), "a").IsSkip())
		}
		assert.Empty(t, h.pod("p").Spec.NodeName)
		assert.Equal(t, 1, asked)

		h.submit("d", 1, 1)
		h.schedule("d")
		assert.NotEmpty(t, h.pod("d").Spec.NodeName, "node and reservation are written by one call")
		assert.Contains(t, h.pod("d").Annotations, AnnotationReservation)
	}, otherwise)
}
