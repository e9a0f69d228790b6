package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/cluster"
	"retinue.dev/retinue/test/sparksim/chronicle"
)

// claim creates a PersistentVolume that only nodes of a zone reach, and a claim that is bound to it.
func (s *stage) claim(name, zone string) {
	s.t.Helper()
	size := v1.ResourceList{v1.ResourceStorage: resource.MustParse("1Gi")}
	_, err := s.client.CoreV1().PersistentVolumes().Create(s.t.Context(), &v1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PersistentVolumeSpec{
			Capacity: size, AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce},
			PersistentVolumeSource: v1.PersistentVolumeSource{CSI: &v1.CSIPersistentVolumeSource{Driver: "disks.example.com", VolumeHandle: name}},
			ClaimRef:               &v1.ObjectReference{Namespace: metav1.NamespaceDefault, Name: name},
			NodeAffinity: &v1.VolumeNodeAffinity{Required: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
				MatchExpressions: []v1.NodeSelectorRequirement{{Key: v1.LabelTopologyZone, Operator: v1.NodeSelectorOpIn, Values: []string{zone}}},
			}}}},
		},
	}, metav1.CreateOptions{})
	require.NoError(s.t, err)
	claims := s.client.CoreV1().PersistentVolumeClaims(metav1.NamespaceDefault)
	_, err = claims.Create(s.t.Context(), &v1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1.PersistentVolumeClaimSpec{
			VolumeName: name, StorageClassName: ptr.To(""), AccessModes: []v1.PersistentVolumeAccessMode{v1.ReadWriteOnce}, Resources: v1.VolumeResourceRequirements{Requests: size},
		},
	}, metav1.CreateOptions{})
	require.NoError(s.t, err)
	s.t.Cleanup(func() {
		_ = claims.Delete(s.t.Context(), name, metav1.DeleteOptions{})
		_ = s.client.CoreV1().PersistentVolumes().Delete(s.t.Context(), name, metav1.DeleteOptions{})
	})
	require.Eventually(s.t, func() bool {
		claim, err := claims.Get(s.t.Context(), name, metav1.GetOptions{})
		require.NoError(s.t, err)
		return claim.Status.Phase == v1.ClaimBound
	}, patience, look, "claim %s is not bound", name)
}

// TestAnExecutorWhoseVolumeIsInAnotherZoneThanItsSlot: Spark gives the claim of a lost executor to its replacement. That goes where the
// volume is, if there is room, and its slot is where it is then; where there is none it waits and says for what, the others take
// their slots, and it starts as soon as there is room in its zone.
func TestAnExecutorWhoseVolumeIsInAnotherZoneThanItsSlot(t *testing.T) {
	needsCluster(t)
	s := newStageOn(t, clusterForTest(t, cluster.Config{LeaderElection: true}), 0, 4)
	require.NoError(t, s.cluster.EnsureNodes(t.Context(), cluster.Nodes{Count: 2, CPU: "4", Memory: "64Gi", Zones: 2}))
	executor := func(driver *v1.Pod, i int, claim string) {
		s.member(fmt.Sprintf("%s-exec-%d", driver.Labels[spark.LabelAppName], i), 1, func(pod *v1.Pod) {
			pod.Labels = map[string]string{
				spark.LabelRole: spark.RoleExecutor, spark.LabelApp: driver.Labels[spark.LabelApp], spark.LabelAppName: driver.Labels[spark.LabelAppName],
				spark.LabelExecutorID: fmt.Sprint(i), spark.LabelResourceProfile: "0",
			}
			pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID, Controller: ptr.To(true)}}
			if claim != "" {
				pod.Spec.Volumes = []v1.Volume{{Name: "disk", VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}}
			}
		})
	}
	s.halves = append(s.halves, "app")        // one of its executors has to wait for its zone
	driver := s.submit(sized("app", 1, 2, 1)) // packed: all of it is on one node
	s.awaitOne("app", "has a driver that runs", func(a chronicle.Application) bool { return a.Phase == v1.PodRunning && a.Slots == 2 })
	here := s.pod(driver.Name).Spec.NodeName
	node, err := s.client.CoreV1().Nodes().Get(t.Context(), here, metav1.GetOptions{})
	require.NoError(t, err)
	zone := map[string]string{"zone-0": "zone-1", "zone-1": "zone-0"}[node.Labels[v1.LabelTopologyZone]] // the other one
	require.NotEmpty(t, zone)
	s.claim("far", zone)
	s.lone("rival", 4)
	s.awaitBound("rival") // there is room for it only in the other zone

	executor(driver, 1, "far")
	s.awaitRefused("app-exec-1")
	require.Eventually(t, func() bool {
		for _, condition := range s.pod("app-exec-1").Status.Conditions {
			if condition.Type == v1.PodScheduled && strings.Contains(condition.Message, "PersistentVolume's node affinity") {
				return true
			}
		}
		return false
	}, patience, look, "it does not say that its volume is elsewhere: %v", s.pod("app-exec-1").Status.Conditions)
	executor(driver, 2, "")
	s.awaitBound("app-exec-2")
	require.Equal(t, here, s.pod("app-exec-2").Spec.NodeName)
	s.lone("greedy", 2) // 4 less the driver, one executor, and one slot: only 1 is free
	s.awaitRefused("greedy")

	s.remove("rival")
	s.awaitBound("app-exec-1")
	require.NotEqual(t, here, s.pod("app-exec-1").Spec.NodeName)
	s.awaitBound("greedy") // its slot is where it is now
}
