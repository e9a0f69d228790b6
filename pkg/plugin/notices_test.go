package plugin

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	testingclock "k8s.io/utils/clock/testing"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/reservation"
)

// status is what a pod's annotation says; false if it has none.
func (h *harness) status(name string) (gang.Status, bool) {
	text, written := h.pod(name).Annotations[gang.AnnotationStatus]
	if !written {
		return gang.Status{}, false
	}
	status, err := gang.DecodeStatus(text)
	require.NoError(h.t, err, "%s", text)
	return status, true
}

// Seen failing when the annotation was a patch of its own.
func TestAPodThatIsToldWhyItWaitsCarriesTheSameAsData(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		pod := lone("late", 1)
		h.create(pod)
		began := time.Now().UTC().Truncate(time.Second)
		for range 2 {
			h.plugin.effects.add([]ledger.Effect{ledger.Tell{Pod: pod, Verdict: full}})
			h.after(time.Minute)
		}
		status, written := h.status("late")
		require.True(t, written)
		assert.Equal(t, gang.Status{Version: 1, Reason: gang.ClusterFull, Sentence: "everything is taken", Actor: gang.Nobody, Since: &began}, status)
		assert.Equal(t, string(status.Reason)+": "+status.Sentence, h.condition("late"), "the same as the condition")
		assert.Equal(t, map[string]int{"patch pods/status": 1}, h.requests(), "one request for both")

		h.remove("late")
		assert.Empty(t, h.plugin.effects.notices.of)
	})
}

// A failed attempt is told by kube-scheduler's failure handler, which asks for the words.
func TestAFailedAttemptIsToldWithItsNumbers(t *testing.T) {
	bubble(t, "", nodes(4, "a", "b"), func(h *harness) {
		h.submit("app", 5, 2)
		a := h.schedule("app")
		require.Equal(t, "PreFilter", a.point)
		words, _ := Teller{h.plugin}.Words(h.pod("app"), VerdictIn(a.status), "")
		assert.Equal(t, a.status.Message(), words.Text)
		status, err := gang.DecodeStatus(words.Status)
		require.NoError(t, err)
		assert.Equal(t, gang.NeverFitsCluster, status.Reason)
		assert.True(t, status.Permanent)
		assert.Equal(t, gang.User, status.Actor)
		assert.Equal(t, "NeverFitsCluster: "+status.Sentence, words.Text)
		assert.Equal(t, []gang.Number{{Resource: "cpu", Need: "10", Free: "8", Short: "2"}}, status.Numbers)
		assert.Equal(t, 2, *status.Nodes)
	})
	filtered(t, "", append(nodes(4, "a"), on("a", lone("busy", 3))), func(h *harness) {
		h.create(lone("late", 2))
		a := h.schedule("late")
		require.Equal(t, "Filter", a.point)
		words, _ := Teller{h.plugin}.Words(h.pod("late"), VerdictIn(a.status), "0/1 nodes are available: 1 Insufficient cpu.")
		assert.Equal(t, "ClusterFull: 0/1 nodes are available: 1 Insufficient cpu.", words.Text, "kube-scheduler's own words after the reason")
		status, err := gang.DecodeStatus(words.Status)
		require.NoError(t, err)
		assert.Equal(t, gang.ClusterFull, status.Reason, "by the ledger's word")
		assert.Equal(t, "0/1 nodes are available: 1 Insufficient cpu.", status.Sentence)
		assert.Equal(t, []gang.Number{{Resource: "cpu", Need: "2", Free: "1", Short: "1"}}, status.Numbers)

		picky := lone("picky", 1)
		picky.Spec.NodeSelector = map[string]string{"disk": "ssd"}
		h.create(picky)
		a = h.schedule("picky")
		words, _ = Teller{h.plugin}.Words(h.pod("picky"), VerdictIn(a.status), "0/1 nodes are available: 1 node(s) didn't match.")
		status, err = gang.DecodeStatus(words.Status)
		require.NoError(t, err)
		assert.Equal(t, gang.Constraints, status.Reason)
	})
}

