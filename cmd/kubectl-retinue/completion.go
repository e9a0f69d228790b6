package main

import (
	"io"

	"github.com/spf13/cobra"
)

// completionScript is what kubectl runs for the words after its own.
const completionScript = `#!/bin/sh
exec kubectl retinue __complete "$@"
`

// addKubectlCompletion adds, beside the shells, kubectl itself, which completes for its plugins what they complete.
func addKubectlCompletion(root *cobra.Command, out io.Writer) {
	root.InitDefaultCompletionCmd()
	for _, command := range root.Commands() {
		if command.Name() != "completion" {
			continue
		}
		command.AddCommand(&cobra.Command{
			Use:   "kubectl",
			Short: "Write the file by which kubectl completes `kubectl retinue`.",
			Long: "Write the file by which kubectl, in any shell for which its own completion is set up, completes `kubectl retinue`:\n\n" +
				"  kubectl retinue completion kubectl >~/.local/bin/kubectl_complete-retinue\n" +
				"  chmod +x ~/.local/bin/kubectl_complete-retinue\n",
			Args:              noArguments,
			ValidArgsFunction: cobra.NoFileCompletions,
			RunE: func(*cobra.Command, []string) error {
				_, err := io.WriteString(out, completionScript)
				return err
			},
		})
	}
}
