package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// crew is the executors of a driver outside the cluster, which creates, replaces and deletes them. They say how many of
// them start together.
type crew struct {
	world    *World
	name     string
	count    int
	executor size
	priority int32
	// members are those that have not ended and are not being deleted, oldest first.
	members []*v1.Pod
	serial  int
	rounds  bool
	// started means that one of them has been bound.
	started bool
	over    bool
}

// namespaceOfCrews is where all of them are.
const namespaceOfCrews = "white"

// enlist starts a new crew.
func (w *World) enlist() {
	c := w.chance
	k := &crew{
		world: w, name: fmt.Sprintf("crew-%d", len(w.crews)+1), count: c.number(1, 6), priority: pick[int32](c, 0, 0, 0, 10),
		executor: size{pick[int64](c, 500, 1000, 2000, 3000), pick[int64](c, 512, 1024, 4096)},
	}
	w.crews = append(w.crews, k)
	w.trace.add("%s: %d of %v", k.name, k.count, k.executor)
	k.round(0)
	w.after(c.delay(time.Minute, 8*time.Minute), func() {
		if w.act == storm {
			k.finish()
		}
	})
}

// round creates missing executors after a while, a batch at a time.
func (k *crew) round(delay time.Duration) {
	if k.rounds || k.over || len(k.members) >= k.count {
		return
	}
	k.rounds = true
	w := k.world
	w.after(delay, func() {
		k.rounds = false
		if k.over {
			return
		}
		for range min(batch, k.count-len(k.members)) {
			k.create()
		}
		k.round(w.chance.between(900*time.Millisecond, 1100*time.Millisecond))
	})
}

func (k *crew) create() {
	k.serial++
	pod := k.world.api.createPod(&v1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespaceOfCrews, Name: fmt.Sprintf("%s-exec-%d", k.name, k.serial),
			Labels:      map[string]string{spark.LabelRole: spark.RoleExecutor, spark.LabelApp: k.name, spark.LabelResourceProfile: "0"},
			Annotations: map[string]string{spark.AnnotationWorkers: strconv.Itoa(k.count)},
		},
		Spec: v1.PodSpec{
			SchedulerName: schedulerName, Priority: &k.priority,
			Containers: []v1.Container{{Name: spark.ExecutorContainer, Resources: v1.ResourceRequirements{Requests: k.executor.list()}}},
		},
	})
	k.members = append(k.members, pod)
	k.world.members[pod.UID] = k
}

// missed is called when an executor has failed, is being deleted or is gone: it is replaced.
func (k *crew) missed(pod *v1.Pod) {
	k.members = slices.DeleteFunc(k.members, func(other *v1.Pod) bool { return other.UID == pod.UID })
	k.round(k.world.chance.delay(500*time.Millisecond, 30*time.Second))
}

// finish deletes all executors.
func (k *crew) finish() {
	k.over = true
	for _, member := range slices.Clone(k.members) {
		if pod := k.world.api.pod(keyOf(member), member.UID); pod != nil {
			k.world.deletePod(pod)
		}
	}
}

// living are its pods that have not ended, and those of them that have a node.
func (k *crew) living() (pods []*v1.Pod, placed int) {
	for _, pod := range k.world.api.pods.all() {
		if k.world.members[pod.UID] == k && !ended(pod) {
			pods = append(pods, pod)
			if pod.Spec.NodeName != "" {
				placed++
			}
		}
	}
	return pods, placed
}

// bound checks the first of a crew that is bound: everybody of the start must have a place by then, or a slot if it lost
// its place after all had one. Of what a replica knew that does not live any more nothing is left to check.
//
// Seen failing when Barrier let pods go at once, and when upfronts.muster did not wait for all of them.
func (k *crew) bound(pod *v1.Pod, by string) {
	if k.started {
		return
	}
	k.started = true
	w := k.world
	w.stats.Crews++
	for _, r := range w.replicas {
		if r.name != by {
			continue
		}
		placed := 0
		for uid, of := range w.members {
			if m := r.told.pods[uid]; of == k && m != nil && m.counted != "" {
				placed++
			}
		}
		for _, g := range r.ledger.Gangs() {
			if g.Key.Namespace == namespaceOfCrews && g.Key.Name == k.name && g.Phase == gang.Running {
				for _, slot := range g.Slots {
					if slot.Worker == "" {
						placed++
					}
				}
			}
		}
		if placed < k.count {
			w.fail("together", "executor %s was bound, the first of %d, when %d of them had a place", keyOf(pod), k.count, placed)
		}
	}
}

// checkCrews: at rest, a crew that has started has no pod that waits for its start although it fits, and one that has
// not has none bound and does not fit.
func (w *World) checkCrews(r *replica, free map[string]resource.Vector) {
	for _, k := range w.crews {
		pods, placed := k.living()
		if len(pods) < k.count || placed == len(pods) {
			continue
		}
		asks := k.executor.vector()
		own, claims := map[string]resource.Vector{}, false
		for _, g := range r.ledger.Gangs() {
			if g.Key.Namespace != namespaceOfCrews || g.Key.Name != k.name {
				continue
			}
			for _, slot := range g.Slots {
				claims = claims || slot.Worker == ""
				if slot.Worker == "" && slot.Node != "" {
					own[slot.Node] = slot.Requests
				}
			}
		}
		seats := map[string]int{} // zone -> pods that fit
		for _, node := range w.api.nodes.all() {
			if !admits(node, &pods[0].Spec) {
				continue
			}
			zone := ""
			if w.climate.placement == "SingleZone" {
				if zone = node.Labels[labelZone]; zone == "" && placed == 0 {
					continue
				}
			}
			seats[zone] += asks.Count(free[node.Name].Add(own[node.Name]), k.count)
		}
		for zone, n := range seats {
			if placed == 0 && n >= k.count && r.allows(namespaceOfCrews, k.asks()) ||
				placed > 0 && n > 0 && (claims || r.allows(namespaceOfCrews, quota.Demand{Amount: asks})) {
				w.fail("stuck", "%s: at rest, %d of %d pods of %s wait and %d find room in zone %q: %s", r.name, len(pods)-placed, len(pods), k.name, n, zone, r.whereabouts(waitingOf(pods)))
			}
		}
	}
}

func waitingOf(pods []*v1.Pod) *v1.Pod {
	return pods[slices.IndexFunc(pods, func(pod *v1.Pod) bool { return pod.Spec.NodeName == "" })]
}

// leaderless tells whether the leader of a gang is none of its pods.
func leaderless(leader types.UID) bool { return strings.HasPrefix(string(leader), "group:") }
