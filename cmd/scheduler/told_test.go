package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	apicalls "k8s.io/kubernetes/pkg/scheduler/framework/api_calls"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/plugin"
)

// unfit is an attempt that has failed at nodes, as kube-scheduler passes it on, and refused one that a PreFilter plugin has refused.
func unfit(nodes int, refusals map[string]*fwk.Status) *fwk.Status {
	statuses := framework.NewDefaultNodeToStatus()
	for node, status := range refusals {
		statuses.Set(node, status)
	}
	return failed(nodes, framework.Diagnosis{NodeToStatus: statuses})
}

func refused(nodes int, by *fwk.Status) *fwk.Status {
	statuses := framework.NewDefaultNodeToStatus()
	statuses.SetAbsentNodesStatus(by)
	return failed(nodes, framework.Diagnosis{PreFilterMsg: by.Message(), NodeToStatus: statuses})
}

func failed(nodes int, diagnosis framework.Diagnosis) *fwk.Status {
	return fwk.NewStatus(fwk.Unschedulable).WithError(&framework.FitError{Pod: &v1.Pod{}, NumAllNodes: nodes, Diagnosis: diagnosis})
}

func TestWhatThePluginHasSaidIsFoundInAFailedAttempt(t *testing.T) {
	ours := func(reason gang.Reason) *fwk.Status {
		return plugin.StatusOf(gang.Verdict{Reason: reason, Message: "x"}, false).WithPlugin(plugin.Name)
	}
	for name, test := range map[string]struct {
		status *fwk.Status
		want   gang.Reason
	}{
		"by PreFilter":                {refused(4, ours(gang.QueueLimit)), gang.QueueLimit},
		"by another's PreFilter":      {refused(4, fwk.NewStatus(fwk.Unschedulable, "QueueLimit: x")), ""},
		"by Reserve":                  {unfit(1, map[string]*fwk.Status{"n": ours(gang.InvalidGang)}), gang.InvalidGang},
		"by another's Reserve":        {unfit(1, map[string]*fwk.Status{"n": fwk.NewStatus(fwk.Unschedulable, "InvalidGang: x").WithPlugin("Other")}), ""},
		"by filters of several nodes": {unfit(2, map[string]*fwk.Status{"n": ours(gang.ClusterFull), "m": ours(gang.ClusterFull)}), ""},
		"by Permit":                   {ours(gang.GangTimeout), gang.GangTimeout},
		"by an error":                 {fwk.AsStatus(errors.New("ClusterFull: x")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, verdictIn(test.status).Reason)
		})
	}
}

// profile is as much of one as a failure is told through.
type profile struct {
	framework.Framework
	client   kubernetes.Interface
	recorder *recorder
	waits    bool
	known    bool        // it has been told all that already
	untold   *int        // how often that has failed
	calls    *dispatcher // nil means that calls are not asynchronous
}

// dispatcher makes calls at once, as kube-scheduler's does when it comes to it.
type dispatcher struct {
	fwk.APIDispatcher
	client kubernetes.Interface
}

func (d *dispatcher) Add(call fwk.APICall, _ fwk.APICallOptions) error {
	if call.IsNoOp() {
		return fwk.ErrCallSkipped
	}
	return call.Execute(context.Background(), d.client)
}

func (p profile) ClientSet() kubernetes.Interface           { return p.client }
func (p profile) EventRecorder() events.EventRecorderLogger { return p.recorder }
func (p profile) APIDispatcher() fwk.APIDispatcher {
	if p.calls == nil {
		return nil
	}
	return p.calls
}

func (p profile) APICacher() fwk.APICacher {
	if p.calls == nil {
		return nil
	}
	return struct{ fwk.APICacher }{}
}

// Words are those of a cluster without an autoscaler, but for a driver that waits for something else than room.
func (p profile) Words(_ *v1.Pod, verdict gang.Verdict, own string) (plugin.Words, bool) {
	words := plugin.Words{
		Condition: verdict.Reason.Condition(), Text: verdict.String(), Status: gang.NewStatus(verdict, false, time.Time{}).Encode(),
		Series: string(verdict.Reason), Patch: !p.known, Event: !p.known,
	}
	if verdict.Passes() {
		words.Condition, words.Text, words.Status = v1.PodReasonUnschedulable, own, own
	}
	if p.waits {
		words.Condition = gang.WaitingForTurn
	}
	return words, true
}

