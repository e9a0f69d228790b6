package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/view"
)

// states are the commands that change what a queue lets in.
var states = []struct {
	command string
	state   v1alpha1.QueueState
	short   string
}{
	{"drain", v1alpha1.Draining, "Let no application start in a queue; those that run go on, and grow."},
	{"stop", v1alpha1.Stopped, "Let nothing start in a queue: no application, and no executor of one that runs."},
	{"open", v1alpha1.Open, "Let applications start in a queue again."},
}

func newStateCommands(streams genericiooptions.IOStreams) []*cobra.Command {
	var commands []*cobra.Command
	for _, to := range states {
		s := newShown(streams)
		dryRun := false
		command := &cobra.Command{
			Use:     to.command + " QUEUE",
			Short:   to.short,
			Long:    to.short + "\nIt counts for the queues below as well.",
			Example: "  kubectl retinue " + to.command + " etl",
			Args:    oneName("queue"),
			RunE: func(command *cobra.Command, args []string) error {
				r, err := connect(s.cluster)
				if err != nil {
					return err
				}
				return s.turn(command.Context(), r, args[0], to.state, dryRun)
			},
			ValidArgsFunction: completeQueues(s.cluster),
		}
		s.add(command, nil)
		command.Flags().BoolVar(&dryRun, "dry-run", false, "let the API server look at the change, and change nothing")
		commands = append(commands, command)
	}
	return commands
}

// turn changes the state of a queue, and nothing else of it.
func (s shown) turn(ctx context.Context, r *reader, name string, to v1alpha1.QueueState, dryRun bool) error {
	queues := r.dynamic.Resource(queuesResource)
	object, err := queues.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading queue %s: %w", name, err)
	}
	queue, err := decode[v1alpha1.Queue](object)
	if err != nil {
		return fmt.Errorf("reading queue %s: %w", name, err)
	}
	before := queue.Spec.State
	if before == "" {
		before = v1alpha1.Open
	}
	if before != to {
		patch := fmt.Appendf(nil, `{"spec":{"state":%q}}`, to)
		if _, err := queues.Patch(ctx, name, types.MergePatchType, patch, patchOptions(dryRun)); err != nil {
			return fmt.Errorf("changing queue %s: %w", name, err)
		}
	}
	text := fmt.Sprintf("queue %s is %s", name, to)
	switch {
	case before == to:
		text += " already"
	case dryRun:
		text = fmt.Sprintf("queue %s would be %s, and is %s", name, to, before)
	default:
		text += fmt.Sprintf(", and was %s", before)
	}
	fmt.Fprintln(s.streams.Out, text)
	s.above(ctx, r, name)
	return nil
}

// patchOptions are those of every change that the plugin makes.
func patchOptions(dryRun bool) metav1.PatchOptions {
	options := metav1.PatchOptions{FieldManager: "kubectl-retinue"}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	return options
}

// above says which queue above one is not open: that counts as well.
func (s shown) above(ctx context.Context, r *reader, name string) {
	queues, err := r.queues(ctx)
	if err != nil {
		return
	}
	for _, queue := range view.Queues(view.Objects{Now: now(), Queues: queues}) {
		if queue.Name == name && queue.ClosedBy != "" && queue.ClosedBy != name {
			fmt.Fprintf(s.streams.Out, "queue %s above it is %s, which counts for it\n", queue.ClosedBy, strings.ToLower(queue.State))
		}
	}
}
