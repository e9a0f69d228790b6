package view

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/reservation"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// Definition is what an application that waits will ask for, or why it is not known.
type Definition struct {
	gang.Definition
	Err error
}

// Kind is what sort of gang an application is.
type Kind string

const (
	KindSpark    Kind = "Spark"          // a driver and its executors
	KindGang     Kind = "Gang"           // pods that say by annotations what they are
	KindPodGroup Kind = "PodGroup"       // of the scheduler-plugins project
	KindNative   Kind = "NativePodGroup" // of Kubernetes' own
	KindPod      Kind = "Pod"            // by itself
)

// State is where an application is in its life.
type State string

const (
	Waiting  State = "Waiting"  // without a node, or without all that start together
	Starting State = "Starting" // with a node, not running yet
	Running  State = "Running"
	Ending   State = "Ending" // being deleted
	Finished State = "Finished"
	Failed   State = "Failed"
)

// App is an application: a gang, or a pod by itself. Scripts read it: fields are added, never renamed.
type App struct {
	Identity
	State State `json:"state"`
	Turn
	Times
	Workers Workers `json:"workers"`
	// Holds is what its pods and the slots kept for it take; Asks is what it waits for.
	Holds v1.ResourceList `json:"holds,omitempty"`
	Asks  v1.ResourceList `json:"asks,omitempty"`
	// Share is the part of what its queue is guaranteed, or else limited to, that it holds: of the resource of which it is most.
	Share *float64 `json:"share,omitempty"`

	leader      *v1.Pod   // nil in a gang without one
	pods        []*v1.Pod // all, by name
	reservation reservation.Written
}

// Identity is what an application is called, and whose it is.
type Identity struct {
	Namespace string `json:"namespace"`
	// Name is that of the driver, of the PodGroup, or of the pod by itself: what commands take.
	Name string `json:"name"`
	// Application is what its user calls it; empty for what is no Spark application.
	Application string `json:"application,omitempty"`
	Kind        Kind   `json:"kind"`
	User        string `json:"user,omitempty"`
	// Queue its namespace belongs to; empty where there is none, or it is not known.
	Queue string `json:"queue,omitempty"`
}

// Turn is why an application waits and when it is its turn; nothing for one that does not wait.
type Turn struct {
	// Reason why it waits, in one word of those that docs/reasons.md lists, and in a sentence.
	Reason  gang.Reason `json:"reason,omitempty"`
	Message string      `json:"message,omitempty"`
	// Actor is who has to act before it can start, as that table says; Permanent means that waiting alone does not help.
	Actor     gang.Actor `json:"actor,omitempty"`
	Permanent bool       `json:"permanent,omitempty"`
	// Told is what its pod says besides; nil where it says nothing.
	Told *Told `json:"told,omitempty"`
	// Position among the Of who wait in its queue, from 1; absent when it does not wait, or is not among the first hundred.
	Position *int64 `json:"position,omitempty"`
	Of       int64  `json:"of,omitempty"`
}

// sentence is why it waits, or else what to say of that.
func (t Turn) sentence(untold string) string {
	switch {
	case t.Reason != "":
		return strings.TrimSuffix(string(t.Reason)+": "+t.Message, ": ")
	default:
		return cmp.Or(t.Message, untold)
	}
}

// Times are those of an application's life. Wait and Run are in seconds.
type Times struct {
	Submitted metav1.Time  `json:"submitted"`
	Scheduled *metav1.Time `json:"scheduled,omitempty"`
	Ended     *metav1.Time `json:"ended,omitempty"`
	Wait      int64        `json:"waitSeconds"`
	Run       *int64       `json:"runSeconds,omitempty"`
}

// Workers are how many pods besides the leader there are, and how many are wanted. What is not known is absent.
type Workers struct {
	Running int `json:"running"`
	Pending int `json:"pending"`
	// Wanted start together with the leader; Minimum of them are kept when it runs.
	Wanted  *int `json:"wanted,omitempty"`
	Minimum *int `json:"minimum,omitempty"`
	// Maximum is absent without a bound as well.
	Maximum *int `json:"maximum,omitempty"`
	// Slots are kept for it, those that workers sit on included.
	Slots int `json:"slots"`
}

// String is run/want(min).
func (w Workers) String() string {
	text := strconv.Itoa(w.Running) + "/"
	if w.Wanted == nil {
		return text + none
	}
	text += strconv.Itoa(*w.Wanted)
	if w.Minimum != nil {
		text += fmt.Sprintf("(%d)", *w.Minimum)
	}
	return text
}

