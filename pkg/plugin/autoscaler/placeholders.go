package autoscaler

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin/informer"
	"retinue.dev/retinue/pkg/scaleup"
)

// placeholders are pods that are never bound, one for every pod that is missing, in a namespace of their own.
type placeholders struct {
	client    kubernetes.Interface
	namespace string
	// most is how many there are at a time, and others how many there are of all leaders but one.
	most      int
	others    func(mode v1alpha1.ScaleUpMode, leader types.UID) int
	domainKey string
}

func (p placeholders) objects(wanted ledger.ScaleUp) (map[types.NamespacedName]any, error) {
	leader := wanted.Leader
	count := 0
	for _, pods := range wanted.Pods {
		count += pods.Count
	}
	if others := p.others(v1alpha1.ScaleUpPlaceholders, leader.UID); count > p.most-others {
		return nil, fmt.Errorf("%d pods would have to stand for its workers, %d do for those of others, and scaleUp.placeholders is %d", count, others, p.most)
	}
	objects := make(map[types.NamespacedName]any, count)
	for role, pods := range wanted.Pods {
		template, err := scaleup.Placeholder(leader, pods, wanted.Strategy, p.domainKey)
		if err != nil {
			return nil, err
		}
		content, err := json.Marshal(template)
		if err != nil {
			return nil, fmt.Errorf("pod of %s: %w", pods.Name, err)
		}
		hash := fnv.New32a()
		_, _ = hash.Write(content) // never fails
		for i := range pods.Count {
			pod := &v1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: template.Spec}
			pod.Namespace, pod.Name = p.namespace, fmt.Sprintf("%s%s-%d-%08x-%d", prefix, leader.UID, role, hash.Sum32(), i)
			objects[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = pod
		}
	}
	return objects, nil
}

// create makes a placeholder and marks it as a pod that lacks a node, which is what autoscalers look for.
func (p placeholders) create(ctx context.Context, name types.NamespacedName, object any) error {
	pod := object.(*v1.Pod)
	pods := p.client.CoreV1().Pods(name.Namespace)
	if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create a placeholder: %w", err)
	}
	now := metav1.Now()
	patch, err := json.Marshal(map[string]any{"status": v1.PodStatus{
		Reason: scaleup.PlaceholderReason, Message: "asks for a node for a pod of " + pod.Annotations[scaleup.LeaderAnnotation],
		Conditions: []v1.PodCondition{{Type: v1.PodScheduled, Status: v1.ConditionFalse, Reason: v1.PodReasonUnschedulable, LastTransitionTime: now,
			Message: "stands for a pod of " + pod.Annotations[scaleup.LeaderAnnotation] + " that does not exist yet, and is never bound"}},
	}})
	if err != nil {
		return fmt.Errorf("mark a placeholder: %w", err)
	}
	if _, err := pods.Patch(ctx, name.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return fmt.Errorf("mark a placeholder: %w", err)
	}
	return nil
}

// remove deletes a placeholder at once: there is no kubelet to wait for.
func (p placeholders) remove(ctx context.Context, name types.NamespacedName) error {
	if err := p.client.CoreV1().Pods(name.Namespace).Delete(ctx, name.Name, *metav1.NewDeleteOptions(0)); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete placeholder %s: %w", name, err)
	}
	return nil
}

// isPlaceholder tells whether an object of the pod informer is one of the placeholders.
func (a *Autoscaler) isPlaceholder(object any) bool {
	pod, is := informer.Last[*v1.Pod](object)
	if !is || pod.Namespace != a.Args.Namespace {
		return false
	}
	_, ours := leaderOf(pod)
	return ours
}

// placeholderSeen is one that came or changed.
func (a *Autoscaler) placeholderSeen(pod *v1.Pod) {
	leader, _ := leaderOf(pod)
	lacks := slices.ContainsFunc(pod.Status.Conditions, func(condition v1.PodCondition) bool {
		return condition.Type == v1.PodScheduled && condition.Reason == v1.PodReasonUnschedulable
	})
	a.seen(leader, placeholderKey(pod), standing{whole: lacks && pod.DeletionTimestamp == nil}, false)
}

// placeholderGone is one that was deleted.
func (a *Autoscaler) placeholderGone(pod *v1.Pod) {
	leader, _ := leaderOf(pod)
	a.gone(leader, placeholderKey(pod))
}

// verdicts are the reasons of the Events in which autoscalers say what becomes of a pending pod, and whether that is nothing: Karpenter's, then
// Cluster Autoscaler's.
var verdicts = map[string]bool{"FailedScheduling": true, "Nominated": false, "NotTriggerScaleUp": true, "TriggeredScaleUp": false}

// eventMargin is how much older than a request an Event may be that is about it: clocks differ, and the shortest pause is longer.
const eventMargin = 20 * time.Second

// followEvents hears what is said of placeholders, until the context ends.
func (a *Autoscaler) followEvents(ctx context.Context) {
	factory := informers.NewSharedInformerFactoryWithOptions(a.Client, 0, informers.WithNamespace(a.Args.Namespace))
	events := factory.Core().V1().Events().Informer()
	if _, err := events.AddEventHandler(informer.Handlers(func(_, event *v1.Event) { a.heard(event) }, func(*v1.Event) {})); err != nil {
		a.Logger.Error(err, "Events of placeholders cannot be followed")
		return
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown()
}

// heard is an Event, which may be about a placeholder. A later one of the same pod replaces it.
func (a *Autoscaler) heard(event *v1.Event) {
	failing, known := verdicts[event.Reason]
	if !known || event.InvolvedObject.Kind != "Pod" {
		return
	}
	said := event.LastTimestamp.Time
	if said.IsZero() {
		said = event.EventTime.Time
	}
	object := key{v1alpha1.ScaleUpPlaceholders, types.NamespacedName{Namespace: event.InvolvedObject.Namespace, Name: event.InvolvedObject.Name}}
	answer := scaleup.Answer{}
	if failing {
		answer = scaleup.Answer{Words: event.Message, Failing: true}
	}
	a.mu.Lock()
	var about types.UID
	for leader, since := range a.since {
		if now, there := a.there[leader][object]; there && !said.Before(now.said) && said.After(since.Add(-eventMargin)) {
			now.answer, now.said = answer, said
			a.there[leader][object], about = now, leader
		}
	}
	a.mu.Unlock()
	if about != "" {
		a.pass(about)
	}
}

func placeholderKey(pod *v1.Pod) key {
	return key{v1alpha1.ScaleUpPlaceholders, types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}}
}

// sweepOrphans looks at the placeholders whose leader has ended or started while nobody was there to delete them. The others are kept: nodes
// may be on their way for them, and who still waits asks for the same again.
func (a *Autoscaler) sweepOrphans() {
	pods := a.Informers.Core().V1().Pods().Lister()
	stand, err := pods.Pods(a.Args.Namespace).List(labels.Everything())
	if err != nil {
		a.Logger.Error(err, "Placeholders cannot be listed")
		return
	}
	for _, pod := range stand {
		uid, ours := leaderOf(pod)
		if !ours {
			continue
		}
		namespace, name, _ := strings.Cut(pod.Annotations[scaleup.LeaderAnnotation], "/")
		if leader, err := pods.Pods(namespace).Get(name); err != nil || leader.UID != uid || leader.Spec.NodeName != "" {
			a.queue.Add(uid)
		}
	}
}
