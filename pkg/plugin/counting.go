package plugin

import (
	v1 "k8s.io/api/core/v1"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	helpers "k8s.io/component-helpers/resource"

	"retinue.dev/retinue/pkg/resource"
)

// Feature gates that decide how kube-scheduler's NodeInfo counts a pod.
const (
	podLevelResources     featuregate.Feature = "PodLevelResources"
	podLevelResize        featuregate.Feature = "InPlacePodLevelResourcesVerticalScaling"
	nodeResourcesOfClaims featuregate.Feature = "DRANodeAllocatableResources"
)

// requestsOf is what a pod takes from a node. It counts as kube-scheduler's NodeInfo does, because a ledger that counts less admits
// gangs whose pods the Fit plugin then refuses, and one that counts more moves slots away from nodes that hold them. A pod that has
// a node takes the largest of what it asks for, what the kubelet has allocated to it and what its containers have; a resize that
// the kubelet has called infeasible asks for nothing. One that has none has only its spec.
func requestsOf(pod *v1.Pod) resource.Vector {
	if pod.Spec.NodeName == "" {
		return resource.OfPod(pod)
	}
	gate := utilfeature.DefaultFeatureGate
	return resource.OfPodAs(pod, helpers.PodResourcesOptions{
		UseStatusResources: true, // InPlacePodVerticalScaling cannot be switched off any more
		InPlacePodLevelResourcesVerticalScalingEnabled: gate.Enabled(podLevelResize),
		SkipPodLevelResources:                          !gate.Enabled(podLevelResources),
		UseDRANodeAllocatableResourceClaimStatus:       gate.Enabled(nodeResourcesOfClaims),
	})
}
