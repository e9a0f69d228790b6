package plugin

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
)

// Who has to go while it waits at another plugin's Permit, or is about to be bound, is not deleted: a pod by itself would be lost. It is sent
// back there, and waits for its turn again; the room goes to whom it was taken back for.
//
// Seen failing when every victim was deleted.
func TestAVictimThatIsNotBoundYetIsScheduledAgain(t *testing.T) {
	tests := map[string]func(*harness, *attempt) (ends <-chan struct{}){
		"at another plugin's Permit": func(h *harness, a *attempt) <-chan struct{} {
			pod, ends := h.pod("low"), make(chan struct{})
			h.fw.AddWaitingPod(pod, map[string]time.Duration{"Other": time.Minute})
			go func() {
				defer close(ends)
				a.status = h.fw.WaitOnPermit(h.ctx, pod)
			}()
			return ends
		},
		"in PreBind": func(h *harness, a *attempt) <-chan struct{} {
			ctx, cancel := context.WithCancelCause(h.ctx)
			h.fw.AddPodInPreBind(h.pod("low").UID, cancel)
			return ctx.Done()
		},
	}
	for name, waits := range tests {
		t.Run(name, func(t *testing.T) {
			high := lone("high", 3)
			high.Spec.Priority = ptr.To[int32](100)
			filtered(t, "", []runtime.Object{node("a", 4), lone("low", 3), high}, func(h *harness) {
				s := newEvictions(h)
				placed := h.reserve("low")
				require.Equal(t, "a", placed.node)
				ends := waits(h, &placed)
				require.False(t, h.schedule("high").status.IsSuccess())
				select {
				case <-ends:
				case <-time.After(time.Minute):
					require.Fail(t, "it is still there")
				}
				assert.Empty(t, s.asked(), "nothing is deleted")
				h.woken()
				h.fw.RunReservePluginsUnreserve(h.ctx, placed.state, h.pod("low"), "a")
				assert.Subset(t, h.woken(), []string{"high", "low"})
				require.False(t, h.schedule("low").status.IsSuccess(), "the room is kept")
				require.Equal(t, "a", h.schedule("high").node)
			})
		})
	}
}
