package plugin

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// requests are the calls of the plugin to the API server so far: verb resource/subresource -> how many. Those of the test, which
// plays users and kubelets, are left out.
func (h *harness) requests() map[string]int {
	counts := map[string]int{}
	for _, action := range h.client.Actions() {
		what := action.GetResource().Resource
		if sub := action.GetSubresource(); sub != "" {
			what += "/" + sub
		}
		switch name := action.GetVerb() + " " + what; name {
		case "get configmaps", "create pods/binding", "patch pods", "patch pods/status", "create pods/eviction":
			counts[name]++
		}
	}
	return counts
}

// service is what spark-submit applies between a driver and its ConfigMap.
func service(driver *v1.Pod) *v1.Service {
	return &v1.Service{ObjectMeta: metav1.ObjectMeta{
		Namespace: driver.Namespace, Name: driver.Name + "-svc", UID: types.UID(driver.Name + "-svc-uid"),
		OwnerReferences: []metav1.OwnerReference{{Kind: "Pod", Name: driver.Name, UID: driver.UID}},
	}}
}

// What many small applications cost is requests: the first one for a ConfigMap is no guess, and nothing but bindings comes on top.
//
// Seen failing when the ConfigMap was asked for at once and then every 50, 100 and 200 ms: three requests and four for each; and when
// GangAdmitted was an event of every gang.
func TestAnApplicationCostsFewRequests(t *testing.T) {
	const applications = 100
	for name, test := range map[string]struct {
		served bool
		gap    time.Duration // between what a submitter creates
		most   int           // requests for ConfigMaps
	}{
		"its Service comes before its ConfigMap":        {true, 30 * time.Millisecond, 110},
		"its Service comes before, of a slow submitter": {true, 300 * time.Millisecond, 140}, // the first ones teach how slow
		"it has no Service":                             {false, 60 * time.Millisecond, 130},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, "", nodes(1000, "a", "b"), func(h *harness) {
				var lag time.Duration
				for i := range applications {
					pod := driver(fmt.Sprint("app-", i))
					h.create(pod)
					h.after(test.gap)
					if test.served {
						h.create(service(pod))
						h.after(test.gap)
					}
					h.create(properties(pod, executors(1, 1)...))
					began := time.Now()
					for len(h.woken()) == 0 {
						h.after(time.Millisecond)
					}
					lag += time.Since(began)
					require.True(t, h.schedule(pod.Name).status.IsSuccess())
					h.create(executor(pod.Name+"-exec", pod.Name, 1))
					require.True(t, h.schedule(pod.Name+"-exec").status.IsSuccess())
					h.remove(pod.Name + "-exec")
					h.remove(pod.Name)
				}
				requests := h.requests()
				t.Log(requests, lag/applications)
				assert.LessOrEqual(t, requests["get configmaps"], test.most)
				delete(requests, "get configmaps")
				assert.Equal(t, map[string]int{"create pods/binding": 2 * applications}, requests)
				assert.Empty(t, h.told(), "nobody has waited, so the plugin has nothing to say")
				assert.Less(t, lag/applications, 400*time.Millisecond, "and nobody is forgotten for it")
			})
		})
	}
}

// A driver whose ConfigMap does not come is asked about ever more rarely, and is found at once when its Service shows that it
// is alive.
//
// Seen failing when it was asked for every 15 seconds for ever: 7,500 such drivers took the whole rate of bindings.
func TestADriverWithoutAConfigMapCostsEverLess(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		pod := driver("app")
		h.create(pod)
		h.after(time.Hour)
		assert.LessOrEqual(t, h.fetches(), 26, "in the first hour")
		before := h.fetches()
		h.after(24 * time.Hour)
		assert.LessOrEqual(t, h.fetches()-before, 24*60/5+1, "then in five minutes one")
		h.woken()
		h.create(service(pod), properties(pod, executors(1, 1)...))
		h.after(mostLate)
		assert.Equal(t, []string{"app"}, h.woken())
	})
}

// A scheduler that starts finds drivers whose Services and ConfigMaps have long been there.
func TestAServiceThatWasThereFirstIsKnown(t *testing.T) {
	pod := driver("app")
	bubble(t, "", append(nodes(4, "a"), service(pod), properties(pod, executors(1, 1)...)), func(h *harness) {
		h.plugin.definer.sinceLeader = lateness(time.Hour)
		h.create(pod)
		h.after(mostLate)
		assert.Equal(t, []string{"app"}, h.woken())
		assert.Equal(t, 1, h.fetches())
	})
}

// However many drivers have no ConfigMap, one that may have its own now does not queue behind them, and they get their turn too.
func TestLeadersWithoutAConfigMapHoldNobodyUp(t *testing.T) {
	urgent := map[types.UID]bool{}
	queue := &lanes{urgent: func(uid types.UID) bool { return urgent[uid] }}
	for i := range 1000 {
		queue.Push(types.UID(fmt.Sprint("stuck-", i)))
	}
	for i := range 20 {
		uid := types.UID(fmt.Sprint("fresh-", i))
		urgent[uid] = true
		queue.Push(uid)
	}
	require.Equal(t, 1020, queue.Len())
	stuck := 0
	for i := range 20 {
		uid := queue.Pop()
		for !urgent[uid] {
			stuck++
			uid = queue.Pop()
		}
		require.Equal(t, types.UID(fmt.Sprint("fresh-", i)), uid, "in order")
	}
	require.Equal(t, 2, stuck, "one in eight")
	for range 1000 - stuck {
		queue.Pop()
	}
	require.Zero(t, queue.Len())
}
