package queues

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-base/metrics/legacyregistry"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin/metric"
	"retinue.dev/retinue/pkg/resource"
)

// series are those of our own: name{labels} -> value.
func series(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := legacyregistry.DefaultGatherer.Gather()
	require.NoError(t, err)
	found := map[string]float64{}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), metric.Prefix) {
			continue
		}
		for _, m := range family.GetMetric() {
			var labels []string
			for _, label := range m.GetLabel() {
				if label.GetValue() != "" {
					labels = append(labels, label.GetName()+"="+label.GetValue())
				}
			}
			found[strings.TrimPrefix(family.GetName(), metric.Prefix)+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return found
}

// populate makes a cluster of ten cores, in which one gang runs with an open slot, one waits for the limit of its queue, and one pod is
// somebody's who has no queue.
func (h *harness) populate() {
	tell := func(event ledger.Event) {
		_, err := h.queues.outside.Ledger.Apply(time.Now(), event)
		require.NoError(h.t, err)
	}
	tell(ledger.NodeSeen{Node: &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: v1.NodeStatus{Allocatable: v1.ResourceList{
		v1.ResourceCPU: apiresource.MustParse("10"), v1.ResourceMemory: apiresource.MustParse("10Gi"), v1.ResourcePods: apiresource.MustParse("110"), "example.com/gpu": apiresource.MustParse("2"),
	}}}})
	tell(ledger.Synced{})
	pod := func(namespace, name, node string) ledger.Pod {
		return ledger.Pod{
			UID: types.UID(name), Namespace: namespace, Node: node, Requests: resource.Vector{CPU: 1000, Memory: 1 << 30, Pods: 1}, Precedence: ledger.Precedence{Created: time.Now()},
			Object: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name)}},
		}
	}
	driver := func(namespace, name, node string) ledger.Pod {
		p := pod(namespace, name, node)
		p.Kind, p.Gang, p.Ready = ledger.Leader, gang.Key{Namespace: namespace, Name: name}, node != ""
		return p
	}
	definition := func(executors int) gang.Definition {
		return gang.Definition{Roles: []gang.Role{{Name: "executor", Count: executors, Requests: resource.Vector{CPU: 1000, Memory: 1 << 30, Pods: 1}, Pod: &v1.Pod{}}}}
	}
	runs := driver("etl-prod", "runs", "n")
	runs.Reservation = &ledger.Reservation{Definition: definition(1), Slots: []ledger.Run{{Node: "n", Count: 1}}}
	tell(ledger.PodSeen{Pod: runs})
	tell(ledger.PodSeen{Pod: pod("free", "lone", "n")})
	waits := driver("etl-prod", "waits", "")
	tell(ledger.PodSeen{Pod: waits})
	tell(ledger.Defined{Leader: "waits", Definition: definition(3)})
	verdict, _, _ := h.queues.outside.Ledger.Gate(time.Now(), waits)
	require.Equal(h.t, gang.QueueLimit, verdict.Reason)
	lone := pod("etl-prod", "bound", "")
	lone.Requests = resource.Vector{Pods: 1}
	tell(ledger.PodSeen{Pod: lone})
	tell(ledger.Placed{UID: "bound", Node: "n"})
	lone.Node = "n"
	tell(ledger.PodSeen{Pod: lone})
	h.after(time.Minute)
}

