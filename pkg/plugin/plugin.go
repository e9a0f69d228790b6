package plugin

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/utils/clock"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/plugin/autoscaler"
	"retinue.dev/retinue/pkg/plugin/crd"
	"retinue.dev/retinue/pkg/plugin/metric"
	"retinue.dev/retinue/pkg/plugin/namespaces"
	"retinue.dev/retinue/pkg/plugin/podgroups"
	"retinue.dev/retinue/pkg/plugin/queues"
	"retinue.dev/retinue/pkg/rehearsal"
)

// Name of the plugin in a KubeSchedulerConfiguration.
const Name = "Retinue"

// Plugin implements the extension points. Its state is the ledger; what one scheduling cycle needs travels in the
// cycle's state.
type Plugin struct {
	args   *v1alpha1.RetinueArgs
	handle fwk.Handle
	// framework is the handle once more, for what its interface leaves out.
	framework rehearsal.Filters
	clock     clock.WithTicker
	logger    klog.Logger
	ledger    *ledger.Ledger
	answers   answers
	effects   *effects
	// reservations are what leaders carry.
	reservations reservations
	// arrivals are the order in which pods and groups came.
	arrivals *arrivals
	// counted is which resources the ledger counts.
	counted counted
	definer *definer
	// namespaces are what the API server lets in, besides queues.
	namespaces *namespaces.Namespaces
	bindings   bindings
	// pending tells kube-scheduler whom an event may help.
	pending *pending
	// groups are the cluster's PodGroups; nil means that there is no API server to ask.
	groups *podgroups.PodGroups
}

// answers are whether gangs fit, and what finding that out costs.
type answers struct {
	// solver works for one scheduling cycle at a time, as the cycles of a scheduler follow one another.
	solver     placement.Solver
	unfinished unfinished
	spending   spending
}

var (
	_ fwk.QueueSortPlugin   = &Plugin{}
	_ fwk.PreEnqueuePlugin  = &Plugin{}
	_ fwk.EnqueueExtensions = &Plugin{}
	_ fwk.PreFilterPlugin   = &Plugin{}
	_ fwk.FilterPlugin      = &Plugin{}
	_ fwk.PostFilterPlugin  = &Plugin{}
	_ fwk.ScorePlugin       = &Plugin{}
	_ fwk.ReservePlugin     = &Plugin{}
	_ fwk.PermitPlugin      = &Plugin{}
	_ fwk.BindPlugin        = &Plugin{}
	_ fwk.PostBindPlugin    = &Plugin{}
	_ fwk.SignPlugin        = &Plugin{}

	_ fwk.PodGroupPostFilterPlugin = &Plugin{}
)

// Process is what the plugin has to know of the process it is compiled into. The zero Process has one profile, the
// plugin's own, which ignores no resource.
type Process struct {
	// Serves tells whether a profile has that schedulerName.
	Serves func(schedulerName string) bool
	// Ignores tells whether the plugin NodeResourcesFit of a profile does not count an extended resource, because its arguments
	// or an extender say so.
	Ignores func(schedulerName string, resource v1.ResourceName) bool
	// BindsOtherwise tells whether the profile of a handle has a Bind plugin between this one and kube-scheduler's own. It is asked once, when
	// the first pod is bound.
	BindsOtherwise func(handle fwk.Handle) bool
	// Autoscaler is asked for nodes where the process has one of its own, which tells the ledger; nil means that there is none.
	Autoscaler func(tell func(ledger.Event)) Autoscaler
	// Lease is the lock of the leader election, once that is known; nil, of the function as well, where there is none.
	Lease func() *autoscaler.Lease
	// Made is told what the plugin says of pods that fail when it has been made; nil means that nobody asks.
	Made func(Teller)
}

var lockHeld = metric.NewHistogram("ledger_lock_held_seconds",
	"For how long the ledger's lock was held each time, while everybody else had to wait for it.",
	[]float64{0.00001, 0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 1})

