package plugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"

	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin/informer"
	"retinue.dev/retinue/pkg/plugin/podgroups"
	"retinue.dev/retinue/pkg/spark"
)

const (
	// tickPeriod is how often the ledger is told that time has passed.
	tickPeriod = time.Second
	// sweepTicks is how many of these pass until everything is looked at that waits for minutes.
	sweepTicks = 10
)

// listen feeds nodes and pods to the ledger. The scheduler's pod informer leaves out pods that have ended: a finished
// pod arrives as a deletion.
func (p *Plugin) listen() (*reading, error) {
	factory := p.handle.SharedInformerFactory()
	nodes, err := factory.Core().V1().Nodes().Informer().AddEventHandler(informer.Handlers(
		func(_, node *v1.Node) { p.tell(ledger.NodeSeen{Node: node}) },
		func(node *v1.Node) { p.tell(ledger.NodeGone{Name: node.Name}) },
	))
	if err != nil {
		return nil, err
	}
	pods, err := factory.Core().V1().Pods().Informer().AddEventHandler(informer.Handlers(p.podSeen, func(pod *v1.Pod) {
		logEnded(p, pod)
		p.pending.gone(pod)
		p.effects.notices.forget(pod.UID)
		p.tell(ledger.PodGone{UID: pod.UID})
		p.arrivals.leave(pod.UID)
		p.groups.Changed(pod)
		p.definer.forget(pod)
		p.namespaces.Gone(pod)
	}))
	if err != nil {
		return nil, err
	}
	budgets, err := p.listenToBudgets()
	if err != nil {
		return nil, err
	}
	read := &reading{}
	read.add("nodes", nodes.HasSynced)
	read.add("pods", pods.HasSynced)
	read.add("poddisruptionbudgets", budgets)
	if nativeGroups() {
		groups, err := factory.Scheduling().V1beta1().PodGroups().Informer().AddEventHandler(informer.Handlers(
			func(_, group *schedulingv1beta1.PodGroup) {
				p.tell(ledger.GroupSeen{Group: podgroups.ReadNative(group)})
			},
			func(group *schedulingv1beta1.PodGroup) {
				p.tell(ledger.GroupGone{Key: podgroups.NativeKey(group.Namespace, group.Name)})
			},
		))
		if err != nil {
			return nil, err
		}
		read.add("podgroups.scheduling.k8s.io", groups.HasSynced)
	}
	if p.handle.SharedDRAManager() == nil { // dynamic resource allocation is turned off
		return read, nil
	}
	classes, err := p.counted.follow(factory, p.logger, p.tell)
	if err != nil {
		return nil, err
	}
	read.add("deviceclasses", classes)
	return read, nil
}

// podSeen is a pod that came, or with what it was before, one that changed.
func (p *Plugin) podSeen(before, pod *v1.Pod) {
	if before != nil && before.UID != pod.UID {
		// The watch missed a deletion, and a new pod has the name.
		p.tell(ledger.PodGone{UID: before.UID})
		p.effects.notices.forget(before.UID)
		p.arrivals.leave(before.UID)
		p.definer.forget(before)
		p.namespaces.Gone(before)
		before = nil
	}
	if pod.Spec.NodeName != "" {
		p.effects.notices.forget(pod.UID)
		if spark.Leads(pod) {
			p.definer.forget(pod)
		}
	}
	p.pending.seen(pod)
	if before == nil || podDiffers(before, pod) {
		described := p.describe(pod)
		if described.Kind == ledger.Leader && resumes(before, pod) {
			described.Reservation = p.reservations.of(pod)
		}
		p.tell(ledger.PodSeen{Pod: described})
		if before == nil && described.Reservation != nil { // of the scheduler before this one
			logFate(p, pod, "Gang resumed", "node", pod.Spec.NodeName)
			p.namespaces.Admitted(pod, described.Reservation.Definition.Roles, p.args.UnclaimedSlotTimeout.Duration)
		}
	}
	if before == nil {
		p.namespaces.Seen(pod)
	}
	if before != nil && pod.Spec.NodeName != "" && spark.Leads(pod) && before.Annotations[AnnotationReservation] != pod.Annotations[AnnotationReservation] {
		p.reservations.changed(pod)
	}
	if before != nil && redefines(before, pod) {
		p.definer.add(pod)
	}
	if before == nil || before.Status.Phase != pod.Status.Phase || before.Spec.NodeName != pod.Spec.NodeName {
		p.groups.Changed(pod)
	}
}

