package scaleup

import (
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/placement"
)

func leader() *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "driver", UID: "1"}}
}

func TestAPlaceholderAsksForTheSameNodesAndShowsNothingElse(t *testing.T) {
	template, err := Placeholder(leader(), worker(), placement.Pack, "")
	require.NoError(t, err)
	require.Equal(t, map[string]string{Label: "1"}, template.Labels, "nobody's selector finds it among executors")
	require.Equal(t, map[string]string{LeaderAnnotation: "team/driver"}, template.Annotations)
	require.Equal(t, PlaceholderScheduler, template.Spec.SchedulerName)
	pod := worker().Pod
	require.Equal(t, pod.Spec.NodeSelector, template.Spec.NodeSelector)
	require.Equal(t, pod.Spec.Tolerations, template.Spec.Tolerations)
	require.Equal(t, worker().Requests.List(), template.Spec.Containers[0].Resources.Requests)
	require.True(t, *template.Spec.SecurityContext.RunAsNonRoot, "a namespace may be restricted")
}

// Rules about other pods mean those of their own namespace.
func TestRulesAboutOthersMeanTheSameInAnotherNamespace(t *testing.T) {
	one := worker()
	one.Pod.Labels = map[string]string{"app": "etl", "secret": "x"}
	etl := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "etl"}}
	one.Pod.Spec.Affinity = &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution:  []v1.PodAffinityTerm{{TopologyKey: "host", LabelSelector: etl}},
		PreferredDuringSchedulingIgnoredDuringExecution: []v1.WeightedPodAffinityTerm{{Weight: 1, PodAffinityTerm: v1.PodAffinityTerm{TopologyKey: "zone", LabelSelector: etl}}},
	}}
	one.Pod.Spec.TopologySpreadConstraints = []v1.TopologySpreadConstraint{
		{TopologyKey: "zone", MaxSkew: 1, WhenUnsatisfiable: v1.DoNotSchedule, LabelSelector: etl}, {TopologyKey: "host", MaxSkew: 1, WhenUnsatisfiable: v1.ScheduleAnyway, LabelSelector: etl},
	}
	template, err := Placeholder(leader(), one, placement.Pack, "")
	require.NoError(t, err)
	ofGang := &metav1.LabelSelector{MatchLabels: map[string]string{"app": "etl", Label: "1"}}
	require.Equal(t, map[string]string{"app": "etl", Label: "1"}, template.Labels)
	require.Equal(t, &v1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []v1.PodAffinityTerm{
		{TopologyKey: "host", LabelSelector: etl, Namespaces: []string{"team"}}, {TopologyKey: "host", LabelSelector: ofGang},
	}}, template.Spec.Affinity.PodAntiAffinity)
	require.Equal(t, []v1.TopologySpreadConstraint{{TopologyKey: "zone", MaxSkew: 1, WhenUnsatisfiable: v1.DoNotSchedule, LabelSelector: ofGang}}, template.Spec.TopologySpreadConstraints)
	require.NotContains(t, one.Pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].LabelSelector.MatchLabels, Label, "the executor's own is left alone")
}

func TestAllPlaceholdersOfAGangAreInOneZoneWhereItHasToBe(t *testing.T) {
	template, err := Placeholder(leader(), worker(), placement.SingleZone, "zone")
	require.NoError(t, err)
	terms := template.Spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	require.Equal(t, []v1.PodAffinityTerm{{TopologyKey: "zone", LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{Label: "1"}}}}, terms)
}

func TestWhatCannotBeSaidInAnotherNamespaceIsNamed(t *testing.T) {
	for want, change := range map[string]func(*v1.PodSpec){
		`executor has the PersistentVolumeClaim "data", which no pod of another namespace can have`: func(spec *v1.PodSpec) {
			spec.Volumes = []v1.Volume{{Name: "v", VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}
		},
		`executor has the resource claim "gpu", which no pod of another namespace can have`: func(spec *v1.PodSpec) {
			spec.ResourceClaims = []v1.PodResourceClaim{{Name: "gpu"}}
		},
		`executor has to be near other pods (podAffinity), which cannot be said in another namespace`: func(spec *v1.PodSpec) {
			spec.Affinity = &v1.Affinity{PodAffinity: &v1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []v1.PodAffinityTerm{{TopologyKey: "zone"}}}}
		},
	} {
		one := worker()
		change(&one.Pod.Spec)
		_, err := Placeholder(leader(), one, placement.Pack, "")
		require.EqualError(t, err, want)
	}
}