// Factory makes the plugin for a scheduler profile. The goroutines it starts end with the context. One profile may have the
// plugin: two would have a ledger each, and give the same room away twice.
func Factory(clock clock.WithTicker, process Process) func(context.Context, runtime.Object, fwk.Handle) (fwk.Plugin, error) {
	owner := "" // the profile that has the plugin
	return func(ctx context.Context, configuration runtime.Object, handle fwk.Handle) (fwk.Plugin, error) {
		if owner != "" {
			return nil, fmt.Errorf("plugin %s: profile %q has it already, and profile %q would give the same room away twice: "+
				"enable it in one profile, and start another scheduler for other pods", Name, owner, handle.ProfileName())
		}
		args, err := decode(configuration)
		if err != nil {
			return nil, err
		}
		framework, able := handle.(rehearsal.Filters)
		if !able {
			return nil, fmt.Errorf("plugin %s: the framework's handle is a %T, which cannot run PreFilter plugins", Name, handle)
		}
		preBinding, able := handle.(interface {
			GetPodInPreBind(types.UID) fwk.PodInPreBind
		})
		if !able {
			return nil, fmt.Errorf("plugin %s: the framework's handle is a %T, which cannot cancel bindings", Name, handle)
		}
		if process.Serves == nil {
			process.Serves = func(name string) bool { return name == handle.ProfileName() }
		}
		if process.BindsOtherwise == nil {
			process.BindsOtherwise = func(fwk.Handle) bool { return false }
		}
		p := &Plugin{
			args:      args,
			handle:    handle,
			framework: framework,
			clock:     clock,
			logger:    klog.LoggerWithName(klog.FromContext(ctx), Name),
			bindings:  newBindings(func() bool { return process.BindsOtherwise(handle) }),
			pending:   newPending(process.Serves),
			arrivals:  newArrivals(clock.Now),
			counted:   counted{profile: handle.ProfileName(), ignores: process.Ignores},
			ledger:    ledger.New(args.TopologyKey, placement.Strategy(args.Placement)),
		}
		ledger.WatchLock(p.ledger, clock.Now, func(held time.Duration) { lockHeld.Observe(held.Seconds()) })
		p.reservations = reservations{ledger: p.ledger, pods: pods{client: handle.ClientSet(), clock: clock, names: p.names()}, logger: p.logger, others: &others{of: map[types.UID]*v1.Pod{}}}
		p.effects = newEffects(p, preBinding.GetPodInPreBind)
		if process.Autoscaler != nil {
			p.effects.autoscaler = process.Autoscaler(p.tell)
		}
		client := handle.ClientSet()
		if config := handle.KubeConfig(); config != nil {
			// Bindings never wait for those who look for ConfigMaps: each client has a rate limit of its own.
			if client, err = kubernetes.NewForConfig(rest.AddUserAgent(config, "definer")); err != nil {
				return nil, fmt.Errorf("plugin %s: %w", Name, err)
			}
		}
		if p.namespaces, err = namespaces.New(namespaces.Outside{
			Client: client, Clock: clock, Logger: p.logger, Changed: func(namespace string) { p.definer.again(namespace) },
		}); err != nil {
			return nil, fmt.Errorf("plugin %s: %w", Name, err)
		}
		p.definer = newDefiner(p, client)
		if config := handle.KubeConfig(); config != nil && args.PredictAdmission == v1alpha1.DryRun {
			if p.definer.reader.dryRun, err = newDryRun(config); err != nil {
				return nil, fmt.Errorf("plugin %s: %w", Name, err)
			}
		}
		if err := p.definer.follow(handle.SharedInformerFactory()); err != nil {
			return nil, fmt.Errorf("plugin %s: %w", Name, err)
		}
		read, err := p.listen()
		if err != nil {
			return nil, fmt.Errorf("plugin %s: %w", Name, err)
		}
		if config := handle.KubeConfig(); config != nil { // in tests of one cycle there is no API server to ask
			outside, err := crd.Outside{Recorder: handle.EventRecorder(), Clock: clock, Logger: p.logger, After: slices.Clone(read.synced)}.Connect(config)
			if err != nil {
				return nil, fmt.Errorf("plugin %s: %w", Name, err)
			}
			p.groups = podgroups.New(outside.Optional(podgroups.Resource), handle.ClientSet(), clock, p.logger, p.tell)
			followed, err := queues.New(queues.Outside{
				Queues: outside.Optional(queues.Resource), Elastic: outside.Optional(queues.ElasticResource), Informers: handle.SharedInformerFactory(), DefaultLimit: args.DefaultLimit,
				Recorder: handle.EventRecorder(), Clock: clock, Logger: p.logger, Ledger: p.ledger, Tell: p.tell,
			})
			if err != nil {
				return nil, fmt.Errorf("plugin %s: %w", Name, err)
			}
			asking, err := kubernetes.NewForConfig(rest.AddUserAgent(config, "autoscaler")) // with a rate limit of its own as well
			if err != nil {
				return nil, fmt.Errorf("plugin %s: %w", Name, err)
			}
			asked, err := autoscaler.New(autoscaler.Outside{
				Buffers: outside.Optional(autoscaler.Resource), Dynamic: outside.Dynamic, Client: asking, Discovery: outside.Discovery,
				Informers: handle.SharedInformerFactory(), Clock: clock, Logger: p.logger,
				After: outside.After, Tell: p.tell, Args: args.ScaleUp, DomainKey: args.TopologyKey, Lease: process.Lease,
			})
			if err != nil {
				return nil, fmt.Errorf("plugin %s: %w", Name, err)
			}
			p.effects.autoscaler = asked
			go p.namespaces.Run(ctx, outside.After...)
			read.add("podgroups.scheduling.x-k8s.io", p.groups.Known)
			read.add("queues.retinue.dev and elasticquotas.scheduling.x-k8s.io", followed.Known)
			read.add("limitranges and resourcequotas", p.namespaces.Known)
			go p.groups.Run(ctx)
			go followed.Run(ctx)
			go asked.Run(ctx)
		}
		owner = handle.ProfileName()
		if process.Made != nil {
			process.Made(Teller{p})
		}
		go p.effects.run(ctx)
		go p.definer.run(ctx)
		go p.openWhenSynced(ctx, read)
		go p.tick(ctx)
		return p, nil
	}
}

func decode(configuration runtime.Object) (*v1alpha1.RetinueArgs, error) {
	if configuration == nil {
		return v1alpha1.DecodeArgs(nil)
	}
	unknown, ok := configuration.(*runtime.Unknown)
	if !ok {
		return nil, fmt.Errorf("arguments of plugin %s are a %T, want runtime.Unknown", Name, configuration)
	}
	return v1alpha1.DecodeArgs(unknown.Raw)
}

// Name is the plugin's name.
func (p *Plugin) Name() string { return Name }

// Ledger is the plugin's record, for checks to read.
func (p *Plugin) Ledger() *ledger.Ledger { return p.ledger }

// apply tells the ledger, up to the first event that it refuses, and has the effects performed: those of events that
// belong together in one piece, so that what follows from them does not depend on which goroutine is faster.
func (p *Plugin) apply(events ...ledger.Event) error {
	var effects []ledger.Effect
	defer func() { p.effects.add(effects) }()
	for _, event := range events {
		more, err := p.ledger.Apply(p.clock.Now(), event)
		if effects = append(effects, more...); err != nil {
			return err
		}
	}
	return nil
}
