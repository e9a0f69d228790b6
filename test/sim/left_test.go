package sim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// staged is a world without chance: a test says what happens. Its scheduler knows a node of two cores.
func staged(t *testing.T, act func(t *testing.T, w *World, r *replica)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1, Options{}, synctest.Wait)
		defer w.close()
		w.act = calm
		w.climate.args = []byte("{}")
		w.api.putNode(&v1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "node", UID: w.api.nextUID("node")},
			Status: v1.NodeStatus{Allocatable: v1.ResourceList{
				v1.ResourceCPU: apiresource.MustParse("2"), v1.ResourceMemory: apiresource.MustParse("8Gi"), v1.ResourcePods: apiresource.MustParse("110"),
			}},
		})
		r := w.start(true)
		w.pass(10 * time.Second)
		act(t, w, r)
	})
}

func (w *World) pass(period time.Duration) { w.until(time.Now().Add(period)) }

// stagedPod creates a pod that belongs to nothing.
func (w *World) stagedPod(name string, cores int64) *v1.Pod {
	priority := int32(0)
	return w.api.createPod(&v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "red", Name: name},
		Spec: v1.PodSpec{SchedulerName: schedulerName, Priority: &priority,
			Containers: []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Requests: size{1000 * cores, 128}.list()}}}},
	})
}

// schedulers is the listener by which kube-scheduler itself hears of pods.
func (r *replica) schedulers() *listener {
	for _, l := range r.own {
		if l.informer == r.pods {
			return l
		}
	}
	panic("sim: the scheduler does not listen to pods")
}

// This is why checkLeft asks whether a pod has a node: what is left alone then is gone from the queue as soon as kube-scheduler
// has heard what the informer has read already, and is not tried before. The plugin is right not to name it: whoever tried it
// could not bind it.
//
// Seen failing when checkLeft did not ask: that the node takes pods again would move a pod that is bound.
func TestAPodThatAnotherSchedulerHasBoundIsNotMissed(t *testing.T) {
	staged(t, func(t *testing.T, w *World, r *replica) {
		w.changeNode("node", "cordoned", func(node *v1.Node) { node.Spec.Unschedulable = true })
		w.pass(time.Second)
		waiting := w.stagedPod("waiting", 1)
		w.pass(10 * time.Second)
		require.Equal(t, 1, r.queue.unschedulable.len())
		require.False(t, r.ledger.Waits(waiting.UID), "it does not lack room")
		cycles := w.stats.Cycles

		late := r.schedulers()
		late.listening = true // until the test lets it go on
		require.NoError(t, w.api.bind(keyOf(waiting), waiting.UID, "node", nil, "rival"))
		w.pass(time.Second)
		require.NotEmpty(t, late.backlog, "the scheduler has not heard of the binding")
		require.Equal(t, "node", r.told.pods[waiting.UID].counted, "the plugin has")
		w.changeNode("node", "uncordoned", func(node *v1.Node) { node.Spec.Unschedulable = false })
		w.pass(time.Second)
		require.Equal(t, 1, r.queue.unschedulable.len(), "nobody is tried for it")

		late.hear()
		require.False(t, r.queue.holds(queueKey(waiting)))
		w.pass(10 * time.Second)
		require.Equal(t, cycles, w.stats.Cycles)
	})
}
