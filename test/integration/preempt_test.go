package integration_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAHigherPriorityGetsWhatIsNotRoom: a pod that finds room everywhere, and its host port taken or a pod that it keeps away from, has those leave who
// have a lower priority, and nobody else.
//
// Seen failing with the shipped profile before the plugin asked the filters who would have to go.
func TestAHigherPriorityGetsWhatIsNotRoom(t *testing.T) {
	port := func(pod *v1.Pod) {
		pod.Spec.Containers[0].Ports = []v1.ContainerPort{{HostPort: 8080, ContainerPort: 8080}}
	}
	away := func(pod *v1.Pod) {
		pod.Labels = map[string]string{"app": "web"}
		pod.Spec.Affinity = &v1.Affinity{PodAntiAffinity: &v1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []v1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{MatchLabels: pod.Labels}, TopologyKey: v1.LabelHostname,
		}}}}
	}
	for name, rule := range map[string]func(*v1.Pod){"a host port": port, "anti-affinity": away} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, 1, 8)
			s.priority("urgent", 1000)
			s.member("low", 1, rule)
			s.awaitBound("low")
			s.lone("other", 1)
			s.awaitBound("other")
			s.member("equal", 1, rule)
			s.awaitRefused("equal")
			gone := s.departures()
			s.member("high", 1, func(pod *v1.Pod) {
				rule(pod)
				pod.Spec.PriorityClassName = "urgent"
			})
			s.awaitBound("high")
			require.Equal(t, []string{"low EvictionByEvictionAPI"}, gone.all())
			s.awaitEvent(metav1.NamespaceDefault, "low", "makes place for default/high, whose priority is 1000; this one has 0")
			s.requireUnbound("equal")
		})
	}
}
