package autoscaler

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2/ktesting"
	testingclock "k8s.io/utils/clock/testing"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin/crd"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/scaleup"
)

const driverUID = types.UID("0b5c36c9-5b0b-4ca8-9f3b-6a4b8f6f9a10")

func driver() *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "driver", UID: driverUID}}
}

func executors(count int, cpu string) inventory.Pods {
	pod := &v1.Pod{Spec: v1.PodSpec{NodeSelector: map[string]string{"pool": "batch"}}}
	return inventory.Pods{Name: "executor", Pod: pod, Requests: resource.OfList(v1.ResourceList{v1.ResourceCPU: apiresource.MustParse(cpu)}), Count: count}
}

// desk is an Autoscaler with a cluster of lists, and what it told the ledger.
type desk struct {
	*Autoscaler
	client  *fake.Clientset
	dynamic *dynamicfake.FakeDynamicClient
	clock   *testingclock.FakeClock
	serves  bool
	unknown bool // whether it serves
	told    []ledger.Event
}

func newDesk(t *testing.T, mode v1alpha1.ScaleUpMode) *desk {
	args, err := v1alpha1.DecodeArgs([]byte(`{"scaleUp": {"mode": "` + string(mode) + `"}}`))
	require.NoError(t, err)
	d := &desk{client: fake.NewClientset(), clock: testingclock.NewFakeClock(time.Date(2026, 11, 29, 3, 0, 0, 0, time.UTC)), serves: true}
	d.dynamic = dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{Resource: "CapacityBufferList"})
	logger, _ := ktesting.NewTestContext(t)
	d.Autoscaler, err = New(Outside{
		Buffers: crd.Outside{}.Optional(Resource), Dynamic: d.dynamic, Client: d.client, Discovery: d.client.Discovery(), Clock: d.clock, Logger: logger, Args: args.ScaleUp,
		Informers: informers.NewSharedInformerFactory(d.client, 0), Tell: func(event ledger.Event) { d.told = append(d.told, event) },
	})
	require.NoError(t, err)
	d.served = func() (bool, bool) { return d.serves, !d.unknown }
	if mode != v1alpha1.ScaleUpAuto {
		d.look(t.Context())
		d.told = nil
	}
	t.Cleanup(d.queue.ShutDown)
	return d
}

func (d *desk) buffers(t *testing.T) []unstructured.Unstructured {
	list, err := d.dynamic.Resource(Resource).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	return list.Items
}

func (d *desk) templates(t *testing.T) []v1.PodTemplate {
	list, err := d.client.CoreV1().PodTemplates(metav1.NamespaceAll).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	return list.Items
}

// says is a buffer with one condition.
func says(buffer unstructured.Unstructured, status, reason, message string) *unstructured.Unstructured {
	said := buffer.DeepCopy()
	said.Object["status"] = map[string]any{"conditions": []any{map[string]any{"type": "Provisioning", "status": status, "reason": reason, "message": message}}}
	return said
}

func TestABufferAndATemplateForEveryRoleBelongToTheDriver(t *testing.T) {
	d := newDesk(t, v1alpha1.ScaleUpCapacityBuffer)
	d.Perform(ledger.ScaleUp{Leader: driver(), Pods: []inventory.Pods{executors(8, "4"), executors(2, "500m")}})
	require.NoError(t, d.reconcile(t.Context(), driverUID))
	require.NoError(t, d.reconcile(t.Context(), driverUID), "it may be asked for twice")

	buffers, templates := d.buffers(t), d.templates(t)
	require.Len(t, buffers, 2)
	require.Len(t, templates, 2)
	for i := range buffers {
		require.Equal(t, "team", buffers[i].GetNamespace())
		require.Equal(t, templates[i].Name, buffers[i].GetName())
		require.Empty(t, validation.IsDNS1123Label(buffers[i].GetName()))
		named, _, err := unstructured.NestedString(buffers[i].Object, "spec", "podTemplateRef", "name")
		require.NoError(t, err)
		require.Equal(t, templates[i].Name, named)
		for _, owners := range [][]metav1.OwnerReference{buffers[i].GetOwnerReferences(), templates[i].OwnerReferences} {
			require.Equal(t, []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "driver", UID: driverUID}}, owners)
		}
		leader, ours := leaderOf(&buffers[i])
		require.True(t, ours)
		require.Equal(t, driverUID, leader)
	}
	replicas, _, err := unstructured.NestedInt64(buffers[0].Object, "spec", "replicas")
	require.NoError(t, err)
	require.Equal(t, int64(8), replicas)

	d.Perform(ledger.ScaleUpEnded{Leader: driverUID})
	require.NoError(t, d.reconcile(t.Context(), driverUID))
	require.Empty(t, d.buffers(t))
	require.Empty(t, d.templates(t))
	require.Empty(t, d.there)
}

