package sparksim

import (
	"fmt"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
)

// The annotations of a driver pod by which an application tells what it is like; see the package comment.
const (
	AnnotationRunTime   = "sparksim.retinue.dev/run-time"
	AnnotationOutcome   = "sparksim.retinue.dev/outcome"
	AnnotationExecutors = "sparksim.retinue.dev/executors"
	AnnotationCode      = "sparksim.retinue.dev/code"
)

// script is what the annotations of a driver say now; they may change while it runs.
type script struct {
	endless   bool          // no run time is given
	runTime   time.Duration // with all executors of the start; not of use if endless
	outcome   v1.PodPhase   // PodSucceeded or PodFailed
	executors *int          // nil means as many as at the start, and at least one
}

func readScript(driver *v1.Pod) (script, error) {
	s := script{outcome: v1.PodSucceeded}
	text, found := driver.Annotations[AnnotationRunTime]
	s.endless = !found
	if found {
		runTime, err := time.ParseDuration(text)
		if err != nil || runTime < 0 {
			return script{}, fmt.Errorf("annotation %s=%q: want a duration such as 30s", AnnotationRunTime, text)
		}
		s.runTime = runTime
	}
	switch text, found := driver.Annotations[AnnotationOutcome]; {
	case !found || text == string(v1.PodSucceeded):
	case text == string(v1.PodFailed):
		s.outcome = v1.PodFailed
	default:
		return script{}, fmt.Errorf("annotation %s=%q: want %s or %s", AnnotationOutcome, text, v1.PodSucceeded, v1.PodFailed)
	}
	if text, found := driver.Annotations[AnnotationExecutors]; found {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			return script{}, fmt.Errorf("annotation %s=%q: want a number of executors", AnnotationExecutors, text)
		}
		executors := int(n)
		s.executors = &executors
	}
	return s, nil
}
