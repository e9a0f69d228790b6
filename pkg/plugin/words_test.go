package plugin

import (
	"testing"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/spark"
)

func TestVerdictsBecomeTheFrameworksWords(t *testing.T) {
	require.Nil(t, StatusOf(gang.Verdict{}, false))
	waiting := StatusOf(gang.Verdict{Reason: gang.ClusterFull, Message: "cpu 4 missing"}, false)
	require.Equal(t, fwk.Unschedulable, waiting.Code())
	require.Equal(t, "ClusterFull: cpu 4 missing", waiting.Message())
	for _, reason := range []gang.Reason{gang.InvalidGang, gang.NeverFitsNode, gang.NeverFitsCluster, gang.NeverFitsQueue, gang.LeaderGone} {
		require.Equal(t, fwk.UnschedulableAndUnresolvable, StatusOf(gang.Verdict{Reason: reason}, false).Code(), reason)
	}
}

func TestOnlyAPodThatWaitsIsToldSoByACondition(t *testing.T) {
	for _, reason := range []gang.Reason{gang.Reclaiming, gang.QueueLimit, gang.QueueClosed, gang.UserLimit} {
		require.True(t, reason.Trait().Waits, reason)
		require.Equal(t, fwk.Unschedulable, StatusOf(gang.Verdict{Reason: reason}, false).Code(), reason)
	}
	for _, reason := range []gang.Reason{gang.Reclaimed, gang.WouldReclaim, gang.GangAdmitted} {
		require.False(t, reason.Trait().Waits, reason)
	}
}

func TestWhatTheEmptyClusterLacksHasItsOwnReason(t *testing.T) {
	tests := map[string]struct {
		shortage placement.Shortage
		want     gang.Reason
	}{
		"no node is eligible":        {placement.Shortage{Kind: placement.NoEligibleNode}, gang.Constraints},
		"no node is in a zone":       {placement.Shortage{Kind: placement.NoDomain}, gang.Constraints},
		"one pod exceeds every node": {placement.Shortage{Kind: placement.Insufficient, TooLarge: true}, gang.NeverFitsNode},
		"the sum is too small":       {placement.Shortage{Kind: placement.Insufficient}, gang.NeverFitsCluster},
		"no layout exists":           {placement.Shortage{Kind: placement.Fragmented}, gang.NeverFitsCluster},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, inventory.NeverReason(&test.shortage)) })
	}
}

func TestShapesTellWhereAPodMayGo(t *testing.T) {
	pod := func(change func(*v1.PodSpec)) *v1.Pod {
		p := &v1.Pod{Spec: v1.PodSpec{Volumes: []v1.Volume{{Name: "conf", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{}}}}}}
		change(&p.Spec)
		return p
	}
	plain := signatureOf(pod(func(*v1.PodSpec) {}))
	require.Equal(t, plain, signatureOf(pod(func(s *v1.PodSpec) { s.Volumes[0].ConfigMap.Name = "another" })), "every node provides ConfigMaps")
	for name, change := range map[string]func(*v1.PodSpec){
		"a node selector": func(s *v1.PodSpec) { s.NodeSelector = map[string]string{"a": "b"} },
		"a toleration":    func(s *v1.PodSpec) { s.Tolerations = []v1.Toleration{{Key: "a"}} },
		"an affinity":     func(s *v1.PodSpec) { s.Affinity = &v1.Affinity{PodAffinity: &v1.PodAffinity{}} },
		"a host port":     func(s *v1.PodSpec) { s.Containers = []v1.Container{{Ports: []v1.ContainerPort{{HostPort: 80}}}} },
		"a claim": func(s *v1.PodSpec) {
			s.Volumes[0] = v1.Volume{VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: "c"}}}
		},
	} {
		require.NotEqual(t, plain, signatureOf(pod(change)), name)
	}
}

func TestLeadersAreKnownByLabelOrAnnotation(t *testing.T) {
	tests := map[string]struct {
		labels, annotations map[string]string
		leads               bool
		gang                string
	}{
		"a Spark driver":         {labels: map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelApp: "spark-1"}, leads: true, gang: "spark-1"},
		"a driver without app":   {labels: map[string]string{spark.LabelRole: spark.RoleDriver}},
		"an executor":            {labels: map[string]string{spark.LabelRole: spark.RoleExecutor, spark.LabelApp: "spark-1"}},
		"a lister of roles":      {annotations: map[string]string{spark.AnnotationRoles: "[]"}, leads: true, gang: "p"},
		"one of a named gang":    {labels: map[string]string{spark.LabelGang: "flink-1"}, annotations: map[string]string{spark.AnnotationRoles: "[]"}, leads: true, gang: "flink-1"},
		"a pod of its own":       {},
		"a driver who lists too": {labels: map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelApp: "spark-1"}, annotations: map[string]string{spark.AnnotationRoles: "[]"}, leads: true, gang: "spark-1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: test.labels, Annotations: test.annotations}}
			require.Equal(t, test.leads, spark.Leads(pod))
			if test.leads {
				require.Equal(t, test.gang, nameOfGang(pod))
			}
		})
	}
}