func TestWhatIsNotWantedAnyMoreGoes(t *testing.T) {
	d := newDesk(t, v1alpha1.ScaleUpCapacityBuffer)
	d.Perform(ledger.ScaleUp{Leader: driver(), Pods: []inventory.Pods{executors(8, "4")}})
	require.NoError(t, d.reconcile(t.Context(), driverUID))
	former := d.buffers(t)[0]
	d.Perform(ledger.ScaleUpEnded{Leader: driverUID})
	d.Perform(ledger.ScaleUp{Leader: driver(), Pods: []inventory.Pods{executors(9, "4")}})
	require.NoError(t, d.reconcile(t.Context(), driverUID))
	require.Len(t, d.buffers(t), 1)
	require.NotEqual(t, former.GetName(), d.buffers(t)[0].GetName(), "a name says the content")
	require.Len(t, d.templates(t), 1)
}

func TestBuffersOfASchedulerBeforeThisOneAreSwept(t *testing.T) {
	before, d := newDesk(t, v1alpha1.ScaleUpCapacityBuffer), newDesk(t, v1alpha1.ScaleUpCapacityBuffer)
	before.Perform(ledger.ScaleUp{Leader: driver(), Pods: []inventory.Pods{executors(8, "4")}})
	require.NoError(t, before.reconcile(t.Context(), driverUID))
	left := before.buffers(t)[0]
	_, err := d.dynamic.Resource(Resource).Namespace("team").Create(t.Context(), &left, metav1.CreateOptions{})
	require.NoError(t, err)
	theirs := left.DeepCopy()
	theirs.SetName("of-a-user")
	_, err = d.dynamic.Resource(Resource).Namespace("team").Create(t.Context(), theirs, metav1.CreateOptions{})
	require.NoError(t, err)
	d.bufferSeen(&left)
	d.bufferSeen(theirs)
	d.sweep()
	require.Equal(t, 1, d.queue.Len())
	leader, _ := d.queue.Get()
	require.NoError(t, d.reconcile(t.Context(), leader))
	require.Len(t, d.buffers(t), 1)
	require.Equal(t, "of-a-user", d.buffers(t)[0].GetName())
}

func TestTheLedgerHearsWhatTheAutoscalerSays(t *testing.T) {
	d := newDesk(t, v1alpha1.ScaleUpCapacityBuffer)
	d.Perform(ledger.ScaleUp{Leader: driver(), Pods: []inventory.Pods{executors(20, "4")}})
	require.NoError(t, d.reconcile(t.Context(), driverUID))
	made := d.buffers(t)[0]
	d.bufferSeen(&made)
	require.Empty(t, d.told, "it says nothing yet")
	d.bufferSeen(says(made, "False", "RequiresNewCapacity", "11/20 virtual pods required new capacity, 9 failed"))
	d.bufferSeen(says(made, "False", "RequiresNewCapacity", "11/20 virtual pods required new capacity, 9 failed"))
	want := scaleup.Answer{Words: "RequiresNewCapacity: 11/20 virtual pods required new capacity, 9 failed", Failing: true}
	require.Equal(t, ledger.ScaleUpAnswered{Leader: driverUID, Answer: want}, d.told[0])
	require.Len(t, d.told, 1, "once")

	elsewhere := says(made, "False", "Anything", "that a user of another namespace writes")
	elsewhere.SetNamespace("other")
	d.bufferSeen(elsewhere)
	require.Len(t, d.told, 1)
}

func TestWhoCannotBeAskedIsTold(t *testing.T) {
	d := newDesk(t, v1alpha1.ScaleUpCapacityBuffer)
	d.client.PrependReactor("create", "podtemplates", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(v1.Resource("podtemplates"), "x", errors.New("no"))
	})
	d.Perform(ledger.ScaleUp{Leader: driver(), Pods: []inventory.Pods{executors(1, "4")}})
	err := d.reconcile(t.Context(), driverUID)
	require.ErrorContains(t, err, "create a PodTemplate")
	d.fails(driverUID, err)
	require.Contains(t, d.told[0].(ledger.ScaleUpAnswered).Answer.Words, "it cannot be asked: create a PodTemplate: ")
	require.Empty(t, d.buffers(t), "a buffer without a template would be a need of nothing")
}

