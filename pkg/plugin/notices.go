package plugin

import (
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/heap"
	"retinue.dev/retinue/pkg/reservation"
)

// How often a pod that waits is told why. In an hour in which its reason stays the same that makes one patch and one event at first, five
// patches for other numbers at most, and three events that say the same again.
const (
	// firstPause is how long after a patch other numbers of the same reason wait to be written, and twice as long after each of them, up to
	// oldNews. Who has heard nothing new for that long hears it as if for the first time.
	firstPause = time.Minute
	oldNews    = time.Hour
	// heldFor is how long a reason that is still true is told although another of the same tier is found before it.
	heldFor = 5 * time.Minute
	// turnsAtOnce is how many other reasons a pod hears at once, one after the other. Two that are true by turns would be told for ever: from
	// then on another one waits as other numbers do, unless autoscalers have to know of it.
	turnsAtOnce = 3
	// mostReminded bounds how many are looked at at once whether they are to hear more: each may cost two calls to the API server.
	mostReminded = 50
)

// repeats are how long after a pod has heard its reason an event says the same again; after the last of them every hour.
var repeats = []time.Duration{5 * time.Minute, 15 * time.Minute, 45 * time.Minute}

// notices are what pods that wait have been told last, and when they are to hear more. There is one for every pod that has been told why
// it waits and has no node yet, and none for any other.
type notices struct {
	clock clock.PassiveClock
	// names tells whether pods, users and queues of others are named.
	names bool
	// holds tells whether a reason is still true of a pod that waits.
	holds func(types.UID, gang.Reason) bool

	mu sync.Mutex // guards everything below
	of map[types.UID]*notice
	// due is a heap of all of them, by when they are to hear more.
	due   []*notice
	order heap.Order[*notice]
}

// notice is what one pod has been told.
type notice struct {
	pod *v1.Pod
	saying
	// held is what it is to hear later; nil means nothing else than what it has heard.
	held  *saying
	since time.Time // when it was told the verdict's reason first
	// written is when its condition was last written, and pause for how long after that other numbers wait.
	written time.Time
	pause   time.Duration
	// extended means that more was told of the same at once, which happens once.
	extended bool
	// turns is how often it has heard another reason.
	turns int
	// repeated is how often the same was said again.
	repeated int
	// next is when it is to hear more.
	next  time.Time
	place int
}

// saying is what a pod is told.
type saying struct {
	verdict   gang.Verdict
	condition string // the reason of its condition
	text      string // of its condition
	// quoted means that the text is kube-scheduler's, after the reason.
	quoted bool
}

// news is what is to be written of a saying.
type news struct {
	patch, event bool
	// status is the annotation, should the condition be written; empty means that there is none.
	status string
}

func newNotices(clock clock.PassiveClock, names bool, holds func(types.UID, gang.Reason) bool) *notices {
	return &notices{
		clock: clock, names: names, holds: holds, of: map[types.UID]*notice{},
		order: heap.Order[*notice]{Before: func(a, b *notice) bool { return a.next.Before(b.next) }, Place: func(n *notice) *int { return &n.place }},
	}
}

// take takes what a pod is to be told, and answers what of it is news: another reason at once, unless that which it knows is of the same tier
// and still true, or it has heard of many; another reason of the condition at once; other words at once, unless it has heard of many; other numbers after a pause. reminds means that nothing has
// happened: the time has come to say the same again.
func (ns *notices) take(pod *v1.Pod, say saying, reminds bool) news {
	held := ns.keeps(pod.UID, say) // asks the ledger
	ns.mu.Lock()
	defer ns.mu.Unlock()
	now := ns.clock.Now()
	told := ns.of[pod.UID]
	if told != nil && now.Sub(told.written) >= oldNews {
		told.turns, told.pause = 0, firstPause
	}
	var said news
	switch {
	case told == nil:
		told = &notice{since: now, pause: firstPause, place: heap.Absent}
		ns.of[pod.UID] = told
		said.patch, said.event = true, true
	case told.verdict.Reason != say.verdict.Reason && held:
		ns.later(told, say, told.since.Add(heldFor))
		return news{}
	case told.verdict.Reason != say.verdict.Reason && told.turns >= turnsAtOnce && told.condition == say.condition && !say.verdict.Permanent():
		if now.Sub(told.written) < told.pause {
			ns.later(told, say, told.written.Add(told.pause))
			return news{}
		}
		told.since, told.extended, told.pause = now, false, min(2*told.pause, oldNews)
		said.patch = true
	case told.verdict.Reason != say.verdict.Reason:
		told.turns++
		if told.verdict.Reason.Trait().Tier != say.verdict.Reason.Trait().Tier {
			told.repeated, told.pause = 0, firstPause
		}
		told.since, told.extended = now, false
		said.patch, said.event = true, true
	case told.condition != say.condition:
		said.patch = true
	case !differs(told.text, say.text):
		told.held = nil
	case say.verdict.Permanent(): // its user has changed something
		said.patch, said.event = true, true
	case told.turns < turnsAtOnce && words(told.text) != words(say.text): // not the same with other numbers
		told.turns++
		told.pause, said.patch, said.event = firstPause, true, true
	case !told.extended && strings.HasPrefix(say.text, told.text): // more is known than before
		told.extended, said.patch, said.event = true, true, true
	case now.Sub(told.written) >= told.pause:
		told.pause, said.patch = min(2*told.pause, oldNews), true
	default:
		ns.later(told, say, told.written.Add(told.pause))
	}
	if reminds && !said.event && !now.Before(told.repeatAt()) {
		told.repeated++
		said.event = true
	}
	told.pod, said.status = pod, ns.status(pod, say, told.since)
	if said.patch {
		told.saying, told.held, told.written = say, nil, now
	}
	if said.patch || said.event {
		told.next = told.repeatAt()
		ns.order.Put(&ns.due, told)
	}
	return said
}

