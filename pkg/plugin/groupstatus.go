package plugin

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"
)

// statusDelay gathers what happens to a PodGroup's pods into one write.
const statusDelay = time.Second

// groupStatus keeps the status of PodGroups up, as the controller of scheduler-plugins does.
type groupStatus struct {
	groups *podGroups
	queue  workqueue.TypedRateLimitingInterface[types.NamespacedName]
}

func newGroupStatus(g *podGroups) *groupStatus {
	return &groupStatus{groups: g, queue: workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName](),
		workqueue.TypedRateLimitingQueueConfig[types.NamespacedName]{Clock: g.plugin.clock})}
}

// add asks for a PodGroup's status to be looked at.
func (s *groupStatus) add(namespace, name string) {
	s.queue.AddAfter(types.NamespacedName{Namespace: namespace, Name: name}, statusDelay)
}

// addOf does so for the PodGroup of a pod. It does nothing for other pods, and on nil: a cluster without PodGroups.
func (g *podGroups) addOf(pod *v1.Pod) {
	if name := groupNameOf(pod); g != nil && name != "" {
		g.status.add(pod.Namespace, name)
	}
}

// run works until the context ends.
func (s *groupStatus) run(ctx context.Context) {
	go func() {
		<-ctx.Done()
		s.queue.ShutDown()
	}()
	for {
		name, shutdown := s.queue.Get()
		if shutdown {
			return
		}
		if err := s.update(ctx, name); err != nil && ctx.Err() == nil {
			s.groups.plugin.logger.Error(err, "Status of PodGroup not written", "podGroup", name)
			s.queue.AddRateLimited(name)
		} else {
			s.queue.Forget(name)
		}
		s.queue.Done(name)
	}
}

// update writes the status of one PodGroup if it has changed.
func (s *groupStatus) update(ctx context.Context, name types.NamespacedName) error {
	object, err := s.groups.object(name)
	if object == nil {
		return err
	}
	group, err := decodeObject[schedulingv1alpha1.PodGroup](object)
	if err != nil {
		return nil // its pods are told so
	}
	// The scheduler's informer leaves out pods that have ended, which count here.
	selector := labels.SelectorFromSet(labels.Set{schedulingv1alpha1.PodGroupLabel: name.Name}).String()
	pods, err := s.groups.plugin.handle.ClientSet().CoreV1().Pods(name.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector, ResourceVersion: "0"})
	if err != nil {
		return err
	}
	status := statusOfGroup(group, pods.Items, s.groups.plugin.clock.Now())
	_, err = s.groups.write(ctx, object, &status)
	return err
}

// statusOfGroup is what the phases of scheduler-plugins mean for these pods of a PodGroup.
func statusOfGroup(group *schedulingv1alpha1.PodGroup, pods []v1.Pod, now time.Time) schedulingv1alpha1.PodGroupStatus {
	status := group.Status
	status.Running, status.Succeeded, status.Failed = 0, 0, 0
	scheduled := int32(0)
	for i := range pods {
		pod := &pods[i]
		switch pod.Status.Phase {
		case v1.PodRunning:
			status.Running++
		case v1.PodSucceeded:
			status.Succeeded++
		case v1.PodFailed:
			status.Failed++
		}
		if pod.Spec.NodeName != "" {
			scheduled++
		}
		if owner := metav1.GetControllerOf(pod); owner != nil && status.OccupiedBy == "" {
			status.OccupiedBy = klog.KRef(pod.Namespace, owner.Name).String()
		}
	}
	least := group.Spec.MinMember
	switch {
	case status.Succeeded >= least:
		status.Phase = schedulingv1alpha1.PodGroupFinished
	case status.Failed > 0 && status.Failed+status.Running+status.Succeeded >= least:
		status.Phase = schedulingv1alpha1.PodGroupFailed
	case status.Running+status.Succeeded >= least:
		status.Phase = schedulingv1alpha1.PodGroupRunning
	case scheduled >= least:
		status.Phase = schedulingv1alpha1.PodGroupScheduling
	case scheduled > 0:
		status.Phase = schedulingv1alpha1.PodGroupUnknown
	default:
		status.Phase = schedulingv1alpha1.PodGroupPending
	}
	if scheduled > 0 && status.ScheduleStartTime.IsZero() {
		status.ScheduleStartTime = metav1.NewTime(now.Truncate(time.Second))
	}
	return status
}
