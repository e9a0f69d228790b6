package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/spark"
)

// injected is an executor to which a webhook has added a container.
func injected(executor *v1.Pod, cpu string) *v1.Pod {
	executor.Spec.Containers = append(executor.Spec.Containers, v1.Container{Name: "proxy", Resources: v1.ResourceRequirements{
		Requests: v1.ResourceList{v1.ResourceCPU: apiresource.MustParse(cpu)},
	}})
	return executor
}

// The first executor shows what the template did not: the user is told once, and the others' room follows.
func TestAWebhooksSidecarCorrectsTheRoomOfTheOthers(t *testing.T) {
	bubble(t, "", nodes(16, "a"), func(h *harness) {
		h.submit("app", 3, 2)
		require.True(t, h.schedule("app").status.IsSuccess())
		h.told()
		before := h.pod("app").Annotations[AnnotationReservation]

		h.create(injected(executor("exec-1", "app", 2), "1500m"))
		assert.Equal(t, []string{"Normal PredictionCorrected the first executor asks for cpu 3500m, memory 1408Mi, predicted was cpu 2, memory 1408Mi: the other slots follow"}, h.told())
		after := h.pod("app").Annotations[AnnotationReservation]
		assert.NotEqual(t, before, after, "a restarted scheduler finds the corrected slots")
		assert.Contains(t, after, `"cpu":"3500m"`)
		assert.True(t, h.schedule("exec-1").status.IsSuccess())

		// Of 16, one is the driver's and three times 3500m are held: 4500m are free for others.
		h.create(lone("large", 6), lone("fits", 4))
		assert.Equal(t, "Filter", h.schedule("large").point)
		assert.True(t, h.schedule("fits").status.IsSuccess())
		for _, name := range []string{"exec-2", "exec-3"} {
			h.create(injected(executor(name, "app", 2), "1500m"))
			assert.True(t, h.schedule(name).status.IsSuccess(), name)
		}
		assert.Empty(t, h.told(), "it has been said")
		assert.Empty(t, h.condition("app"), "a driver that runs is not unschedulable")
	})
}

// An executor that is larger than predicted, and for which its slots have no room, goes wherever there is some.
func TestAnExecutorIsNotStrandedBecauseItDiffers(t *testing.T) {
	bubble(t, "", append(nodes(4, "a"), node("b", 8)), func(h *harness) {
		h.create(on("b", lone("other", 8)))
		h.submit("app", 1, 3)
		require.True(t, h.schedule("app").status.IsSuccess())
		h.told()
		h.remove("other")
		h.create(injected(executor("exec-1", "app", 3), "2"))
		assert.Len(t, h.told(), 1)
		a := h.schedule("exec-1")
		require.True(t, a.status.IsSuccess(), "%s: %v", a.point, a.status)
		assert.Equal(t, "b", a.node)
	})
}

// twin is another driver of an application.
func twin(name, app string) (*v1.Pod, *v1.ConfigMap) {
	pod := driver(name)
	pod.Labels[spark.LabelApp] = app
	return pod, properties(pod, executors(7, 7)...)
}

// The first driver of an application id has it; the others wait for its end, and are told so.
//
// Seen failing when what the Gate says was not told: kube-scheduler writes no condition for a pod that it has not tried.
func TestTwoDriversWithOneID(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		h.submit("app", 1, 1)
		pod, configMap := twin("twin", "app")
		h.create(pod, configMap)
		h.after(time.Minute)
		a := h.schedule("twin")
		assert.Equal(t, "PreEnqueue", a.point)
		const refusal = "pod app leads application ns/app already; this one waits until it has ended"
		assert.Equal(t, []string{"Warning InvalidGang " + refusal}, h.told())
		assert.Equal(t, "InvalidGang: "+refusal, h.condition("twin"))
		h.schedule("twin")
		assert.Empty(t, h.told(), "it has been said")

		assert.True(t, h.schedule("app").status.IsSuccess(), "the first one is not disturbed")
		h.create(executor("exec-1", "app", 1), executor("forged", "twin", 1))
		forged := h.pod("forged")
		forged.Labels[spark.LabelApp] = "app"
		h.update(forged)
		assert.True(t, h.schedule("exec-1").status.IsSuccess())
		assert.Equal(t, "InvalidGang: its leader does not lead application ns/app", h.schedule("forged").status.Message())
		assert.Equal(t, "InvalidGang: its leader does not lead application ns/app", h.condition("forged"))

		h.woken()
		h.remove("app")
		h.after(lastRetry)
		assert.Contains(t, h.woken(), "twin")
		assert.Contains(t, h.schedule("twin").status.Message(), "NeverFitsNode", "it is measured by its own ConfigMap")
	})
}

// Whoever copies an application's labels in another namespace is nobody there.
func TestTheSameIDInAnotherNamespaceIsAnotherApplication(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		h.submit("app", 1, 1)
		require.True(t, h.schedule("app").status.IsSuccess())
		abroad := executor("exec-1", "app", 3)
		abroad.Namespace = "elsewhere"
		h.create(abroad)
		state, pod := h.phase("app"), h.plugin.describe(abroad)
		assert.Equal(t, gang.Running, state)
		assert.Equal(t, gang.Key{Namespace: "elsewhere", Name: "app"}, pod.Gang)
		attempt, _ := h.plugin.Ledger().Attempt(time.Now(), "exec-1-uid", 4)
		assert.Empty(t, attempt.Seats.Slots)
	})
}

// Executors are known by what they carry: an old driver's, and those of other profiles, have no slots here.
func TestOnlyExecutorsOfTheDriversOwnUIDTakeItsSlots(t *testing.T) {
	bubble(t, "", nodes(8, "a"), func(h *harness) {
		h.submit("app", 1, 1)
		require.True(t, h.schedule("app").status.IsSuccess())
		h.told()
		old := executor("old", "app", 1)
		old.OwnerReferences[0].UID = "former-uid"
		profiled := executor("profiled", "app", 1)
		profiled.Labels[spark.LabelResourceProfile] = "1"
		h.create(old, profiled)
		const gone = "the leader of application ns/app has ended; its workers are not started any more"
		assert.Equal(t, "LeaderGone: "+gone, h.schedule("old").status.Message())
		assert.Equal(t, []string{"Warning LeaderGone " + gone}, h.told())
		assert.Equal(t, "LeaderGone: "+gone, h.condition("old"))
		assert.True(t, h.schedule("profiled").status.IsSuccess())
		slots := 0
		for _, g := range h.plugin.Ledger().Gangs() {
			for _, slot := range g.Slots {
				if slot.Worker == "" {
					slots++
				}
			}
		}
		assert.Equal(t, 1, slots, "the slot is open still")
		assert.Empty(t, h.told(), "the shape of another profile corrects nothing")
	})
}

func TestAnExecutorBeforeItsDriverWaitsForIt(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		h.create(executor("exec-1", "app", 1))
		assert.Contains(t, h.schedule("exec-1").status.Message(), "LeaderGone")
		h.submit("app", 1, 1)
		assert.Contains(t, h.schedule("exec-1").status.Message(), "GangIncomplete")
		h.woken()
		require.True(t, h.schedule("app").status.IsSuccess())
		assert.Equal(t, []string{"exec-1"}, h.woken())
		a := h.schedule("exec-1")
		assert.True(t, a.status.IsSuccess(), "%s: %v", a.point, a.status)
		h.remove("exec-1")
		h.remove("app")
		assert.Equal(t, ledger.Census{Synced: true}, h.plugin.Ledger().Census())
	})
}
