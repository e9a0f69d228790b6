package sim

import (
	"fmt"
	"strconv"
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
	trick := pick(w.chance, tricks...)
	for len(w.options.Tricks) > 0 && !w.options.Tricks[trick.name] {
		trick = pick(w.chance, tricks...)
	}
	w.trace.add("a stranger tries %s", trick.name)
	trick.play(w, fmt.Sprintf("stranger-%d", w.api.serial))
}

// editRoles changes what a driver asks for, to what nobody could have and to what is wrong.
func (w *World) editRoles(name string) {
	c := w.chance
	w.edit(w.stranger(name, roles(c.number(1, 8), 500)), roles(100_000, 1000), roles(1<<31-1, 1), "[]", roles(c.number(0, 3), 250))
}

// neverReady creates a driver whose image does not exist.
func (w *World) neverReady(name string) {
	w.unready[w.stranger(name, roles(w.chance.number(1, 4), 500)).UID] = true
}

// held deletes a driver that waits, and which a finalizer holds back.
func (w *World) held(name string) { w.holdOn(w.stranger(name, roles(2, 100_000))) }

// selecting creates a driver with as many roles as there may be, each with a selector of its own.
func (w *World) selecting(name string) {
	var selecting []string
	for i := range 16 {
		selecting = append(selecting, fmt.Sprintf("{name: r%d, count: 1, requests: {cpu: 100m}, selector: {%s-%d: x}}", i, name, i))
	}
	w.edit(w.stranger(name, "["+strings.Join(selecting, ", ")+"]"), roles(1, 100))
}

// leadAndNot creates a pod that leads a gang, and does not, and does.
func (w *World) leadAndNot(name string) {
	pod := w.stranger(name, roles(w.chance.number(1, 4), 1000))
	for _, role := range []string{"none", spark.RoleDriver, "none", spark.RoleDriver} {
		w.strangely(pod, func(pod *v1.Pod) {
			pod.Labels = map[string]string{spark.LabelRole: role, spark.LabelApp: pod.Name}
		})
	}
}

// growing creates a driver whose executors are larger than it says.
func (w *World) growing(name string) { w.grow(w.stranger(name, roles(w.chance.number(1, 8), 100))) }

// forgeLater creates a driver without workers, so that nothing is written on it, until its user does.
func (w *World) forgeLater(name string) {
	pod := w.stranger(name, "[]")
	w.strangely(pod, func(pod *v1.Pod) {
		pod.Annotations = map[string]string{spark.AnnotationRoles: "[]", plugin.AnnotationReservation: forged(w.chance.number(1, 1000), "1", "nowhere")}
	})
}

// silent creates a driver whose ConfigMap never comes.
func (w *World) silent(name string) {
	w.stranger(name, "", func(pod *v1.Pod) {
		pod.Annotations = nil
		pod.Spec.Volumes = []v1.Volume{{Name: "spark-conf-volume-driver", VolumeSource: v1.VolumeSource{
			ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: name + mapSuffix}},
		}}}
	})
}

// miscounted creates two to four pods that start together, and miscounts them.
func (w *World) miscounted(name string) { w.miscount(name, w.chance.number(2, 4)) }

// oneName creates pods of one name, one after another, that ask for something else each time.
func (w *World) oneName(name string) { w.again(w.stranger(name, roles(2, 100_000)), 3) }

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
	w.removeLater(pod, w.chance.delay(30*time.Second, 4*time.Minute))
	return pod
}

// removeLater lets the user of a pod delete it after a while.
func (w *World) removeLater(pod *v1.Pod, lifetime time.Duration) {
	key, uid := keyOf(pod), pod.UID
	w.after(lifetime, func() {
		if pod := w.api.pod(key, uid); pod != nil {
			w.deletePod(pod)
		}
	})
}

// forge creates a driver with a node and a reservation that nobody has granted.
func (w *World) forge(name string) {
	if w.api.nodes.len() == 0 {
		return
	}
	node := pick(w.chance, w.api.nodes.keys...)
	pod := w.stranger(name, roles(2, 500), func(pod *v1.Pod) {
		pod.Spec.NodeName = node
		pod.Annotations[plugin.AnnotationReservation] = forged(pick(w.chance, 1, 5, 1000), "500m", node)
	})
	w.startPod(keyOf(pod), pod.UID)
}

// forged is a reservation of so many slots of so many cores on a node.
func forged(count int, cpu, node string) string {
	return fmt.Sprintf(`{"roles":[{"name":"executor","count":%d,"minimum":%d,"requests":{"cpu":%q,"memory":"64Mi"}}],"slots":[{"role":0,"node":%q,"count":%d}]}`,
		count, count, cpu, node, count)
}

// grow creates executors that are larger than a driver has said, once it may have its node; some fit no node.
func (w *World) grow(driver *v1.Pod) {
	controller := true
	for i := range w.chance.number(1, 3) {
		w.after(w.chance.delay(time.Second, time.Minute), func() {
			if w.api.pod(keyOf(driver), driver.UID) == nil {
				return
			}
			w.stranger(fmt.Sprintf("%s-exec-%d", driver.Name, i), "", func(pod *v1.Pod) {
				pod.Labels = map[string]string{spark.LabelRole: spark.RoleExecutor, spark.LabelApp: driver.Name, spark.LabelResourceProfile: "0"}
				pod.Annotations, pod.OwnerReferences = nil, []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: driver.Name, UID: driver.UID, Controller: &controller}}
				pod.Spec.Containers[0].Resources.Requests = size{pick[int64](w.chance, 50, 1500, 3000, 1_000_000), 64}.list()
			})
		})
	}
}

// miscount creates executors of a driver outside the cluster that start together, and changes how many.
func (w *World) miscount(gang string, count int) {
	for i := range count {
		pod := w.stranger(fmt.Sprintf("%s-%d", gang, i), "", func(pod *v1.Pod) {
			pod.Labels = map[string]string{spark.LabelRole: spark.RoleExecutor, spark.LabelApp: gang}
			pod.Annotations = map[string]string{spark.AnnotationWorkers: strconv.Itoa(count)}
		})
		for _, workers := range []string{"99999999999999999999", "1", "-1", strconv.Itoa(count + 1), strconv.Itoa(count)} {
			w.strangely(pod, func(pod *v1.Pod) { pod.Annotations = map[string]string{spark.AnnotationWorkers: workers} })
		}
	}
}

// again deletes a pod and creates another of its name, so many times.
func (w *World) again(pod *v1.Pod, times int) {
	key, uid := keyOf(pod), pod.UID
	w.after(w.chance.delay(300*time.Millisecond, 20*time.Second), func() {
		if pod := w.api.pod(key, uid); pod != nil && w.act == storm {
			w.api.removePod(pod)
			if next := w.stranger(pod.Name, roles(w.chance.number(0, 3), pick[int64](w.chance, 250, 100_000))); times > 1 {
				w.again(next, times-1)
			}
		}
	})
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
