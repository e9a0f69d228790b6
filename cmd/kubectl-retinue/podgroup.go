package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	schedulingv1beta1 "k8s.io/api/scheduling/v1beta1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/resource"
	"retinue.dev/retinue/pkg/view"
)

// nativeGroup is the API group of Kubernetes' own PodGroups.
const nativeGroup = schedulingv1beta1.GroupName

// groupName is the PodGroup that an argument names, as in podgroup/training or podgroup.scheduling.k8s.io/training; group is empty where it
// is not said whose.
func groupName(argument string) (name, group string, found bool) {
	kind, name, found := strings.Cut(argument, "/")
	kind, group, _ = strings.Cut(kind, ".")
	if !found || kind != "podgroup" && kind != "podgroups" || group != "" && group != nativeGroup && group != schedulingv1alpha1.SchemeGroupVersion.Group {
		return "", "", false
	}
	return name, group, true
}

// groupOf is the PodGroup of a pod; a name that is empty means that it has none.
func groupOf(pod *v1.Pod) (name, group string) {
	if native := view.NativeGroup(pod); native != "" {
		return native, nativeGroup
	}
	return pod.Labels[schedulingv1alpha1.PodGroupLabel], schedulingv1alpha1.SchemeGroupVersion.Group
}

// group shows the gang of a PodGroup, of the scheduler-plugins project or of Kubernetes' own: as many pods as start together, each as large as those that are there.
func (o gangOptions) group(ctx context.Context, r *reader, name, group string) error {
	var report report
	err := errNotAsked
	if group != nativeGroup {
		report, err = r.pluginsGroup(ctx, name)
	}
	if group == nativeGroup || group == "" && apierrors.IsNotFound(err) {
		native, nativeErr := r.nativeGroup(ctx, name)
		if group == nativeGroup || !apierrors.IsNotFound(nativeErr) {
			report, err = native, nativeErr
		}
	}
	switch input := (inputError{}); {
	case errors.As(err, &input):
		return err
	case err != nil:
		return fmt.Errorf("reading PodGroup %s: %w", name, err)
	}
	return o.print(report)
}

var errNotAsked = errors.New("nobody has been asked")

func (r *reader) pluginsGroup(ctx context.Context, name string) (report, error) {
	object, err := r.dynamic.Resource(podGroupsResource).Namespace(r.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return report{}, err
	}
	group, err := decode[schedulingv1alpha1.PodGroup](object)
	if err != nil {
		return report{}, inputError{fmt.Errorf("PodGroup %s: %w", name, err)}
	}
	listed, err := r.client.CoreV1().Pods(r.namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.Set{schedulingv1alpha1.PodGroupLabel: name}.String()})
	if err != nil {
		return report{}, fmt.Errorf("its pods: %w", err)
	}
	answer := groupReport("PodGroup "+name, int(group.Spec.MinMember), listed.Items)
	if len(group.Spec.MinResources) > 0 {
		answer.Warnings = append(answer.Warnings, "minResources, which has to be free in all: "+resource.OfList(group.Spec.MinResources).String())
	}
	return answer, nil
}

func (r *reader) nativeGroup(ctx context.Context, name string) (report, error) {
	group, err := r.client.SchedulingV1beta1().PodGroups(r.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return report{}, err
	}
	listed, err := r.client.CoreV1().Pods(r.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return report{}, fmt.Errorf("its pods: %w", err)
	}
	pods := slices.DeleteFunc(listed.Items, func(pod v1.Pod) bool {
		of, whose := groupOf(&pod)
		return of != name || whose != nativeGroup
	})
	answer := groupReport("PodGroup "+name+" of "+nativeGroup, startTogether(group), pods)
	if group.Spec.ParentCompositePodGroupName != nil || group.Spec.SchedulingConstraints != nil {
		answer.Warnings = append(answer.Warnings, "it is part of a CompositePodGroup, or asks for a topology: its pods are charged when they are bound, and Retinue does not order them")
	}
	return answer, nil
}

// startTogether is how many pods of a PodGroup start together: with the policy Basic each starts by itself.
func startTogether(group *schedulingv1beta1.PodGroup) int {
	if policy := group.Spec.SchedulingPolicy.Gang; policy != nil {
		return int(policy.MinCount)
	}
	return 1
}

// nativeGroups are how many pods of each PodGroup of Kubernetes' own start together, where any of these pods has one: namespace/name -> pods.
func (r *reader) nativeGroups(ctx context.Context, namespace string, pods []*v1.Pod) (map[string]int, error) {
	if !slices.ContainsFunc(pods, func(pod *v1.Pod) bool { return view.NativeGroup(pod) != "" }) {
		return nil, nil
	}
	from := r.client.SchedulingV1beta1().PodGroups(namespace)
	const what = "PodGroups of " + nativeGroup
	listed, err := r.objects(ctx, of(what, namespace), "", func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return from.List(ctx, options)
	}, from.Watch)
	if err := r.unlessForbidden(err, what, "how many of their pods start together is not known"); err != nil {
		return nil, err
	}
	groups := map[string]int{}
	for _, object := range listed {
		if group, is := object.(*schedulingv1beta1.PodGroup); is {
			groups[group.Namespace+"/"+group.Name] = startTogether(group)
		}
	}
	return groups, nil
}

// groupReport counts pods that ask for the same as one role.
func groupReport(title string, minimum int, pods []v1.Pod) report {
	r := report{Driver: amounts{}, Workers: []worker{}, Source: fmt.Sprintf("%s: %d start together", title, minimum), Warnings: []string{}}
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
	if there < minimum {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s there, and %d have to be before any starts", map[bool]string{true: "1 pod is", false: fmt.Sprintf("%d pods are", there)}[there == 1], minimum))
	}
	return r
}
