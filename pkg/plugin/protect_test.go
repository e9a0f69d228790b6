package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"retinue.dev/retinue/pkg/ledger"
	quotas "retinue.dev/retinue/pkg/quota"
)

// The user of whoever waits for room that others have borrowed reads until when they are protected, in the same condition as the rest.
//
// Seen failing when only the ledger knew.
func TestAWaiterReadsUntilWhenOthersAreProtected(t *testing.T) {
	first := on("a", lone("first", 3))
	first.Namespace = "other"
	filtered(t, "", []runtime.Object{node("a", 4), first, lone("second", 3)}, func(h *harness) {
		evictions := newEvictions(h)
		guaranteed := quotas.Amounts{{Name: v1.ResourceCPU, Value: 4000}}
		h.plugin.tell(ledger.QueuesSeen{Queues: ledger.Queues{
			Specs: []quotas.Spec{
				{Name: "own", Guaranteed: guaranteed, Reclaim: quotas.Reclaim{Enabled: true}},
				{Name: "other", Reclaim: quotas.Reclaim{Protect: time.Hour}},
			},
			Namespaces: map[string]string{"ns": "own", "other": "other"},
		}})
		a := h.schedule("second")
		require.False(t, a.status.IsSuccess())
		assert.Contains(t, a.said, "what others have borrowed is protected until ")
		assert.Empty(t, a.nominated)
		assert.Empty(t, h.condition("second"), "kube-scheduler writes it")
		h.after(time.Minute)
		assert.Empty(t, evictions.asked())
		h.after(time.Hour)
		assert.Equal(t, []string{"evict first first-uid"}, evictions.asked())
	})
}

// twoQueues limit nothing.
var twoQueues = []quotas.Spec{{Name: "one"}, {Name: "two"}}