// tell applies an event that cannot fail. Of one that does only the kind is logged: a pod holds secrets.
func (p *Plugin) tell(event ledger.Event) {
	if err := p.apply(event); err != nil {
		p.logger.Error(err, "Ledger refused an event", "event", fmt.Sprintf("%T", event))
	}
}

// openWhenSynced lets gangs be admitted once everything that exists has been told.
func (p *Plugin) openWhenSynced(ctx context.Context, read *reading) {
	if read.await(ctx, p.clock, p.logger) {
		p.arrivals.start()
		p.tell(ledger.Synced{})
		p.logger.V(2).Info("Ledger knows the cluster, gangs may be admitted")
	}
}

// tick passes the time on to the ledger, and tries again what has failed, until the context ends. In between it lets the ledger look for
// victims as often as that is asked for, but for half of the time at most.
func (p *Plugin) tick(ctx context.Context) {
	ticker := p.clock.NewTicker(tickPeriod)
	defer ticker.Stop()
	looks, rested := p.effects.looks, (<-chan time.Time)(nil)
	for ticks := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-rested:
			looks, rested = p.effects.looks, nil
		case <-looks:
			began := p.clock.Now()
			p.effects.add(p.ledger.Look(began))
			looks, rested = nil, p.clock.After(p.clock.Since(began))
		case <-ticker.C():
			p.effects.activate(p.namespaces.Due())
			ticks++
			if ticks%sweepTicks > 0 {
				p.tell(ledger.Tick{})
				p.effects.remindLater()
				continue
			}
			p.tell(ledger.Tick{
				Unclaimed: p.args.UnclaimedSlotTimeout.Duration, Unready: p.args.LeaderReadyTimeout.Duration, Collect: p.args.CollectAfter.Duration,
			})
			p.effects.remindLater()
			p.effects.again()
			p.effects.add(p.reservations.others.take())
			p.pending.sweep()
			p.effects.activate(p.pending.due())
			p.namespaces.All()
			p.arrivals.sweep()
		}
	}
}

// described are the annotations that describe reads, besides those that make a leader: they have one reader, the definer.
var described = []string{spark.LabelUser, spark.AnnotationRank, spark.AnnotationHold, spark.AnnotationWorkers}

// podDiffers compares what the ledger looks at; status changes come all the time. What a pod takes from its node may change with
// nothing but its status, as the kubelet resizes it.
func podDiffers(a, b *v1.Pod) bool {
	return a.UID != b.UID || a.Spec.NodeName != b.Spec.NodeName || a.Generation != b.Generation || ready(a) != ready(b) || spark.Leads(a) != spark.Leads(b) ||
		(a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil) ||
		slices.ContainsFunc(described, func(name string) bool { return a.Annotations[name] != b.Annotations[name] }) || !maps.Equal(a.Labels, b.Labels) ||
		b.Spec.NodeName != "" && !requestsOf(a).Equal(requestsOf(b))
}

// resumes tells whether a leader may have to be resumed with what it carries: it is seen for the first time since it has a node, or
// leads something else now.
func resumes(before, pod *v1.Pod) bool {
	return before == nil || before.UID != pod.UID || before.Spec.NodeName != pod.Spec.NodeName || spark.Leads(before) != spark.Leads(pod) || !maps.Equal(before.Labels, pod.Labels)
}

// redefines tells whether the definition of a leader that is not bound yet is asked for again: it says something else of its workers,
// because its user has mended a mistake, or its scheduling gates have gone, and what was not written into its condition is now. What
// the ledger has admitted meanwhile stays as it is.
func redefines(before, pod *v1.Pod) bool {
	return before.UID == pod.UID && pod.Spec.NodeName == "" && spark.Leads(before) && spark.Leads(pod) &&
		(before.Annotations[spark.AnnotationRoles] != pod.Annotations[spark.AnnotationRoles] || gated(before) && !gated(pod))
}

// gated tells whether a pod has scheduling gates: it waits for whoever takes them away, whatever Retinue would say of it.
func gated(pod *v1.Pod) bool { return pod != nil && len(pod.Spec.SchedulingGates) > 0 }

// current is the pod as the informer knows it; nil when it has ended or been replaced by another of its name.
func (p *Plugin) current(pod *v1.Pod) *v1.Pod {
	current, err := p.handle.SharedInformerFactory().Core().V1().Pods().Lister().Pods(pod.Namespace).Get(pod.Name)
	if err != nil || current.UID != pod.UID {
		return nil
	}
	return current
}
