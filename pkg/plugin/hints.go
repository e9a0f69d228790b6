package plugin

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/featuregate"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/plugin/podgroups"
)

// narrowing is the feature gate with which kube-scheduler asks plugins which pods an event may help.
const narrowing featuregate.Feature = "SchedulerPreQueueingHints"

// EventsToRegister names events only to say which pods they do not concern. Pods that the plugin refuses are woken by the
// ledger, through Activate, when room or their turn comes, and by no event of the cluster. Yet with every event
// kube-scheduler goes through all pods that wait, and most of those may be the ledger's. With the feature gate
// SchedulerPreQueueingHints it goes through those that the plugin names. Without it no event is named: for who is kept at
// PreEnqueue by a plugin that has named it, kube-scheduler would ask everybody's hints.
func (p *Plugin) EventsToRegister(context.Context) ([]fwk.ClusterEventWithHint, error) {
	if !utilfeature.DefaultFeatureGate.Enabled(narrowing) {
		return nil, nil
	}
	skip := func(klog.Logger, *v1.Pod, any, any) (fwk.QueueingHint, error) { return fwk.QueueSkip, nil }
	narrow := func(klog.Logger, any, any) (fwk.PreQueueingHintResult, error) { return p.pending.candidates(), nil }
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.AssignedPod, ActionType: fwk.Add | fwk.Delete | fwk.UpdatePodLabel | fwk.UpdatePodScaleDown}, QueueingHintFn: skip, PreQueueingHintFn: narrow},
		{Event: fwk.ClusterEvent{Resource: fwk.Node, ActionType: fwk.Add | fwk.Delete | fwk.UpdateNodeAllocatable | fwk.UpdateNodeLabel | fwk.UpdateNodeTaint | fwk.UpdateNodeCondition}, QueueingHintFn: skip, PreQueueingHintFn: narrow},
	}, nil
}

// pending knows which of the pods without a node an event may help. It leaves out two kinds only: those that the ledger keeps,
// because only the ledger lets them through, and those that were let through a moment ago and not tried yet. Pods of other
// profiles, and those of which it has not heard enough, are not left out.
type pending struct {
	serves func(schedulerName string) bool

	mu sync.Mutex // guards everything below

	pods map[types.NamespacedName]types.UID // every pod of the process's profiles without a node
	// open are those that an event may help.
	open map[types.NamespacedName]struct{}
	// through and older are those let through since the last sweep, and before it.
	through, older map[types.NamespacedName]struct{}
	// numbers are the order in which pods have passed the Gate, where there are queues.
	numbers map[types.NamespacedName]uint64
	// later are those for whom it has not been asked yet who would have to go: they are tried again at the next sweep.
	later map[types.NamespacedName]*v1.Pod
	// turns counts the nodes of which that was asked first.
	turns int
	// groups are the same of native PodGroups: each has that of the last of its pods.
	groups map[types.NamespacedName]*groupNumber
}

// mostPutOff bounds how many are tried again at a sweep.
const mostPutOff = 100

// groupNumber is the place of a native PodGroup among all that have passed the Gate, and how many sweeps ago somebody last asked for it:
// nobody tells the plugin when it has left the scheduler's queue.
type groupNumber struct {
	number  uint64
	unasked int
}

// unaskedSweeps is after how many sweeps the number of a native PodGroup is forgotten: an hour.
const unaskedSweeps = 360

func newPending(serves func(schedulerName string) bool) *pending {
	return &pending{
		serves: serves, pods: map[types.NamespacedName]types.UID{}, open: map[types.NamespacedName]struct{}{},
		through: map[types.NamespacedName]struct{}{}, older: map[types.NamespacedName]struct{}{}, numbers: map[types.NamespacedName]uint64{},
		groups: map[types.NamespacedName]*groupNumber{}, later: map[types.NamespacedName]*v1.Pod{},
	}
}

func nameOf(pod *v1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}
}

