package meter

import (
	"cmp"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/history/store"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// sight is a pod as it was seen.
type sight struct {
	pod *v1.Pod
	at  int64 // when; ms since 1970
	// gone means that its object has been deleted.
	gone  bool
	queue string // of its namespace
	// class of its node, if known.
	class string
	known bool
	// lost is since when its node does not answer; 0 means that it does, or nobody knows.
	lost int64
}

// span is what the pod says of itself; false as long as it has no node.
func (s sight) span() (store.Span, bool) {
	pod := s.pod
	if pod.Spec.NodeName == "" {
		return store.Span{}, false
	}
	span := store.Span{
		UID: string(pod.UID), Kind: store.Pod,
		Description: store.Description{
			Seen: s.at, Application: s.applicationKey(), Namespace: pod.Namespace, Name: pod.Name, Role: roleOf(pod),
			Node: pod.Spec.NodeName, Class: s.class, Queue: s.queue, Identity: identityOf(pod),
		},
		Start: s.start(), End: s.end(), Lost: lost(pod),
		Segments: []store.Segment{{Seq: pod.Generation, Since: s.at, Amounts: amountsOf(resource.OfPod(pod))}},
	}
	if s.known {
		span.Rank = 1
	}
	if span.End.Rank == 0 {
		span.Alive = s.at
	}
	return span, true
}

// start is since when nobody else can use what the pod asks for.
func (s sight) start() store.Evidence {
	if bound := s.scheduled(v1.ConditionTrue); bound != nil && !bound.LastTransitionTime.IsZero() {
		return store.Evidence{At: bound.LastTransitionTime.UnixMilli(), Rank: store.StartScheduled}
	}
	if accepted := s.pod.Status.StartTime; accepted != nil && !accepted.IsZero() {
		return store.Evidence{At: accepted.UnixMilli(), Rank: store.StartAccepted}
	}
	return store.Evidence{At: s.at, Rank: store.StartObserved}
}

// end is when what the pod asks for came back; no evidence as long as it has not. Nothing has ended after it was seen to have.
func (s sight) end() store.Evidence {
	pod := s.pod
	var end store.Evidence
	switch {
	case pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed:
		end = s.terminal()
	case s.gone:
		end = store.Evidence{At: s.at, Rank: store.EndDeleted, Reason: "Deleted"}
		if asked := pod.DeletionTimestamp; asked != nil {
			end.At = min(end.At, asked.UnixMilli())
		}
	default:
		return store.Evidence{}
	}
	if end.Rank < store.EndContainers && s.lost > 0 && s.lost < end.At {
		end.At, end.Rank = s.lost, store.EndNodeLost
	}
	end.At = min(end.At, s.at)
	return end
}

// terminal is the end of a pod whose phase says that it has ended.
func (s sight) terminal() store.Evidence {
	status := &s.pod.Status
	end := store.Evidence{Rank: store.EndTerminal, Reason: cmp.Or(status.Reason, string(status.Phase))}
	for _, container := range slices.Concat(status.InitContainerStatuses, status.ContainerStatuses, status.EphemeralContainerStatuses) {
		if ended := container.State.Terminated; ended != nil && !ended.FinishedAt.IsZero() {
			end.At, end.Rank = max(end.At, ended.FinishedAt.UnixMilli()), store.EndContainers
			if status.Reason == "" && ended.ExitCode != 0 && ended.Reason != "" {
				end.Reason = ended.Reason // OOMKilled says more than Failed
			}
		}
	}
	if end.Rank == store.EndContainers {
		return end
	}
	for _, condition := range status.Conditions {
		if condition.Type != v1.PodScheduled && !condition.LastTransitionTime.IsZero() {
			end.At = max(end.At, condition.LastTransitionTime.UnixMilli())
		}
	}
	if end.At == 0 {
		end.At = s.at
	}
	return end
}

// lost tells whether the pod was taken away from its user, by a preemption or an eviction.
func lost(pod *v1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(condition v1.PodCondition) bool {
		return condition.Type == v1.DisruptionTarget && condition.Status == v1.ConditionTrue &&
			(condition.Reason == v1.PodReasonPreemptionByScheduler || condition.Reason == "EvictionByEvictionAPI")
	})
}

// applicationKey is the application that the pod belongs to: its gang, else its owner, else itself.
func (s sight) applicationKey() string {
	pod := s.pod
	if name := gangName(pod); name != "" {
		return pod.Namespace + "/" + name
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		return pod.Namespace + "/" + string(owner.UID)
	}
	return pod.Namespace + "/" + string(pod.UID)
}

// gangName is the name of the gang that the pod says it is of; empty if it says nothing.
func gangName(pod *v1.Pod) string {
	_, counts := pod.Annotations[spark.AnnotationWorkers]
	if spark.Leads(pod) || spark.IsExecutor(pod) || counts || pod.Labels[spark.LabelGang] != "" {
		return cmp.Or(pod.Labels[spark.LabelGang], spark.AppID(pod))
	}
	return pod.Labels[schedulingv1alpha1.PodGroupLabel]
}