// Apps are the applications of the pods that could be read, by namespace and name. A pod by itself is one if a scheduler other than the
// default one is asked for it.
func Apps(o Objects) []App {
	apps := gather(o.Pods)
	assigned, _ := quota.Assign(o.Queues, o.Namespaces)
	queues := map[string]*Queue{}
	tree := Queues(o)
	for i := range tree {
		queues[tree[i].Name] = &tree[i]
	}
	for i := range apps {
		app := &apps[i]
		app.complete(o)
		app.Queue = assigned[app.Namespace]
		if queue := queues[app.Queue]; queue != nil {
			app.Share = share(app.Holds, queue)
			app.position(queue)
		}
	}
	slices.SortFunc(apps, func(a, b App) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return apps
}

// key of the gang that a pod says it belongs to.
type key struct {
	namespace, name string
	kind            Kind
}

func keyOf(pod *v1.Pod) (k key, belongs bool) {
	k.namespace = pod.Namespace
	_, together := pod.Annotations[spark.AnnotationWorkers]
	switch {
	case spark.IsExecutor(pod), spark.IsDriver(pod):
		k.name, k.kind = spark.AppID(pod), KindSpark
	case spark.Leads(pod), together:
		k.name, k.kind = cmp.Or(pod.Labels[spark.LabelGang], spark.AppID(pod), pod.Name), KindGang
	case pod.Labels[spark.LabelGang] != "":
		k.name, k.kind = pod.Labels[spark.LabelGang], KindGang
	case pod.Labels[schedulingv1alpha1.PodGroupLabel] != "":
		k.name, k.kind = pod.Labels[schedulingv1alpha1.PodGroupLabel], KindPodGroup
	case NativeGroup(pod) != "":
		k.name, k.kind = NativeGroup(pod), KindNative
		return k, pod.Spec.SchedulerName != "" && pod.Spec.SchedulerName != v1.DefaultSchedulerName
	default:
		k.name, k.kind = pod.Name, KindPod
		return k, pod.Spec.SchedulerName != "" && pod.Spec.SchedulerName != v1.DefaultSchedulerName
	}
	return k, true
}

// gather puts pods together. Of two leaders that claim the same, each has the workers that name it as their owner.
func gather(pods []*v1.Pod) []App {
	leaders := map[types.UID]int{} // UID of the leader -> index into apps
	first := map[key]int{}         // index into apps
	var apps []App
	add := func(k key, pod *v1.Pod) int {
		apps = append(apps, App{Identity: Identity{Namespace: k.namespace, Name: k.name, Kind: k.kind}})
		if _, there := first[k]; !there {
			first[k] = len(apps) - 1
		}
		return len(apps) - 1
	}
	pods = slices.SortedFunc(slices.Values(pods), func(a, b *v1.Pod) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	for _, pod := range pods {
		if k, belongs := keyOf(pod); belongs && spark.Leads(pod) {
			i := add(k, pod)
			apps[i].leader, apps[i].Name = pod, pod.Name
			leaders[pod.UID] = i
		}
	}
	for _, pod := range pods {
		k, belongs := keyOf(pod)
		if !belongs {
			continue
		}
		i, found := leaders[pod.UID]
		if owner := metav1.GetControllerOf(pod); !found && owner != nil {
			i, found = leaders[owner.UID]
		}
		if !found {
			i, found = first[k]
		}
		if !found {
			i = add(k, pod)
		}
		apps[i].pods = append(apps[i].pods, pod)
	}
	return apps
}

// complete fills in what the pods of an application say.
func (a *App) complete(o Objects) {
	speaker := a.leader // the pod that speaks for it
	for _, pod := range a.pods {
		if speaker == nil || a.leader == nil && pod.CreationTimestamp.Before(&speaker.CreationTimestamp) {
			speaker = pod
		}
	}
	a.User = Clean(spark.User(speaker))
	a.Application = Clean(speaker.Labels[spark.LabelAppName])
	a.Submitted = speaker.CreationTimestamp
	a.workers(o)
	a.amounts(o)
	if a.leader != nil || a.Kind == KindPod {
		a.State = stateOf(speaker)
		a.Scheduled, a.Ended = scheduled(speaker), ended(speaker)
	} else {
		a.together()
	}
	if a.State == Waiting {
		a.tell(speaker)
		for _, pod := range a.pods {
			if a.Reason == "" && stateOf(pod) == Waiting {
				a.tell(pod)
			}
		}
		trait := a.Reason.Trait()
		a.Actor, a.Permanent = trait.Actor, trait.Permanent
	}
	until := o.Now
	if a.Ended != nil {
		until = a.Ended.Time
	}
	if a.Scheduled != nil {
		a.Wait = seconds(a.Scheduled.Sub(a.Submitted.Time))
		run := seconds(until.Sub(a.Scheduled.Time))
		a.Run = &run
	} else {
		a.Wait = seconds(until.Sub(a.Submitted.Time))
	}
}

// tell takes why a pod of it waits, if it says so.
func (a *App) tell(pod *v1.Pod) {
	reason, message := whyOf(pod)
	reason, told := toldOf(pod, reason, message)
	if reason != "" || a.Message == "" {
		a.Reason, a.Message, a.Told = reason, message, told
	}
}

func seconds(d time.Duration) int64 { return max(int64(d/time.Second), 0) }

// workers counts them, and says how many are wanted: as the reservation says of one that has been scheduled, and as its definition says
// of one that waits.
func (a *App) workers(o Objects) {
	for _, pod := range a.pods {
		switch {
		case pod == a.leader:
		case pod.Status.Phase == v1.PodRunning && pod.DeletionTimestamp == nil:
			a.Workers.Running++
		case pod.Status.Phase == v1.PodPending || pod.Status.Phase == "":
			a.Workers.Pending++
		}
	}
	want := func(count, minimum int, maximum *int) {
		if a.Workers.Wanted == nil {
			a.Workers.Wanted, a.Workers.Minimum = new(int), new(int)
			a.Workers.Maximum = new(int)
		}
		*a.Workers.Wanted += count
		*a.Workers.Minimum += minimum
		if a.Workers.Maximum != nil && maximum != nil {
			*a.Workers.Maximum += *maximum
		} else {
			a.Workers.Maximum = nil
		}
	}
	if a.leader == nil {
		if together, known := a.startTogether(o); known {
			want(together, together, nil)
		}
		return
	}
	if text, written := a.leader.Annotations[reservation.Annotation]; written && a.leader.Spec.NodeName != "" {
		if read, err := reservation.Read(text); err == nil {
			a.reservation = read
			for _, role := range read.Roles {
				want(role.Count, role.Minimum, role.Maximum)
			}
			for _, slots := range read.Slots {
				a.Workers.Slots += slots.Count
			}
			return
		}
	}
	if definition, known := o.Definitions[a.Namespace+"/"+a.Name]; known && definition.Err == nil {
		for _, role := range definition.Roles {
			want(role.Count, role.Minimum, role.Maximum)
		}
		if len(definition.Roles) == 0 {
			want(0, 0, new(int))
		}
	}
}

// amounts are what it holds and what it asks for.
func (a *App) amounts(o Objects) {
	var holds, asks resource.Vector
	live := map[string]int{} // role -> its workers that hold something
	for _, pod := range a.pods {
		switch {
		case over(pod):
		case pod.Spec.NodeName != "":
			holds = holds.Add(resource.OfPod(pod))
			if pod != a.leader {
				live[roleOf(pod)]++
			}
		default:
			asks = asks.Add(resource.OfPod(pod))
		}
	}
	slots := map[int]int{} // role -> slots
	for _, s := range a.reservation.Slots {
		slots[s.Role] += s.Count
	}
	for i, role := range a.reservation.Roles {
		if open := slots[i] - live[role.Name]; open > 0 && a.leader != nil && !over(a.leader) {
			holds = holds.Add(resource.OfList(role.Requests).Scale(open))
		}
	}
	if a.leader != nil && a.leader.Spec.NodeName == "" && !over(a.leader) {
		for _, role := range o.Definitions[a.Namespace+"/"+a.Name].Roles {
			asks = asks.Add(role.Requests.Scale(role.Count))
		}
	}
	a.Holds, a.Asks = holds.List(), asks.List()
}

// roleOf is the role of a worker.
func roleOf(pod *v1.Pod) string {
	if spark.IsExecutor(pod) {
		return spark.RoleExecutor
	}
	return pod.Labels[spark.LabelGangRole]
}

// over tells whether a pod takes nothing any more.
func over(pod *v1.Pod) bool {
	return pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed
}

func stateOf(pod *v1.Pod) State {
	switch {
	case pod.Status.Phase == v1.PodSucceeded:
		return Finished
	case pod.Status.Phase == v1.PodFailed:
		return Failed
	case pod.DeletionTimestamp != nil:
		return Ending
	case pod.Spec.NodeName == "":
		return Waiting
	case pod.Status.Phase == v1.PodRunning:
		return Running
	default:
		return Starting
	}
}

// together is the state of a gang without a leader: it waits until as many have nodes as start together.
func (a *App) together() {
	counts := map[State]int{}
	for _, pod := range a.pods {
		counts[stateOf(pod)]++
		if at := scheduled(pod); at != nil && (a.Scheduled == nil || at.After(a.Scheduled.Time)) {
			a.Scheduled = at
		}
		if at := ended(pod); at != nil && (a.Ended == nil || at.After(a.Ended.Time)) {
			a.Ended = at
		}
	}
	placed := counts[Running] + counts[Starting] + counts[Finished]
	needed := 1
	if a.Workers.Wanted != nil {
		needed = *a.Workers.Wanted
	}
	switch {
	case counts[Failed] == len(a.pods):
		a.State = Failed
	case counts[Finished]+counts[Failed] == len(a.pods):
		a.State = Finished
	case counts[Ending] > 0 && placed+counts[Waiting] == 0:
		a.State = Ending
	case placed < needed && counts[Waiting] > 0, placed == 0:
		a.State = Waiting
	case counts[Running] == 0:
		a.State = Starting
	default:
		a.State = Running
	}
	if a.State == Waiting {
		a.Scheduled = nil
	}
	if a.State != Finished && a.State != Failed {
		a.Ended = nil
	}
}

func condition(pod *v1.Pod, kind v1.PodConditionType) *v1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == kind {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

func scheduled(pod *v1.Pod) *metav1.Time {
	if c := condition(pod, v1.PodScheduled); c != nil && c.Status == v1.ConditionTrue && !c.LastTransitionTime.IsZero() {
		return c.LastTransitionTime.DeepCopy()
	}
	if pod.Spec.NodeName != "" {
		return pod.Status.StartTime.DeepCopy()
	}
	return nil
}

// ended is when the last container of a pod ended that is over.
func ended(pod *v1.Pod) *metav1.Time {
	if !over(pod) {
		return nil
	}
	var last *metav1.Time
	for _, status := range pod.Status.ContainerStatuses {
		if t := status.State.Terminated; t != nil && (last == nil || t.FinishedAt.After(last.Time)) {
			last = t.FinishedAt.DeepCopy()
		}
	}
	if last == nil && condition(pod, v1.PodReady) != nil && !condition(pod, v1.PodReady).LastTransitionTime.IsZero() {
		last = condition(pod, v1.PodReady).LastTransitionTime.DeepCopy()
	}
	return last
}

// whyOf is why a pod waits, as its condition says it. kube-scheduler puts a count of nodes before some messages.
func whyOf(pod *v1.Pod) (gang.Reason, string) {
	c := condition(pod, v1.PodScheduled)
	if c == nil || c.Status != v1.ConditionFalse {
		return "", ""
	}
	message := c.Message
	reason, known := gang.ReasonOf(message)
	if _, rest, found := strings.Cut(message, "nodes are available: "); !known && found {
		if reason, known = gang.ReasonOf(rest); known {
			message = rest
		}
	}
	if !known {
		if reason = gang.Reason(c.Reason); reason.Trait() == (gang.Trait{}) {
			return "", Clean(message)
		}
		return reason, Clean(message)
	}
	_, text, _ := strings.Cut(message, ":")
	return reason, Clean(text)
}

// share is the dominant part of what a queue is guaranteed, of resources that are guaranteed, else of its limit.
func share(holds v1.ResourceList, queue *Queue) *float64 {
	for _, list := range []v1.ResourceList{queue.Guaranteed, queue.Limit} {
		var largest *float64
		for name := range list {
			of, _ := amountOf(list, name)
			held, _ := amountOf(holds, name)
			if of <= 0 {
				continue
			}
			if part := float64(held) / float64(of); largest == nil || part > *largest {
				largest = &part
			}
		}
		if largest != nil {
			return largest
		}
	}
	return nil
}

// position finds an application among those who wait in its queue.
func (a *App) position(queue *Queue) {
	if a.State != Waiting {
		return
	}
	a.Of = queue.Waiting
	for i, waiter := range queue.Waiters {
		if waiter.Namespace == a.Namespace && slices.ContainsFunc(a.pods, func(pod *v1.Pod) bool { return pod.Name == waiter.Name }) {
			at := int64(i + 1)
			a.Position = &at
			return
		}
	}
}

// Leader is its driver; nil where there is none.
func (a App) Leader() *v1.Pod { return a.leader }

// Pods are all of it, by name.
func (a App) Pods() []*v1.Pod { return a.pods }

// Find is the application of a name: that of its driver or group, else the application's own, of which one that has not ended goes before
// those that have, or its id.
func Find(apps []App, name string) (App, error) {
	for _, app := range apps {
		if app.Name == name {
			return app, nil
		}
	}
	var found, live []App
	for _, app := range apps {
		if app.Application != name && (app.leader == nil || spark.AppID(app.leader) != name) {
			continue
		}
		found = append(found, app)
		if app.State != Finished && app.State != Failed {
			live = append(live, app)
		}
	}
	if len(live) > 0 {
		found = live
	}
	switch len(found) {
	case 0:
		return App{}, fmt.Errorf("there is no application %q", name)
	case 1:
		return found[0], nil
	}
	var names []string
	for _, app := range found[:min(len(found), maxNamed)] {
		names = append(names, app.Name)
	}
	return App{}, fmt.Errorf("%d applications are called %q: name the driver of one, such as %s", len(found), name, strings.Join(names, ", "))
}

// maxNamed is how many of many are named in a sentence.
const maxNamed = 5
