package plugin

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/spark"
)

// bonds is what in a pod's spec lets other pods, or volumes, decide where it may go. Placement's fast path looks at
// nodes and room only; the zero bonds are those of a pod for which that is enough.
type bonds struct {
	// together are the topology keys of required pod affinity: the pod has to be where others are.
	together []string
	// apart are the topology keys of required pod anti-affinity.
	apart []string
	// spread are the topology keys of spread constraints that must hold.
	spread []string
	ports  bool // asks for ports of its node
	claims bool // mounts claims, which may be tied to nodes and to each other
	disks  bool // mounts other volumes that may not be on every node
}

func bondsOf(pod *v1.Pod) bonds {
	var b bonds
	for _, term := range requiredAffinity(pod) {
		b.together = append(b.together, term.TopologyKey)
	}
	for _, term := range requiredAntiAffinity(pod) {
		b.apart = append(b.apart, term.TopologyKey)
	}
	for _, constraint := range pod.Spec.TopologySpreadConstraints {
		if constraint.WhenUnsatisfiable == v1.DoNotSchedule {
			b.spread = append(b.spread, constraint.TopologyKey)
		}
	}
	b.ports = len(ports(pod)) > 0
	for _, volume := range boundVolumes(pod) {
		if volume.PersistentVolumeClaim != nil || volume.Ephemeral != nil {
			b.claims = true
		} else {
			b.disks = true
		}
	}
	return b
}

func requiredAffinity(pod *v1.Pod) []v1.PodAffinityTerm {
	if affinity := pod.Spec.Affinity; affinity != nil && affinity.PodAffinity != nil {
		return affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	return nil
}

func requiredAntiAffinity(pod *v1.Pod) []v1.PodAffinityTerm {
	if affinity := pod.Spec.Affinity; affinity != nil && affinity.PodAntiAffinity != nil {
		return affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	return nil
}

// any tells whether there is any bond.
func (b bonds) any() bool {
	return len(b.together) > 0 || len(b.apart) > 0 || len(b.spread) > 0 || b.ports || b.claims || b.disks
}

// settled tells whether a node that has refused the pod goes on refusing it however many pods are added anywhere: only
// company that is looked for, or numbers that have to be level, can turn a refusal into its opposite.
func (b bonds) settled() bool { return len(b.together) == 0 && len(b.spread) == 0 }

// bonded tells whether a gang has to be rehearsed: whether room is not all that decides where its workers may go. The
// leader is nil for a gang without one. A leader's own rules about pods that run already are judged by the framework
// when it is placed; those that keep workers away from it concern the gang.
func bonded(leader *v1.Pod, roles []gang.Role) bool {
	workers := false
	for _, role := range roles {
		if role.Count > 0 {
			workers = true
			if bondsOf(role.Pod).any() {
				return true
			}
		}
	}
	return workers && leader != nil && len(requiredAntiAffinity(leader)) > 0
}

// seeksCompany tells whether pods that come may let a gang start that is refused.
func seeksCompany(leader *v1.Pod, roles []gang.Role) bool {
	return leader != nil && !bondsOf(leader).settled() ||
		slices.ContainsFunc(roles, func(role gang.Role) bool { return role.Count > 0 && !bondsOf(role.Pod).settled() })
}

// identities are labels that tell one gang from all others.
var identities = []string{spark.LabelApp, spark.LabelAppName, spark.LabelExecutorID, spark.LabelGang}

// companyShape is equal for gangs whose pods are the same to the rules about other pods, their own and others': of one
// namespace and with the same labels, but for those that tell one gang from all others and are not in its own rules. A
// rule of some third pod about one particular application is thought to be about none: the worst is that this one waits
// behind another that it does not hinder.
func companyShape(leader *v1.Pod, roles []gang.Role) string {
	pods := []*v1.Pod{}
	if leader != nil {
		pods = append(pods, leader)
	}
	for _, role := range roles {
		pods = append(pods, role.Pod)
	}
	var rules []any
	for _, pod := range pods {
		rules = append(rules, pod.Spec.Affinity, pod.Spec.TopologySpreadConstraints)
	}
	text, err := json.Marshal(rules)
	if err != nil {
		// Cannot happen for decoded pods; a shape of its own is always right.
		return string(pods[0].UID)
	}
	seen := []any{pods[0].Namespace}
	for _, pod := range pods {
		labels := maps.Clone(pod.Labels)
		for _, key := range identities {
			if !bytes.Contains(text, []byte(strconv.Quote(key))) {
				delete(labels, key)
			}
		}
		seen = append(seen, labels)
	}
	if text, err = json.Marshal(seen); err != nil {
		return string(pods[0].UID)
	}
	return digest(text)
}

// asCreated is the pod as the API server will make it: it adds what matchLabelKeys and mismatchLabelKeys mean to the
// selectors of affinity, and the framework reads the selectors only.
func asCreated(pod *v1.Pod) *v1.Pod {
	created := pod
	for i := range requiredAffinity(pod) {
		created = withLabelKeys(created, pod, requiredAffinity, i)
	}
	for i := range requiredAntiAffinity(pod) {
		created = withLabelKeys(created, pod, requiredAntiAffinity, i)
	}
	return created
}

// withLabelKeys adds the label keys of one term of the original to the same term of a copy.
func withLabelKeys(created, original *v1.Pod, terms func(*v1.Pod) []v1.PodAffinityTerm, i int) *v1.Pod {
	term := terms(original)[i]
	if term.LabelSelector == nil || len(term.MatchLabelKeys)+len(term.MismatchLabelKeys) == 0 {
		return created
	}
	if created == original {
		created = original.DeepCopy()
	}
	selector := terms(created)[i].LabelSelector
	add := func(keys []string, operator metav1.LabelSelectorOperator) {
		for _, key := range keys {
			if value, labelled := original.Labels[key]; labelled {
				selector.MatchExpressions = append(selector.MatchExpressions, metav1.LabelSelectorRequirement{Key: key, Operator: operator, Values: []string{value}})
			}
		}
	}
	add(term.MatchLabelKeys, metav1.LabelSelectorOpIn)
	add(term.MismatchLabelKeys, metav1.LabelSelectorOpNotIn)
	return created
}
