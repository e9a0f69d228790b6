package plugin

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Bounds of a lateness.
const (
	leastLate = 10 * time.Millisecond
	mostLate  = time.Second
)

// lateness is how much later than some sign of it a ConfigMap usually is there: as short as lets one request in ten or so come
// too early. It is learned, because a submitter or an API server may be fast or slow.
type lateness time.Duration

func (l lateness) wait() time.Duration { return time.Duration(l) }

// learn takes in that a ConfigMap was there, or was absent, after the wait.
func (l *lateness) learn(absent bool) {
	if absent {
		*l = min(*l*3/2, lateness(mostLate))
	} else {
		*l = max(*l*19/20, lateness(leastLate))
	}
}

// retriesBetween is how many urgent leaders pass for each of the others, if both wait.
const retriesBetween = 7

// lanes is a queue in which leaders whose ConfigMap may have come now pass those whose was not there: however many drivers
// without one there are, they hold up nobody else for long.
type lanes struct {
	urgent       func(types.UID) bool
	first, later []types.UID
	passed       int // urgent leaders since one of the others had its turn
}

// Touch changes nothing: a leader keeps its place.
func (l *lanes) Touch(types.UID) {}

// Push adds a leader to its lane.
func (l *lanes) Push(uid types.UID) {
	if l.urgent(uid) {
		l.first = append(l.first, uid)
	} else {
		l.later = append(l.later, uid)
	}
}

// Len is how many leaders there are.
func (l *lanes) Len() int { return len(l.first) + len(l.later) }

// Pop takes the next; there has to be one.
func (l *lanes) Pop() types.UID {
	lane := &l.first
	if len(l.first) == 0 || len(l.later) > 0 && l.passed >= retriesBetween {
		lane, l.passed = &l.later, 0
	} else {
		l.passed++
	}
	uid := (*lane)[0]
	*lane = (*lane)[1:]
	return uid
}
