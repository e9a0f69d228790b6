package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	v1 "k8s.io/api/core/v1"
)

// gatedDriver is a driver with a scheduling gate.
func gatedDriver(name string) *v1.Pod {
	pod := driver(name)
	pod.Spec.SchedulingGates = []v1.PodSchedulingGate{{Name: "later"}}
	return pod
}

// ungate takes the scheduling gates of a pod away, as a controller does that lets it go.
func (h *harness) ungate(name string) {
	pod := h.pod(name).DeepCopy()
	pod.Spec.SchedulingGates = nil
	pod.Generation++
	h.update(pod)
}

// A pod with scheduling gates waits for whoever is to take them away, and its condition says so: nothing is overdue before that.
// Seen failing when the time of a gated driver was counted, and when it was counted on after its gates had gone.
func TestTheConfigurationOfAGatedDriverIsNotOverdue(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		pod := gatedDriver("app")
		h.create(pod)
		h.after(time.Hour)
		assert.Empty(t, h.told())
		assert.Empty(t, h.condition("app"), "kube-scheduler wrote SchedulingGated, which stays")
		before := h.fetches()
		h.after(time.Hour)
		assert.InDelta(t, time.Hour/lastRetry, h.fetches()-before, 1, "it is asked for as seldom as any other that is late")

		h.ungate("app")
		h.after(58 * time.Second)
		assert.Empty(t, h.told(), "its time begins now")
		h.after(lastRetry + 4*time.Second)
		const overdue = "the configuration of the application is missing for 1m0s: ConfigMap ns/app-conf is not there yet"
		assert.Equal(t, []string{"Normal GangIncomplete " + overdue, "Normal GangIncomplete " + overdue}, h.told(), "and once more after five minutes")
		assert.Equal(t, "GangIncomplete: "+overdue, h.condition("app"))

		h.create(properties(pod, executors(1, 1)...))
		h.after(lastRetry)
		assert.True(t, h.schedule("app").status.IsSuccess())
	})
}

// Seen failing when whatever was told of a pod was written into its condition.
func TestWhatIsWrongWithAGatedDriverIsWrittenIntoItsConditionWhenItsGatesHaveGone(t *testing.T) {
	bubble(t, "", nodes(4, "a"), func(h *harness) {
		pod := gatedDriver("app")
		h.create(pod, properties(pod, "spark.executor.instances=many"))
		h.after(time.Minute)
		assert.Len(t, h.told(), 1, "its user hears of it at once, as an event")
		assert.Empty(t, h.condition("app"))
		h.ungate("app")
		h.after(time.Minute)
		assert.Len(t, h.told(), 1)
		assert.Contains(t, h.condition("app"), "InvalidGang: ")
		h.works("other")
	})
}