// TestMetricsSayHowQueuesStand, with all below them.
//
// Seen failing with a queue's own numbers only.
func TestMetricsSayHowQueuesStand(t *testing.T) {
	s := newServed(Resource)
	s.create(t, Resource, queue(t, "all", "{guaranteed: {cpu: 5}}"))
	s.create(t, Resource, queue(t, "etl", "{parent: all, namespaces: [etl-prod], guaranteed: {cpu: 1}, limit: {cpu: 5, example.com/none: 1}, weight: -3}"))
	s.create(t, Resource, queue(t, "idle", "{parent: all, namespaces: [idle], guaranteed: {cpu: 4}, state: Draining}"))
	bubble(t, []runtime.Object{namespace("etl-prod", ""), namespace("free", ""), namespace("idle", "")}, s, func(h *harness) {
		h.populate()
		got := series(t)
		for name, want := range map[string]float64{
			"nodes_allocatable{resource=cpu,unit=core}":                     10,
			"nodes_allocatable{resource=example.com/gpu,unit=integer}":      2,
			"queue_guaranteed{parent=all,queue=etl,resource=cpu,unit=core}": 1,
			"queue_limit{parent=all,queue=etl,resource=cpu,unit=core}":      5,
			"queue_allocated{parent=all,queue=etl,resource=cpu,unit=core}":  2,
			"queue_allocated{queue=all,resource=memory,unit=byte}":          2 << 30,
			"queue_allocated{queue=(none),resource=cpu,unit=core}":          1,
			"queue_held{queue=all,resource=cpu,unit=core}":                  1,
			"queue_leaders_allocated{queue=all,resource=cpu,unit=core}":     1,
			"queue_pending{queue=all,resource=cpu,unit=core}":               4,
			"queue_borrowed{parent=all,queue=etl,resource=cpu,unit=core}":   1,
			"queue_lent{parent=all,queue=idle,resource=cpu,unit=core}":      1,
			"queue_gangs{parent=all,queue=etl,state=Running}":               1,
			"queue_gangs{queue=all,state=Waiting}":                          1,
			"queue_waiting{queue=all,reason=QueueLimit}":                    1,
			"queue_slots_unclaimed{queue=all}":                              1,
			"queue_state{parent=all,queue=idle,state=Draining}":             1,
			"queue_state{parent=all,queue=idle,state=Open}":                 0,
			"queue_users{queue=all}":                                        1,
			"queue_problems{parent=all,queue=etl}":                          1,
			"queue_problems{queue=all}":                                     0,
			"queues_unmeasured{}":                                           0,
			"gangs_partial{}":                                               0,
			"reclaimed_pods_total{queue=etl}":                               0,
			"gang_wait_seconds{queue=etl}":                                  1,
			"predictions_total{result=Right}":                               0,
		} {
			value, there := got[name]
			assert.True(t, there, "%s is not served", name)
			assert.Equal(t, want, value, name)
		}
		assert.InDelta(t, 60, got["queue_oldest_wait_seconds{queue=all}"], 4)
		assert.InDelta(t, 5, got["queue_fair_share{parent=all,queue=etl,resource=cpu,unit=core}"], 0.1)
		assert.NotContains(t, got, "queue_limit{parent=all,queue=etl,resource=example.com/none,unit=integer}", "no node has it")

		problems, err := testutil.GatherAndLint(legacyregistry.DefaultGatherer, names()...)
		require.NoError(t, err)
		assert.Empty(t, problems)
		for _, family := range metric.Families() {
			assert.True(t, slices.ContainsFunc(slices.Collect(keys(got)), func(name string) bool { return strings.HasPrefix(metric.Prefix+name, family.Name+"{") }) ||
				!strings.HasPrefix(family.Name, "retinue_queue"), "%s has no series", family.Name)
		}
	})
}

func keys(of map[string]float64) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range of {
			if !yield(name) {
				return
			}
		}
	}
}

// names of all metrics of our own.
func names() (names []string) {
	for _, family := range metric.Families() {
		names = append(names, family.Name)
	}
	return names
}

// TestNamespacesMakeNoSeries: whoever may make namespaces, or ElasticQuotas in them, makes queues of them, and anybody may ask for resources
// of any name.
//
// Seen failing when every queue, and every resource that a queue names, had series.
func TestNamespacesMakeNoSeries(t *testing.T) {
	count := func(namespaces int) (count int) {
		s := newServed(Resource, ElasticResource)
		s.create(t, Resource, queue(t, "tenants", "{namespaceSelector: {matchLabels: {team: tenants}}, perNamespace: {limit: {cpu: 10}}}"))
		s.create(t, Resource, queue(t, "etl", "{namespaces: [etl-prod], limit: {cpu: 5}}"))
		objects := []runtime.Object{namespace("etl-prod", ""), namespace("free", ""), namespace("e", "")}
		for i := range namespaces {
			objects = append(objects, namespace(fmt.Sprint("tenant-", i), "tenants"), namespace(fmt.Sprint("elastic-", i), ""), namespace(fmt.Sprint("free-", i), ""))
			s.create(t, ElasticResource, elastic(t, fmt.Sprint("elastic-", i), "q", fmt.Sprintf("{min: {cpu: 0, example.com/made-up-%d: 1}}", i)))
		}
		bubble(t, objects, s, func(h *harness) {
			h.populate()
			count = len(series(t))
		}, func(outside *Outside) {
			outside.DefaultLimit = v1.ResourceList{v1.ResourceCPU: apiresource.MustParse("10")}
		})
		return count
	}
	require.Equal(t, count(1), count(50))
}

// TestTheNumberOfQueuesWithSeriesIsBounded, and those that are left out are counted.
//
// Seen failing without a bound.
func TestTheNumberOfQueuesWithSeriesIsBounded(t *testing.T) {
	var standings []ledger.QueueStanding
	for i := range MostQueues + 7 {
		standings = append(standings, ledger.QueueStanding{Name: fmt.Sprint("q-", i)})
	}
	t.Cleanup(func() { published.publish(ledger.New("", ""), nil, nil, nil, time.Now()) })
	published.publish(ledger.New("", ""), standings, nil, nil, time.Now())
	got, users := series(t), 0
	for name := range got {
		if strings.HasPrefix(name, "queue_users{") {
			users++
		}
	}
	assert.Equal(t, MostQueues, users)
	assert.EqualValues(t, 7, got["queues_unmeasured{}"])
}
