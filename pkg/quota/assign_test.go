package quota

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

// TestAssignAgreesWithALookAtEveryNamespace: the index finds what asking every selector for every namespace finds. Seen failing
// when NotIn was taken for In.
func TestAssignAgreesWithALookAtEveryNamespace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := func(letters string) *rapid.Generator[string] {
			return rapid.Map(rapid.SampledFrom([]rune(letters)), func(r rune) string { return string(r) })
		}
		sets := rapid.MapOfN(word("klm"), word("xyz"), 0, 3)
		namespaces := map[string]map[string]string{}
		for n := range rapid.IntRange(0, 200).Draw(t, "namespaces") {
			namespaces[fmt.Sprint("n", n)] = sets.Draw(t, "labels")
		}
		expression := rapid.Custom(func(t *rapid.T) metav1.LabelSelectorRequirement {
			operator := rapid.SampledFrom([]metav1.LabelSelectorOperator{"In", "NotIn", "Exists", "DoesNotExist", "Between"}).Draw(t, "operator")
			requirement := metav1.LabelSelectorRequirement{Key: word("klmo").Draw(t, "key"), Operator: operator}
			if operator == "In" || operator == "NotIn" {
				requirement.Values = rapid.SliceOfN(word("xyzw"), 0, 3).Draw(t, "values")
			}
			return requirement
		})
		var queues []*v1alpha1.Queue
		for q := range rapid.IntRange(0, 15).Draw(t, "queues") {
			queue := &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("q%02d", q)}}
			queue.Spec.Namespaces = rapid.SliceOfN(rapid.Map(rapid.IntRange(0, 300), func(n int) string { return fmt.Sprint("n", n) }), 0, 3).Draw(t, "names")
			if rapid.Bool().Draw(t, "selects") {
				queue.Spec.NamespaceSelector = &metav1.LabelSelector{MatchLabels: sets.Draw(t, "match"), MatchExpressions: rapid.SliceOfN(expression, 0, 2).Draw(t, "expressions")}
			}
			queues = append(queues, queue)
		}
		wantAssigned, wantProblems := assignNaive(queues, namespaces)
		assigned, problems := Assign(queues, namespaces)
		require.Equal(t, wantAssigned, assigned)
		byQueue := func(a, b Problem) int { return cmp.Compare(a.Queue, b.Queue) } // the order of what different queues are told means nothing
		slices.SortStableFunc(wantProblems, byQueue)
		slices.SortStableFunc(problems, byQueue)
		require.Equal(t, wantProblems, problems)
	})
}

// assignNaive asks every queue's selector for every namespace.
func assignNaive(queues []*v1alpha1.Queue, namespaces map[string]map[string]string) (map[string]string, []Problem) {
	queues = slices.SortedFunc(slices.Values(queues), func(a, b *v1alpha1.Queue) int { return cmp.Compare(a.Name, b.Name) })
	i := &inspector{}
	assigned := map[string]string{} // namespace -> queue
	for _, queue := range queues {
		for _, namespace := range queue.Spec.Namespaces {
			switch other := assigned[namespace]; {
			case other == "":
				assigned[namespace] = queue.Name
			case other != queue.Name:
				i.report(queue.Name, "namespaces", namespace, "queue %s names this namespace as well; it belongs to %s", other, other)
			}
		}
	}
	named := maps.Clone(assigned)
	for _, queue := range queues {
		selector, err := metav1.LabelSelectorAsSelector(queue.Spec.NamespaceSelector)
		if err != nil {
			i.report(queue.Name, "namespaceSelector", metav1.FormatLabelSelector(queue.Spec.NamespaceSelector), "%v; it selects nothing", err)
			continue
		}
		taken := map[string][]string{} // other queue -> namespaces both select
		for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
			if named[namespace] != "" || !selector.Matches(labels.Set(namespaces[namespace])) {
				continue
			}
			if other := assigned[namespace]; other != "" {
				taken[other] = append(taken[other], namespace)
			} else {
				assigned[namespace] = queue.Name
			}
		}
		for position, other := range slices.Sorted(maps.Keys(taken)) {
			if position == maxOverlaps {
				i.report(queue.Name, "namespaceSelector", metav1.FormatLabelSelector(queue.Spec.NamespaceSelector), "%d more queues have namespaces that it selects as well", len(taken)-maxOverlaps)
				break
			}
			var told several
			for _, name := range taken[other] {
				told.add(name)
			}
			i.report(queue.Name, "namespaceSelector", metav1.FormatLabelSelector(queue.Spec.NamespaceSelector),
				"queue %s selects %s as well; %s to %s", other, told, told.pronoun(), other)
		}
	}
	return assigned, i.problems
}

// BenchmarkAssign is 5,000 namespaces and so many queues, each of which selects a few by label, or all of them.
func BenchmarkAssign(b *testing.B) {
	namespaces := map[string]map[string]string{}
	for n := range 5000 {
		name := fmt.Sprint("namespace-", n)
		namespaces[name] = map[string]string{"kubernetes.io/metadata.name": name, "team": fmt.Sprint(n % 1000), "tier": fmt.Sprint(n % 3)}
	}
	for name, selects := range map[string]func(q int) *metav1.LabelSelector{
		"its team": func(q int) *metav1.LabelSelector {
			return &metav1.LabelSelector{MatchLabels: map[string]string{"team": fmt.Sprint(q)}}
		},
		"a few of all": func(q int) *metav1.LabelSelector {
			if q < 500 {
				return &metav1.LabelSelector{MatchLabels: map[string]string{"team": fmt.Sprint(q)}}
			}
			return &metav1.LabelSelector{}
		},
		"all but one": func(q int) *metav1.LabelSelector {
			return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "team", Operator: "NotIn", Values: []string{fmt.Sprint(q)}}}}
		},
	} {
		for _, count := range []int{100, 1000} {
			b.Run(fmt.Sprintf("selects=%s/queues=%d", name, count), func(b *testing.B) {
				var queues []*v1alpha1.Queue
				for q := range count {
					queue := &v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("q", q)}}
					queue.Spec.NamespaceSelector = selects(q)
					queues = append(queues, queue)
				}
				b.ReportAllocs()
				for b.Loop() {
					if assigned, _ := Assign(queues, namespaces); len(assigned) == 0 {
						b.Fatal("nothing is assigned")
					}
				}
			})
		}
	}
}
