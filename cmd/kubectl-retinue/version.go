package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/version"

	"retinue.dev/retinue/pkg/view"
)

// Where manifests/base puts the scheduler.
const (
	schedulerNamespace  = "retinue-system"
	schedulerDeployment = "retinue"
	schedulerContainer  = "scheduler"
)

// versions are what runs. Scripts read it: fields are added, never renamed.
type versions struct {
	Client string `json:"client"`
	// Server is that of the API server, Scheduler that of Retinue's image; empty where it is not known.
	Server    string `json:"server,omitempty"`
	Scheduler string `json:"scheduler,omitempty"`
	// Skew is what is wrong with them together; empty if nothing is.
	Skew   string   `json:"skew,omitempty"`
	Unseen []string `json:"unseen"`
}

func newVersionCommand(streams genericiooptions.IOStreams) *cobra.Command {
	s := newShown(streams)
	clientOnly := false
	command := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this command, of the API server and of the scheduler.",
		Long: "Show the versions of this command, of the API server and of the scheduler: that of the image of Deployment\n" +
			schedulerNamespace + "/" + schedulerDeployment + ", for whoever may read it.",
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			v := versions{Client: version.Get().GitVersion, Unseen: []string{}}
			if !clientOnly {
				r, err := connect(s.cluster)
				if err != nil {
					return err
				}
				if err := v.ask(command.Context(), r); err != nil {
					return err
				}
			}
			return s.page(v, v.Unseen, v.write)
		},
	}
	s.add(command, pageOutputs)
	command.Flags().BoolVar(&clientOnly, "client", false, "that of this command alone, without a cluster")
	return command
}

func (v *versions) ask(ctx context.Context, r *reader) error {
	server, err := r.client.Discovery().ServerVersion()
	if err != nil {
		return fmt.Errorf("asking the API server: %w", err)
	}
	v.Server = server.GitVersion
	deployment, err := r.client.AppsV1().Deployments(schedulerNamespace).Get(ctx, schedulerDeployment, metav1.GetOptions{})
	if err := r.unlessForbidden(err, "Deployment "+schedulerNamespace+"/"+schedulerDeployment, "the version of the scheduler is not known"); err != nil {
		return err
	}
	if err == nil {
		for _, container := range deployment.Spec.Template.Spec.Containers {
			if container.Name == schedulerContainer {
				v.Scheduler = tagOf(container.Image)
			}
		}
		if v.Scheduler == "" {
			r.miss("the image of the scheduler has no tag: its version is not known")
		}
	}
	v.Unseen = append(v.Unseen, r.unseen...)
	v.Skew = v.skew()
	return nil
}

// tagOf is the tag of an image; empty if it has none.
func tagOf(image string) string {
	image, _, _ = strings.Cut(image, "@")
	at := strings.LastIndex(image, ":")
	if at < 0 || strings.Contains(image[at:], "/") {
		return ""
	}
	return image[at+1:]
}

// skew compares the minor versions of client and scheduler, and of scheduler and server. A scheduler is at most as old as the one before
// the server's, and never newer.
func (v *versions) skew() string {
	client, scheduler, server := minor(v.Client), minor(v.Scheduler), minor(v.Server)
	switch {
	case scheduler == nil:
		return ""
	case client != nil && *client != *scheduler:
		return fmt.Sprintf("this command is of %s and the scheduler of %s: what the scheduler says may not be understood", v.Client, v.Scheduler)
	case server != nil && (*scheduler > *server || *scheduler < *server-1):
		return fmt.Sprintf("the scheduler is of %s and the API server of %s: Kubernetes supports a scheduler of the same minor version, or of the one before", v.Scheduler, v.Server)
	}
	return ""
}

// minor is the minor version; nil where it is not known.
func minor(text string) *int {
	parsed, err := utilversion.ParseGeneric(text)
	if err != nil || parsed.Major() == 0 {
		return nil
	}
	number := int(parsed.Minor())
	return &number
}

func (v versions) write(out io.Writer, _ view.Style) error {
	line := func(name, text string) error {
		if text == "" {
			return nil
		}
		_, err := fmt.Fprintf(out, "%s: %s\n", name, view.Clean(text))
		return err
	}
	return errors.Join(line("client", v.Client), line("API server", v.Server), line("scheduler", v.Scheduler), line("skew", v.Skew))
}
