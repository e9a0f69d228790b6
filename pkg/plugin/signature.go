package plugin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"strconv"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/rehearsal"
	"retinue.dev/retinue/pkg/spark"
)

// signatureOf is equal for pods that may go to the same nodes, resources aside. It stays as it is when the pod is bound.
func signatureOf(pod *v1.Pod) string {
	constraints, err := json.Marshal([]any{
		pod.Spec.NodeSelector, pod.Spec.Affinity, pod.Spec.Tolerations, pod.Spec.TopologySpreadConstraints,
		pod.Spec.HostNetwork, rehearsal.HostPorts(pod), rehearsal.NodeVolumes(pod), pod.Spec.ResourceClaims,
	})
	if err != nil {
		// Cannot happen for a decoded pod; a signature of its own is always right.
		return string(pod.UID)
	}
	if rehearsal.RulesOf(pod).Any() {
		return digest(constraints) + " " + gangSignature(nil, []gang.Role{{Pod: pod}})
	}
	return digest(constraints)
}

// digest is a name for a text that nobody can find another text for: pods that share a signature share their fate.
func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// identities are labels that tell one gang from all others.
var identities = []string{spark.LabelApp, spark.LabelAppName, spark.LabelExecutorID, spark.LabelGang}

// gangSignature is equal for gangs whose pods are the same to the rules about other pods, their own and others': of one
// namespace and with the same labels, but for those that tell one gang from all others and are not in its own rules. A
// rule of some third pod about one particular application is thought to be about none: the worst is that this one waits
// behind another that it does not hinder.
func gangSignature(leader *v1.Pod, roles []gang.Role) string {
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
		// Cannot happen for decoded pods; a signature of its own is always right.
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