func TestAnAnswerIsTheWordsOfConditionsThatDoNotHold(t *testing.T) {
	for name, test := range map[string]struct {
		status, message string
		want            scaleup.Answer
		answered        bool
	}{
		"nodes are to come":          {"False", "8/8 virtual pods required new capacity, 0 failed", scaleup.Answer{Words: "R: 8/8 virtual pods required new capacity, 0 failed"}, true},
		"some have no room anywhere": {"False", "0/20 virtual pods required new capacity, 10 failed", scaleup.Answer{Words: "R: 0/20 virtual pods required new capacity, 10 failed", Failing: true}, true},
		"everything is there":        {"True", "All 8 virtual pods fit on existing capacity", scaleup.Answer{}, true},
		"several lines":              {"False", "a\n b", scaleup.Answer{Words: "R: a b"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			answer, answered := answerOf(says(unstructured.Unstructured{Object: map[string]any{}}, test.status, "R", test.message))
			require.Equal(t, test.want, answer)
			require.Equal(t, test.answered, answered)
		})
	}
	for name, status := range map[string]any{"nothing": nil, "a text": "x", "conditions of another form": map[string]any{"conditions": "x"}} {
		t.Run(name, func(t *testing.T) {
			_, answered := answerOf(&unstructured.Unstructured{Object: map[string]any{"status": status}})
			require.False(t, answered)
		})
	}
}

// The three cases of mode Auto, and that nobody who hears nothing is asked for ever.
func TestTheModeIsWhatTheClusterAnswersTo(t *testing.T) {
	ask := func(t *testing.T, d *desk) {
		d.Perform(ledger.ScaleUp{Leader: driver(), Pods: []inventory.Pods{executors(8, "4")}})
		require.NoError(t, d.reconcile(t.Context(), driverUID))
	}
	t.Run("a cluster without the kind", func(t *testing.T) {
		d := newDesk(t, v1alpha1.ScaleUpAuto)
		d.serves = false
		d.look(t.Context())
		require.False(t, d.Elastic())
		require.Empty(t, d.told)
		d.serves = true // its definition was installed
		d.look(t.Context())
		require.True(t, d.Elastic())
		require.Len(t, d.told, 1)
		require.Equal(t, &scaleup.Limits{After: 10 * time.Second, Timeout: 10 * time.Minute, PerQueue: 1, Total: 10}, d.told[0].(ledger.Elastic).Limits)
	})
	t.Run("somebody answers", func(t *testing.T) {
		d := newDesk(t, v1alpha1.ScaleUpAuto)
		d.look(t.Context())
		ask(t, d)
		d.clock.Step(silence - time.Second)
		d.bufferSeen(says(d.buffers(t)[0], "False", "RequiresNewCapacity", "8/8"))
		d.clock.Step(time.Hour)
		d.look(t.Context())
		require.True(t, d.Elastic())
	})
	t.Run("nobody answers", func(t *testing.T) {
		d := newDesk(t, v1alpha1.ScaleUpAuto)
		d.look(t.Context())
		ask(t, d)
		d.clock.Step(silence - time.Second)
		d.look(t.Context())
		require.True(t, d.Elastic())
		d.clock.Step(time.Second)
		d.look(t.Context())
		require.False(t, d.Elastic())
		require.Equal(t, ledger.Elastic{}, d.told[len(d.told)-1])
		d.look(t.Context())
		require.False(t, d.Elastic())
		d.clock.Step(deafPeriod)
		d.look(t.Context())
		require.True(t, d.Elastic(), "it may have come meanwhile")
	})
	t.Run("nobody had the time to answer", func(t *testing.T) {
		d := newDesk(t, v1alpha1.ScaleUpAuto)
		d.look(t.Context())
		ask(t, d)
		d.clock.Step(time.Second)
		d.Perform(ledger.ScaleUpEnded{Leader: driverUID})
		require.NoError(t, d.reconcile(t.Context(), driverUID))
		d.clock.Step(time.Hour)
		d.look(t.Context())
		require.True(t, d.Elastic())
	})
	t.Run("CapacityBuffer is what is configured", func(t *testing.T) {
		d := newDesk(t, v1alpha1.ScaleUpCapacityBuffer)
		d.serves = false
		d.look(t.Context())
		require.True(t, d.Elastic())
	})
}
