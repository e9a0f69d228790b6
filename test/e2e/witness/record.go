package witness

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	resourcehelper "k8s.io/component-helpers/resource"
)

// The labels Spark puts on its pods.
const (
	AppLabel  = "spark-app-selector" // -> id of the application
	NameLabel = "spark-app-name"
	RoleLabel = "spark-role"
	driver    = "driver"
	executor  = "executor"
)

// NeedsLabel is on drivers whose application needs another number of executors than most.
const NeedsLabel = "executors-needed"

// Gangs describes the applications under observation, whose executors are all alike: then counting is exact, and no
// search for a placement is needed.
type Gangs struct {
	Executors int                 // that an application needs, if its driver does not say otherwise
	Request   corev1.ResourceList // of one executor
}

// Record is the state of the cluster as told by events, and the verdicts on it. It is not for concurrent use.
type Record struct {
	gangs      Gangs
	nodes      map[string]corev1.ResourceList // name -> allocatable
	pods       map[types.UID]*corev1.Pod      // every pod that exists
	violations []Violation
}

// Violation is something that must not have happened.
type Violation struct {
	Scheduler string // of the pod it is about
	What      string
}

// NewRecord begins a record. nodes: name -> allocatable.
func NewRecord(gangs Gangs, nodes map[string]corev1.ResourceList) *Record {
	return &Record{gangs: gangs, nodes: nodes, pods: map[types.UID]*corev1.Pod{}}
}

// Violations are what must not have happened, in the order in which it did.
func (r *Record) Violations() []Violation { return slices.Clone(r.violations) }

// Pod is the latest state of a pod.
func (r *Record) Pod(pod *corev1.Pod) {
	before := r.pods[pod.UID]
	r.pods[pod.UID] = pod
	switch {
	case isRole(pod, driver) && bound(pod) && (before == nil || !bound(before)):
		r.judgeStart(pod)
	case isRole(pod, executor) && unschedulable(pod) && (before == nil || !unschedulable(before)):
		r.judgeStranded(pod)
	}
}

// Deleted is a pod that exists no more.
func (r *Record) Deleted(pod *corev1.Pod) { delete(r.pods, pod.UID) }

// judgeStart looks at the moment a driver is bound: is there room for every executor that running gangs still lack?
func (r *Record) judgeStart(pod *corev1.Pod) {
	missing := 0
	for _, other := range r.pods {
		if isRole(other, driver) && holdsRoom(other) {
			missing += r.missingExecutors(other)
		}
	}
	if room := r.roomForExecutors(); room < missing {
		r.violation(pod, "bound to %s while %d executors of running gangs are missing and only %d more fit", pod.Spec.NodeName, missing, room)
	}
}

// judgeStranded is about an executor that does not fit although its driver runs and needs it.
func (r *Record) judgeStranded(pod *corev1.Pod) {
	for _, other := range r.pods {
		if isRole(other, driver) && other.Labels[AppLabel] == pod.Labels[AppLabel] && holdsRoom(other) && r.missingExecutors(other) > 0 {
			r.violation(pod, "found no node, but its driver %s runs", other.Name)
		}
	}
}

func (r *Record) violation(pod *corev1.Pod, format string, args ...any) {
	r.violations = append(r.violations, Violation{
		Scheduler: pod.Spec.SchedulerName,
		What:      fmt.Sprintf("%s (resource version %s): %s", pod.Name, pod.ResourceVersion, fmt.Sprintf(format, args...)),
	})
}

// missingExecutors is how many of those that a driver needs have no node.
func (r *Record) missingExecutors(pod *corev1.Pod) int {
	needed := r.gangs.Executors
	if label, ok := pod.Labels[NeedsLabel]; ok {
		var err error
		if needed, err = strconv.Atoi(label); err != nil {
			r.violation(pod, "has the label %s: %v", NeedsLabel, err)
		}
	}
	return max(0, needed-r.boundExecutors(pod.Labels[AppLabel]))
}

func (r *Record) boundExecutors(app string) int {
	count := 0
	for _, pod := range r.pods {
		if isRole(pod, executor) && pod.Labels[AppLabel] == app && holdsRoom(pod) {
			count++
		}
	}
	return count
}

// roomForExecutors counts how many more executors the nodes take as they are now.
func (r *Record) roomForExecutors() int {
	free := make(map[string]corev1.ResourceList, len(r.nodes)) // node -> free
	for name, allocatable := range r.nodes {
		free[name] = allocatable.DeepCopy()
	}
	for _, pod := range r.pods {
		if !holdsRoom(pod) || free[pod.Spec.NodeName] == nil {
			continue
		}
		requests := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{})
		requests[corev1.ResourcePods] = *resource.NewQuantity(1, resource.DecimalSI)
		for kind, quantity := range requests {
			left := free[pod.Spec.NodeName][kind]
			left.Sub(quantity)
			free[pod.Spec.NodeName][kind] = left
		}
	}
	executor := maps.Clone(r.gangs.Request)
	executor[corev1.ResourcePods] = *resource.NewQuantity(1, resource.DecimalSI)
	room := 0
	for _, left := range free {
		room += howMany(left, executor)
	}
	return room
}

// howMany requests fit into what is free.
func howMany(free, request corev1.ResourceList) int {
	var counts []int64
	for kind, quantity := range request {
		if quantity.IsZero() {
			continue
		}
		left := free[kind]
		counts = append(counts, max(0, left.MilliValue())/quantity.MilliValue())
	}
	if len(counts) == 0 {
		return 0
	}
	return int(slices.Min(counts))
}

func isRole(pod *corev1.Pod, role string) bool { return pod.Labels[RoleLabel] == role }

func bound(pod *corev1.Pod) bool { return pod.Spec.NodeName != "" }

// holdsRoom is true of a pod that takes room on a node.
func holdsRoom(pod *corev1.Pod) bool {
	return bound(pod) && !ended(pod)
}

func unschedulable(pod *corev1.Pod) bool {
	condition := ScheduledCondition(pod)
	return condition != nil && condition.Status == corev1.ConditionFalse && condition.Reason == corev1.PodReasonUnschedulable
}

// ScheduledCondition is what the scheduler says of a pod, nil when it has said nothing.
func ScheduledCondition(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == corev1.PodScheduled {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}
