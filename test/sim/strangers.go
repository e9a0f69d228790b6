package sim

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/plugin"
	"retinue.dev/retinue/pkg/spark"
)

// namespaceOfStrangers is where somebody may create and patch pods and nothing else, and writes whatever hurts others. It belongs to
// no queue. What is promised to everybody else is checked as ever; of the strangers' own gangs it is only that their sums come back to zero.
const namespaceOfStrangers = "black"

// trick is one thing that a stranger tries.
func (w *World) trick() {
	c := w.chance
	switch name := fmt.Sprintf("stranger-%d", w.api.serial); c.IntN(6) {
	case 0:
		w.forge(name)
	case 1:
		w.edit(w.stranger(name, roles(c.number(1, 8), 500)), roles(100_000, 1000), roles(1<<31-1, 1), "[]", roles(c.number(0, 3), 250))
	case 2: // its image does not exist
		w.unready[w.stranger(name, roles(c.number(1, 4), 500)).UID] = true
	case 3:
		w.holdOn(w.stranger(name, roles(2, 100_000)))
	case 4:
		var selecting []string
		for i := range 16 {
			selecting = append(selecting, fmt.Sprintf("{name: r%d, count: 1, requests: {cpu: 100m}, selector: {%s-%d: x}}", i, name, i))
		}
		w.edit(w.stranger(name, "["+strings.Join(selecting, ", ")+"]"), roles(1, 100))
	case 5: // it leads a gang, and does not, and does
		pod := w.stranger(name, roles(c.number(1, 4), 1000))
		for _, role := range []string{"none", spark.RoleDriver, "none", spark.RoleDriver} {
			w.strangely(pod, func(pod *v1.Pod) {
				pod.Labels = map[string]string{spark.LabelRole: role, spark.LabelApp: pod.Name}
			})
		}
	}
}

// roles is what an annotation says of so many executors of so many millicores.
func roles(count int, cpu int64) string {
	return fmt.Sprintf("[{name: executor, count: %d, requests: {cpu: %dm, memory: 64Mi}}]", count, cpu)
}

// stranger creates a driver that is deleted after a while.
func (w *World) stranger(name, annotation string, change ...func(*v1.Pod)) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespaceOfStrangers, Name: name, Labels: map[string]string{spark.LabelRole: spark.RoleDriver, spark.LabelApp: name},
			Annotations: map[string]string{spark.AnnotationRoles: annotation},
		},
		Spec: v1.PodSpec{SchedulerName: schedulerName, Priority: new(int32), Containers: []v1.Container{{
			Name: spark.DriverContainer, Resources: v1.ResourceRequirements{Requests: size{100, 64}.list()},
		}}},
	}
	for _, c := range change {
		c(pod)
	}
	pod = w.api.createPod(pod)
	w.strangers[pod.UID] = true
	key, uid := keyOf(pod), pod.UID
	w.after(w.chance.delay(30*time.Second, 4*time.Minute), func() {
		if pod := w.api.pod(key, uid); pod != nil {
			w.deletePod(pod)
		}
	})
	return pod
}

// forge creates a driver with a node and a reservation that nobody has granted.
func (w *World) forge(name string) {
	if w.api.nodes.len() == 0 {
		return
	}
	node := pick(w.chance, w.api.nodes.keys...)
	count := pick(w.chance, 1, 5, 1000)
	pod := w.stranger(name, roles(2, 500), func(pod *v1.Pod) {
		pod.Spec.NodeName = node
		pod.Annotations[plugin.AnnotationReservation] = fmt.Sprintf(
			`{"roles":[{"name":"executor","count":%d,"minimum":%d,"requests":{"cpu":"500m","memory":"64Mi"}}],"slots":[{"role":0,"node":%q,"count":%d}]}`, count, count, node, count)
	})
	w.startPod(keyOf(pod), pod.UID)
}

// edit writes one annotation after another, in moments in which the scheduler may be at work on the one before.
func (w *World) edit(pod *v1.Pod, annotations ...string) {
	for _, annotation := range annotations {
		w.strangely(pod, func(pod *v1.Pod) { pod.Annotations = map[string]string{spark.AnnotationRoles: annotation} })
	}
}

// strangely changes a pod some time soon.
func (w *World) strangely(pod *v1.Pod, change func(*v1.Pod)) {
	key, uid := keyOf(pod), pod.UID
	w.after(w.chance.delay(300*time.Millisecond, time.Minute), func() {
		if pod := w.api.pod(key, uid); pod != nil && !ended(pod) {
			w.api.changePod(pod, change)
		}
	})
}

// holdOn deletes a pod that a finalizer holds back for a while.
func (w *World) holdOn(pod *v1.Pod) {
	now := metav1.Now().Rfc3339Copy()
	w.strangely(pod, func(pod *v1.Pod) { pod.DeletionTimestamp = &now })
	key, uid := keyOf(pod), pod.UID
	w.after(w.chance.between(2*time.Minute, 5*time.Minute), func() {
		if pod := w.api.pod(key, uid); pod != nil {
			w.api.removePod(pod)
		}
	})
}
