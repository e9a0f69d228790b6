package plugin

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	clienttesting "k8s.io/client-go/testing"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"retinue.dev/retinue/pkg/spark"
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

// TestALeaderWithManyAnnotationsIsBoundOnlyAsItWasJudged: the API server does not look at how long annotations get by a binding, and refuses
// every update afterwards.
//
// Seen failing by the invariant annotations of test/sim, seeds 9200082 and 9200125, when every leader was bound whatever had been added.
func TestALeaderWithManyAnnotationsIsBoundOnlyAsItWasJudged(t *testing.T) {
	bubble(t, "", nodes(8, "a"), func(h *harness) {
		for name, want := range map[string]string{"short": "", "long": "1"} {
			pod := lone(name, 1)
			pod.ResourceVersion = "1"
			pod.Annotations = map[string]string{spark.AnnotationRoles: `[{name: worker, count: 1, requests: {cpu: 1}, selector: {role: worker}}]`}
			if want != "" {
				pod.Annotations["notes"] = strings.Repeat("x", carefulAnnotations)
			}
			h.create(pod)
			h.schedule(name)
			require.NotEmpty(t, h.pod(name).Spec.NodeName)
			var bound *v1.Binding
			for _, action := range h.client.Actions() {
				if create, is := action.(clienttesting.CreateAction); is && create.GetSubresource() == "binding" {
					if binding := create.GetObject().(*v1.Binding); binding.Name == name {
						bound = binding
					}
				}
			}
			require.NotNil(t, bound)
			assert.Equal(t, want, bound.ResourceVersion, name)
		}
	})
}