// What a pod says of its wait is taken back with its binding: nobody reads of a pod that runs why it waits.
func TestAPodWithANodeDoesNotSayWhyItWaits(t *testing.T) {
	bubble(t, "", append(nodes(4, "a"), on("a", lone("busy", 4))), func(h *harness) {
		h.submit("app", 1, 1)
		forged := lone("forged", 1)
		forged.Annotations = map[string]string{gang.AnnotationStatus: "whatever its user likes"}
		h.create(forged)
		require.False(t, h.schedule("app").status.IsSuccess())
		h.plugin.effects.add([]ledger.Effect{ledger.Tell{Pod: h.pod("app"), Verdict: full}})
		h.after(time.Second)
		require.Equal(t, full.String(), h.condition("app"))
		h.remove("busy")
		for _, name := range []string{"app", "forged"} {
			require.True(t, h.schedule(name).status.IsSuccess(), name)
			status, _ := h.status(name)
			assert.Equal(t, gang.Status{Version: 1}, status, name)
		}
		assert.Contains(t, h.pod("app").Annotations, AnnotationReservation)
		h.create(lone("quick", 1))
		require.True(t, h.schedule("quick").status.IsSuccess())
		assert.Empty(t, h.pod("quick").Annotations, "who has not waited carries nothing")
		assert.Empty(t, h.plugin.effects.notices.of)
	})
}

// A pod whose annotations are as long as they may be hears why it waits all the same.
func TestAPodWithoutRoomForTheStatusHearsWhyItWaits(t *testing.T) {
	bubble(t, "", []runtime.Object{node("a", 4)}, func(h *harness) {
		pod := lone("late", 1)
		pod.Annotations = map[string]string{"notes": strings.Repeat("x", reservation.MaxAnnotations-len("notes"))}
		h.create(pod)
		h.plugin.effects.add([]ledger.Effect{ledger.Tell{Pod: pod, Verdict: full}})
		h.after(time.Second)
		require.Equal(t, full.String(), h.condition("late"))
		_, written := h.status("late")
		require.False(t, written)
		require.Equal(t, v1.PodReasonUnschedulable, h.pod("late").Status.Conditions[0].Reason)
	})
}

// Other numbers wait for a while and are not forgotten: nobody says them again of a pod that does not wait itself, such as a member of a group.
//
// Seen failing in TestEveryPodOfAGroupHearsWhyItWaits, on a real API server: the second pod of a group had come, and the first went on
// saying that it was alone.
func TestNumbersThatAreHeldBackAreToldLater(t *testing.T) {
	clock := testingclock.NewFakeClock(time.Date(2026, 11, 30, 6, 0, 0, 0, time.UTC))
	ns := newNotices(clock, false, func(types.UID, gang.Reason) bool { return false })
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "member", UID: "1"}}
	say := func(text string) saying {
		return saying{verdict: gang.Verdict{Reason: gang.GangIncomplete, Message: text}, condition: gang.WaitingForTurn, text: text}
	}
	require.True(t, ns.take(pod, say("the group does not exist"), false).patch)
	require.True(t, ns.take(pod, say("1 of 3 pods are there"), false).patch, "other words are told at once")
	require.False(t, ns.take(pod, say("2 of 3 pods are there"), false).patch)
	clock.Step(firstPause)
	require.Len(t, ns.reminded(), 1)
	held, told := ns.last(pod.UID)
	require.True(t, told)
	require.Equal(t, "2 of 3 pods are there", held.text)
	require.True(t, ns.take(pod, held, true).patch)

	require.False(t, ns.take(pod, say("3 of 3 pods are there"), false).patch)
	require.False(t, ns.take(pod, say("2 of 3 pods are there"), false).patch)
	again, _ := ns.last(pod.UID)
	require.Equal(t, "2 of 3 pods are there", again.text, "it is true again")
}
