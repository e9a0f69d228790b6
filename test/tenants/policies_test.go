package tenants

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/test/sparksim"
)

// TestAdmissionPoliciesSayWhoMayWriteWhat: a user of a namespace with the policies of manifests/admission.
func TestAdmissionPoliciesSayWhoMayWriteWhat(t *testing.T) {
	start(t, 4, 16)
	apply(t, "admission")
	plain := namespace(t, "policed", "mallory")
	trusted := namespace(t, "trusted", "trudy", rbacv1.PolicyRule{APIGroups: []string{"retinue.dev"}, Resources: []string{"ranks"}, Verbs: []string{"use"}},
		rbacv1.PolicyRule{APIGroups: []string{"retinue.dev"}, Resources: []string{"users"}, ResourceNames: []string{"alice"}, Verbs: []string{"use"}})
	try := func(client kubernetes.Interface, namespace string, labels, annotations map[string]string) error {
		_, err := client.CoreV1().Pods(namespace).Create(t.Context(), &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "pod-", Labels: labels, Annotations: annotations},
			Spec:       v1.PodSpec{SchedulerName: "retinue", Containers: []v1.Container{{Name: "main", Image: "pause"}}},
		}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	reservation := map[string]string{plugin.AnnotationReservation: `{"roles":[]}`}
	// A policy counts a moment after it was accepted.
	require.Eventually(t, func() bool { return apierrors.IsForbidden(try(plain, "policed", nil, reservation)) }, patience, look)
	require.Eventually(t, func() bool {
		return apierrors.IsForbidden(try(plain, "policed", map[string]string{spark.LabelUser: "alice"}, nil))
	}, patience, look)
	require.Eventually(t, func() bool {
		return apierrors.IsForbidden(try(plain, "policed", nil, map[string]string{spark.AnnotationRank: "7"}))
	}, patience, look)

	for name, test := range map[string]struct {
		labels, annotations map[string]string
		plain, trusted      bool // who may
	}{
		"nothing":                            {nil, nil, true, true},
		"what others look at":                {map[string]string{"app": "x"}, map[string]string{"note": "y"}, true, true},
		"the reservation":                    {nil, reservation, false, false},
		"a rank":                             {nil, map[string]string{spark.AnnotationRank: "1"}, false, true},
		"a user it may name":                 {map[string]string{spark.LabelUser: "alice"}, nil, false, true},
		"a user it may name, by annotation":  {nil, map[string]string{spark.LabelUser: "alice"}, false, true},
		"a user it may not name":             {map[string]string{spark.LabelUser: "bob"}, nil, false, false},
		"one that it may and one it may not": {map[string]string{spark.LabelUser: "alice"}, map[string]string{spark.LabelUser: "bob"}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, by := range []struct {
				client    kubernetes.Interface
				namespace string
				may       bool
			}{{plain, "policed", test.plain}, {trusted, "trusted", test.trusted}} {
				err := try(by.client, by.namespace, test.labels, test.annotations)
				if by.may {
					assert.NoError(t, err, by.namespace)
				} else {
					assert.True(t, apierrors.IsForbidden(err), "%s: %v", by.namespace, err)
				}
			}
		})
	}
	assert.NoError(t, try(plain, "policed", map[string]string{spark.LabelUser: "mallory"}, nil), "everybody may name themselves")

	// The scheduler may write it, nobody else change it, and everything else on the same pod goes on.
	driver, err := sparksim.Submitter{Client: plain, Clock: clock.RealClock{}, NoService: true}.Submit(t.Context(), sparksim.Application{Name: "app", Namespace: "policed", Properties: map[string]string{
		"spark.kubernetes.scheduler.name": "retinue", "spark.executor.instances": "2", "spark.executor.cores": "1", "spark.driver.cores": "1"}})
	require.NoError(t, err)
	pods := plain.CoreV1().Pods("policed")
	require.Eventually(t, func() bool {
		pod, err := pods.Get(t.Context(), driver.Name, metav1.GetOptions{})
		return err == nil && pod.Annotations[plugin.AnnotationReservation] != "" && pod.Status.Phase == v1.PodRunning
	}, patience, look, "the scheduler binds with a reservation, and the kubelet writes the status")
	patch := func(key, value string) error {
		_, err := pods.Patch(t.Context(), driver.Name, types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s}}}`, key, value), metav1.PatchOptions{})
		return err
	}
	assert.True(t, apierrors.IsForbidden(patch(plugin.AnnotationReservation, `"{}"`)), "another one")
	assert.True(t, apierrors.IsForbidden(patch(plugin.AnnotationReservation, `null`)), "none")
	assert.NoError(t, patch("note", `"still mine"`))
	require.NoError(t, pods.Delete(t.Context(), driver.Name, metav1.DeleteOptions{}))
}
