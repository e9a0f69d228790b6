package plugin

import (
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
)

const (
	// goneFor is how long the arrival of a pod that has gone is remembered: kube-scheduler's queue may hear of its end later.
	goneFor = time.Minute
	// unaskedFor is how long that of a native PodGroup is which nobody asks for: nobody tells the plugin of its end.
	unaskedFor = time.Hour
)

// arrivals are the order in which pods and native PodGroups came, which is the order of the scheduling queue before the first attempt, of
// the ledger and of queues among those of one priority. It is a time: creationTimestamp, which has whole seconds, and within the second the
// order in which this process first saw them, as nanoseconds. It is set once, because the place of an entity in a
// heap must not change. What was there before this process began to read has no nanoseconds, and its order is that of the UIDs; what comes
// while it reads has come since if it was made in the second of the beginning or later.
type arrivals struct {
	now func() time.Time

	mu sync.RWMutex // guards everything below
	// open means that what existed at the start has been seen, and began is the second in which the first of that was.
	open  bool
	began time.Time
	// seen counts the pods and groups that were first seen since then; after 1e9 of them all further ones are ordered by UID.
	seen   int64
	pods   map[types.UID]time.Time
	gone   map[types.UID]time.Time // pod -> when it went
	groups map[types.UID]*groupArrival
}

// groupArrival is the arrival of a native PodGroup.
type groupArrival struct{ at, asked time.Time }

func newArrivals(now func() time.Time) *arrivals {
	return &arrivals{now: now, pods: map[types.UID]time.Time{}, gone: map[types.UID]time.Time{}, groups: map[types.UID]*groupArrival{}}
}

// start begins to count: everything that comes now has not been there before.
func (a *arrivals) start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = true
}

// ofPod is when a pod came.
func (a *arrivals) ofPod(pod *v1.Pod) time.Time {
	a.mu.RLock()
	at, known := a.pods[pod.UID]
	a.mu.RUnlock()
	if known {
		return at
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if at, known = a.pods[pod.UID]; !known {
		at = a.next(pod.CreationTimestamp)
		a.pods[pod.UID] = at
	}
	return at
}

// ofGroup is when a native PodGroup came.
func (a *arrivals) ofGroup(uid types.UID, created metav1.Time) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	group := a.groups[uid]
	if group == nil {
		group = &groupArrival{at: a.next(created)}
		a.groups[uid] = group
	}
	group.asked = a.now()
	return group.at
}

// next is the arrival of what comes now; the caller holds mu.
func (a *arrivals) next(created metav1.Time) time.Time {
	if a.began.IsZero() {
		a.began = a.now().Truncate(time.Second)
	}
	if !a.open && created.Time.Before(a.began) {
		return created.Time
	}
	a.seen++
	return created.Add(min(time.Duration(a.seen), time.Second-1))
}

// leave notes that a pod has gone.
func (a *arrivals) leave(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone[uid] = a.now()
}

// sweep forgets what has gone.
func (a *arrivals) sweep() {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	for uid, at := range a.gone {
		if now.Sub(at) >= goneFor {
			delete(a.gone, uid)
			delete(a.pods, uid)
		}
	}
	for uid, group := range a.groups {
		if now.Sub(group.asked) >= unaskedFor {
			delete(a.groups, uid)
		}
	}
}

// of is when an entity of the scheduling queue came, and its UID. A pod by itself or a native PodGroup that has been tried counts from its
// last attempt, as in kube-scheduler's own order: one that is tried in vain again and again must not stand before who has not been tried
// yet. Neither its time nor its attempts change while it is in the queue. When other gangs are tried again, the ledger says, in their order.
func (a *arrivals) of(entity fwk.QueuedEntityInfo) (time.Time, types.UID) {
	tried := entity.GetAttempts() > 0
	if pod := podOf(entity); pod != nil {
		if tried && gangOf(pod) == (gang.Key{}) {
			return entity.GetTimestamp(), pod.UID
		}
		return a.ofPod(pod), pod.UID
	}
	group, native := entity.(fwk.PodGroupInfo)
	var declared metav1.Object
	switch {
	case native && group.GetPodGroup() != nil:
		declared = group.GetPodGroup()
	case native && group.GetCompositePodGroup() != nil:
		declared = group.GetCompositePodGroup()
	default:
		return entity.GetTimestamp(), ""
	}
	if tried {
		return entity.GetTimestamp(), declared.GetUID()
	}
	return a.ofGroup(declared.GetUID(), declared.GetCreationTimestamp()), declared.GetUID()
}
