package spark

import (
	"fmt"
	"strconv"

	v1 "k8s.io/api/core/v1"
)

// AnnotationRank on a driver, or on any pod that waits by itself, is where its user wants it among those of its queue and
// PriorityClass: an integer, higher goes first, 0 without it. It may change while the pod waits, which a priority may not.
const AnnotationRank = "retinue.dev/rank"

// Rank is what AnnotationRank says; 0 where it says nothing. The error names the annotation and its value.
func Rank(pod *v1.Pod) (int32, error) {
	text, written := pod.Annotations[AnnotationRank]
	if !written {
		return 0, nil
	}
	rank, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("annotation %s=%s: want an integer of 32 bits; counts as 0", AnnotationRank, quote(text))
	}
	return int32(rank), nil
}
