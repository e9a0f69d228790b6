package scaleup

import (
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// worker asks for a GPU on a tainted pool, with everything that a template must not show.
func worker() inventory.Pods {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"spark-role": "executor"}, Annotations: map[string]string{"secret": "x"}},
		Spec: v1.PodSpec{
			NodeSelector: map[string]string{"pool": "gpu"},
			Tolerations:  []v1.Toleration{{Key: "nvidia.com/gpu", Operator: v1.TolerationOpExists}},
			Volumes:      []v1.Volume{{Name: "token"}},
			Containers: []v1.Container{
				{Name: "a", Image: "private", Env: []v1.EnvVar{{Name: "PASSWORD", Value: "x"}}, Resources: v1.ResourceRequirements{Requests: v1.ResourceList{
					v1.ResourceCPU: apiresource.MustParse("3500m"), "nvidia.com/gpu": apiresource.MustParse("1"),
				}}},
				{Name: "sidecar", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: apiresource.MustParse("500m"), v1.ResourceMemory: apiresource.MustParse("1Gi")}}},
			},
			ServiceAccountName: "spark",
		},
	}
	return inventory.Pods{Name: "executor", Pod: pod, Requests: resource.OfPod(pod), Count: 20}
}

func TestATemplateIsWhatDecidesWhichNodeMayHoldThePod(t *testing.T) {
	template := Template("uid", worker(), placement.Pack, "zone")
	want := v1.ResourceList{v1.ResourceCPU: apiresource.MustParse("4"), v1.ResourceMemory: apiresource.MustParse("1Gi"), "nvidia.com/gpu": apiresource.MustParse("1")}
	require.Len(t, template.Spec.Containers, 1)
	container := template.Spec.Containers[0]
	for name, amount := range want {
		require.Zero(t, amount.Cmp(container.Resources.Requests[name]), name)
	}
	require.Len(t, container.Resources.Requests, len(want))
	require.Equal(t, []v1.ResourceName{"nvidia.com/gpu"}, names(container.Resources.Limits), "the API server wants those of extended resources")
	require.Equal(t, map[string]string{"pool": "gpu"}, template.Spec.NodeSelector)
	require.Equal(t, worker().Pod.Spec.Tolerations, template.Spec.Tolerations)
	require.Equal(t, map[string]string{"spark-role": "executor", Label: "uid"}, template.Labels)

	require.Empty(t, template.Annotations)
	require.Empty(t, template.Spec.Volumes)
	require.Empty(t, container.Env)
	require.Equal(t, placeholder, container.Image)
	require.Empty(t, template.Spec.ServiceAccountName)
	require.Nil(t, template.Spec.Affinity)
}

func TestAGangOfOneZoneAsksForOneZone(t *testing.T) {
	pods := worker()
	pods.Pod.Spec.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{}}
	template := Template("uid", pods, placement.SingleZone, "zone")
	require.NotNil(t, template.Spec.Affinity.NodeAffinity, "what the pod says holds as well")
	terms := template.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	require.Len(t, terms, 1)
	require.Equal(t, "zone", terms[0].TopologyKey)
	require.Equal(t, map[string]string{Label: "uid"}, terms[0].LabelSelector.MatchLabels)
	require.Nil(t, pods.Pod.Spec.Affinity.PodAffinity, "the pod itself is not changed")
}

func TestTheLeaderIsNotAskedForAndNobodyWhoDoesNotStart(t *testing.T) {
	leader, none := worker(), worker()
	none.Count = 0
	missing := Missing(inventory.Demand{Leader: &leader, Roles: []inventory.Pods{none, worker()}})
	require.Len(t, missing, 1)
	require.Equal(t, 20, missing[0].Count)
}

func names(list v1.ResourceList) (names []v1.ResourceName) {
	for name := range list {
		names = append(names, name)
	}
	return names
}