func (p profile) Untold(*v1.Pod) { *p.untold++ }

func (p profile) NoNodes(*v1.Pod) gang.Verdict {
	return gang.Verdict{Reason: gang.NeverFitsCluster, Message: "the cluster has no nodes"}
}

type recorder struct {
	*events.FakeRecorder
}

func (r *recorder) WithLogger(klog.Logger) events.EventRecorderLogger { return r }

// Autoscalers buy nodes for pods that are Unschedulable: a gang that waits for its queue never says so. What programs read is written by the
// same request.
//
// Seen failing when there was a second patch, and when the patch did not name the pod's UID.
func TestAFailedAttemptIsToldInThePluginsWords(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "driver", UID: "driver-uid"}, Status: v1.PodStatus{NominatedNodeName: "old"}}
	said := func(reason gang.Reason, text string) *fwk.Status {
		return refused(4, plugin.StatusOf(gang.Verdict{Reason: reason, Message: text}, false))
	}
	volume := refused(4, fwk.NewStatus(fwk.Unschedulable, "no volume"))
	for name, test := range map[string]struct {
		failed          *fwk.Status
		reason, message string
		status          string
		waits           bool // nothing was said, and no nodes are asked for
	}{
		"a queue":         {failed: said(gang.QueueLimit, "queue etl holds 100%d"), reason: "WaitingForTurn", message: "QueueLimit: queue etl holds 100%d", status: `"reason":"QueueLimit"`},
		"room":            {failed: said(gang.Fragmented, "0 of 3"), reason: "Unschedulable", message: "Fragmented: 0 of 3", status: `"sentence":"0 of 3"`},
		"somebody else's": {failed: volume, reason: "Unschedulable", message: "0/4 nodes are available: no volume.", status: "0/4 nodes are available: no volume."},
		// A driver whose volume is not there: an autoscaler would buy a node for it alone.
		"somebody else's where nodes are asked for": {failed: volume, reason: "WaitingForTurn", message: "0/4 nodes are available: no volume.", waits: true, status: "0/4 nodes"},
		"no nodes": {failed: fwk.AsStatus(scheduler.ErrNoNodesAvailable), reason: "Unschedulable", message: "NeverFitsCluster: the cluster has no nodes", status: `"permanent":true`},
	} {
		for _, asynchronous := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, asynchronous calls: %v", name, asynchronous), func(t *testing.T) {
				client := fake.NewClientset(pod.DeepCopy())
				told := profile{client: client, recorder: &recorder{events.NewFakeRecorder(1)}, waits: test.waits, untold: new(int)}
				if asynchronous {
					told.calls = &dispatcher{client: client}
				}
				tell := func(pod *v1.Pod) {
					sched := &scheduler.Scheduler{FailureHandler: asKubeScheduler(t)}
					tellInOwnWords(sched, told)
					info, err := framework.NewPodInfo(pod)
					require.NoError(t, err)
					sched.FailureHandler(t.Context(), told, &framework.QueuedPodInfo{PodInfo: info}, test.failed, &fwk.NominatingInfo{NominatingMode: fwk.ModeOverride}, time.Now())
					if !told.known {
						require.Contains(t, <-told.recorder.Events, test.message)
					}
					require.Empty(t, told.recorder.Events)
				}
				tell(pod)
				written, err := client.CoreV1().Pods("ns").Get(t.Context(), "driver", metav1.GetOptions{})
				require.NoError(t, err)
				require.Len(t, written.Status.Conditions, 1)
				require.Equal(t, test.reason, written.Status.Conditions[0].Reason)
				require.Equal(t, test.message, written.Status.Conditions[0].Message)
				require.Empty(t, written.Status.NominatedNodeName)
				require.Contains(t, written.Annotations[gang.AnnotationStatus], test.status)
				require.Equal(t, []string{"driver-uid"}, patched(t, client), "one request, for this pod only")

				tell(written)
				require.Len(t, patched(t, client), 1, "what it says already is not written again")
				delete(written.Annotations, gang.AnnotationStatus)
				tell(written)
				require.Len(t, patched(t, client), 2, "of a scheduler that wrote no annotation")

				told.known = true
				written.Status.Conditions = nil
				tell(written)
				require.Len(t, patched(t, client), 2, "what is no news is not written")
				written.Status.NominatedNodeName = "old"
				tell(written)
				require.Len(t, patched(t, client), 3, "but the node that it does not wait for any more")
				require.Zero(t, *told.untold)
			})
		}
	}
}

