package sim

import (
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// batch is how many executors Spark creates in one round.
const batch = 5

// application is one run of Spark, as seen from outside: a driver that creates, replaces and deletes executors.
type application struct {
	world     *World
	plan      plan
	namespace string
	name, id  string
	driver    types.UID

	state appState
	// executors are those that have not ended and are not being deleted, oldest first.
	executors []*v1.Pod
	serial    int
	target    int
	strangers int // still to be created
	rounds    bool
	// unpredicted means that others bound its driver or claim its name: what was predicted need not hold.
	unpredicted bool
}

type appState int

const (
	submitted appState = iota
	running
	over // the driver has ended, or is gone
)

func (a *application) key() string { return a.namespace + "/" + a.name }

// pod is the driver as it is; nil when it is gone.
func (a *application) pod() *v1.Pod { return a.world.api.pod(a.key(), a.driver) }

// submit starts a new application.
func (w *World) submit() {
	n := len(w.apps) + 1
	a := &application{world: w, plan: w.drawPlan(), namespace: pick(w.chance, "red", "white"), name: fmt.Sprintf("app-%d", n), id: fmt.Sprintf("spark-%d", n)}
	if len(w.apps) > 0 && w.strikes(KeyShared, 0.05) {
		other := pick(w.chance, w.apps...)
		a.id, a.namespace = other.id, other.namespace
		a.unpredicted, other.unpredicted = true, true
	}
	w.apps = append(w.apps, a)
	driver := w.api.createPod(a.plan.driverPod(a.namespace, a.name, a.id))
	a.driver = driver.UID
	w.owners[driver.UID] = a
	p := a.plan
	w.trace.add("app %s: driver %v, %d executors %v (wants %d × %v), dynamic %v %d–%d, source %d", a.name, p.driver, p.count, p.executor, p.wants, p.actual, p.dynamic, p.minimum, p.maximum, p.source)
	if p.source != fromProperties || p.missing {
		return
	}
	if p.foreign {
		w.putMap(a, mapSuffix, "spark.properties", "spark.executor.instances=1\n", "somebody-else")
	}
	w.after(p.mapDelay, func() {
		if a.pod() == nil {
			return
		}
		if p.tolerates {
			w.putMap(a, templateSuffix, "podspec-configmap-key", p.template(), driver.UID)
		}
		w.putMap(a, mapSuffix, "spark.properties", p.properties(), driver.UID)
	})
}

func (w *World) putMap(a *application, suffix, key, text string, owner types.UID) {
	w.api.maps.put(a.key()+suffix, &v1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: a.name + suffix, OwnerReferences: []metav1.OwnerReference{{Kind: "Pod", Name: a.name, UID: owner}}},
		Data:       map[string]string{key: text},
	})
	w.trace.add("api: configmap %s", a.key()+suffix)
}

// started is called when the driver's container runs.
func (a *application) started() {
	if a.state != submitted {
		return
	}
	w := a.world
	a.state, a.target, a.strangers = running, a.plan.wants, a.plan.strangers
	a.round(w.chance.between(time.Second, 15*time.Second))
	w.after(a.plan.lifetime, func() {
		if w.act != storm || a.state != running {
			return
		}
		if w.strikes(DriverCrashed, 0.3) {
			a.crash()
		} else {
			a.finish()
		}
	})
	if a.plan.dynamic {
		a.scale()
	}
}

// round creates missing executors after a while, a batch at a time.
func (a *application) round(delay time.Duration) {
	if a.rounds || a.state != running || len(a.executors) >= a.target && a.strangers == 0 {
		return
	}
	a.rounds = true
	w := a.world
	w.after(delay, func() {
		a.rounds = false
		driver := a.pod()
		if a.state != running || driver == nil || driver.DeletionTimestamp != nil {
			return
		}
		for range min(batch, a.target-len(a.executors)) {
			a.create(driver, false)
		}
		if a.strangers > 0 {
			a.strangers--
			a.create(driver, true)
		}
		a.round(w.chance.between(900*time.Millisecond, 1100*time.Millisecond))
	})
}

