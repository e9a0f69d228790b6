package plugin

import (
	"cmp"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin/podgroups"
	"retinue.dev/retinue/pkg/rehearsal"
	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/spark"
)

// describe is what the ledger needs to know of a pod. Pods of other schedulers take room like any lone pod.
func (p *Plugin) describe(pod *v1.Pod) ledger.Pod {
	rank, _ := spark.Rank(pod) // a wrong one counts as none; the definer tells
	held, _ := spark.Held(pod) // likewise
	described := ledger.Pod{
		UID:       pod.UID,
		Namespace: pod.Namespace,
		Node:      pod.Spec.NodeName,
		Requests:  p.counted.requests(pod),
		Precedence: ledger.Precedence{
			Priority:      corev1helpers.PodPriority(pod),
			NeverPreempts: pod.Spec.PreemptionPolicy != nil && *pod.Spec.PreemptionPolicy == v1.PreemptNever,
			Rank:          rank,
			Created:       p.arrivals.ofPod(pod),
			Held:          held,
		},
		Ready:  ready(pod),
		User:   spark.User(pod),
		Object: pod,
	}
	if pod.Spec.SchedulerName != p.handle.ProfileName() {
		described.Foreign = true
		return described
	}
	described.Labels = pod.Labels
	if pod.Spec.NodeName == "" {
		described.Signature = signatureOf(pod)
	}
	_, together := pod.Annotations[spark.AnnotationWorkers]
	described.Gang, described.Joint = gangOf(pod), native(pod)
	switch {
	case spark.Leads(pod):
		described.Kind = ledger.Leader
	case described.Joint && (together || !spark.IsExecutor(pod)):
		p.joinUpfront(&described)
	case spark.IsExecutor(pod):
		described.Kind = ledger.Worker
		described.Role = spark.RoleExecutor
		if !spark.InDefaultProfile(pod) {
			// Executors of other resource profiles are not known before they come: they have no role, and no slots.
			described.Role, described.Labels = "", nil
		}
		if owner := metav1.GetControllerOf(pod); owner != nil && owner.Kind == "Pod" {
			described.Leader = owner.UID
		}
		if together && described.Role != "" {
			p.joinUpfront(&described)
		}
	case together || podgroups.NameOf(pod) != "":
		p.joinUpfront(&described)
	}
	if described.Joint && described.Kind != ledger.Lone && !described.Upfront {
		described.Shared = podgroups.NativeKey(pod.Namespace, podgroups.NativeNameOf(pod))
	}
	return described
}

// gangOf is the gang that a pod says it is of; the zero Key if it says nothing.
func gangOf(pod *v1.Pod) gang.Key {
	_, together := pod.Annotations[spark.AnnotationWorkers]
	switch {
	case native(pod) && !spark.Leads(pod) && (together || !spark.IsExecutor(pod)):
		return podgroups.NativeKey(pod.Namespace, podgroups.NativeNameOf(pod))
	case spark.Leads(pod), spark.IsExecutor(pod), together:
		return gang.Key{Namespace: pod.Namespace, Name: nameOfGang(pod)}
	case podgroups.NameOf(pod) != "":
		return podgroups.Key(pod.Namespace, podgroups.NameOf(pod))
	default:
		return gang.Key{}
	}
}

// joinUpfront describes a pod whose gang has no leader. It counts only when nothing but its gang keeps it from being
// scheduled. Pods that ask for the same are of one role: any of them may take any of its slots.
func (p *Plugin) joinUpfront(described *ledger.Pod) {
	pod := described.Object
	if gated(pod) {
		*described = ledger.Pod{UID: pod.UID, Namespace: pod.Namespace, Requests: described.Requests, Precedence: ledger.Precedence{Created: described.Created}, Object: pod}
		described.Joint = native(pod)
		return
	}
	described.Kind, described.Upfront = ledger.Worker, true
	described.Signature = signatureOf(pod)
	described.Rehearsed = rehearsal.RulesOf(pod).Any()
	described.Nominated = pod.Status.NominatedNodeName
	described.Role = described.Signature + " " + resource.OfPod(pod).String()                // which a status does not change
	if _, written := pod.Annotations[spark.AnnotationWorkers]; !written || described.Joint { // the PodGroup says it
		return
	}
	definition, _, err := spark.FromAnnotations(pod)
	if err != nil {
		described.Problem = err.Error()
		return
	}
	described.Together = definition.Roles[0].Count
}

func ready(pod *v1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == v1.PodReady {
			return condition.Status == v1.ConditionTrue
		}
	}
	return false
}

// nameOfGang is the name that the gang of a leader, or of whoever belongs to one, has in its namespace.
func nameOfGang(pod *v1.Pod) string {
	return cmp.Or(spark.AppID(pod), pod.Labels[spark.LabelGang], pod.Name)
}
