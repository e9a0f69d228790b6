package quota

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

func queueOf(t *testing.T, text string) *v1alpha1.Queue {
	t.Helper()
	queue := &v1alpha1.Queue{}
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), queue))
	return queue
}

func TestEveryFieldOfAQueueObjectArrives(t *testing.T) {
	got := OfQueue(queueOf(t, `
metadata: {name: etl}
spec:
  parent: team
  guaranteed: {cpu: 1500m, memory: 2Gi}
  limit: {cpu: "4", nvidia.com/gpu: 0}
  weight: 3
  maxRunningGangs: 7
  maxLeaderShare: 20
  order: Fair
  priority: 5
  state: Draining
  users: {minimumShare: 25, limit: {cpu: 2}}
  reclaim: {enabled: true, after: 30s, grace: 1m, budget: 10, deadZone: 15, exempt: true, dryRun: true, protect: 1h}
`))
	want := Spec{
		Name: "etl", Parent: "team",
		Guaranteed: Amounts{{Name: v1.ResourceCPU, Value: 1500}, {Name: v1.ResourceMemory, Value: 2 << 30}},
		Limit:      Amounts{{Name: v1.ResourceCPU, Value: 4000}, {Name: gpu, Value: 0}},
		Weight:     pointer[int64](3), MaxRunningGangs: pointer[int64](7), MaxLeaderShare: pointer[int64](20),
		Order: Fair, Priority: 5, State: Draining,
		Users: Users{MinimumShare: pointer[int64](25), Limit: cpu(2)},
		Reclaim: Reclaim{
			Enabled: true, After: 30 * time.Second, Grace: pointer(time.Minute), Budget: pointer[int64](10), DeadZone: 15, Exempt: true, DryRun: true, Protect: time.Hour,
		},
	}
	require.Empty(t, cmp.Diff(want, got))
	require.Empty(t, New([]Spec{got, {Name: "team"}}).Problems())
}

func TestAQueueObjectThatSaysNothingLimitsNothing(t *testing.T) {
	got := OfQueue(queueOf(t, `metadata: {name: etl}`))
	require.Empty(t, cmp.Diff(Spec{Name: "etl"}, got))
	require.True(t, New([]Spec{got}).Fits("etl", Demand{Amount: vector(1<<60, 1<<60, 1<<60), Gangs: 1}).Passes())
}

func TestNegativeAmountsOfAnObjectAreAProblemAndNotALimitOfZero(t *testing.T) {
	tree := New([]Spec{OfQueue(queueOf(t, `{metadata: {name: etl}, spec: {limit: {cpu: -1, memory: 1Gi}}}`))})
	require.Len(t, tree.Problems(), 1)
	require.Equal(t, "queue etl: limit.cpu: -1: must not be negative; counts as not written", tree.Problems()[0].String())
	require.True(t, tree.Fits("etl", Demand{Amount: vector(1<<40, 0, 0)}).Passes())
}

func TestEveryNamespaceBelongsToOneQueue(t *testing.T) {
	queue := func(name string, selector *metav1.LabelSelector, namespaces ...string) *v1alpha1.Queue {
		return &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.QueueSpec{Namespaces: namespaces, NamespaceSelector: selector}}
	}
	team := func(name string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{"team": name}}
	}
	namespaces := map[string]map[string]string{"etl-1": {"team": "etl"}, "etl-2": {"team": "etl"}, "etl-3": {"team": "etl"}, "etl-4": {"team": "etl"}, "lab": {}}
	tests := map[string]struct {
		queues   []*v1alpha1.Queue
		want     map[string]string
		problems []string
	}{
		"by name, whether the namespace exists or not": {
			queues: []*v1alpha1.Queue{queue("etl", nil, "etl-1", "later")},
			want:   map[string]string{"etl-1": "etl", "later": "etl"},
		},
		"by label": {
			queues: []*v1alpha1.Queue{queue("etl", team("etl"))},
			want:   map[string]string{"etl-1": "etl", "etl-2": "etl", "etl-3": "etl", "etl-4": "etl"},
		},
		"a name goes before a label, and that is no conflict": {
			queues: []*v1alpha1.Queue{queue("a", &metav1.LabelSelector{}), queue("z", nil, "lab")},
			want:   map[string]string{"etl-1": "a", "etl-2": "a", "etl-3": "a", "etl-4": "a", "lab": "z"},
		},
		"named twice": {
			queues:   []*v1alpha1.Queue{queue("z", nil, "lab"), queue("a", nil, "lab", "lab")},
			want:     map[string]string{"lab": "a"},
			problems: []string{"queue z: namespaces: lab: queue a names this namespace as well; it belongs to a"},
		},
		"selected twice": {
			queues:   []*v1alpha1.Queue{queue("z", team("etl")), queue("a", team("etl"))},
			want:     map[string]string{"etl-1": "a", "etl-2": "a", "etl-3": "a", "etl-4": "a"},
			problems: []string{"queue z: namespaceSelector: team=etl: queue a selects etl-1, etl-2, etl-3 and 1 more as well; they belong to a"},
		},
		"a selector nobody understands": {
			queues: []*v1alpha1.Queue{queue("a", &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "Near"}}}), queue("b", nil, "lab")},
			want:   map[string]string{"lab": "b"},
			problems: []string{
				`queue a: namespaceSelector: <error>: "Near" is not a valid label selector operator; it selects nothing`,
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, problems := Assign(test.queues, namespaces)
			assert.Equal(t, test.want, got)
			var words []string
			for _, p := range problems {
				words = append(words, p.String())
			}
			assert.Equal(t, test.problems, words)
		})
	}
}