func (a *application) create(driver *v1.Pod, stranger bool) {
	a.serial++
	name := fmt.Sprintf("%s-exec-%d", a.name, a.serial)
	if a.plan.stateful && !stranger {
		// A StatefulSet uses the lowest free name again.
		for i := 0; ; i++ {
			name = fmt.Sprintf("%s-set-%d", a.name, i)
			if _, taken := a.world.api.pods.get(a.namespace + "/" + name); !taken {
				break
			}
		}
	}
	pod := a.world.api.createPod(a.plan.executorPod(driver, name, a.id, stranger))
	a.world.owners[pod.UID] = a
	if !stranger {
		a.executors = append(a.executors, pod)
	}
}

// scale changes the number of executors of an application with dynamic allocation now and then.
func (a *application) scale() {
	w := a.world
	w.after(w.chance.between(5*time.Second, time.Minute), func() {
		if w.act != storm || a.state != running {
			return
		}
		a.target = w.chance.number(a.plan.minimum, a.plan.maximum)
		for len(a.executors) > a.target {
			a.release(a.executors[len(a.executors)-1])
		}
		a.round(time.Second)
		a.scale()
	})
}

// release deletes an executor that is not needed any more.
func (a *application) release(executor *v1.Pod) {
	a.drop(executor.UID)
	if pod := a.world.api.pod(keyOf(executor), executor.UID); pod != nil {
		a.world.deletePod(pod)
	}
}

func (a *application) drop(uid types.UID) {
	a.executors = slices.DeleteFunc(a.executors, func(pod *v1.Pod) bool { return pod.UID == uid })
}

// missed is called when an executor has failed, is being deleted or is gone: Spark replaces it.
func (a *application) missed(pod *v1.Pod) {
	if !slices.ContainsFunc(a.executors, func(other *v1.Pod) bool { return other.UID == pod.UID }) {
		return
	}
	a.drop(pod.UID)
	if a.state != running {
		return
	}
	w := a.world
	key, uid := keyOf(pod), pod.UID
	w.after(w.chance.delay(500*time.Millisecond, 30*time.Second), func() {
		// Spark deletes what is left of the executor itself.
		if pod := w.api.pod(key, uid); pod != nil && a.state == running {
			w.deletePod(pod)
		}
		a.round(w.chance.between(0, 2*time.Second))
	})
}

// finish is the normal end: the executors are deleted, then the driver succeeds.
func (a *application) finish() {
	w := a.world
	w.trace.add("app %s: finishes", a.name)
	a.state = over
	for _, executor := range slices.Clone(a.executors) {
		a.release(executor)
	}
	w.after(w.chance.delay(200*time.Millisecond, 5*time.Second), func() { a.endDriver(v1.PodSucceeded) })
}

// crash is an end without notice: executors that run exit when they miss the driver, those that wait go on waiting until
// somebody cleans up.
func (a *application) crash() {
	w := a.world
	w.trace.add("app %s: driver crashes", a.name)
	a.endDriver(v1.PodFailed)
	for _, executor := range slices.Clone(a.executors) {
		key, uid := keyOf(executor), executor.UID
		w.after(w.chance.delay(time.Second, 30*time.Second), func() {
			if pod := w.api.pod(key, uid); pod != nil && pod.Spec.NodeName != "" && !ended(pod) {
				w.api.changePod(pod, func(pod *v1.Pod) { pod.Status.Phase = v1.PodFailed })
			}
		})
	}
	w.after(w.chance.between(30*time.Second, 5*time.Minute), func() {
		if driver := a.pod(); driver != nil {
			w.deletePod(driver)
		}
	})
}

func (a *application) endDriver(phase v1.PodPhase) {
	a.state = over
	if driver := a.pod(); driver != nil && !ended(driver) {
		a.world.api.changePod(driver, func(pod *v1.Pod) { pod.Status.Phase = phase })
	}
}
