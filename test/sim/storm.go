package sim

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// repeat lets something happen again and again until the storm is over.
func (w *World) repeat(low, high time.Duration, what func()) {
	w.after(w.chance.between(low, high), func() {
		if w.act != storm {
			return
		}
		what()
		w.repeat(low, high, what)
	})
}

// brew starts everything that goes on during the storm.
func (w *World) brew() {
	c := w.chance
	pace := w.climate.pace
	w.repeat(pace/10, 2*pace, w.submit)
	w.repeat(pace, 5*pace, w.enlist)
	w.repeat(2*time.Second, 30*time.Second, func() { w.lone(fmt.Sprintf("lone-%d", w.api.serial)) })
	w.repeat(5*time.Second, time.Minute, w.disturbNode)
	w.repeat(3*time.Second, 40*time.Second, w.disturbPod)
	w.repeat(10*time.Second, 2*time.Minute, w.disturbScheduler)
	if w.climate.queues {
		w.repeat(10*time.Second, 3*time.Minute, w.rearrange)
	}
	w.repeat(2*time.Second, 20*time.Second, func() {
		if w.strikes(Strangers, 0.8) {
			w.trick()
		}
	})
	w.repeat(2*time.Second, 30*time.Second, func() {
		if w.strikes(RivalPods, 0.8) {
			w.rivalPod()
		}
		if w.strikes(Usurped, 0.2) {
			w.usurp()
		}
	})
	w.repeat(20*time.Second, 2*time.Minute, func() {
		// Heartbeats change nothing that matters.
		if w.api.nodes.len() > 0 {
			w.changeNode(pick(c, w.api.nodes.keys...), "beats", func(*v1.Node) {})
		}
	})
}

// lone creates a pod that belongs to nothing. Every second one is of a Job.
func (w *World) lone(name string) {
	c := w.chance
	asks := size{pick[int64](c, 100, 500, 1000, 2000), pick[int64](c, 128, 512, 2048)}
	priority := pick[int32](c, 0, 0, 0, 50)
	w.loneLike(name, asks, priority, c.happens(0.5))
}

func (w *World) loneLike(name string, asks size, priority int32, ofJob bool) {
	pod := w.api.createPod(&v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "red", Name: name},
		Spec: v1.PodSpec{SchedulerName: schedulerName, Priority: &priority,
			Containers: []v1.Container{{Name: "main", Resources: v1.ResourceRequirements{Requests: asks.list()}}}},
	})
	if ofJob {
		w.jobs[pod.UID] = asks
	}
	w.live(pod, w.chance.delay(30*time.Second, 4*time.Minute))
}

// replace creates another pod for one that a Job loses while it is still ending, as the Job controller does.
func (w *World) replace(pod *v1.Pod) {
	asks, ofJob := w.jobs[pod.UID]
	if !ofJob || w.act == end {
		return
	}
	delete(w.jobs, pod.UID)
	w.after(w.chance.delay(20*time.Millisecond, time.Second), func() {
		if w.act != end {
			w.loneLike(fmt.Sprintf("again-%d", w.api.serial), asks, *pod.Spec.Priority, true)
		}
	})
}

// live lets a pod be deleted after a time, under its name at once created again if that fault strikes.
func (w *World) live(pod *v1.Pod, lifetime time.Duration) {
	key, uid := keyOf(pod), pod.UID
	w.after(lifetime, func() {
		pod := w.api.pod(key, uid)
		if pod == nil {
			return
		}
		if w.strikes(NameReused, 0.5) {
			w.api.removePod(pod)
			w.lone(pod.Name)
			return
		}
		w.deletePod(pod)
	})
}

// disturbPod lets something happen to a driver or an executor.
func (w *World) disturbPod() {
	c := w.chance
	var candidates []*v1.Pod
	for _, pod := range w.api.pods.all() {
		if (w.appOf(pod) != nil || w.members[pod.UID] != nil) && !ended(pod) && pod.DeletionTimestamp == nil {
			candidates = append(candidates, pod)
		}
	}
	if len(candidates) == 0 {
		return
	}
	pod := pick(c, candidates...)
	a := w.appOf(pod)
	switch {
	case a == nil:
		if w.strikes(ExecutorLost, 0.6) {
			w.trace.add("%s is deleted", keyOf(pod))
			w.deletePod(pod)
		}
	case pod.UID == a.driver && w.strikes(DriverDeleted, 0.3):
		w.trace.add("app %s: driver deleted by its user", a.name)
		w.deletePod(pod)
	case pod.UID == a.driver && pod.Status.Phase == v1.PodRunning && w.strikes(DriverCrashed, 0.3):
		a.crash()
	case pod.UID == a.driver:
	case w.strikes(ExecutorLost, 0.6):
		if pod.Spec.NodeName != "" && c.happens(0.5) {
			w.trace.add("app %s: executor %s fails", a.name, pod.Name)
			w.endPod(w.api.changePod(pod, func(pod *v1.Pod) { pod.Status.Phase = v1.PodFailed }))
			return
		}
		w.trace.add("app %s: executor %s deleted", a.name, pod.Name)
		w.deletePod(pod)
	}
}

// disturbScheduler kills the scheduler now and then.
func (w *World) disturbScheduler() {
	for _, r := range w.replicas {
		if r.leads && (w.strikes(Restart, 0.5) || w.climate.standby && w.strikes(Failover, 0.3)) {
			w.crash(r, w.absence())
			return
		}
	}
}

// disturbReclaim kills the scheduler now and then when somebody has just been told to go, and another leads before all have gone.
func (w *World) disturbReclaim(by *replica) {
	if w.strikes(Restart, 0.05) {
		w.after(w.chance.between(time.Millisecond, 100*time.Millisecond), func() {
			if by.leads && !by.stopped.Load() {
				w.crash(by, w.chance.delay(20*time.Millisecond, time.Second))
			}
		})
	}
}

// absence is how long nobody leads after the leader was killed.
func (w *World) absence() time.Duration { return w.chance.delay(2*time.Second, 15*time.Second) }

// crash kills a replica. Another one takes its place: one that stands by if there is one, or else a new process. If the replica led, nobody
// does for a while.
func (w *World) crash(r *replica, absence time.Duration) {
	c := w.chance
	led := r.leads
	r.stop()
	w.stats.Restarts++
	if led {
		w.after(absence, w.elect)
	}
	if w.climate.standby {
		w.after(c.between(100*time.Millisecond, 20*time.Second), func() { w.start(false) })
	}
}

// elect gives the lease to a replica, if none holds it.
func (w *World) elect() {
	for _, r := range w.replicas {
		if r.leads {
			return
		}
	}
	if len(w.replicas) == 0 {
		w.start(true)
		return
	}
	r := w.replicas[0]
	w.trace.add("%s: takes the lease", r.name)
	r.lead()
}
