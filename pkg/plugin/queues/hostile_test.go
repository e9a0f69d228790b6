package queues

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"retinue.dev/retinue/test/property"
)

// TestAQuotaThatCannotBeReadDoesNotCount.
//
// Seen failing before quantities were checked: the first two never ended.
func TestAQuotaThatCannotBeReadDoesNotCount(t *testing.T) {
	elastic := func(spec string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: property.Manifest(t, `{"metadata":{"namespace":"ns","name":"q"},"spec":`+spec+`}`)}
	}
	queue := func(spec string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: property.Manifest(t, `{"metadata":{"name":"q"},"spec":`+spec+`}`)}
	}
	tests := map[string]struct {
		queues, elastic []*unstructured.Unstructured
		want            string
	}{
		"a min that takes for ever":         {nil, []*unstructured.Unstructured{elastic(`{"min":{"cpu":"1e-2147483647"}}`)}, `spec.min[cpu]="1e-2147483647"`},
		"a guarantee that takes for ever":   {[]*unstructured.Unstructured{queue(`{"guaranteed":{"cpu":"1e-2147483647"}}`)}, nil, `spec.guaranteed[cpu]="1e-2147483647"`},
		"an ElasticQuota of many resources": {nil, []*unstructured.Unstructured{elastic(`{"min":` + property.Resources(65, "1") + `}`)}, "name 65 resources, more than 64"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var r *reading
			property.Within(t, func() { r = readQueues(test.queues, test.elastic, map[string]map[string]string{"ns": nil}) })
			assert.Empty(t, r.queues.Specs)
			assert.Contains(t, r.idle["elasticquota/ns/q"]+r.unreadable["q"], test.want)
		})
	}
}

// FuzzQuota: whatever a Queue or an ElasticQuota holds, it is read within bounds, or told in one line.
func FuzzQuota(f *testing.F) {
	f.Add(`{"metadata":{"name":"q"},"spec":{"guaranteed":{"cpu":"1e-2147483647"}}}`)
	f.Add(`{"metadata":{"namespace":"ns","name":"q"},"spec":{"min":{"cpu":1},"max":{"cpu":-2,"memory":1e30}}}`)
	f.Add(`{"spec":{"namespaces":["ns"],"limit":{"cpu":"9E"},"weight":7,"perNamespace":{},"reclaim":{"after":"-1s"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		object := &unstructured.Unstructured{}
		if json.Unmarshal([]byte(text), &object.Object) != nil || object.Object == nil {
			return
		}
		var r *reading
		property.Within(t, func() {
			objects := []*unstructured.Unstructured{object}
			r = readQueues(objects, objects, map[string]map[string]string{"ns": nil})
		})
		for _, why := range r.unreadable {
			require.Less(t, len(why), 300)
		}
	})
}
