package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"retinue.dev/retinue/pkg/view"
)

func newQueuesCommand(streams genericiooptions.IOStreams) *cobra.Command {
	l := listing{shown: newShown(streams)}
	table := view.QueueTable()
	command := &cobra.Command{
		Use:     "queues",
		Aliases: []string{"qs"},
		Short:   "Show the tree of queues: what they use, borrow and lend, and who waits.",
		Long: "Show all queues, each below the one it is a part of. CPU and MEMORY are used/guaranteed/limit; a dash is what is not there.\n" +
			"LENT is how much of a queue's guarantee others use: a range where nobody can know whose idle guarantee a borrower has.",
		Example: "  kubectl retinue queues\n  kubectl retinue queues --sort-by=-waiting -o wide",
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			r, err := connect(l.cluster)
			if err != nil {
				return err
			}
			return show(command.Context(), l, r, table, func(ctx context.Context) (reading[view.Queue], error) {
				o, err := r.forQueues(ctx)
				return reading[view.Queue]{view.Queues(o), "queues", r.unseen}, err
			})
		},
	}
	l.add(command, table.FieldNames())
	return command
}

// noArguments is for commands that take flags only.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return inputError{fmt.Errorf("no arguments are known, such as %q", args[0])}
	}
	return nil
}

// oneName is for commands about one thing.
func oneName(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return inputError{fmt.Errorf("name one %s, not %d", what, len(args))}
		}
		if len(validation.IsDNS1123Subdomain(podName(args[0]))) > 0 {
			return inputError{fmt.Errorf("%q: not the name of %s %s", args[0], article(what), what)}
		}
		return nil
	}
}

// forQueues reads Queues, and the pods of those who wait in them.
func (r *reader) forQueues(ctx context.Context) (o view.Objects, err error) {
	o.Now = now()
	if o.Queues, err = r.queues(ctx); err != nil {
		return o, err
	}
	if o.Namespaces, err = r.namespaces(ctx, r.namespace); err != nil {
		return o, err
	}
	waiting := "status.phase=" + string(v1.PodPending)
	if o.Pods, err = r.pods(ctx, metav1.NamespaceAll, waiting); apierrors.IsForbidden(err) {
		r.miss("you may not read the pods of all namespaces: OLDEST is of namespace %s alone", r.namespace)
		if o.Pods, err = r.pods(ctx, r.namespace, waiting); err != nil {
			err = r.unlessForbidden(err, "pods", "OLDEST is not known")
		}
	}
	return o, err
}

// queueDocument is what is shown of one queue. Scripts read it: fields are added, never renamed.
type queueDocument struct {
	view.Queue
	Borrowers []view.Partner `json:"borrowers"`
	Lenders   []view.Partner `json:"lenders"`
	Below     []view.Queue   `json:"below"`
	Apps      []view.App     `json:"apps"`
	Unseen    []string       `json:"unseen"`
}

// mostNamespaces is of how many namespaces of a queue the pods are read one by one.
const mostNamespaces = 50

func newQueueCommand(streams genericiooptions.IOStreams) *cobra.Command {
	s := newShown(streams)
	command := &cobra.Command{
		Use:     "queue NAME",
		Short:   "Show one queue: its numbers, with whom it shares, who runs in it and who waits.",
		Example: "  kubectl retinue queue etl",
		Args:    oneName("queue"),
		RunE: func(command *cobra.Command, args []string) error {
			r, err := connect(s.cluster)
			if err != nil {
				return err
			}
			return s.queue(command.Context(), r, args[0])
		},
		ValidArgsFunction: completeQueues(s.cluster),
	}
	s.add(command, pageOutputs)
	return command
}

func (s shown) queue(ctx context.Context, r *reader, name string) error {
	o := view.Objects{Now: now()}
	var err error
	if o.Queues, err = r.queues(ctx); err != nil {
		return err
	}
	if len(r.unseen) > 0 {
		return errors.New(r.unseen[0])
	}
	if o.Namespaces, err = r.namespaces(ctx, r.namespace); err != nil {
		return err
	}
	tree := view.Queues(o)
	at := slices.IndexFunc(tree, func(q view.Queue) bool { return q.Name == name })
	if at < 0 {
		return inputError{fmt.Errorf("there is no queue %q", name)}
	}
	document := queueDocument{Queue: tree[at], Borrowers: []view.Partner{}, Lenders: []view.Partner{}, Below: []view.Queue{}, Apps: []view.App{}}
	borrowers, lenders := view.Partners(tree, name)
	document.Borrowers, document.Lenders = append(document.Borrowers, borrowers...), append(document.Lenders, lenders...)
	namespaces := slices.Clone(tree[at].Namespaces)
	for _, below := range tree[at+1:] {
		if below.Depth <= tree[at].Depth {
			break
		}
		document.Below = append(document.Below, below)
		namespaces = append(namespaces, below.Namespaces...)
	}
	if err := r.podsOf(ctx, &o, namespaces); err != nil {
		return err
	}
	document.Queue = view.Queues(o)[at] // with what the pods tell
	document.Apps = append(document.Apps, view.Apps(o)...)
	document.Unseen = append([]string{}, r.unseen...)
	return s.page(document, r.unseen, func(out io.Writer, style view.Style) error {
		return view.WriteQueue(out, document.Queue, document.Borrowers, document.Lenders, document.Below, document.Apps, style)
	})
}

// podsOf reads the pods of namespaces, of all at once where that is allowed.
func (r *reader) podsOf(ctx context.Context, o *view.Objects, namespaces []string) error {
	all, err := r.pods(ctx, metav1.NamespaceAll, "")
	if err == nil {
		for _, pod := range all {
			if slices.Contains(namespaces, pod.Namespace) {
				o.Pods = append(o.Pods, pod)
			}
		}
	} else if !apierrors.IsForbidden(err) {
		return fmt.Errorf("reading pods: %w", err)
	}
	if err != nil {
		if more := len(namespaces) - mostNamespaces; more > 0 {
			r.miss("the applications of %d more namespaces are not shown", more)
			namespaces = namespaces[:mostNamespaces]
		}
		for _, namespace := range namespaces {
			pods, err := r.pods(ctx, namespace, "")
			if err := r.unlessForbidden(err, "the pods of namespace "+namespace, "its applications are not shown"); err != nil {
				return err
			}
			o.Pods = append(o.Pods, pods...)
		}
	}
	o.Definitions, err = r.definitions(ctx, o.Pods)
	return err
}

// completion completes the only argument of a command by names that are read from the cluster.
func completion(cluster *genericclioptions.ConfigFlags, read func(context.Context, *reader) ([]string, error)) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		r, err := connect(cluster)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names, err := read(command.Context(), r)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeQueues completes the names of queues.
func completeQueues(cluster *genericclioptions.ConfigFlags) cobra.CompletionFunc {
	return completion(cluster, func(ctx context.Context, r *reader) (names []string, err error) {
		queues, err := r.queues(ctx)
		if err != nil {
			return nil, err
		}
		for _, queue := range queues {
			names = append(names, queue.Name)
		}
		return names, nil
	})
}

// completeNamespaces completes --namespace.
func completeNamespaces(command *cobra.Command, cluster *genericclioptions.ConfigFlags) {
	err := command.RegisterFlagCompletionFunc("namespace", func(command *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		r, err := connect(cluster)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		listed, err := r.client.CoreV1().Namespaces().List(command.Context(), cached)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for i := range listed.Items {
			names = append(names, listed.Items[i].Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag has just been added
	}
}

// article is what stands before a noun.
func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an"
	}
	return "a"
}
