package main

import (
	"fmt"
	"regexp"
	"strings"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/test/sparksim/chronicle"
)

// fate is how an application is doing.
type fate int

const (
	unseen      fate = iota
	waiting          // its driver has no node
	refused          // so too, and it never will have one
	starting         // its driver has a node, and nothing was refused
	whole            // all its executors run, or have run and are done
	halfStarted      // its driver has a node, and executors are refused
	done             // it has succeeded
	failed
)

func fateOf(a chronicle.Application, executors int) fate {
	switch {
	case a.Driver == "":
		return unseen
	case a.Phase == v1.PodSucceeded:
		return done
	case a.Phase == v1.PodFailed || !a.Ended.IsZero():
		return failed
	case a.Node == "" && permanent[reasonCode(a.Reason)]:
		return refused
	case a.Node == "":
		return waiting
	case a.Refused > 0:
		return halfStarted
	case a.MostRunning >= executors:
		return whole
	default:
		return starting
	}
}

// permanent are the reasons that waiting does not help against.
var permanent = map[string]bool{"NeverFitsCluster": true, "NeverFitsNode": true, "InvalidGang": true}

// reasonForm finds Retinue's reason, which begins with its code, in what kube-scheduler writes.
var reasonForm = regexp.MustCompile(`(?:^|available: )(([A-Z][a-z]+[A-Za-z]*): .*?)\.?$`)

// reasonCode is the code of a reason, "" if there is none.
func reasonCode(message string) string {
	if match := reasonForm.FindStringSubmatch(message); match != nil {
		return match[2]
	}
	return ""
}

// reasonText is a reason without what kube-scheduler puts around it.
func reasonText(message string) string {
	if match := reasonForm.FindStringSubmatch(message); match != nil {
		return match[1]
	}
	return strings.TrimSuffix(message, ".")
}

// words tell a fate to a reader.
func words(a chronicle.Application, executors int) string {
	switch fateOf(a, executors) {
	case unseen:
		return "is being submitted"
	case waiting:
		if a.Reason == "" {
			return "waits"
		}
		return "waits: " + reasonText(a.Reason)
	case refused:
		return "will not start: " + reasonText(a.Reason)
	case starting:
		if a.Slots >= executors {
			return fmt.Sprintf("starts: room for all %d executors is kept", executors)
		}
		return "its driver runs, its executors are to come"
	case whole:
		if a.Running < executors {
			return "ends"
		}
		return fmt.Sprintf("runs whole: %d of %d executors", a.Running, executors)
	case halfStarted:
		return fmt.Sprintf("HALF-STARTED: %d of %d executors run, %d find no room", a.Running, executors, a.Refused)
	case done:
		return fmt.Sprintf("done %.0f s after its start%s", a.Ended.Sub(a.Bound).Seconds(), wasWhole(a, executors))
	default:
		return "failed"
	}
}

func wasWhole(a chronicle.Application, executors int) string {
	if a.HalfStarted != "" {
		return ", half-started on the way"
	}
	if a.MostRunning >= executors {
		return ", whole all the time"
	}
	return ""
}
