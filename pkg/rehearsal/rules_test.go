package rehearsal

import (
	"testing"

	"github.com/stretchr/testify/assert"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"
)

func selecting(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

func terms(topologyKey string) []v1.PodAffinityTerm {
	return []v1.PodAffinityTerm{{TopologyKey: topologyKey, LabelSelector: selecting("part", "worker")}}
}

func apart(topologyKey string) *v1.Affinity {
	return &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms(topologyKey)}}
}

func together(topologyKey string) *v1.Affinity {
	return &v1.Affinity{PodAffinity: &v1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms(topologyKey)}}
}

func hostPort(port int32) []v1.Container {
	return []v1.Container{{Name: "main", Ports: []v1.ContainerPort{{Name: "shuffle", ContainerPort: port, HostPort: port, Protocol: v1.ProtocolTCP}}}}
}

// Gangs without rules about other pods and without volumes never pay for a rehearsal.
func TestWhoIsRehearsed(t *testing.T) {
	always := v1.ContainerRestartPolicyAlways
	tests := map[string]struct {
		worker v1.PodSpec
		want   bool
	}{
		"a plain pod":             {v1.PodSpec{}, false},
		"affinity to nodes":       {v1.PodSpec{Affinity: &v1.Affinity{NodeAffinity: &v1.NodeAffinity{}}}, false},
		"no term at all":          {v1.PodSpec{Affinity: &v1.Affinity{PodAffinity: &v1.PodAffinity{}, PodAntiAffinity: &v1.PodAntiAffinity{}}}, false},
		"anti-affinity preferred": {v1.PodSpec{Affinity: &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: make([]v1.WeightedPodAffinityTerm, 1)}}}, false},
		"anti-affinity required":  {v1.PodSpec{Affinity: apart("zone")}, true},
		"affinity required":       {v1.PodSpec{Affinity: together("zone")}, true},
		"spread if possible":      {v1.PodSpec{TopologySpreadConstraints: []v1.TopologySpreadConstraint{{TopologyKey: "zone", WhenUnsatisfiable: v1.ScheduleAnyway}}}, false},
		"spread in any case":      {v1.PodSpec{TopologySpreadConstraints: []v1.TopologySpreadConstraint{{TopologyKey: "zone", WhenUnsatisfiable: v1.DoNotSchedule}}}, true},
		"a port of its own":       {v1.PodSpec{Containers: []v1.Container{{Ports: []v1.ContainerPort{{ContainerPort: 80}}}}}, false},
		"a port of the host":      {v1.PodSpec{Containers: hostPort(80)}, true},
		"a port of a sidecar":     {v1.PodSpec{InitContainers: []v1.Container{{Ports: hostPort(80)[0].Ports, RestartPolicy: &always}}}, true},
		"a port of an init step":  {v1.PodSpec{InitContainers: []v1.Container{{Ports: hostPort(80)[0].Ports}}}, false},
		"a volume every node has": {v1.PodSpec{Volumes: []v1.Volume{{VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}}}, false},
		"a claim":                 {v1.PodSpec{Volumes: []v1.Volume{{VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}}}, true},
		"a disk":                  {v1.PodSpec{Volumes: []v1.Volume{{VolumeSource: v1.VolumeSource{ISCSI: &v1.ISCSIVolumeSource{}}}}}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			role := gang.Role{Count: 1, Pod: &v1.Pod{Spec: test.worker}}
			assert.Equal(t, test.want, Needed(&v1.Pod{}, []gang.Role{role}))
			assert.Equal(t, test.want, Needed(nil, []gang.Role{role}))
			role.Count = 0
			assert.False(t, Needed(nil, []gang.Role{role}), "nobody is planned")
		})
	}
}

// What the API server makes of a term's label keys is made here for pods that do not exist yet.
func TestLabelKeysOfATermSelect(t *testing.T) {
	pod := &v1.Pod{}
	pod.Labels = map[string]string{"app": "mine", "version": "7"}
	assert.Same(t, pod, asCreated(pod), "nothing to add")
	pod.Spec.Affinity = apart("zone")
	assert.Same(t, pod, asCreated(pod), "nothing to add")
	term := &pod.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0]
	term.MatchLabelKeys, term.MismatchLabelKeys = []string{"app", "missing"}, []string{"version"}
	created := asCreated(pod)
	want := []metav1.LabelSelectorRequirement{
		{Key: "app", Operator: metav1.LabelSelectorOpIn, Values: []string{"mine"}},
		{Key: "version", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"7"}},
	}
	assert.Equal(t, want, requiredAntiAffinity(created)[0].LabelSelector.MatchExpressions)
	assert.Empty(t, term.LabelSelector.MatchExpressions, "the original is as it was")
}
