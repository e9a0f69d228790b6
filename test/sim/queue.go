package sim

import (
	"context"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

const (
	// firstBackoff and lastBackoff bound the wait after a failed attempt; it doubles in between.
	firstBackoff = time.Second
	lastBackoff  = 10 * time.Second
	// backoffWindow is the grain of backoff times: what ends in one window ends together.
	backoffWindow = time.Second
	// leftoverAge is how long a pod stays unschedulable before it is tried again whatever happened.
	leftoverAge    = 5 * time.Minute
	leftoverPeriod = 30 * time.Second
)

// queue is kube-scheduler's scheduling queue for single pods, as far as its behaviour can be seen from outside, except
// that everything is visited in a fixed order. A test compares it with the real one.
type queue struct {
	less     fwk.LessFunc
	gates    []fwk.PreEnqueuePlugin
	hints    map[fwk.ClusterEvent][]hint
	gateKeys map[string][]fwk.ClusterEvent // plugin -> the events it has registered
	now      func() time.Time
	// narrows is what plugins have registered to name the pods that an event may help.
	narrows map[fwk.ClusterEvent][]fwk.PreQueueingHintFn
	// left is told of a pod that an event would have moved, and that no plugin has named; nil means nobody wants to know.
	left func(*framework.QueuedPodInfo, fwk.ClusterEvent)
	// passed is told of a pod that no plugin has gated; nil means nobody wants to know.
	passed func(*v1.Pod)
	// asked is told of every pod about which the plugins have been asked; nil means nobody wants to know.
	asked func(*v1.Pod)
	// call runs plugin code.
	call func(func())

	active []*framework.QueuedPodInfo
	// backoff is what waits after it was refused; a scheduler without anything else to do takes from it early. errors
	// is what waits after an error.
	backoff, errors []*framework.QueuedPodInfo
	// unschedulable by namespace/name: what was tried and failed, and what is gated.
	unschedulable *table[*framework.QueuedPodInfo]
	// inFlight are pods being scheduled and what happened meanwhile, in order.
	inFlight  []flight
	nominated nominations
}

// hint is what a plugin has registered for an event.
type hint struct {
	plugin string
	judge  fwk.QueueingHintFn
}

// flight is either a pod in flight or an event.
type flight struct {
	pod      types.UID // empty for an event
	event    fwk.ClusterEvent
	old, new any
}

// strategy is what becomes of a pod when an event comes; a larger one wins.
type strategy int

const (
	stay strategy = iota
	afterBackoff
	atOnce
)

func queueKey(pod *v1.Pod) string { return pod.Namespace + "/" + pod.Name }

// add takes a pod that is new.
func (q *queue) add(pod *v1.Pod) {
	podInfo, _ := framework.NewPodInfo(pod)
	q.nominated.add(pod, nil)
	q.activateOrGate(&framework.QueuedPodInfo{PodInfo: podInfo, QueueingParams: framework.QueueingParams{
		Timestamp: q.now(), UnschedulablePlugins: sets.New[string](),
	}})
}

// gate asks every PreEnqueue plugin and notes which one refuses.
func (q *queue) gate(info *framework.QueuedPodInfo) {
	if q.asked != nil {
		defer q.asked(info.Pod)
	}
	gates := q.gates
	if info.GatingPlugin != "" {
		gates = slices.Clone(gates)
		slices.SortStableFunc(gates, func(a, b fwk.PreEnqueuePlugin) int {
			return boolRank(b.Name() == info.GatingPlugin) - boolRank(a.Name() == info.GatingPlugin)
		})
	}
	for _, plugin := range gates {
		var status *fwk.Status
		q.call(func() { status = plugin.PreEnqueue(context.Background(), info.Pod) })
		if !status.IsSuccess() {
			info.UnschedulablePlugins.Insert(plugin.Name())
			info.GatingPlugin = plugin.Name()
			info.GatingPluginEvents = q.gateKeys[plugin.Name()]
			return
		}
	}
	info.GatingPlugin, info.GatingPluginEvents = "", nil
	if q.passed != nil {
		q.passed(info.Pod)
	}
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// activateOrGate puts a pod where it is tried next, or among the unschedulable ones when it is gated.
func (q *queue) activateOrGate(info *framework.QueuedPodInfo) {
	q.gate(info)
	q.enter(info, &q.active)
}

func (q *queue) enter(info *framework.QueuedPodInfo, list *[]*framework.QueuedPodInfo) {
	key := queueKey(info.Pod)
	if info.Gated() {
		q.unschedulable.put(key, info)
		return
	}
	q.unschedulable.remove(key)
	remove(list, key)
	*list = append(*list, info)
}

// requeue moves a pod that is in no list as an event has decided.
func (q *queue) requeue(info *framework.QueuedPodInfo, s strategy) {
	switch {
	case s == stay:
		q.unschedulable.put(queueKey(info.Pod), info)
	case s == afterBackoff && q.backingOff(info):
		q.gate(info)
		if info.UnschedulablePlugins.Len() == 0 && info.PendingPlugins.Len() == 0 {
			q.enter(info, &q.errors)
		} else {
			q.enter(info, &q.backoff)
		}
	default:
		q.activateOrGate(info)
	}
}

// backoffEnd is when a pod may be tried again; the zero time means at once.
func (q *queue) backoffEnd(info *framework.QueuedPodInfo) time.Time {
	count := info.UnschedulableCount
	if info.ConsecutiveErrorsCount > 0 {
		count = info.ConsecutiveErrorsCount
	}
	if count == 0 {
		return time.Time{}
	}
	if info.BackoffExpiration.IsZero() {
		backoff := lastBackoff
		if shift := count - 1; shift < 10 && firstBackoff<<shift < lastBackoff {
			backoff = firstBackoff << shift
		}
		info.BackoffExpiration = info.Timestamp.Add(backoff).Truncate(backoffWindow)
	}
	return info.BackoffExpiration
}

func (q *queue) backingOff(info *framework.QueuedPodInfo) bool {
	return !q.backoffEnd(info).Before(q.now().Truncate(backoffWindow))
}

// flushBackoff lets those go on whose backoff has ended.
func (q *queue) flushBackoff() {
	for _, list := range []*[]*framework.QueuedPodInfo{&q.backoff, &q.errors} {
		q.sortBackoff(*list)
		for len(*list) > 0 && !q.backingOff((*list)[0]) {
			q.active = append(q.active, (*list)[0])
			*list = slices.Delete(*list, 0, 1)
		}
	}
}

func (q *queue) sortBackoff(list []*framework.QueuedPodInfo) {
	slices.SortStableFunc(list, func(a, b *framework.QueuedPodInfo) int {
		if byTime := q.backoffEnd(a).Compare(q.backoffEnd(b)); byTime != 0 {
			return byTime
		}
		return boolRank(q.less(b, a)) - boolRank(q.less(a, b))
	})
}

// flushLeftover tries again what has been unschedulable for too long.
func (q *queue) flushLeftover() {
	var old []*framework.QueuedPodInfo
	for _, info := range q.unschedulable.all() {
		since := info.Timestamp
		if info.FlushTimestamp.After(since) {
			since = info.FlushTimestamp
		}
		if q.now().Sub(since) > leftoverAge {
			info.FlushTimestamp = q.now()
			old = append(old, info)
		}
	}
	q.move(old, framework.EventUnschedulableTimeout, nil, nil)
}

// ready tells whether there is something to try.
func (q *queue) ready() bool { return len(q.active) > 0 || len(q.backoff) > 0 }

// pop takes the next pod to try; it is in flight until done is called. nil means that there is none.
func (q *queue) pop() *framework.QueuedPodInfo {
	for q.ready() {
		list := &q.active
		first := 0
		if len(*list) == 0 {
			list = &q.backoff
			q.sortBackoff(*list)
		}
		if list == &q.active {
			for i := range *list {
				if q.less((*list)[i], (*list)[first]) {
					first = i
				}
			}
		}
		info := (*list)[first]
		*list = slices.Delete(*list, first, first+1)
		info.Attempts++
		if q.flying(info.Pod.UID) {
			continue // the real queue throws it away as well
		}
		q.inFlight = append(q.inFlight, flight{pod: info.Pod.UID})
		return info
	}
	return nil
}

func (q *queue) flying(uid types.UID) bool {
	return slices.ContainsFunc(q.inFlight, func(f flight) bool { return f.pod == uid })
}

// done ends a pod's flight. Events that no other pod in flight has to know of are forgotten.
func (q *queue) done(uid types.UID) {
	i := slices.IndexFunc(q.inFlight, func(f flight) bool { return f.pod == uid })
	if i < 0 {
		return
	}
	q.inFlight = slices.Delete(q.inFlight, i, i+1)
	for len(q.inFlight) > 0 && q.inFlight[0].pod == "" {
		q.inFlight = q.inFlight[1:]
	}
}

// putBack takes a pod whose attempt has failed.
func (q *queue) putBack(info *framework.QueuedPodInfo) {
	defer q.done(info.Pod.UID)
	if q.holds(queueKey(info.Pod)) {
		return
	}
	if len(info.UnschedulablePlugins) == 0 && len(info.PendingPlugins) == 0 {
		info.ConsecutiveErrorsCount++
	} else {
		info.UnschedulableCount++
		info.ConsecutiveErrorsCount = 0
	}
	info.Timestamp = q.now()
	info.BackoffExpiration = time.Time{}
	info.FlushTimestamp = time.Time{}
	q.requeue(info, q.missed(info))
}

// missed judges what happened while a pod was in flight.
func (q *queue) missed(info *framework.QueuedPodInfo) strategy {
	if len(info.UnschedulablePlugins) == 0 && len(info.PendingPlugins) == 0 {
		return afterBackoff
	}
	i := slices.IndexFunc(q.inFlight, func(f flight) bool { return f.pod == info.Pod.UID })
	if i < 0 {
		return afterBackoff
	}
	best := stay
	for _, f := range q.inFlight[i+1:] {
		if f.pod == "" {
			best = max(best, q.judge(info, f.event, f.old, f.new))
		}
	}
	return best
}

// judge asks the plugins that refused a pod whether an event helps it.
func (q *queue) judge(info *framework.QueuedPodInfo, event fwk.ClusterEvent, old, new any) strategy {
	rejectors := info.UnschedulablePlugins.Union(info.PendingPlugins)
	if rejectors.Len() == 0 {
		return afterBackoff
	}
	if framework.ClusterEventIsWildCard(event) {
		if new != nil {
			if pod, ok := new.(*v1.Pod); !ok || pod.UID != info.Pod.UID {
				return stay
			}
		}
		return afterBackoff
	}
	best := stay
	for registered, hints := range q.hints {
		if !framework.MatchClusterEvents(registered, event) {
			continue
		}
		for _, h := range hints {
			if !rejectors.Has(h.plugin) {
				continue
			}
			verdict, err := h.judge(klog.Background(), info.Pod, old, new)
			switch {
			case err == nil && verdict == fwk.QueueSkip:
			case info.PendingPlugins.Has(h.plugin):
				return atOnce
			default:
				best = max(best, afterBackoff)
			}
		}
	}
	return best
}

// interesting tells whether any plugin has registered for an event.
func (q *queue) interesting(event fwk.ClusterEvent) bool {
	if framework.ClusterEventIsWildCard(event) {
		return true
	}
	for registered := range q.hints {
		if framework.MatchClusterEvents(registered, event) {
			return true
		}
	}
	return false
}

// happen lets a cluster event move what it helps. except is left where it is.
func (q *queue) happen(event fwk.ClusterEvent, old, new any, except types.UID) {
	if !q.interesting(event) {
		return
	}
	infos := slices.DeleteFunc(q.unschedulable.all(), func(info *framework.QueuedPodInfo) bool { return info.Pod.UID == except })
	if named := q.narrow(event, old, new); named != nil {
		infos = slices.DeleteFunc(infos, func(info *framework.QueuedPodInfo) bool {
			if named.Has(types.NamespacedName{Namespace: info.Pod.Namespace, Name: info.Pod.Name}) {
				return false
			}
			if q.left != nil && q.helps(info, event, old, new) != stay {
				q.left(info, event)
			}
			return true
		})
	}
	q.move(infos, event, old, new)
}

// narrow is what SchedulerPreQueueingHints makes of an event: the pods that plugins name, if there are such plugins and none
// wants all; otherwise nil.
func (q *queue) narrow(event fwk.ClusterEvent, old, new any) sets.Set[types.NamespacedName] {
	if old == nil && new == nil {
		return nil
	}
	var named sets.Set[types.NamespacedName]
	for registered, narrows := range q.narrows {
		if !framework.MatchClusterEvents(registered, event) {
			continue
		}
		for _, narrow := range narrows {
			result, err := narrow(klog.Background(), old, new)
			if err != nil || result.AllPods {
				return nil
			}
			named = sets.New(result.Pods...).Union(named)
		}
	}
	return named
}

// helps is what an event makes of a pod that is unschedulable.
func (q *queue) helps(info *framework.QueuedPodInfo, event fwk.ClusterEvent, old, new any) strategy {
	if info.Gated() && !framework.ClusterEventIsWildCard(event) && !framework.MatchAnyClusterEvent(event, info.GatingPluginEvents) {
		return stay
	}
	return q.judge(info, event, old, new)
}

func (q *queue) move(infos []*framework.QueuedPodInfo, event fwk.ClusterEvent, old, new any) {
	if !q.interesting(event) {
		return
	}
	for _, info := range infos {
		if s := q.helps(info, event, old, new); s != stay {
			q.unschedulable.remove(queueKey(info.Pod))
			q.requeue(info, s)
		}
	}
	if slices.ContainsFunc(q.inFlight, func(f flight) bool { return f.pod != "" }) {
		q.inFlight = append(q.inFlight, flight{event: event, old: old, new: new})
	}
}
