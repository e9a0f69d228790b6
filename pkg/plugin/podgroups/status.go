package podgroups

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/plugin/crd"
)

// statusDelay gathers what happens to a PodGroup's pods into one write.
const statusDelay = time.Second

// status keeps the status of PodGroups up, as the controller of scheduler-plugins does.
type status struct {
	objects *crd.OptionalResource
	client  kubernetes.Interface
	clock   clock.WithTicker
	logger  klog.Logger
	queue   workqueue.TypedRateLimitingInterface[types.NamespacedName]
}

func newStatus(objects *crd.OptionalResource, client kubernetes.Interface, clock clock.WithTicker, logger klog.Logger) *status {
	return &status{objects: objects, client: client, clock: clock, logger: logger, queue: workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.DefaultTypedControllerRateLimiter[types.NamespacedName](),
		workqueue.TypedRateLimitingQueueConfig[types.NamespacedName]{Clock: clock})}
}

// add asks for a PodGroup's status to be looked at.
func (s *status) add(namespace, name string) {
	s.queue.AddAfter(types.NamespacedName{Namespace: namespace, Name: name}, statusDelay)
}

// run works until the context ends.
func (s *status) run(ctx context.Context) {
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
			s.logger.Error(err, "Status of PodGroup not written", "podGroup", name)
			s.queue.AddRateLimited(name)
		} else {
			s.queue.Forget(name)
		}
		s.queue.Done(name)
	}
}

// update writes the status of one PodGroup if it has changed.
func (s *status) update(ctx context.Context, name types.NamespacedName) error {
	object, err := s.objects.Object(name)
	if object == nil {
		return err
	}
	group, err := crd.Decode[schedulingv1alpha1.PodGroup](object)
	if err != nil {
		return nil // its pods are told so
	}
	// The scheduler's informer leaves out pods that have ended, which count here.
	selector := labels.SelectorFromSet(labels.Set{schedulingv1alpha1.PodGroupLabel: name.Name}).String()
	pods, err := s.client.CoreV1().Pods(name.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector, ResourceVersion: "0"})
	if err != nil {
		return err
	}
	written := statusOf(group, pods.Items, s.clock.Now())
	_, err = s.objects.Write(ctx, object, &written)
	return err
}

// statusOf is what the phases of scheduler-plugins mean for these pods of a PodGroup.
func statusOf(group *schedulingv1alpha1.PodGroup, pods []v1.Pod, now time.Time) schedulingv1alpha1.PodGroupStatus {
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
