package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"retinue.dev/retinue/pkg/limits"
	"retinue.dev/retinue/pkg/view"
)

// whyDocument is why one application waits. Scripts read it: fields are added, never renamed.
type whyDocument struct {
	view.Why
	Unseen []string `json:"unseen"`
}

func newWhyCommand(streams genericiooptions.IOStreams) *cobra.Command {
	s := newShown(streams)
	command := &cobra.Command{
		Use:   "why NAME",
		Short: "Say why an application waits, who has what it waits for, and what would help.",
		Long: "Say why an application waits: the reason that the scheduler gives, whatever else stands in its way, who holds the room (only\n" +
			"those whose pods you may read), and what would help. What is computed here is of this moment and of what may be read.",
		Example: "  kubectl retinue why etl-1f3a-driver -n etl-prod",
		Args:    oneName("application"),
		RunE: func(command *cobra.Command, args []string) error {
			r, err := connect(s.cluster)
			if err != nil {
				return err
			}
			why, err := r.why(command.Context(), podName(args[0]))
			if err != nil {
				return err
			}
			document := whyDocument{why, append([]string{}, r.unseen...)}
			return s.page(document, r.unseen, func(out io.Writer, style view.Style) error { return why.Write(out, style) })
		},
		ValidArgsFunction: completeApps(s.cluster),
	}
	s.add(command, pageOutputs)
	return command
}

func (r *reader) why(ctx context.Context, name string) (view.Why, error) {
	o, app, err := r.app(ctx, name)
	if err != nil {
		return view.Why{}, err
	}
	everywhere, err := r.room(ctx, &o, r.namespace)
	if err != nil {
		return view.Why{}, err
	}
	question, err := r.question(ctx, o, app)
	if err != nil {
		return view.Why{}, err
	}
	return view.NewWhy(view.NewCluster(o, everywhere), app, view.Apps(o), question), nil
}

// room adds what says whether there is room: the nodes, and the pods of all namespaces. It tells whether the latter may be read; where
// not, those of one namespace are.
func (r *reader) room(ctx context.Context, o *view.Objects, namespace string) (everywhere bool, err error) {
	if o.Nodes, err = r.nodes(ctx); err != nil {
		return false, err
	}
	pods, err := r.pods(ctx, metav1.NamespaceAll, "")
	if err == nil {
		o.Pods = pods
		return true, nil
	}
	if !apierrors.IsForbidden(err) {
		return false, err
	}
	if o.Pods == nil {
		if o.Pods, err = r.pods(ctx, namespace, ""); err != nil {
			return false, r.unlessForbidden(err, "the pods of namespace "+namespace, "who runs there is not known")
		}
	}
	return false, nil
}

// question is what an application that waits asks for; nil where that is not known.
func (r *reader) question(ctx context.Context, o view.Objects, app view.App) (*view.Question, error) {
	leader := app.Leader()
	definition, known := o.Definitions[app.Namespace+"/"+app.Name]
	switch {
	case app.State != view.Waiting:
		return nil, nil
	case leader != nil && known && definition.Err == nil:
	case app.Kind == view.KindPod:
		leader = app.Pods()[0]
	default:
		return nil, nil
	}
	question := &view.Question{Namespace: app.Namespace, User: app.User, Leader: leader, Definition: definition.Definition}
	question.Limits, _ = r.limits(ctx, app.Namespace)
	return question, nil
}

// limits are the LimitRanges and ResourceQuotas of a namespace, as far as they may be read.
func (r *reader) limits(ctx context.Context, namespace string) (limits.Namespace, string) {
	of, unread := limitsOf(ctx, r.client, namespace)
	if unread != "" {
		r.miss("what LimitRanges and ResourceQuotas of namespace %s refuse is not known", namespace)
	}
	return of, unread
}
