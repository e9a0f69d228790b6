// Command kubectl-retinue shows queues and applications, says why one waits, and makes Queues of the files of YARN.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/version"
)

// Exit codes.
const (
	exitFailed   = 1 // the cluster did not answer as expected
	exitBadInput = 2 // an argument or the content of a file is wrong
)

// inputError is a mistake of the user: something to correct, not to try again.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

func main() {
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	os.Exit(run(os.Args[1:], streams))
}

// run is main without the process around it.
func run(args []string, streams genericiooptions.IOStreams) int {
	command := newCommand(streams)
	command.SetArgs(args)
	return exitCode(command.Execute(), streams.ErrOut)
}

func newCommand(streams genericiooptions.IOStreams) *cobra.Command {
	command := &cobra.Command{
		Use:     "kubectl-retinue",
		Version: version.Get().GitVersion,
		Short:   "Show queues and applications as the Retinue scheduler sees them.",
		// run prints errors, as one line, and an error is no reason to print the whole help text.
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(command *cobra.Command, args []string) error {
			if len(args) > 0 {
				return inputError{fmt.Errorf("unknown command %q for %q", args[0], command.DisplayName())}
			}
			return command.Help()
		},
		Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl retinue"},
	}
	command.SetOut(streams.Out)
	command.SetErr(streams.ErrOut)
	command.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return inputError{err} })
	command.AddCommand(
		newQueuesCommand(streams), newQueueCommand(streams), newAppsCommand(streams), newAppCommand(streams), newWhyCommand(streams),
		newCheckCommand(streams), newTopCommand(streams), newDoctorCommand(streams), newVersionCommand(streams),
		newGangCommand(streams), newConvertCommand(streams),
	)
	command.AddCommand(newStateCommands(streams)...)
	command.AddCommand(newHoldCommands(streams)...)
	addKubectlCompletion(command, streams.Out)
	return command
}

func exitCode(err error, out io.Writer) int {
	if err == nil {
		return 0
	}
	if said := (answered{}); errors.As(err, &said) {
		return said.code
	}
	// One line, also of an API server that says more.
	fmt.Fprintln(out, "error:", strings.Join(strings.Fields(err.Error()), " "))
	if input := (inputError{}); errors.As(err, &input) {
		return exitBadInput
	}
	return exitFailed
}