// keeps tells whether a pod goes on hearing what it knows although another reason is found before it: both are of its queue, of the same tier
// and true, and would take turns. That lasts for some minutes.
func (ns *notices) keeps(uid types.UID, say saying) bool {
	ns.mu.Lock()
	told := ns.of[uid]
	if told == nil {
		ns.mu.Unlock()
		return false
	}
	known, condition, since := told.verdict.Reason, told.condition, told.since
	ns.mu.Unlock()
	before, now := known.Trait(), say.verdict.Reason.Trait()
	return known != say.verdict.Reason && condition == say.condition && before.OfQueue && now.OfQueue && before.Tier == now.Tier &&
		ns.clock.Since(since) < heldFor && ns.holds(uid, known)
}

// repeatAt is when the same is said again.
func (n *notice) repeatAt() time.Time {
	if n.repeated < len(repeats) {
		return n.since.Add(repeats[n.repeated])
	}
	last := len(repeats) - 1
	return n.since.Add(repeats[last] + time.Duration(n.repeated-last)*time.Hour)
}

// later makes a pod hear what it does not hear now at a time, if not earlier.
func (ns *notices) later(told *notice, say saying, at time.Time) {
	told.held = &say
	if at.Before(told.next) {
		told.next = at
		ns.order.Put(&ns.due, told)
	}
}

// reminded are the pods that are to hear more by now, some of them if there are many. Each is looked at again after a minute if nothing
// is said of it.
func (ns *notices) reminded() []*v1.Pod {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	now := ns.clock.Now()
	var pods []*v1.Pod
	for len(pods) < mostReminded && len(ns.due) > 0 && !now.Before(ns.due[0].next) {
		told := ns.due[0]
		pods = append(pods, told.pod)
		told.next = now.Add(time.Minute)
		ns.order.Put(&ns.due, told)
	}
	return pods
}

// last is what a pod has been told last, or is to hear since; false if nothing.
func (ns *notices) last(uid types.UID) (saying, bool) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	told := ns.of[uid]
	if told == nil {
		return saying{}, false
	}
	if told.held != nil {
		return *told.held, true
	}
	return told.saying, true
}

// status is the annotation of what a pod is told; empty where its annotations have no room for it.
func (ns *notices) status(pod *v1.Pod, say saying, since time.Time) string {
	if annotationBytes(pod)+len(gang.AnnotationStatus)+gang.LongestStatus > reservation.MaxAnnotations-spareAnnotations {
		return ""
	}
	status := gang.NewStatus(say.verdict, ns.names, since)
	if say.quoted {
		status.Sentence = strings.TrimPrefix(say.text, string(say.verdict.Reason)+": ")
	}
	return status.Encode()
}

// forget takes that a pod waits no more, or that it has not been told after all.
func (ns *notices) forget(uid types.UID) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if told := ns.of[uid]; told != nil {
		ns.order.Remove(&ns.due, told)
		delete(ns.of, uid)
	}
}

// placed is the annotation of a pod that gets its node; false if it has never been told anything.
func (ns *notices) placed(pod *v1.Pod) (text string, told bool) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if _, told = pod.Annotations[gang.AnnotationStatus]; !told {
		told = ns.of[pod.UID] != nil
	}
	return gang.Status{Version: gang.StatusVersion}.Encode(), told
}

// differs tells whether two texts say something else to somebody who reads both: other words, or a number that is other by more than a
// tenth.
func differs(a, b string) bool {
	for a != "" && b != "" {
		if m, n := digits(a), digits(b); m > 0 && n > 0 {
			if farFrom(a[:m], b[:n]) {
				return true
			}
			a, b = a[m:], b[n:]
			continue
		}
		if a[0] != b[0] {
			return true
		}
		a, b = a[1:], b[1:]
	}
	return a != b
}

// words is a text without its numbers.
func words(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}

// digits is how many digits a text begins with.
func digits(text string) int {
	return len(text) - len(strings.TrimLeft(text, "0123456789"))
}

// farFrom tells whether two numbers differ by more than a tenth of the first.
func farFrom(a, b string) bool {
	if a == b {
		return false
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX != nil || errY != nil || math.Abs(x-y) > x/10
}
