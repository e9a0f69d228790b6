package plugin

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clienttesting "k8s.io/client-go/testing"
)

func limitRange(item v1.LimitRangeItem) *v1.LimitRange {
	item.Type = v1.LimitTypeContainer
	return &v1.LimitRange{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "bounds"}, Spec: v1.LimitRangeSpec{Limits: []v1.LimitRangeItem{item}}}
}

func amounts(name v1.ResourceName, amount string) v1.ResourceList {
	return v1.ResourceList{name: apiresource.MustParse(amount)}
}

// quota allows so many cpus, of which some are used.
func quota(hard, used string) *v1.ResourceQuota {
	q := &v1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "compute"}}
	q.Spec.Hard = amounts(v1.ResourceRequestsCPU, hard)
	q.Status = v1.ResourceQuotaStatus{Hard: q.Spec.Hard, Used: amounts(v1.ResourceRequestsCPU, used)}
	return q
}

// limited runs a test in which LimitRanges and ResourceQuotas are followed.
func limited(t *testing.T, objects []runtime.Object, test func(*harness)) {
	bubble(t, "", objects, func(h *harness) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.plugin.namespaces.Run(h.ctx)
		}()
		h.after(time.Second)
		require.True(t, h.plugin.namespaces.Known())
		test(h)
		h.stop()
		<-done
	})
}

func (h *harness) updateQuota(q *v1.ResourceQuota) {
	_, err := h.client.CoreV1().ResourceQuotas("ns").Update(h.ctx, q, metav1.UpdateOptions{})
	require.NoError(h.t, err)
	h.after(2 * time.Second)
}

// TestWhatALimitRangeRefusesIsToldBeforeTheDriverRuns, and a mended LimitRange lets the gang start.
//
// Seen failing before LimitRanges were read: the driver ran and hung.
func TestWhatALimitRangeRefusesIsToldBeforeTheDriverRuns(t *testing.T) {
	limits := limitRange(v1.LimitRangeItem{Max: amounts(v1.ResourceCPU, "2"), Default: amounts(v1.ResourceCPU, "2"), DefaultRequest: amounts(v1.ResourceCPU, "2")})
	limited(t, append(nodes(16, "n1"), limits), func(h *harness) {
		h.submit("app", 2, 4)
		const want = "InvalidGang: container spark-kubernetes-executor of the executor pod requests cpu 4, and its limit is 2, which is the default of LimitRange ns/bounds: the API server will refuse it"
		assert.Equal(t, want, h.condition("app"))
		assert.False(t, h.schedule("app").status.IsSuccess())
		require.NoError(t, h.client.CoreV1().LimitRanges("ns").Delete(h.ctx, "bounds", metav1.DeleteOptions{}))
		h.after(time.Second)
		assert.Contains(t, h.woken(), "app")
		assert.True(t, h.schedule("app").status.IsSuccess())
	})
}

// TestAQuotaThatAGangExceedsAloneIsToldBeforeTheDriverRuns.
func TestAQuotaThatAGangExceedsAloneIsToldBeforeTheDriverRuns(t *testing.T) {
	limited(t, append(nodes(16, "n1"), quota("4", "1")), func(h *harness) {
		h.submit("app", 4, 1)
		assert.Equal(t, "InvalidGang: ResourceQuota ns/compute allows requests.cpu 4, and the application asks for 5 with its leader and 4 × executor: it can never start whole", h.condition("app"))
		h.updateQuota(quota("5", "1"))
		assert.True(t, h.schedule("app").status.IsSuccess())
	})
}

// TestAGangWaitsForAQuotaThatIsUsedUp: what is left is 4, then 8 and promised to the executors of another gang, then free.
//
// Seen failing without promises: the second driver started when the first one's executors did not exist yet.
func TestAGangWaitsForAQuotaThatIsUsedUp(t *testing.T) {
	limited(t, append(nodes(64, "n1"), quota("20", "16")), func(h *harness) {
		h.submit("one", 8, 1)
		a := h.schedule("one")
		assert.Equal(t, "QuotaUsedUp: ResourceQuota ns/compute has requests.cpu 4 of 20 left, and the workers ask for 8", a.status.Message())
		assert.False(t, h.plugin.Ledger().Waits("one-uid"), "the ledger knows nothing of it")
		h.woken()
		h.updateQuota(quota("20", "13"))
		assert.Empty(t, h.woken(), "still too little")
		h.updateQuota(quota("20", "12"))
		assert.Equal(t, []string{"one"}, h.woken())
		require.True(t, h.schedule("one").status.IsSuccess())

		h.submit("two", 4, 1)
		assert.Equal(t, "QuotaUsedUp: ResourceQuota ns/compute has requests.cpu 8 of 20 left, less 8 that applications which run are about to ask for, and the workers ask for 4",
			h.schedule("two").status.Message())
		h.woken()
		for i := range 8 {
			h.create(executor(fmt.Sprint("one-", i), "one", 1))
		}
		h.updateQuota(quota("20", "20"))
		assert.NotContains(t, h.woken(), "two")
		h.updateQuota(quota("20", "16"))
		assert.Contains(t, h.woken(), "two")
		assert.True(t, h.schedule("two").status.IsSuccess())
	})
}

// TestOneShortOfQuotaKeepsNobodyElseWaiting: of two namespaces with gangs that ask for the same, one has no quota left.
//
// Seen failing when the ledger was told: one failure speaks for all of a signature.
func TestOneShortOfQuotaKeepsNobodyElseWaiting(t *testing.T) {
	limited(t, append(nodes(64, "n1"), quota("20", "20")), func(h *harness) {
		h.submit("one", 4, 1)
		assert.Contains(t, h.schedule("one").status.Message(), "QuotaUsedUp")
		pod := driver("two")
		pod.Namespace = "other"
		h.create(pod)
		h.create(properties(pod, executors(4, 1)...))
		h.after(time.Second)
		assert.True(t, h.plugin.PreEnqueue(h.ctx, pod).IsSuccess())
	})
}

// TestDriversAreScheduledWithoutTheRightToListQuotas: the rights are optional, and may be given at any time.
func TestDriversAreScheduledWithoutTheRightToListQuotas(t *testing.T) {
	handlers := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = handlers[:1] // the other one sleeps until a time of the real clock
	defer func() { utilruntime.ErrorHandlers = handlers }()
	withheld := true
	bubbleWith(t, nil, "", append(nodes(16, "n1"), quota("1", "1")), func(h *harness) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.plugin.namespaces.Run(h.ctx)
		}()
		h.after(time.Second)
		assert.True(t, h.plugin.namespaces.Known(), "nobody waits for a right that is withheld")
		h.submit("app", 4, 1)
		assert.True(t, h.schedule("app").status.IsSuccess())
		h.after(10 * time.Minute)
		assert.Equal(t, 2, strings.Count(h.log.String(), "they cannot be listed"), "once for each kind")
		withheld = false
		h.after(2 * time.Minute)
		h.submit("late", 4, 1)
		assert.Contains(t, h.condition("late"), "ResourceQuota ns/compute allows requests.cpu 1")
		h.stop()
		<-done
	}, func(h *harness) {
		for _, kind := range []string{"resourcequotas", "limitranges"} {
			h.client.PrependReactor("list", kind, func(action clienttesting.Action) (bool, runtime.Object, error) {
				return withheld, nil, apierrors.NewForbidden(action.GetResource().GroupResource(), "", nil)
			})
		}
	})
}
