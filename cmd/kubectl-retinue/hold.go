package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/pkg/view"
)

func newHoldCommands(streams genericiooptions.IOStreams) []*cobra.Command {
	var commands []*cobra.Command
	for _, to := range []struct {
		command, short, long string
		held                 bool
	}{
		{"hold", "Keep an application that waits from starting.", "It is not tried, asks no autoscaler for nodes, and others of its queue pass it; it keeps its age. One that runs is not held back.", true},
		{"release", "Let an application start that was held back.", "It waits on where its age puts it.", false},
	} {
		s := newShown(streams)
		dryRun := false
		command := &cobra.Command{
			Use:     to.command + " APP",
			Short:   to.short,
			Long:    to.short + "\n" + to.long + "\nThis is the annotation " + spark.AnnotationHold + " of its driver, so whoever may patch that pod may do it.",
			Example: "  kubectl retinue " + to.command + " etl-1f3a-driver -n etl-prod",
			Args:    oneName("application"),
			RunE: func(command *cobra.Command, args []string) error {
				r, err := connect(s.cluster)
				if err != nil {
					return err
				}
				return s.hold(command.Context(), r, podName(args[0]), to.held, dryRun)
			},
			ValidArgsFunction: completeApps(s.cluster),
		}
		s.add(command, nil)
		command.Flags().BoolVar(&dryRun, "dry-run", false, "let the API server look at the change, and change nothing")
		commands = append(commands, command)
	}
	return commands
}

// hold holds an application back, or releases it.
func (s shown) hold(ctx context.Context, r *reader, name string, hold, dryRun bool) error {
	pods, err := r.pods(ctx, r.namespace, "")
	if err != nil {
		return fmt.Errorf("reading pods: %w", err)
	}
	app, err := view.Find(view.Apps(view.Objects{Now: now(), Pods: pods}), name)
	if err != nil {
		return inputError{err}
	}
	leader := app.Leader()
	switch {
	case leader == nil:
		return inputError{fmt.Errorf("application %s has no driver that could carry annotation %s", app.Name, spark.AnnotationHold)}
	case hold && app.State != view.Waiting:
		return inputError{fmt.Errorf("application %s is %s: only one that waits can be held back", app.Name, app.State)}
	}
	const held, free = "held back", "not held back"
	is, to, written := free, free, "null"
	if before, err := spark.Held(leader); err == nil && before {
		is = held
	}
	if hold {
		to, written = held, `"true"`
	}
	if is == to {
		fmt.Fprintf(s.streams.Out, "application %s is %s already\n", app.Name, to)
		return nil
	}
	// Of another pod of that name it is a conflict.
	patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"annotations":{%q:%s}}}`, leader.UID, spark.AnnotationHold, written)
	patched, err := r.client.CoreV1().Pods(leader.Namespace).Patch(ctx, leader.Name, types.MergePatchType, patch, patchOptions(dryRun))
	if err != nil {
		return fmt.Errorf("changing pod %s: %w", leader.Name, err)
	}
	switch {
	case dryRun:
		fmt.Fprintf(s.streams.Out, "application %s would be %s, and is %s\n", app.Name, to, is)
	case hold && patched.Spec.NodeName != "":
		fmt.Fprintf(s.streams.Out, "application %s has started meanwhile, which is not held back\n", app.Name)
	default:
		fmt.Fprintf(s.streams.Out, "application %s is %s, and was %s\n", app.Name, to, is)
	}
	return nil
}
