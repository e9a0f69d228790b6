package spark

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
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

// checkVolumes refuses what the API server would of the volumes and claims that Spark makes from settings. Paths are not told: they are
// nobody's business.
func checkVolumes(s settings) error {
	for _, key := range s.members(executorVolume) {
		kind, rest, _ := strings.Cut(strings.TrimPrefix(key, executorVolume), ".")
		name, option, _ := strings.Cut(rest, ".")
		if len(validation.IsDNS1123Label(name)) > 0 {
			return fmt.Errorf("%s: makes a volume %s: want %s", key, quote(name), wantLabel)
		}
		switch value := s.properties[key].Text; {
		case option == "options.sizeLimit":
			if _, err := s.quantity(key); err != nil {
				return err
			}
		case option == "options.storageClass" && len(validation.IsDNS1123Subdomain(value)) > 0:
			return s.invalid(key, "not "+anObject)
		case kind == "hostPath" && option == "options.path" && slices.Contains(strings.Split(value, "/"), ".."):
			return fmt.Errorf(`%s: must not contain ".."`, key)
		}
	}
	for _, key := range s.members(executorSecret) {
		if name := strings.TrimPrefix(key, executorSecret) + "-volume"; len(validation.IsDNS1123Label(name)) > 0 {
			return fmt.Errorf("%s: makes a volume %s: want %s", quote(key), quote(name), wantLabel)
		}
	}
	return nil
}

// checkPrefix refuses a prefix of the executors' names that makes none.
func checkPrefix(s settings) error {
	prefix, found := s.lookup(executorNamePrefix)
	if name := prefix + "-exec-1"; found && len(validation.IsDNS1123Subdomain(name)) > 0 {
		return s.invalid(executorNamePrefix, fmt.Sprintf("makes a pod %s: not %s", quote(name), anObject))
	}
	return nil
}
