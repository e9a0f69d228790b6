package view

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/spark"
)

// waiter is a pod by itself whose condition and annotation say these.
func waiter(reason, message, annotation string) App {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", UID: "a", Annotations: map[string]string{gang.AnnotationStatus: annotation}},
		Spec:   v1.PodSpec{SchedulerName: "retinue"},
		Status: v1.PodStatus{Conditions: []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: reason, Message: message}}}}
	return Apps(Objects{Now: noon, Pods: []*v1.Pod{pod}})[0]
}

func TestWhatAnAnnotationSaysStandsBesideTheCondition(t *testing.T) {
	const limit = `"reason":"QueueLimit","sentence":"full","numbers":[{"resource":"cpu","need":"13","used":"34","limit":"40","short":"7"},{"resource":"gangs","need":"1","limit":"0"}]`
	for name, test := range map[string]struct {
		annotation, reason, message string
		wantReason                  gang.Reason
		wantActor                   gang.Actor
		want                        []string
	}{
		"its numbers are shown": {`{"version":1,` + limit + `,"since":"2026-05-04T12:00:00Z"}`, gang.WaitingForTurn, "QueueLimit: full", gang.QueueLimit, gang.Nobody,
			[]string{"cpu: 13 asked for, 34 of 40 used, 7 short", "gangs: 1 asked for, 0 allowed at all", "since 2026-05-04 12:00:00 UTC"}},
		"of nodes": {`{"version":1,"reason":"ClusterFull","numbers":[{"resource":"cpu","need":"3","free":"2","short":"1"}],"nodes":1}`, v1.PodReasonUnschedulable, "ClusterFull: x",
			gang.ClusterFull, gang.Nobody, []string{"cpu: 3 asked for, 2 free, 1 short", "1 node looked at"}},
		"not of another reason":  {`{"version":1,` + limit + `}`, gang.WaitingForTurn, "UserLimit: full", gang.UserLimit, gang.Nobody, nil},
		"not of another version": {`{"version":2,` + limit + `}`, gang.WaitingForTurn, "QueueLimit: full", gang.QueueLimit, gang.Nobody, nil},
		"not of any length":      {`{"version":1,` + limit + strings.Repeat(" ", gang.LongestStatus) + `}`, gang.WaitingForTurn, "QueueLimit: full", gang.QueueLimit, gang.Nobody, nil},
		"nor what moves a terminal": {`{"version":1,"reason":"QueueLimit","numbers":[{"resource":"\u001b[31mcpu","need":"1\n"}]}`, gang.WaitingForTurn, "QueueLimit: full", gang.QueueLimit, gang.Nobody,
			[]string{"·[31mcpu: 1 asked for"}},
		"it names the reason where kube-scheduler's words do not": {`{"version":1,"reason":"Constraints","sentence":"0/1 nodes are available: x."}`, v1.PodReasonUnschedulable, "0/1 nodes are available: x.",
			gang.Constraints, gang.User, nil},
		"but not for words that it does not say": {`{"version":1,"reason":"Constraints","sentence":"y"}`, v1.PodReasonUnschedulable, "0/1 nodes are available: x.", "", "", nil},
		"and none that nobody waits for":         {`{"version":1,"reason":"GangAdmitted","sentence":"x"}`, v1.PodReasonUnschedulable, "x", "", "", nil},
		"without a condition it says nothing":    {`{"version":1,` + limit + `}`, "", "", "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			app := waiter(test.reason, test.message, test.annotation)
			require.Equal(t, test.wantReason, app.Reason)
			require.Equal(t, test.wantActor, app.Actor)
			require.Equal(t, test.want, app.Told.texts())
		})
	}
}

// TestAPodThatHasHeardSomethingIsNotTakenForOneThatNobodySchedules.
func TestAPodThatHasHeardSomethingIsNotTakenForOneThatNobodySchedules(t *testing.T) {
	for message, want := range map[string]int{"": 1, "0/1 nodes are available: 1 Insufficient cpu.": 0} {
		require.Len(t, adviceOn(waiter(v1.PodReasonUnschedulable, message, ""), Finding{}), want, message)
	}
}

// TestOfWhomNobodyHasSaidAnythingYetTheDoctorIsAskedLater: every application is without a reason for a moment.
//
// Seen failing when it was asked at once whether a scheduler runs.
func TestOfWhomNobodyHasSaidAnythingYetTheDoctorIsAskedLater(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		youngest - time.Second: "it has just been submitted: a scheduler takes a moment to say something",
		youngest:               `is a scheduler named "retinue" running? kubectl retinue doctor looks`,
	} {
		app := waiter("", "", "")
		app.Wait = int64(wait / time.Second)
		require.Equal(t, []string{want}, adviceOn(app, Finding{}))
	}
}

// TestWhatIsToldToTypeNamesWhatItIsAbout.
//
// Seen failing when it said NAME.
func TestWhatIsToldToTypeNamesWhatItIsAbout(t *testing.T) {
	held := waiter(string(gang.HeldByUser), "HeldByUser: its user has held it back", "")
	require.Equal(t, []string{"its user has held it back: kubectl retinue release a -n ns lets it start"}, adviceOn(held, Finding{}))
	closed := waiter(gang.WaitingForTurn, "QueueClosed: queue etl is draining", "")
	require.Equal(t, []string{"whoever has closed queue etl can open it: kubectl retinue open etl"}, adviceOn(closed, Finding{Queue: "etl"}))
	require.Equal(t, []string{"whoever has closed its queue can open it: kubectl retinue open NAME"}, adviceOn(closed, Finding{}), "not known which")
}

// TestOfOneSecondALifeIsToldInItsOrder: conditions of pods say no more than the second, events do, and come in any order.
//
// Seen failing when moments of one second stood in the order in which they were found: the driver was ready before its gang was admitted.
func TestOfOneSecondALifeIsToldInItsOrder(t *testing.T) {
	at := metav1.NewTime(noon)
	driver := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "d", UID: "d", CreationTimestamp: at, Labels: map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelApp: "id"}},
		Spec: v1.PodSpec{NodeName: "node-1", SchedulerName: "retinue"}, Status: v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{
			{Type: v1.PodReady, Status: v1.ConditionTrue, LastTransitionTime: at}, {Type: v1.PodScheduled, Status: v1.ConditionTrue, LastTransitionTime: at}}}}
	event := func(reason, message string, after time.Duration) v1.Event {
		return v1.Event{InvolvedObject: v1.ObjectReference{Name: "d"}, Reason: reason, Message: message, EventTime: metav1.NewMicroTime(noon.Add(after))}
	}
	var texts []string
	for _, moment := range Apps(Objects{Now: noon, Pods: []*v1.Pod{driver}})[0].timeline([]v1.Event{
		event("Scheduled", "Successfully assigned ns/d to node-1", 300*time.Millisecond),
		event("GangAdmitted", "the leader and 3 workers have room on 2 nodes", 400*time.Millisecond),
		event("QueueLimit", "queue etl holds cpu 13", 200*time.Millisecond),
	}) {
		texts = append(texts, moment.Text)
	}
	require.Equal(t, []string{"submitted", "QueueLimit: queue etl holds cpu 13", "GangAdmitted: the leader and 3 workers have room on 2 nodes",
		"the driver has node node-1", "the driver is ready"}, texts)
}
