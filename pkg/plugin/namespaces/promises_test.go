package namespaces

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/klog/v2"
	clocktesting "k8s.io/utils/clock/testing"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/limits"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// world is a namespace with a quota of 10 cpus, of which none is used.
func world(t *testing.T) (*Namespaces, *clocktesting.FakeClock) {
	clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
	n, err := New(Outside{Client: fake.NewClientset(), Clock: clock, Logger: klog.Background(), Changed: func(string) {}})
	require.NoError(t, err)
	hard := v1.ResourceList{v1.ResourceRequestsCPU: apiresource.MustParse("10")}
	n.of["ns"] = limits.Namespace{Quotas: []*v1.ResourceQuota{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "compute"}, Spec: v1.ResourceQuotaSpec{Hard: hard}, Status: v1.ResourceQuotaStatus{Hard: hard},
	}}}
	return n, clock
}

func driver(name string, priority int32) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, UID: types.UID(name), Labels: map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelApp: name}},
		Spec: v1.PodSpec{Priority: &priority}}
}

func executor(driver string, number int) *v1.Pod {
	controller := true
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: fmt.Sprint(driver, "-", number), Labels: map[string]string{spark.LabelRole: spark.RoleExecutor, spark.LabelApp: driver},
		OwnerReferences: []metav1.OwnerReference{{Kind: "Pod", Name: driver, UID: types.UID(driver), Controller: &controller}},
	}}
}

// executors of one cpu each.
func executors(count int) []gang.Role {
	pod := &v1.Pod{Spec: v1.PodSpec{Containers: []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: apiresource.MustParse("1")}}}}}}
	return []gang.Role{{Name: spark.RoleExecutor, Count: count, Pod: pod, Requests: resource.OfPod(pod)}}
}

func names(pods []*v1.Pod) (names []string) {
	for _, pod := range pods {
		names = append(names, pod.Name)
	}
	return names
}

// TestAPromiseEndsWhenItsExecutorsExistOrAreNotWaitedForAnyMore.
//
// Seen failing without the time, and when executors that were there before their driver was heard of did not count.
func TestAPromiseEndsWhenItsExecutorsExistOrAreNotWaitedForAnyMore(t *testing.T) {
	t.Run("they exist", func(t *testing.T) {
		n, _ := world(t)
		n.Seen(executor("one", 0)) // as after a restart: in any order
		n.Admitted(driver("one", 0), executors(8), time.Minute)
		require.Contains(t, n.Short(driver("two", 0), executors(4)).String(), "less 7 that applications which run are about to ask for")
		for i := 1; i < 5; i++ {
			n.Seen(executor("one", i))
		}
		assert.Equal(t, []string{"two"}, names(n.Due()), "3 are left to come, and nothing is counted as used here")
		for i := 5; i < 8; i++ {
			n.Seen(executor("one", i))
		}
		assert.Empty(t, n.promises.promised)
		n.Gone(executor("one", 0))
		assert.Empty(t, n.promises.promised, "what replaces one that was lost is not promised")
	})
	t.Run("nobody waits for them", func(t *testing.T) {
		n, clock := world(t)
		n.Admitted(driver("one", 0), executors(8), time.Minute)
		require.NotEmpty(t, n.Short(driver("two", 0), executors(4)))
		clock.Step(time.Minute + time.Second)
		assert.Empty(t, n.Due())
		n.All()
		assert.Equal(t, []string{"two"}, names(n.Due()))
	})
	t.Run("their driver has gone", func(t *testing.T) {
		n, _ := world(t)
		n.Admitted(driver("one", 0), executors(8), time.Minute)
		require.NotEmpty(t, n.Short(driver("two", 0), executors(4)))
		n.Gone(driver("one", 0))
		assert.Equal(t, []string{"two"}, names(n.Due()))
		n.Gone(driver("two", 0))
		assert.Empty(t, n.promises.waiting)
		assert.Empty(t, n.promises.workers)
	})
}

// TestAsManyAreDueAsTheQuotaHasRoomFor, by priority and age, and no more.
//
// Seen failing when each was asked for by itself: all three were woken for room that one has.
func TestAsManyAreDueAsTheQuotaHasRoomFor(t *testing.T) {
	n, _ := world(t)
	n.Admitted(driver("one", 0), executors(8), time.Minute)
	for name, priority := range map[string]int32{"low": 1, "high": 9, "middle": 5} {
		require.NotEmpty(t, n.Short(driver(name, priority), executors(4)))
	}
	n.Gone(driver("one", 0))
	assert.Equal(t, []string{"high", "middle"}, names(n.Due()))
	assert.Empty(t, n.Due())
	n.promises.stir("ns")
	assert.Equal(t, []string{"low"}, names(n.Due()), "those before it have not been admitted")
}
