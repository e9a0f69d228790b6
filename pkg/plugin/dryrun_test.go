package plugin

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"retinue.dev/retinue/pkg/spark"
)

// dryRuns answers dry runs as admission does, and keeps what was asked.
func (h *harness) dryRuns(admission func(*v1.Pod) error) *[]*v1.Pod {
	asked := &[]*v1.Pod{}
	client := fake.NewClientset()
	client.PrependReactor("create", "pods", func(action clienttesting.Action) (bool, runtime.Object, error) {
		create := action.(clienttesting.CreateActionImpl)
		require.Equal(h.t, []string{metav1.DryRunAll}, create.GetCreateOptions().DryRun)
		pod := create.GetObject().(*v1.Pod).DeepCopy()
		*asked = append(*asked, pod.DeepCopy())
		return true, pod, admission(pod)
	})
	h.plugin.definer.reader.dryRun = dryRun{client}
	return asked
}

// TestADryRunShowsWhatAdmissionDoesToExecutors before any of them exists, asked once for every gang.
//
// Seen failing without dry runs: both drivers ran, and one application had no executors.
func TestADryRunShowsWhatAdmissionDoesToExecutors(t *testing.T) {
	gpu := node("g1", 16)
	gpu.Status.Allocatable["nvidia.com/gpu"] = apiresource.MustParse("2")
	filtered(t, "", []runtime.Object{gpu, node("o1", 16)}, func(h *harness) {
		asked := h.dryRuns(func(pod *v1.Pod) error {
			main := &pod.Spec.Containers[0].Resources
			main.Requests["nvidia.com/gpu"], main.Limits["nvidia.com/gpu"] = apiresource.MustParse("1"), apiresource.MustParse("1")
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, v1.Toleration{Key: v1.TaintNodeNotReady, Operator: v1.TolerationOpExists, Effect: v1.TaintEffectNoExecute})
			pod.Spec.Containers[0].Env = []v1.EnvVar{{Name: "TOKEN", Value: "hunter2"}}
			return nil
		})
		h.submit("one", 2, 1)
		h.submit("two", 2, 1)
		require.True(t, h.schedule("one").status.IsSuccess())
		assert.Contains(t, h.schedule("two").status.Message(), "ClusterFull: 0 of 2 executors fit: each needs nvidia.com/gpu 1")
		require.Len(t, *asked, 2)
		candidate := (*asked)[0]
		assert.Equal(t, "one", candidate.Labels[spark.LabelApp])
		assert.Equal(t, "1", candidate.Labels[spark.LabelExecutorID])
		assert.Equal(t, "one", candidate.OwnerReferences[0].Name)
		assert.NotContains(t, h.log.String(), "hunter2")
		h.told()
		real := executor("one-1", "one", 1)
		real.Spec.Containers[0].Resources.Requests["nvidia.com/gpu"] = apiresource.MustParse("1")
		h.create(real)
		require.True(t, h.schedule("one-1").status.IsSuccess())
		assert.Empty(t, h.told(), "the prediction was right")
	})
}

// TestADryRunThatFailsKeepsNobodyFromStarting: its user is told, unless a quota is merely used up.
func TestADryRunThatFailsKeepsNobodyFromStarting(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"a webhook":          {apierrors.NewInternalError(errors.New(`failed calling webhook "x.example.com":` + strings.Repeat("\nlong", 200))), "has failed: Internal error occurred: failed calling webhook"},
		"no right":           {apierrors.NewForbidden(pods, "", errors.New("no")), "has failed: pods is forbidden"},
		"a quota is used up": {apierrors.NewForbidden(pods, "", errors.New("exceeded quota: compute")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, "", nodes(16, "n1"), func(h *harness) {
				h.dryRuns(func(*v1.Pod) error { return test.err })
				h.submit("app", 2, 1)
				h.after(time.Second)
				told := strings.Join(h.told(), "\n")
				assert.True(t, h.schedule("app").status.IsSuccess())
				if test.want == "" {
					assert.Empty(t, told)
					return
				}
				assert.Contains(t, told, "GangGuessed what admission does to executors is not known, because a server-side dry run of one "+test.want)
				assert.Less(t, len(told), 500)
			})
		})
	}
}

// TestAnotherSchedulerOfADryRunKeepsNoRoom.
func TestAnotherSchedulerOfADryRunKeepsNoRoom(t *testing.T) {
	bubble(t, "", nodes(2, "n1"), func(h *harness) {
		h.dryRuns(func(pod *v1.Pod) error { pod.Spec.SchedulerName = "volcano"; return nil })
		h.submit("app", 20, 1)
		assert.True(t, h.schedule("app").status.IsSuccess())
		assert.Contains(t, strings.Join(h.told(), "\n"), `admission gives executors scheduler "volcano", so no room is kept for them`)
	})
}
