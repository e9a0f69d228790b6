package placement

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// maxExclusions bounds how many different things a sentence names.
const maxExclusions = 3

// Exclusions is what keeps a pod from nodes, resources aside, by the first thing that does on each, the most frequent first: "3 have the
// taint dedicated=spark:NoSchedule, 1 does not match its node selector or affinity". Nodes that may hold it are not counted.
func Exclusions(pod *v1.Pod, nodes iter.Seq[*v1.Node]) string {
	const mismatch = "does not match its node selector or affinity"
	affinity := nodeaffinity.GetRequiredNodeAffinity(pod)
	counts := map[string]int{} // what is said of one node -> nodes
	for node := range nodes {
		if node == nil {
			continue
		}
		if exclusion := untolerated(pod, node); exclusion != nil {
			if exclusion == &unschedulable {
				counts["is cordoned"]++
			} else {
				counts["has the taint "+exclusion.ToString()]++
			}
		} else if matches, err := affinity.Match(node); !matches || err != nil {
			counts[mismatch]++
		}
	}
	frequent := slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b)) })
	var parts []string
	for _, exclusion := range frequent[:min(len(frequent), maxExclusions)] {
		text := exclusion
		if counts[exclusion] > 1 {
			text = plural.Replace(exclusion)
		}
		parts = append(parts, fmt.Sprintf("%d %s", counts[exclusion], text))
	}
	if more := len(frequent) - maxExclusions; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d reasons more", more))
	}
	return strings.Join(parts, ", ")
}

// plural makes a sentence about one node one about several.
var plural = strings.NewReplacer("is cordoned", "are cordoned", "has the taint", "have the taint", "does not match", "do not match")
