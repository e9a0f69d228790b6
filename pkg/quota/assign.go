package quota

import (
	"cmp"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	operators "k8s.io/apimachinery/pkg/selection"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

// maxOverlaps is of how many other queues a queue is told that they have what it selects: who selects every namespace of a large
// cluster would be told of as many as there are.
const maxOverlaps = 8

// Assign tells which queue every namespace belongs to; one that is not in the answer is Unassigned. A queue that names a
// namespace goes before those that select it, and of two that do the same, the first by name. namespaces are the labels of
// those that exist: name -> labels.
func Assign(queues []*v1alpha1.Queue, namespaces map[string]map[string]string) (map[string]string, []Problem) {
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
	selectors := i.selectors(queues)
	x := newNamespaceIndex(namespaces, selectors)
	free := x.everyone() // no queue names or has selected them yet
	for n, namespace := range x.names {
		if assigned[namespace] != "" {
			free.clear(n)
		}
	}
	unnamed := slices.Clone(free)
	owner := make([]int, len(x.names))    // namespace -> queue that has selected it, if it is neither free nor named
	taken := make([]several, len(queues)) // other queue -> namespaces of it that the one looked at selects as well
	for q, selector := range selectors {
		if selector == nil {
			continue
		}
		selected := x.selected(selector)
		selected.and(unnamed)
		var others []int // queues that have some of it
		for n := range selected.all() {
			if free.has(n) {
				free.clear(n)
				owner[n] = q
				assigned[x.names[n]] = queues[q].Name
				continue
			}
			other := &taken[owner[n]]
			if other.count == 0 {
				others = append(others, owner[n])
			}
			other.add(x.names[n])
		}
		slices.Sort(others) // as the queues are, by name
		i.overlaps(queues, q, others, taken)
		for _, other := range others {
			taken[other] = several{}
		}
	}
	return assigned, i.problems
}

// selectors of namespaces; index as in queues, nil for one that selects nothing.
func (i *inspector) selectors(queues []*v1alpha1.Queue) []labels.Selector {
	selectors := make([]labels.Selector, len(queues))
	for q, queue := range queues {
		selector, err := metav1.LabelSelectorAsSelector(queue.Spec.NamespaceSelector)
		if err != nil {
			i.report(queue.Name, "namespaceSelector", metav1.FormatLabelSelector(queue.Spec.NamespaceSelector), "%v; it selects nothing", err)
			continue
		}
		if _, selectable := selector.Requirements(); selectable {
			selectors[q] = selector
		}
	}
	return selectors
}

// overlaps reports what a queue selects that others before it have.
func (i *inspector) overlaps(queues []*v1alpha1.Queue, q int, others []int, taken []several) {
	if len(others) == 0 {
		return
	}
	selector := metav1.FormatLabelSelector(queues[q].Spec.NamespaceSelector)
	for _, other := range others[:min(len(others), maxOverlaps)] {
		name := queues[other].Name
		i.report(queues[q].Name, "namespaceSelector", selector, "queue %s selects %s as well; %s to %s", name, taken[other], taken[other].pronoun(), name)
	}
	if more := len(others) - maxOverlaps; more > 0 {
		i.report(queues[q].Name, "namespaceSelector", selector, "%d more queues have namespaces that it selects as well", more)
	}
}

// namespaceIndex finds the namespaces that a selector selects without a look at each: a cluster may have thousands of
// namespaces and of queues.
type namespaceIndex struct {
	names  []string            // sorted
	labels []map[string]string // index as in names
	// byLabel are the namespaces with a label whose key some selector names: key -> value -> index in names.
	byLabel map[string]map[string][]int
}

func newNamespaceIndex(namespaces map[string]map[string]string, selectors []labels.Selector) *namespaceIndex {
	x := &namespaceIndex{names: slices.Sorted(maps.Keys(namespaces)), byLabel: map[string]map[string][]int{}}
	for _, selector := range selectors {
		if selector == nil {
			continue
		}
		requirements, _ := selector.Requirements()
		for _, requirement := range requirements {
			x.byLabel[requirement.Key()] = map[string][]int{}
		}
	}
	for n, name := range x.names {
		x.labels = append(x.labels, namespaces[name])
		for key, value := range namespaces[name] {
			if values := x.byLabel[key]; values != nil {
				values[value] = append(values[value], n)
			}
		}
	}
	return x
}

func (x *namespaceIndex) everyone() bitset {
	all := make(bitset, (len(x.names)+63)/64)
	for n := range x.names {
		all.set(n)
	}
	return all
}

// selected are the namespaces that a selector selects.
func (x *namespaceIndex) selected(selector labels.Selector) bitset {
	selected := x.everyone()
	requirements, _ := selector.Requirements()
	for _, requirement := range requirements {
		having := make(bitset, len(selected)) // with the key, and with one of the values if there are any
		values := x.byLabel[requirement.Key()]
		switch requirement.Operator() {
		case operators.Exists, operators.DoesNotExist:
			for _, namespaces := range values {
				having.set(namespaces...)
			}
		case operators.In, operators.Equals, operators.DoubleEquals, operators.NotIn, operators.NotEquals:
			for value := range requirement.Values() {
				having.set(values[value]...)
			}
		default: // no selector of namespaces has it
			for n := range x.names {
				if requirement.Matches(labels.Set(x.labels[n])) {
					having.set(n)
				}
			}
		}
		switch requirement.Operator() {
		case operators.DoesNotExist, operators.NotIn, operators.NotEquals: // a namespace without the key is not in either
			selected.without(having)
		default:
			selected.and(having)
		}
	}
	return selected
}

// bitset is a set of small numbers.
type bitset []uint64

func (s bitset) has(n int) bool { return s[n/64]&(1<<(n%64)) != 0 }

func (s bitset) set(numbers ...int) {
	for _, n := range numbers {
		s[n/64] |= 1 << (n % 64)
	}
}

func (s bitset) clear(n int) { s[n/64] &^= 1 << (n % 64) }

func (s bitset) and(other bitset) {
	for i := range s {
		s[i] &= other[i]
	}
}

func (s bitset) without(other bitset) {
	for i := range s {
		s[i] &^= other[i]
	}
}

// all in order; the set must not gain any meanwhile.
func (s bitset) all() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i, word := range s {
			for ; word != 0; word &= word - 1 {
				if !yield(64*i + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

// several are names of which the first three are told, so that a message stays one.
type several struct {
	first [3]string
	count int
}

func (s *several) add(name string) {
	if s.count < len(s.first) {
		s.first[s.count] = name
	}
	s.count++
}

func (s several) String() string {
	names := strings.Join(s.first[:min(s.count, len(s.first))], ", ")
	if more := s.count - len(s.first); more > 0 {
		return fmt.Sprintf("%s and %d more", names, more)
	}
	return names
}

func (s several) pronoun() string {
	if s.count == 1 {
		return "it belongs"
	}
	return "they belong"
}
