package podgroups

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/test/property"
)

// TestAPodGroupThatCannotBeReadIsTold.
//
// Seen failing before quantities were checked: the first never ended.
func TestAPodGroupThatCannotBeReadIsTold(t *testing.T) {
	tests := map[string]struct{ spec, want string }{
		"an exponent that takes for ever": {`{"minMember":1,"minResources":{"cpu":"1e-2147483647"}}`,
			`PodGroup ns/g: spec.minResources[cpu]="1e-2147483647": not a Kubernetes quantity such as 1500m or 2`},
		"the same in other letters": {`{"minMember":1,"MinResources":{"cpu":"1E2147483647"}}`, `spec.MinResources[cpu]="1E2147483647"`},
		"in a field of its status":  {`{"minMember":1,"minResources":{"cpu":1e99}}`, `spec.minResources[cpu]="1e+99"`},
		"digits without end":        {`{"minMember":1,"minResources":{"cpu":"` + strings.Repeat("1", 1<<20) + `"}}`, `spec.minResources[cpu]="1111`},
		"33 resources":              {`{"minMember":1,"minResources":` + property.Resources(33, "1") + `}`, "spec.minResources=(33 names): want at most 32"},
		"very many resources":       {`{"minMember":1,"minResources":` + property.Resources(50_000, "1") + `}`, "spec.minResources=(50000 names): want at most 32"},
		"more pods than any":        {`{"minMember":100001}`, "spec.minMember=100001: want 1 to 100000"},
		"a text that is very long":  {`{"minMember":"` + strings.Repeat("x", 1<<20) + `"}`, "PodGroup ns/g: "},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			object := &unstructured.Unstructured{Object: property.Manifest(t, `{"metadata":{"namespace":"ns","name":"g"},"spec":`+test.spec+`}`)}
			var group ledger.Group
			property.Within(t, func() { group = read(object) })
			assert.Contains(t, group.Problem, test.want)
			assert.Less(t, len(group.Problem), 400)
			assert.NotContains(t, group.Problem, "\n")
		})
	}
	assert.Empty(t, read(&unstructured.Unstructured{Object: property.Manifest(t, `{"metadata":{"namespace":"ns","name":"g"},"spec":{"minMember":1,"minResources":{"cpu":4,"memory":"1e3"}}}`)}).Problem)
}

// FuzzPodGroup: whatever a PodGroup holds, it is read within bounds, or told in one line.
func FuzzPodGroup(f *testing.F) {
	f.Add(`{"metadata":{"name":"q"},"spec":{"minResources":{"cpu":"1e-2147483647"}}}`)
	f.Add(`{"metadata":{"namespace":"ns","name":"g"},"spec":{"minMember":3,"minResources":{"cpu":"1","memory":"8Gi"},"scheduleTimeoutSeconds":9}}`)
	f.Add(`{"spec":{"minMember":"1"},"status":{"phase":{}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		object := &unstructured.Unstructured{}
		if json.Unmarshal([]byte(text), &object.Object) != nil || object.Object == nil {
			return
		}
		var group ledger.Group
		property.Within(t, func() { group = read(object) })
		require.Less(t, len(group.Problem), 1<<10+len(object.GetName())+len(object.GetNamespace()))
		if group.Problem == "" {
			require.Positive(t, group.Minimum)
		}
	})
}