// application is what the pod says of the application it belongs to.
func (s sight) application() store.Application {
	pod := s.pod
	application := store.Application{Key: s.applicationKey(), Submitted: pod.CreationTimestamp.UnixMilli(), Profile: store.Profile{
		Rank: store.OfWorker, Seen: s.at, Namespace: pod.Namespace, ID: spark.AppID(pod), Queue: s.queue, Identity: identityOf(pod),
		Name: pod.Name, Kind: "Pod",
	}}
	if pod.Spec.Priority != nil {
		application.Priority = int64(*pod.Spec.Priority)
	}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		application.Owner = owner.Kind + "/" + owner.Name
		application.Name, application.Kind = owner.Name, owner.Kind
	}
	switch {
	case spark.IsDriver(pod), spark.IsExecutor(pod):
		application.Name, application.Kind = cmp.Or(pod.Labels[spark.LabelAppName], pod.Name), "Spark"
	case pod.Labels[schedulingv1alpha1.PodGroupLabel] != "" && !spark.Leads(pod):
		application.Name, application.Kind = pod.Labels[schedulingv1alpha1.PodGroupLabel], "PodGroup"
	case gangName(pod) != "":
		application.Name, application.Kind = gangName(pod), "Gang"
	}
	if spark.Leads(pod) {
		application.Rank = store.OfLeader
		if end := s.end(); end.Rank > 0 {
			end.Reason = "Deleted"
			if pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed {
				end.Reason = string(pod.Status.Phase)
			}
			application.End = end
		}
	}
	if pod.Spec.NodeName != "" {
		application.Bound = s.start().At
	}
	return application
}

// wait is what is said of the pod's waiting; false if it does not wait, or nobody has said anything. The time is when it was seen.
func (s sight) wait() (store.Wait, bool) {
	if s.pod.Spec.NodeName != "" || s.gone {
		return store.Wait{}, false
	}
	condition := s.scheduled(v1.ConditionFalse)
	if condition == nil {
		return store.Wait{}, false
	}
	wait := store.Wait{At: s.at, Reason: condition.Reason, Message: condition.Message}
	text := condition.Message
	reason, ours := gang.ReasonOf(text)
	if !ours { // kube-scheduler has put "0/20 nodes are available: " before what plugins say
		_, text, _ = strings.Cut(text, "nodes are available: ")
		reason, ours = gang.ReasonOf(text)
	}
	if ours {
		wait.Reason, wait.Message = string(reason), text
	}
	return wait, true
}

// scheduled is the condition PodScheduled if it has that status; nil otherwise.
func (s sight) scheduled(status v1.ConditionStatus) *v1.PodCondition {
	conditions := s.pod.Status.Conditions
	i := slices.IndexFunc(conditions, func(c v1.PodCondition) bool { return c.Type == v1.PodScheduled && c.Status == status })
	if i < 0 {
		return nil
	}
	return &conditions[i]
}

func roleOf(pod *v1.Pod) string {
	return cmp.Or(pod.Labels[spark.LabelRole], pod.Labels[spark.LabelGangRole])
}

// identityOf is whose the pod is: what it says, or else its service account.
func identityOf(pod *v1.Pod) store.Identity {
	user := spark.User(pod)
	switch {
	case user == "":
		return store.Identity{User: "system:serviceaccount:" + pod.Namespace + ":" + cmp.Or(pod.Spec.ServiceAccountName, "default"), Source: store.SourceServiceAccount}
	case pod.Labels[spark.LabelUser] != "" || pod.Annotations[spark.LabelUser] != "":
		return store.Identity{User: user, Source: store.SourceLabel}
	default:
		return store.Identity{User: user, Source: store.SourceEnvironment}
	}
}

// amountsOf a vector, in the store's units, as much of it as is kept account of.
func amountsOf(vector resource.Vector) []store.Amount {
	var amounts []store.Amount
	add := func(name string, value int64) {
		if value = min(value, store.MaxValue); value > 0 {
			amounts = append(amounts, store.Amount{Resource: name, Value: value})
		}
	}
	add(store.CPU, vector.CPU)
	add(store.Memory, mebibytes(vector.Memory))
	add(string(v1.ResourceEphemeralStorage), mebibytes(vector.EphemeralStorage))
	for _, amount := range vector.Extended {
		value := amount.Value
		if strings.HasPrefix(string(amount.Name), v1.ResourceHugePagesPrefix) {
			value = mebibytes(value)
		}
		add(string(amount.Name), value)
	}
	slices.SortFunc(amounts, func(a, b store.Amount) int { return cmp.Compare(a.Resource, b.Resource) })
	return amounts[:min(len(amounts), store.MaxResources)]
}

// mebibytes that bytes fill, the last only in part.
func mebibytes(bytes int64) int64 {
	whole := bytes >> 20
	if bytes&(1<<20-1) > 0 {
		whole++
	}
	return whole
}
