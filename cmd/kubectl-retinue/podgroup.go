package main

import (
	"context"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/resource"
)

// groupName is the PodGroup that an argument names, as in podgroup/training.
func groupName(argument string) (string, bool) {
	kind, name, found := strings.Cut(argument, "/")
	if !found || kind != "podgroup" && kind != "podgroups" && kind != "podgroup."+schedulingv1alpha1.SchemeGroupVersion.Group && kind != "podgroups."+schedulingv1alpha1.SchemeGroupVersion.Group {
		return "", false
	}
	return name, true
}

// group shows the gang of a PodGroup: as many pods as start together, each as large as those that are there.
func (o gangOptions) group(ctx context.Context, r *reader, name string) error {
	object, err := r.dynamic.Resource(podGroupsResource).Namespace(r.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading PodGroup %s: %w", name, err)
	}
	group, err := decode[schedulingv1alpha1.PodGroup](object)
	if err != nil {
		return inputError{fmt.Errorf("PodGroup %s: %w", name, err)}
	}
	listed, err := r.client.CoreV1().Pods(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.Set{schedulingv1alpha1.PodGroupLabel: name}.String()})
	if err != nil {
		return fmt.Errorf("reading the pods of PodGroup %s: %w", name, err)
	}
	return o.print(groupReport(group, listed.Items))
}

// groupReport counts pods that ask for the same as one role.
func groupReport(group *schedulingv1alpha1.PodGroup, pods []v1.Pod) report {
	r := report{Driver: amounts{}, Workers: []worker{}, Source: fmt.Sprintf("PodGroup %s: %d start together", group.Name, group.Spec.MinMember), Warnings: []string{}}
	there := 0
	index := map[string]int{} // what pods ask for -> index into Workers
	for i := range pods {
		pod := &pods[i]
		if pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed || pod.DeletionTimestamp != nil {
			continue
		}
		there++
		asks := resource.OfPod(pod)
		at, known := index[asks.String()]
		if !known {
			at = len(r.Workers)
			index[asks.String()] = at
			r.Workers = append(r.Workers, worker{Role: "pod", Requests: amountsOf(asks), Constraints: constraintsOf(pod)})
		}
		r.Workers[at].Count++
		r.Workers[at].Minimum++
	}
	if missing := int(group.Spec.MinMember) - there; missing > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%d pods are there, and %d have to be before any starts", there, group.Spec.MinMember))
	}
	if len(group.Spec.MinResources) > 0 {
		r.Warnings = append(r.Warnings, "minResources, which has to be free in all: "+resource.OfList(group.Spec.MinResources).String())
	}
	return r
}
