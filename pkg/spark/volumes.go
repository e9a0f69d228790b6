package spark

import (
	"strings"

	v1 "k8s.io/api/core/v1"
)

// claimFamily are the settings of volumes that are persistent volume claims: the only kind that ties a pod to nodes.
const claimFamily = executorVolume + "persistentVolumeClaim."

// claims are the volumes of executors whose claim exists before the executor does. Claims made for each executor tell
// nothing about nodes until they are bound.
func (s settings) claims() []v1.Volume {
	var volumes []v1.Volume
	for _, key := range s.members(claimFamily) {
		name, option, _ := strings.Cut(strings.TrimPrefix(key, claimFamily), ".")
		if option != "options.claimName" || perExecutor(s.properties[key].Text) {
			continue
		}
		volumes = append(volumes, v1.Volume{
			Name: name,
			VolumeSource: v1.VolumeSource{
				PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: s.properties[key].Text},
			},
		})
	}
	return volumes
}

// perExecutor tells whether every executor gets a claim of its own.
func perExecutor(claim string) bool {
	return strings.EqualFold(claim, "OnDemand") || strings.Contains(claim, "SPARK_EXECUTOR_ID")
}

// hasOwnClaims tells whether executors bring claims that do not exist yet.
func (s settings) hasOwnClaims() bool {
	for _, key := range s.members(claimFamily) {
		if strings.HasSuffix(key, ".options.claimName") && perExecutor(s.properties[key].Text) {
			return true
		}
	}
	return false
}
