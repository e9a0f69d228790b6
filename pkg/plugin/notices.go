package plugin

import (
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/gang"
)

// notices are what pods that wait have been told last. There is one for every pod that has been told why it waits and has no node yet, and
// none for any other.
type notices struct {
	clock clock.PassiveClock
	// names tells whether pods, users and queues of others are named.
	names bool

	mu sync.Mutex // guards of
	of map[types.UID]*notice
}

// notice is what one pod has been told.
type notice struct {
	reason gang.Reason
	since  time.Time // when it was told that reason first
}

func newNotices(clock clock.PassiveClock, names bool) *notices {
	return &notices{clock: clock, names: names, of: map[types.UID]*notice{}}
}

// status is the annotation of a pod that is told a verdict; empty for one whose annotations have no room for it. A sentence that is not the
// verdict's own is given.
func (n *notices) status(pod *v1.Pod, verdict gang.Verdict, sentence string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	told := n.of[pod.UID]
	if told == nil || told.reason != verdict.Reason {
		told = &notice{reason: verdict.Reason, since: n.clock.Now()}
		n.of[pod.UID] = told
	}
	if annotationBytes(pod)+len(gang.AnnotationStatus)+gang.LongestStatus > maxAnnotations-spareAnnotations {
		return ""
	}
	status := gang.NewStatus(verdict, n.names, told.since)
	if sentence != "" {
		status.Sentence = sentence
	}
	return status.Encode()
}

// forget takes that a pod waits no more.
func (n *notices) forget(uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.of, uid)
}

// placed is the annotation of a pod that gets its node, if it carries another or may get one; false if it has never been told anything.
func (n *notices) placed(pod *v1.Pod) (text string, told bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, told = pod.Annotations[gang.AnnotationStatus]; !told {
		told = n.of[pod.UID] != nil
	}
	return gang.Status{Version: gang.StatusVersion}.Encode(), told
}