// asKubeScheduler fails as kube-scheduler does.
func asKubeScheduler(t *testing.T) scheduler.FailureHandlerFn {
	return func(_ context.Context, profile framework.Framework, info *framework.QueuedPodInfo, status *fwk.Status, nominating *fwk.NominatingInfo, _ time.Time) {
		message := status.AsError().Error()
		profile.EventRecorder().WithLogger(klog.Background()).Eventf(info.Pod, nil, v1.EventTypeWarning, "FailedScheduling", "Scheduling", message)
		cacher := profile.APICacher()
		require.NotNil(t, cacher)
		_, err := cacher.PatchPodStatus(info.Pod, []*v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: v1.PodReasonUnschedulable, Message: message}}, nominating)
		require.NoError(t, err)
	}
}

// patched are the UIDs that the patches of pods name.
func patched(t *testing.T, client *fake.Clientset) (uids []string) {
	for _, action := range client.Actions() {
		if patch, patches := action.(clienttesting.PatchAction); patches {
			require.Equal(t, "status", patch.GetSubresource())
			var said struct{ Metadata metav1.ObjectMeta }
			require.NoError(t, json.Unmarshal(patch.GetPatch(), &said))
			uids = append(uids, string(said.Metadata.UID))
		}
	}
	return uids
}

// Of two calls that wait to be made for a pod the later one is made, with what only the former would have written.
func TestAsynchronousCallsAreMerged(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "driver", UID: "driver-uid"}}
	condition := func(kind v1.PodConditionType, message string) []*v1.PodCondition {
		return []*v1.PodCondition{{Type: kind, Status: v1.ConditionFalse, Message: message}}
	}
	noop := &fwk.NominatingInfo{NominatingMode: fwk.ModeNoop}
	former := newPatchCall(pod, "former", condition("Other", "kept"), &fwk.NominatingInfo{NominatingMode: fwk.ModeOverride, NominatedNodeName: "n"})
	call := newPatchCall(pod, "later", condition(v1.PodScheduled, "told"), noop)
	require.NoError(t, call.Merge(former))
	require.NoError(t, call.Merge(apicalls.NewPodStatusPatchCall(pod, condition("Third", "kept too"), noop)))
	heard := pod.DeepCopy()
	heard.Status.Phase = v1.PodPending
	_, err := call.Sync(heard)
	require.NoError(t, err)
	client := fake.NewClientset(heard)
	require.NoError(t, call.Execute(t.Context(), client))
	written, err := client.CoreV1().Pods("ns").Get(t.Context(), "driver", metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, "later", written.Annotations[gang.AnnotationStatus])
	require.Equal(t, "n", written.Status.NominatedNodeName)
	require.Len(t, written.Status.Conditions, 3)
	require.Equal(t, v1.PodPending, written.Status.Phase)
	_, err = call.Sync(written)
	require.NoError(t, err)
	require.True(t, call.IsNoOp())
	require.NoError(t, call.Execute(t.Context(), client))
	require.Len(t, patched(t, client), 1)
}

func TestWhatCouldNotBeWrittenIsToldAgain(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "driver", UID: "driver-uid"}}
	told := profile{client: fake.NewClientset(), recorder: &recorder{events.NewFakeRecorder(1)}, untold: new(int)}
	sched := &scheduler.Scheduler{FailureHandler: func(_ context.Context, profile framework.Framework, info *framework.QueuedPodInfo, _ *fwk.Status, nominating *fwk.NominatingInfo, _ time.Time) {
		_, err := profile.APICacher().PatchPodStatus(info.Pod, []*v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionFalse}}, nominating)
		require.Error(t, err)
	}}
	tellInOwnWords(sched, told)
	info, err := framework.NewPodInfo(pod)
	require.NoError(t, err)
	status := refused(4, plugin.StatusOf(gang.Verdict{Reason: gang.ClusterFull}, false))
	sched.FailureHandler(t.Context(), told, &framework.QueuedPodInfo{PodInfo: info}, status, &fwk.NominatingInfo{NominatingMode: fwk.ModeNoop}, time.Now())
	require.Equal(t, 1, *told.untold)
}
