package cluster

import (
	"slices"
	"strings"
)

// Variables that programs of a cluster inherit. Everything else stays away: etcd takes each of its settings from ETCD_…,
// clients find another cluster by KUBECONFIG or KUBERNETES_SERVICE_HOST, or send requests to a proxy.
var (
	inherited         = []string{"PATH", "HOME", "TMPDIR", "LANG", "TZ"}
	inheritedPrefixes = []string{
		"GO",    // GOMAXPROCS, GOMEMLIMIT, GODEBUG and their like
		"KUBE_", // KUBE_FEATURE_… and KUBE_CACHE_MUTATION_DETECTOR, which nobody has set by accident
	}
)

// environment is what of this process's environment, NAME=VALUE, a program of a cluster gets.
func environment(all []string) []string {
	kept := []string{"KUBERC=off"} // a user's preferences may give kubectl's commands other flags
	for _, variable := range all {
		name, _, _ := strings.Cut(variable, "=")
		if slices.Contains(inherited, name) || slices.ContainsFunc(inheritedPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			kept = append(kept, variable)
		}
	}
	return kept
}
