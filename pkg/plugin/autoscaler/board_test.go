package autoscaler

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/scaleup"
)

// leads makes a desk the holder of a Lease.
func (d *desk) leads(t *testing.T, holder string) {
	t.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "retinue-system", Name: "retinue", Annotations: map[string]string{"other": "kept"}}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder}}
	_, err := d.client.CoordinationV1().Leases(lease.Namespace).Create(t.Context(), lease, metav1.CreateOptions{})
	require.NoError(t, err)
	d.board.lease = func() *Lease {
		return &Lease{NamespacedName: types.NamespacedName{Namespace: "retinue-system", Name: "retinue"}, Holder: "we"}
	}
}

// written is what the Lease says when the time has come to look again.
func (d *desk) written(t *testing.T) string {
	t.Helper()
	d.clock.Step(findPeriod)
	d.look(t.Context())
	require.NoError(t, d.board.update(t.Context()))
	lease, err := d.client.CoordinationV1().Leases("retinue-system").Get(t.Context(), "retinue", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "kept", lease.Annotations["other"])
	return lease.Annotations[scaleup.ChoiceAnnotation]
}

// The three cases of Auto, and those between them.
//
// Seen failing when the first choice was not told because the mode had been Off before, and when a reason that changes was not.
func TestTheLeaseSaysWhichModeWasChosenAndWhy(t *testing.T) {
	t.Run("buffers that somebody answers", func(t *testing.T) {
		d := newDesk(t, v1alpha1.ScaleUpAuto)
		d.leads(t, "we")
		require.Equal(t, "CapacityBuffer: the cluster has CapacityBuffers", d.written(t))
		d.Perform(ledger.ScaleUp{Leader: driver(), Pods: []inventory.Pods{executors(8, "4")}})
		require.NoError(t, d.reconcile(t.Context(), driverUID))
		d.bufferSeen(says(d.buffers(t)[0], "True", "R", "all"))
		require.Equal(t, "CapacityBuffer: the cluster has CapacityBuffers, and an autoscaler answers them", d.written(t))
	})
	t.Run("buffers that nobody answers, and Karpenter", func(t *testing.T) {
		d := newDesk(t, v1alpha1.ScaleUpAuto)
		d.leads(t, "we")
		d.hasKarpenter()
		d.look(t.Context())
		d.Perform(ledger.ScaleUp{Leader: driver(), Pods: []inventory.Pods{executors(8, "4")}})
		require.NoError(t, d.reconcile(t.Context(), driverUID))
		require.Equal(t, "Placeholders: nobody has answered a CapacityBuffer; the cluster has nodepools of karpenter.sh/v1", d.written(t))
	})
	t.Run("nothing, and then Cluster Autoscaler", func(t *testing.T) {
		d := newDesk(t, v1alpha1.ScaleUpAuto)
		d.leads(t, "we")
		d.serves = false
		require.Equal(t, "Off: no autoscaler has been found", d.written(t))
		_, err := d.client.CoreV1().ConfigMaps("kube-system").Create(t.Context(), &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cluster-autoscaler-status"}}, metav1.CreateOptions{})
		require.NoError(t, err)
		require.Equal(t, "Placeholders: the cluster has ConfigMap kube-system/cluster-autoscaler-status", d.written(t))
	})
	t.Run("a right that is missing", func(t *testing.T) {
		d := newDesk(t, v1alpha1.ScaleUpAuto)
		d.leads(t, "we")
		d.serves = false
		d.client.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(v1.Resource("configmaps"), "cluster-autoscaler-status", nil)
		})
		require.Contains(t, d.written(t), "Off: no autoscaler can be looked for: ")
	})
	t.Run("an argument", func(t *testing.T) {
		d := newDesk(t, v1alpha1.ScaleUpOff)
		d.leads(t, "we")
		require.Equal(t, "Off: scaleUp.mode says so", d.written(t))
	})
}

// Seen failing without looking at the holder, and when every look wrote.
func TestOnlyWhoHoldsTheLeaseWritesOnItAndSeldom(t *testing.T) {
	d := newDesk(t, v1alpha1.ScaleUpAuto)
	d.leads(t, "another")
	require.Empty(t, d.written(t))

	d = newDesk(t, v1alpha1.ScaleUpAuto)
	d.leads(t, "we")
	require.NotEmpty(t, d.written(t))
	d.client.ClearActions()
	for range 100 {
		d.board.text += "." // whatever the reason says
		d.clock.Step(time.Second)
		require.NoError(t, d.board.update(t.Context()))
	}
	writes := 0
	for _, action := range d.client.Actions() {
		if action.GetVerb() == "update" {
			writes++
		}
	}
	require.Equal(t, 3, writes, "one in half a minute")
}
