package main

import (
	"fmt"
	"strconv"
)

// tally counts what was seen of an act.
type tally struct {
	startedWhole int // all executors had room when the driver was bound, and all of them ran
	halfStarted  int // at some moment a driver held a node while an executor of it found no room
	finished     int
	told         int // applications that cannot fit and were told so, and never started
	waited       int // applications that waited with a reason, and started later
}

func count(r result, apps []application) tally {
	var t tally
	for i, app := range apps {
		seen := r.applications[i]
		if seen.HalfStarted != "" {
			t.halfStarted++
		}
		if seen.HalfStarted == "" && seen.Node != "" && seen.MostRunning >= app.executors {
			t.startedWhole++
		}
		switch {
		case fateOf(seen, app.executors) == done:
			t.finished++
		case fateOf(seen, app.executors) == refused:
			t.told++
		}
		if seen.Node != "" && reasonCode(seen.Reason) != "" {
			t.waited++
		}
	}
	return t
}

// summary compares both acts.
func summary(retinue, standard result, apps []application) []string {
	ours, theirs := count(retinue, apps), count(standard, apps)
	row := func(what string, a, b any) string { return fmt.Sprintf("  %-60s %10v %18v", what, a, b) }
	end := func(r result) string {
		if r.stuck {
			return "deadlock"
		}
		return strconv.Itoa(int(r.took.Seconds())) + " s"
	}
	return []string{
		"",
		row("", "Retinue", "default scheduler"),
		row("applications submitted", len(apps), len(apps)),
		row("started whole: every executor had room from the first moment", ours.startedWhole, theirs.startedWhole),
		row("half-started: driver holds a node, executors find no room", ours.halfStarted, theirs.halfStarted),
		row("waited whole, with a reason, and started later", ours.waited, theirs.waited),
		row("told at once that the cluster is too small", ours.told, theirs.told),
		row("finished", ours.finished, theirs.finished),
		row("CPUs held at the end by drivers without any executor", retinue.idleCPU, standard.idleCPU),
		row("over after", end(retinue), end(standard)),
	}
}

// next is what to try after the demo.
func next() []string {
	return []string{
		"",
		"  Try it yourself:",
		"    make cluster-up                            a cluster with 20 fake nodes that stays",
		"    bin/sparksim submit --play --count 30 --run-time 10s --conf spark.executor.instances=15",
		"    bin/kubectl --kubeconfig bin/kubeconfig get pods        in another terminal",
		"    make cluster-down",
		"",
	}
}

// claims are the things that this demo says and that were not so; none means that all of them were seen.
func claims(retinue, standard result, apps []application) []error {
	var errs []error
	deny := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i, app := range apps {
		seen := retinue.applications[i]
		switch {
		case seen.HalfStarted != "":
			deny("Retinue half-started %s: %s", app.name, seen.HalfStarted)
		case !app.fits() && fateOf(seen, app.executors) != refused:
			deny("%s is larger than the cluster and was not told so: %q", app.name, seen.Reason)
		case !app.fits():
		case fateOf(seen, app.executors) != done:
			deny("%s did not finish: driver %s, %q", app.name, seen.Phase, seen.Reason)
		case seen.Slots != app.executors:
			deny("%s was started with %d slots for %d executors", app.name, seen.Slots, app.executors)
		case seen.MostRunning != app.executors:
			deny("%s never ran with all of its %d executors, but with %d", app.name, app.executors, seen.MostRunning)
		}
	}
	for _, r := range []result{retinue, standard} {
		for _, node := range r.overbooked {
			deny("overbooked: %s", node)
		}
	}
	if count(retinue, apps).waited == 0 {
		deny("no application had to wait under Retinue")
	}
	if count(standard, apps).halfStarted == 0 {
		deny("the default scheduler half-started no application: the machine is too busy for this demo to make its point")
	}
	return errs
}
