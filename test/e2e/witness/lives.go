package witness

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Moment is when something was seen first. The zero Moment means that it was not.
type Moment struct {
	// Version orders moments exactly, as that of a Birth does.
	Version uint64
	Seen    time.Time
}

// Happened tells whether there was such a moment.
func (m Moment) Happened() bool { return m.Version != 0 }

// Before tells whether it came before another, or the other never came.
func (m Moment) Before(other Moment) bool {
	return m.Happened() && (!other.Happened() || m.Version < other.Version)
}

// Life is what became of a pod.
type Life struct {
	Pod     *corev1.Pod // as it was last
	Born    Moment
	Bound   Moment // to a node
	Evicted Moment // it has the condition DisruptionTarget
	Over    Moment // it takes no room any more: it has ended, or exists no more
}

// lives are what became of every pod: UID -> life.
type lives map[types.UID]*Life

// add takes any state of a pod.
func (l lives) add(pod *corev1.Pod, gone bool, seen time.Time) error {
	version, err := strconv.ParseUint(pod.ResourceVersion, 10, 64)
	if err != nil {
		return fmt.Errorf("resource version of %s: %w", pod.Name, err)
	}
	now := Moment{Version: version, Seen: seen}
	life := l[pod.UID]
	if life == nil {
		life = &Life{Born: now}
		l[pod.UID] = life
	}
	life.Pod = pod
	for moment, came := range map[*Moment]bool{
		&life.Bound:   bound(pod),
		&life.Evicted: disrupted(pod) != nil,
		&life.Over:    gone || ended(pod),
	} {
		if came && !moment.Happened() {
			*moment = now
		}
	}
	return nil
}

// of are the pods of one application, by birth.
func (l lives) of(app string) []Life {
	var all []Life
	for _, life := range l {
		if life.Pod.Labels[AppLabel] == app {
			all = append(all, *life)
		}
	}
	slices.SortFunc(all, func(x, y Life) int { return cmp.Compare(x.Born.Version, y.Born.Version) })
	return all
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// disrupted is why a pod had to go; nil if nobody says so.
func disrupted(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}
