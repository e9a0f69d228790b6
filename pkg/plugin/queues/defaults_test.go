package queues

import (
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// TestNamespacesWithoutAQueueHaveTheDefaultLimit, each by itself, and those with a queue have it not.
//
// Seen failing with one limit for all of them together.
func TestNamespacesWithoutAQueueHaveTheDefaultLimit(t *testing.T) {
	namespaces := map[string]map[string]string{"etl-prod": nil, "one": nil, "two": nil, "quota": nil}
	limit := v1.ResourceList{v1.ResourceCPU: apiresource.MustParse("10")}
	written := func() *reading {
		return readQueues([]*unstructured.Unstructured{queue(t, "etl", "{namespaces: [etl-prod]}")},
			[]*unstructured.Unstructured{elastic(t, "quota", "main", "{min: {cpu: 4}, max: {cpu: 20}}")}, namespaces)
	}
	r := written()
	r.addDefaults(limit, namespaces)
	tree := quota.New(r.queues.Specs)
	require.Empty(t, tree.Problems())
	ask := func(namespace string, cpu int64) quota.Reason {
		return tree.Fits(r.queues.Namespaces[namespace], quota.Demand{Amount: resource.Vector{CPU: cpu * 1000}, Gangs: 1}).Reason
	}
	require.Empty(t, ask("one", 10))
	require.Equal(t, quota.NeverFitsQueue, ask("one", 11))
	require.Empty(t, ask("etl-prod", 1000))
	require.Empty(t, ask("quota", 4), "an ElasticQuota is a queue")
	tree.Charge(r.queues.Namespaces["one"], quota.Demand{Amount: resource.Vector{CPU: 8000}, Gangs: 1})
	require.Equal(t, quota.QueueLimit, ask("one", 3))
	require.Empty(t, ask("two", 10), "what one namespace holds is not the others' concern")

	without := written()
	without.addDefaults(nil, namespaces)
	require.Equal(t, written().queues, without.queues, "absent by default")
}

// TestTheLedgerIsToldOfTheDefaultLimit of namespaces that have no queue.
//
// Seen failing when what was read of queues was told without it.
func TestTheLedgerIsToldOfTheDefaultLimit(t *testing.T) {
	s := newServed(Resource)
	s.create(t, Resource, queue(t, "etl", "{namespaces: [etl-prod]}"))
	bubble(t, []runtime.Object{namespace("etl-prod", ""), namespace("free", "")}, s, func(h *harness) {
		require.Len(t, h.readings, 1)
		limits := map[string]quota.Amounts{} // namespace -> that of its queue
		for _, spec := range h.readings[0].Specs {
			for namespace, queue := range h.readings[0].Namespaces {
				if queue == spec.Name {
					limits[namespace] = spec.Limit
				}
			}
		}
		require.Equal(t, map[string]quota.Amounts{"etl-prod": nil, "free": {{Name: v1.ResourceCPU, Value: 10_000}}}, limits)
	}, func(outside *Outside) {
		outside.DefaultLimit = v1.ResourceList{v1.ResourceCPU: apiresource.MustParse("10")}
	})
}
