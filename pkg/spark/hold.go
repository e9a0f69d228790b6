package spark

import (
	"fmt"
	"strconv"

	v1 "k8s.io/api/core/v1"
)

// AnnotationHold on a driver that waits is whether its user wants it to start: with "true" it is not tried, and keeps its age. It may change
// while the driver waits.
const AnnotationHold = "retinue.dev/hold"

// Held is what AnnotationHold says; false where it says nothing. The error names the annotation and its value.
func Held(pod *v1.Pod) (bool, error) {
	text, written := pod.Annotations[AnnotationHold]
	if !written {
		return false, nil
	}
	held, err := strconv.ParseBool(text)
	if err != nil {
		return false, fmt.Errorf("annotation %s=%s: want true or false; counts as false", AnnotationHold, quote(text))
	}
	return held, nil
}
