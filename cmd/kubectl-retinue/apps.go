package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"retinue.dev/retinue/pkg/spark"
	"retinue.dev/retinue/pkg/view"
)

func newAppsCommand(streams genericiooptions.IOStreams) *cobra.Command {
	l := listing{shown: newShown(streams)}
	var all bool
	var state string
	fields := view.AppTable(false).FieldNames()
	command := &cobra.Command{
		Use:     "apps",
		Aliases: []string{"jobs"},
		Short:   "Show applications: what they hold or wait for, and why they wait.",
		Long: "Show the applications of a namespace, or of all: Spark applications, other gangs, and pods by themselves that ask for another\n" +
			"scheduler than the default one. EXEC is running/wanted(minimum); CPU and MEMORY are what an application holds, slots that are kept\n" +
			"for it included, or while it waits what it asks for; %Q is its part of what its queue is guaranteed, or else limited to.",
		Example: "  kubectl retinue apps -n etl-prod\n  kubectl retinue apps -A --state Waiting --sort-by=-wait",
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			r, err := connect(l.cluster)
			if err != nil {
				return err
			}
			if all {
				r.namespace = metav1.NamespaceAll
			}
			return show(command.Context(), l, r, view.AppTable(all), func(ctx context.Context) (reading[view.App], error) {
				o, err := r.forApps(ctx)
				if err != nil {
					return reading[view.App]{}, err
				}
				var apps []view.App
				for _, app := range view.Apps(o) {
					if state == "" || strings.EqualFold(state, string(app.State)) {
						apps = append(apps, app)
					}
				}
				return reading[view.App]{apps, "applications", r.unseen}, nil
			})
		},
	}
	l.add(command, fields)
	command.Flags().BoolVarP(&all, "all-namespaces", "A", false, "those of all namespaces")
	command.Flags().StringVar(&state, "state", "", "only those in a state, such as Waiting or Running")
	return command
}

// forApps reads what there is to say of the applications of a namespace.
func (r *reader) forApps(ctx context.Context) (o view.Objects, err error) {
	o.Now = now()
	if o.Pods, err = r.pods(ctx, r.namespace, ""); err != nil {
		return o, fmt.Errorf("reading pods: %w", err)
	}
	if o.Queues, err = r.queues(ctx); err != nil {
		return o, err
	}
	if len(o.Queues) > 0 {
		var wanted []string
		if r.namespace != metav1.NamespaceAll {
			wanted = []string{r.namespace}
		}
		if o.Namespaces, err = r.namespaces(ctx, wanted...); err != nil {
			return o, err
		}
	}
	if o.Groups, err = r.groups(ctx, r.namespace); err != nil {
		return o, err
	}
	if o.NativeGroups, err = r.nativeGroups(ctx, r.namespace, o.Pods); err != nil {
		return o, err
	}
	o.Definitions, err = r.definitions(ctx, o.Pods)
	return o, err
}

// appDocument is what is shown of one application. Scripts read it: fields are added, never renamed.
type appDocument struct {
	view.Detail
	Unseen []string `json:"unseen"`
}

func newAppCommand(streams genericiooptions.IOStreams) *cobra.Command {
	s := newShown(streams)
	command := &cobra.Command{
		Use:   "app NAME",
		Short: "Show everything about one application: its life, its nodes, and what was predicted.",
		Long: "Show one application by the name of its driver, its own name while only one of that name is there, or its application id.\n" +
			"Its life is told by its pods and the events about them, which the API server keeps for an hour.",
		Example: "  kubectl retinue app etl-1f3a-driver -n etl-prod",
		Args:    oneName("application"),
		RunE: func(command *cobra.Command, args []string) error {
			r, err := connect(s.cluster)
			if err != nil {
				return err
			}
			ctx := command.Context()
			o, app, err := r.app(ctx, podName(args[0]))
			if err != nil {
				return err
			}
			events, err := r.events(ctx, app.Namespace, app.Name)
			if err != nil {
				return err
			}
			if err := r.define(ctx, &o, app); err != nil {
				return err
			}
			document := appDocument{view.NewDetail(app, o, events), append([]string{}, r.unseen...)}
			return s.page(document, r.unseen, func(out io.Writer, style view.Style) error { return document.Write(out, style) })
		},
		ValidArgsFunction: completeApps(s.cluster),
	}
	s.add(command, pageOutputs)
	return command
}

// app reads the namespace and finds one application in it.
func (r *reader) app(ctx context.Context, name string) (view.Objects, view.App, error) {
	o, err := r.forApps(ctx)
	if err != nil {
		return o, view.App{}, err
	}
	app, err := view.Find(view.Apps(o), name)
	if err != nil {
		return o, view.App{}, inputError{err}
	}
	return o, app, nil
}

// define adds the definition of one application that runs: what was predicted of it.
func (r *reader) define(ctx context.Context, o *view.Objects, app view.App) error {
	leader := app.Leader()
	if _, known := o.Definitions[app.Namespace+"/"+app.Name]; known || leader == nil || !spark.Leads(leader) {
		return nil
	}
	definition, err := r.definition(ctx, leader)
	if err != nil {
		return r.unlessForbidden(err, "the ConfigMaps of namespace "+app.Namespace, "the prediction is what the reservation says")
	}
	o.Definitions[app.Namespace+"/"+app.Name] = definition
	return nil
}

// completeApps completes the names of applications.
func completeApps(cluster *genericclioptions.ConfigFlags) cobra.CompletionFunc {
	return completion(cluster, func(ctx context.Context, r *reader) (names []string, err error) {
		o := view.Objects{Now: now()}
		if o.Pods, err = r.pods(ctx, r.namespace, ""); err != nil {
			return nil, err
		}
		for _, app := range view.Apps(o) {
			names = append(names, app.Name)
		}
		return names, nil
	})
}
