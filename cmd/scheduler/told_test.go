package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/plugin"
)

// unfit is a failed attempt as kube-scheduler passes it on.
func unfit(nodes int, preFilter string, refusals map[string]*fwk.Status) *fwk.Status {
	statuses := framework.NewDefaultNodeToStatus()
	for node, status := range refusals {
		statuses.Set(node, status)
	}
	return fwk.NewStatus(fwk.Unschedulable).WithError(&framework.FitError{
		Pod: &v1.Pod{}, NumAllNodes: nodes, Diagnosis: framework.Diagnosis{PreFilterMsg: preFilter, NodeToStatus: statuses},
	})
}

func TestWhatThePluginHasSaidIsFoundInAFailedAttempt(t *testing.T) {
	ours := func(text string) *fwk.Status { return fwk.NewStatus(fwk.Unschedulable, text).WithPlugin(plugin.Name) }
	for name, test := range map[string]struct {
		status *fwk.Status
		want   gang.Reason
	}{
		"by PreFilter":                {unfit(4, "QueueLimit: queue etl holds cpu 7", nil), gang.QueueLimit},
		"by another's PreFilter":      {unfit(4, "node(s) didn't match", nil), ""},
		"by Reserve":                  {unfit(1, "", map[string]*fwk.Status{"n": ours("InvalidGang: too long")}), gang.InvalidGang},
		"by another's Reserve":        {unfit(1, "", map[string]*fwk.Status{"n": fwk.NewStatus(fwk.Unschedulable, "InvalidGang: x").WithPlugin("Other")}), ""},
		"by filters of several nodes": {unfit(2, "", map[string]*fwk.Status{"n": ours("ClusterFull: x"), "m": ours("ClusterFull: x")}), ""},
		"by Permit":                   {ours("GangTimeout: 1 of 3"), gang.GangTimeout},
		"by an error":                 {fwk.AsStatus(errors.New("ClusterFull: x")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			reason, text := verdictIn(test.status)
			require.Equal(t, test.want, reason)
			require.Equal(t, test.want != "", text != "")
		})
	}
}

// profile is as much of one as a failure is told through.
type profile struct {
	framework.Framework
	client   kubernetes.Interface
	recorder *recorder
	waits    bool
}

func (p profile) ClientSet() kubernetes.Interface           { return p.client }
func (p profile) EventRecorder() events.EventRecorderLogger { return p.recorder }
func (p profile) APICacher() fwk.APICacher                  { return nil }

// Condition is that of a cluster without an autoscaler, but for a driver that waits for something else than room.
func (p profile) Condition(_ *v1.Pod, reason gang.Reason) string {
	switch {
	case reason == "" && p.waits:
		return gang.WaitingForTurn
	case reason == "":
		return v1.PodReasonUnschedulable
	default:
		return reason.Condition()
	}
}

func (p profile) NoNodes(*v1.Pod) (gang.Reason, string) {
	return gang.NeverFitsCluster, "NeverFitsCluster: the cluster has no nodes"
}

type recorder struct {
	*events.FakeRecorder
}

func (r *recorder) WithLogger(klog.Logger) events.EventRecorderLogger { return r }

// Autoscalers buy nodes for pods that are Unschedulable: a gang that waits for its queue never says so.
func TestAFailedAttemptIsToldInThePluginsWords(t *testing.T) {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "driver"}, Status: v1.PodStatus{NominatedNodeName: "old"}}
	for name, test := range map[string]struct {
		said, reason, message string
		waits                 bool  // nothing was said, and no nodes are asked for
		failed                error // instead of a refusal
	}{
		"a queue":         {said: "QueueLimit: queue etl holds 100%d", reason: "WaitingForTurn", message: "QueueLimit: queue etl holds 100%d"},
		"room":            {said: "Fragmented: 0 of 3", reason: "Unschedulable", message: "Fragmented: 0 of 3"},
		"somebody else's": {said: "no volume", message: "0/4 nodes are available: no volume."},
		// A driver whose volume is not there: an autoscaler would buy a node for it alone.
		"somebody else's where nodes are asked for": {said: "no volume", reason: "WaitingForTurn", message: "0/4 nodes are available: no volume.", waits: true},
		"no nodes": {failed: scheduler.ErrNoNodesAvailable, reason: "Unschedulable", message: "NeverFitsCluster: the cluster has no nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(pod.DeepCopy())
			told := profile{client: client, recorder: &recorder{events.NewFakeRecorder(1)}, waits: test.waits}
			sched := &scheduler.Scheduler{FailureHandler: func(
				_ context.Context, profile framework.Framework, info *framework.QueuedPodInfo, status *fwk.Status, nominating *fwk.NominatingInfo, _ time.Time,
			) { // as kube-scheduler does it
				message := status.AsError().Error()
				profile.EventRecorder().WithLogger(klog.Background()).Eventf(info.Pod, nil, v1.EventTypeWarning, "FailedScheduling", "Scheduling", message)
				if cacher := profile.APICacher(); cacher != nil {
					_, err := cacher.PatchPodStatus(info.Pod, []*v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: v1.PodReasonUnschedulable, Message: message}}, nominating)
					require.NoError(t, err)
				}
			}}
			tellInOwnWords(sched, told)
			info, err := framework.NewPodInfo(pod)
			require.NoError(t, err)
			status := unfit(4, test.said, nil)
			if test.failed != nil {
				status = fwk.AsStatus(test.failed)
			}
			sched.FailureHandler(t.Context(), told, &framework.QueuedPodInfo{PodInfo: info}, status, &fwk.NominatingInfo{NominatingMode: fwk.ModeOverride}, time.Now())

			require.Contains(t, <-told.recorder.Events, test.message)
			written, err := client.CoreV1().Pods("ns").Get(t.Context(), "driver", metav1.GetOptions{})
			require.NoError(t, err)
			if test.reason == "" {
				require.Empty(t, written.Status.Conditions, "kube-scheduler writes by itself")
				return
			}
			require.Len(t, written.Status.Conditions, 1)
			require.Equal(t, test.reason, written.Status.Conditions[0].Reason)
			require.Equal(t, test.message, written.Status.Conditions[0].Message)
			require.Empty(t, written.Status.NominatedNodeName)
		})
	}
}
