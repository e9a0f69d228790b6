package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/cli/globalflag"
	basecompatibility "k8s.io/component-base/compatibility"
	"k8s.io/component-base/featuregate"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/component-base/term"
	"k8s.io/component-base/version/verflag"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"retinue.dev/retinue/pkg/plugin/autoscaler"
)

// newCommand is kube-scheduler's command with its options. It is built here because kube-scheduler's own gives nobody the scheduler that
// it sets up, and tellInOwnWords needs it. teller is asked when the plugins have been made, and lease is set before the scheduler runs.
func newCommand(teller teller, lease *atomic.Pointer[autoscaler.Lease], plugins ...app.Option) *cobra.Command {
	opts := options.NewOptions()
	command := &cobra.Command{
		Use:  "kube-scheduler",
		Long: "Retinue is kube-scheduler with a plugin that starts a gang of pods whole or not at all, and treats namespaces as queues.",
		Args: cobra.NoArgs,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return opts.ComponentGlobalsRegistry.Set() // feature gates hold before anybody asks for one
		},
		RunE: func(command *cobra.Command, _ []string) error { return run(command, opts, teller, lease, plugins) },
	}
	verflag.AddFlags(opts.Flags.FlagSet("global"))
	globalflag.AddGlobalFlags(opts.Flags.FlagSet("global"), command.Name(), logs.SkipLoggingConfigurationFlags())
	for _, set := range opts.Flags.FlagSets {
		command.Flags().AddFlagSet(set)
	}
	width, _, _ := term.TerminalSize(command.OutOrStdout()) // an error means no terminal, whose width is 0
	cliflag.SetUsageAndHelpFunc(command, *opts.Flags, width)
	return command
}

// run works until a signal ends it. A second signal ends the process at once.
func run(command *cobra.Command, opts *options.Options, teller teller, lease *atomic.Pointer[autoscaler.Lease], plugins []app.Option) error {
	verflag.PrintAndExitIfRequested()
	gates := opts.ComponentGlobalsRegistry.FeatureGateFor(basecompatibility.DefaultKubeComponent)
	if err := logsapi.ValidateAndApply(opts.Logs, gates); err != nil {
		return fmt.Errorf("logging: %w", err)
	}
	cliflag.PrintFlags(command.Flags())
	if opts.InformerName == nil {
		name, err := cache.NewInformerName("kube-scheduler")
		if err != nil {
			return err
		}
		opts.InformerName = name
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	configuration, sched, err := app.Setup(ctx, opts, plugins...)
	if err != nil {
		return err
	}
	tellInOwnWords(sched, teller)
	if election := configuration.LeaderElection; election != nil {
		lock := configuration.ComponentConfig.LeaderElection
		lease.Store(&autoscaler.Lease{NamespacedName: types.NamespacedName{Namespace: lock.ResourceNamespace, Name: lock.ResourceName}, Holder: election.Lock.Identity()})
	}
	if mutable, able := gates.(featuregate.MutableFeatureGate); able {
		mutable.AddMetrics()
	}
	opts.ComponentGlobalsRegistry.AddMetrics()
	return app.Run(ctx, configuration, sched)
}
