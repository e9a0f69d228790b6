// Command history records who used what: it watches pods, nodes and Queues, and writes a database that answers for it. The
// scheduler neither waits for it nor reads it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/history/meter"
	"retinue.dev/retinue/pkg/history/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command := newCommand(clock.RealClock{}, os.Stdout)
	if err := command.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", strings.Join(strings.Fields(err.Error()), " "))
		os.Exit(1)
	}
}

// options of all commands.
type options struct {
	clock      clock.WithTicker
	out        io.Writer
	store      string
	kubeconfig string
	classLabel string
	listen     string
	keep       keep
}

// keep is for how long what is over is kept; 0 means for ever.
type keep struct{ pods, applications, hours time.Duration }

const day = 24 * time.Hour

func newCommand(clock clock.WithTicker, out io.Writer) *cobra.Command {
	o := &options{clock: clock, out: out}
	command := &cobra.Command{
		Use: "retinue-history", Short: "Record who used what, and answer for it.", Version: version.Get().GitVersion,
		SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
	}
	command.SetOut(out)
	command.PersistentFlags().StringVar(&o.store, "store", "/var/lib/retinue-history/history.db", "file of SQLite, or postgres://USER@HOST/NAME; RETINUE_STORE if that is set, which may hold a password")
	serve := &cobra.Command{Use: "serve", Short: "Watch the cluster and write what is seen.", Args: cobra.NoArgs, RunE: func(command *cobra.Command, _ []string) error { return o.serve(command.Context()) }}
	serve.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the cluster; without it, as the pod that this is")
	serve.Flags().StringVar(&o.classLabel, "node-class-label", meter.DefaultClassLabel, "label of nodes that names their class")
	serve.Flags().StringVar(&o.listen, "listen", ":8080", "where health and metrics are served")
	serve.Flags().DurationVar(&o.keep.pods, "keep-pods", 90*day, "for how long pods that have ended are kept; 0s keeps them for ever")
	serve.Flags().DurationVar(&o.keep.applications, "keep-applications", 400*day, "for how long applications are kept")
	serve.Flags().DurationVar(&o.keep.hours, "keep-hours", 400*day, "for how long sums by hour are kept; those by day are kept for ever")
	since := time.Duration(0)
	fsck := &cobra.Command{Use: "fsck", Short: "Check that the sums are those of the pods.", Args: cobra.NoArgs, RunE: func(command *cobra.Command, _ []string) error { return o.check(command.Context(), since) }}
	fsck.Flags().DurationVar(&since, "since", 0, "check only so much of the past; 0s checks everything")
	fsck.Flags().StringVar(&o.kubeconfig, "kubeconfig", "", "also check that every open pod is in this cluster")
	backup := &cobra.Command{Use: "backup FILE", Short: "Write a copy of a SQLite database, while others write to it.", Args: cobra.ExactArgs(1), RunE: func(command *cobra.Command, args []string) error {
		return o.with(command.Context(), func(s *store.Store) error { return s.Backup(command.Context(), args[0]) })
	}}
	command.AddCommand(serve, fsck, backup)
	return command
}

// with opens the store for f.
func (o *options) with(ctx context.Context, f func(*store.Store) error) error {
	source := o.store
	if secret := os.Getenv("RETINUE_STORE"); secret != "" {
		source = secret
	}
	s, err := store.Open(ctx, source, o.clock.Now().UnixMilli())
	if err != nil {
		return fmt.Errorf("the store: %w", err)
	}
	return errors.Join(f(s), s.Close())
}

func (o *options) check(ctx context.Context, since time.Duration) error {
	return o.with(ctx, func(s *store.Store) error {
		from := int64(0)
		if since > 0 {
			from = o.clock.Now().Add(-since).UnixMilli()
		}
		checked, err := s.Check(ctx, from, o.clock.Now().UnixMilli())
		if err != nil {
			return err
		}
		fmt.Fprintf(o.out, "%d sums are those of the pods\n", checked)
		if o.kubeconfig == "" {
			return nil
		}
		return o.checkOpen(ctx, s)
	})
}

// checkOpen makes sure that no span is open without its pod or node.
func (o *options) checkOpen(ctx context.Context, s *store.Store) error {
	clients, err := connect(o.kubeconfig)
	if err != nil {
		return err
	}
	open := map[string]store.Kind{} // UID -> kind
	for _, kind := range []store.Kind{store.Pod, store.Node} {
		spans, err := s.Open(ctx, kind)
		if err != nil {
			return err
		}
		for uid := range spans {
			open[uid] = kind
		}
	}
	present, err := clients.list(ctx) // after the store, so that what is new is not missed
	if err != nil {
		return err
	}
	var orphans []string
	for uid, kind := range open {
		if !present.UIDs[uid] {
			orphans = append(orphans, string(kind)+" "+uid)
		}
	}
	if len(orphans) > 0 {
		return fmt.Errorf("%d of %d are open and are not in the cluster, such as %s: a meter that runs ends them", len(orphans), len(open), orphans[0])
	}
	fmt.Fprintf(o.out, "%d are open, and all are in the cluster\n", len(open))
	return nil
}

func (o *options) serve(ctx context.Context) error {
	return o.with(ctx, func(s *store.Store) error {
		clients, err := connect(o.kubeconfig)
		if err != nil {
			return err
		}
		w, err := newWatch(o, clients, s)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stopped := make(chan error, 1)
		go func() {
			err := serveHTTP(ctx, o.listen, w)
			cancel(err)
			stopped <- err
		}()
		err = w.run(ctx)
		cancel(nil)
		err = errors.Join(err, <-stopped)
		klog.Flush()
		return err
	})
}