// seen is a pod as the watch shows it.
func (p *pending) seen(pod *v1.Pod) {
	switch {
	case pod.Spec.NodeName != "":
		p.gone(pod)
		return
	case !p.serves(pod.Spec.SchedulerName):
		return // kube-scheduler does not know it
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pods[nameOf(pod)] != pod.UID {
		p.put(pod, p.open)
	}
}

// gone is a pod that waits no more.
func (p *pending) gone(pod *v1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pods[nameOf(pod)] == pod.UID {
		p.put(pod, nil)
		delete(p.pods, nameOf(pod))
		delete(p.numbers, nameOf(pod))
	}
}

// judged is a pod at the Gate, and its number if it passes where there are queues. A member of one of Kubernetes' own pod groups is tried together with others, of which the
// plugin does not hear.
func (p *pending) judged(pod *v1.Pod, passes bool, number uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.through
	switch {
	case !passes:
		list = nil
	case pod.Spec.SchedulingGroup != nil:
		list = p.open
	}
	p.put(pod, list)
	if group := podgroups.NativeNameOf(pod); group != "" && number > 0 {
		p.groups[types.NamespacedName{Namespace: pod.Namespace, Name: group}] = &groupNumber{number: number}
	}
	if number > 0 {
		p.numbers[nameOf(pod)] = number
	} else {
		delete(p.numbers, nameOf(pod))
	}
}

// number is the place of a pod among those that have passed the Gate; 0 where there are no queues. It does not change while the
// pod is in the scheduler's queue.
func (p *pending) number(pod *v1.Pod) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.numbers[nameOf(pod)]
}

// numberOfGroup is the same of a native PodGroup.
func (p *pending) numberOfGroup(namespace, name string) uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	group := p.groups[types.NamespacedName{Namespace: namespace, Name: name}]
	if group == nil {
		return 0
	}
	group.unasked = 0
	return group.number
}

// failed is a pod of which an attempt has failed; kept tells whether it waits at the ledger from now on.
func (p *pending) failed(pod *v1.Pod, kept bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.open
	if kept {
		list = nil
	}
	p.put(pod, list)
}

// put moves a pod to one of the lists; nil stands for what the ledger keeps.
func (p *pending) put(pod *v1.Pod, list map[types.NamespacedName]struct{}) {
	name := nameOf(pod)
	for _, other := range []map[types.NamespacedName]struct{}{p.open, p.through, p.older} {
		delete(other, name)
	}
	p.pods[name] = pod.UID
	if list != nil {
		list[name] = struct{}{}
	}
}

// sweep takes it that a pod which was let through before the last sweep, and has not been tried, was refused by another plugin
// at PreEnqueue.
func (p *pending) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.Copy(p.open, p.older)
	p.older, p.through = p.through, map[types.NamespacedName]struct{}{}
	for name, group := range p.groups {
		if group.unasked++; group.unasked > unaskedSweeps {
			delete(p.groups, name)
		}
	}
}

// putOff notes a pod that is to be tried again at the next sweep. Of very many some are left to what wakes them otherwise.
func (p *pending) putOff(pod *v1.Pod) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.later) < mostPutOff {
		p.later[nameOf(pod)] = pod
	}
}

// due are those that were put off and wait still.
func (p *pending) due() []*v1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []*v1.Pod
	for name, pod := range p.later {
		if p.pods[name] == pod.UID {
			due = append(due, pod)
		}
	}
	slices.SortFunc(due, func(a, b *v1.Pod) int { return strings.Compare(string(a.UID), string(b.UID)) })
	clear(p.later)
	return due
}

// turn is which of so many nodes is asked first.
func (p *pending) turn(nodes int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turns++
	return p.turns * mostCompared % max(nodes, 1)
}

// candidates are the pods that an event may help. Naming one costs less than asking the hints for one that is kept.
func (p *pending) candidates() fwk.PreQueueingHintResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := len(p.pods) - len(p.open) - len(p.through) - len(p.older)
	if len(p.open) > kept {
		return fwk.PreQueueingHintResult{AllPods: true}
	}
	return fwk.PreQueueingHintResult{Pods: slices.Collect(maps.Keys(p.open))}
}
