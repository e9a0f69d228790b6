package limits

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	helpers "k8s.io/component-helpers/resource"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// countPods is how an object count quota names pods.
const countPods v1.ResourceName = "count/pods"

const requestsPrefix = v1.DefaultResourceRequestsPrefix

// Need is what pods that are to be created take of the quotas of their namespace: quota -> amounts. Quotas that do not count them
// are left out.
type Need map[string]v1.ResourceList

// NeedOf is what the workers of a definition take. The leader is there, and counted already.
func (n Namespace) NeedOf(roles []gang.Role) Need {
	need := Need{}
	for _, quota := range n.Quotas {
		sum := v1.ResourceList{}
		for _, role := range roles {
			if role.Count > 0 && counts(quota, role.Pod) {
				add(sum, usage(role.Pod), role.Count)
			}
		}
		if len(sum) > 0 {
			need[quota.Name] = sum
		}
	}
	return need
}

// Times is a need so many times.
func (n Need) Times(count int) Need {
	product := Need{}
	for name, list := range n {
		product[name] = v1.ResourceList{}
		add(product[name], list, count)
	}
	return product
}

// Add is a need with another one.
func (n Need) Add(more Need) {
	for name, list := range more {
		if n[name] == nil {
			n[name] = v1.ResourceList{}
		}
		add(n[name], list, 1)
	}
}

// Lack is what a quota lacks for pods that are to be created.
type Lack struct {
	text string
	name v1.ResourceName
	// need is asked for, used what others use or are about to, of hard.
	need, used, hard quantity
}

func (l *Lack) String() string { return l.text }

// Text is String: a quota is of the namespace that reads it.
func (l *Lack) Text(bool) string { return l.text }

// Figures are its numbers.
func (l *Lack) Figures() resource.Figures {
	name := v1.ResourceName(strings.TrimPrefix(string(l.name), requestsPrefix))
	amount := func(q quantity) *int64 {
		value := q.Value()
		if name == v1.ResourceCPU {
			value = q.MilliValue()
		}
		return &value
	}
	return resource.Figures{Of: []resource.Figure{{Name: name, Need: *amount(l.need), Used: amount(l.used), Limit: amount(l.hard)}}}
}

// Short is what the quotas lack at present for pods that are to be created, besides those that others are about to create; nil
// means nothing. A quota whose use has not been counted yet lacks nothing.
func (n Namespace) Short(need, others Need) *Lack {
	for _, quota := range n.Quotas {
		for _, name := range slices.Sorted(maps.Keys(quota.Status.Hard)) {
			asked, counted := need[quota.Name][name]
			if !counted || asked.Sign() <= 0 {
				continue
			}
			hard, left := quota.Status.Hard[name], quota.Status.Hard[name].DeepCopy()
			left.Sub(quota.Status.Used[name])
			text := fmt.Sprintf("%s has %s %s of %s left", nameOf("ResourceQuota", quota.Namespace, quota.Name), name, left.String(), hard.String())
			if promised := others[quota.Name][name]; promised.Sign() > 0 {
				left.Sub(promised)
				text += fmt.Sprintf(", less %s that applications which run are about to ask for", promised.String())
			}
			if asked.Cmp(left) > 0 {
				used := hard.DeepCopy()
				used.Sub(left)
				return &Lack{text: fmt.Sprintf("%s, and the workers ask for %s", text, asked.String()), name: name, need: asked, used: used, hard: hard}
			}
		}
	}
	return nil
}

// Refuses is why the API server would refuse another worker of one of these roles at present; empty means that nothing is known of it.
func (n Namespace) Refuses(roles []gang.Role) string {
	for _, role := range roles {
		pod, _ := n.defaulted(role.Pod)
		if refusal := n.refusal(role.Name, pod); refusal != "" {
			return refusal
		}
		role.Pod, role.Count = pod, 1
		if short := n.Short(n.NeedOf([]gang.Role{role}), nil); short != nil {
			return short.String()
		}
	}
	return ""
}

// never is which quota the pods of a gang exceed alone; empty means none.
func (n Namespace) never(leader *v1.Pod, roles []gang.Role) string {
	need := n.NeedOf(roles)
	for _, quota := range n.Quotas {
		sum, counted := need[quota.Name]
		if !counted {
			continue
		}
		if counts(quota, leader) {
			add(sum, usage(leader), 1)
		}
		for _, name := range slices.Sorted(maps.Keys(quota.Spec.Hard)) {
			hard := quota.Spec.Hard[name]
			if asked := sum[name]; asked.Cmp(hard) > 0 {
				return fmt.Sprintf("%s allows %s %s, and the application asks for %s with %s: it can never start whole",
					nameOf("ResourceQuota", quota.Namespace, quota.Name), name, hard.String(), asked.String(), members(roles))
			}
		}
	}
	return ""
}

// members are the workers of roles in words: "its driver and 4 executors".
func members(roles []gang.Role) string {
	text := "its leader"
	for i, role := range roles {
		switch {
		case i == len(roles)-1:
			text += " and "
		default:
			text += ", "
		}
		text += fmt.Sprintf("%d × %s", role.Count, role.Name)
	}
	return text
}

// counts tells whether a quota counts a pod.
func counts(quota *v1.ResourceQuota, pod *v1.Pod) bool {
	for _, scope := range quota.Spec.Scopes {
		if !inScope(v1.ScopedResourceSelectorRequirement{ScopeName: scope, Operator: v1.ScopeSelectorOpExists}, pod) {
			return false
		}
	}
	if selector := quota.Spec.ScopeSelector; selector != nil {
		for _, requirement := range selector.MatchExpressions {
			if !inScope(requirement, pod) {
				return false
			}
		}
	}
	return true
}

func inScope(requirement v1.ScopedResourceSelectorRequirement, pod *v1.Pod) bool {
	switch requirement.ScopeName {
	case v1.ResourceQuotaScopeTerminating:
		return terminating(pod)
	case v1.ResourceQuotaScopeNotTerminating:
		return !terminating(pod)
	case v1.ResourceQuotaScopeBestEffort:
		return bestEffort(pod)
	case v1.ResourceQuotaScopeNotBestEffort:
		return !bestEffort(pod)
	case v1.ResourceQuotaScopePriorityClass:
		return ofPriority(requirement, pod.Spec.PriorityClassName)
	case v1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return acrossNamespaces(pod.Spec.Affinity)
	default:
		return false
	}
}

func terminating(pod *v1.Pod) bool {
	deadline := pod.Spec.ActiveDeadlineSeconds
	return deadline != nil && *deadline >= 0
}

// bestEffort tells whether a pod asks for neither cpu nor memory.
func bestEffort(pod *v1.Pod) bool {
	asks := func(r v1.ResourceRequirements) bool {
		for _, list := range []v1.ResourceList{r.Requests, r.Limits} {
			for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory} {
				if amount := list[name]; amount.Sign() > 0 {
					return true
				}
			}
		}
		return false
	}
	if helpers.IsPodLevelResourcesSet(pod) {
		return !asks(*pod.Spec.Resources)
	}
	return !slices.ContainsFunc(containers(pod), func(container *v1.Container) bool { return asks(container.Resources) })
}

// operators of scopes, as those of labels.
var operators = map[v1.ScopeSelectorOperator]selection.Operator{
	v1.ScopeSelectorOpIn: selection.In, v1.ScopeSelectorOpNotIn: selection.NotIn,
	v1.ScopeSelectorOpExists: selection.Exists, v1.ScopeSelectorOpDoesNotExist: selection.DoesNotExist,
}

func ofPriority(requirement v1.ScopedResourceSelectorRequirement, class string) bool {
	wanted, err := labels.NewRequirement(string(v1.ResourceQuotaScopePriorityClass), operators[requirement.Operator], requirement.Values)
	if err != nil {
		return false
	}
	set := labels.Set{}
	if class != "" {
		set[string(v1.ResourceQuotaScopePriorityClass)] = class
	}
	return wanted.Matches(set)
}

// acrossNamespaces tells whether affinity names pods of other namespaces.
func acrossNamespaces(affinity *v1.Affinity) bool {
	if affinity == nil {
		return false
	}
	var terms []v1.PodAffinityTerm
	gather := func(required []v1.PodAffinityTerm, preferred []v1.WeightedPodAffinityTerm) {
		terms = append(terms, required...)
		for _, weighted := range preferred {
			terms = append(terms, weighted.PodAffinityTerm)
		}
	}
	if pod := affinity.PodAffinity; pod != nil {
		gather(pod.RequiredDuringSchedulingIgnoredDuringExecution, pod.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if anti := affinity.PodAntiAffinity; anti != nil {
		gather(anti.RequiredDuringSchedulingIgnoredDuringExecution, anti.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return slices.ContainsFunc(terms, func(term v1.PodAffinityTerm) bool { return len(term.Namespaces) > 0 || term.NamespaceSelector != nil })
}

// specified are the resources which every container has to specify if a quota counts them.
var specified = []v1.ResourceName{
	v1.ResourceCPU, v1.ResourceMemory, v1.ResourceRequestsCPU, v1.ResourceRequestsMemory, v1.ResourceLimitsCPU, v1.ResourceLimitsMemory,
}

// unspecified is which container of a pod does not specify what a quota counts; empty means none. The words "of the … pod does
// not" follow.
func unspecified(quota *v1.ResourceQuota, pod *v1.Pod) string {
	if !counts(quota, pod) || helpers.IsPodLevelResourcesSet(pod) {
		return ""
	}
	for _, name := range specified {
		if _, counted := quota.Spec.Hard[name]; !counted {
			continue
		}
		for _, container := range containers(pod) {
			if _, set := amounts(container.Resources.Requests, container.Resources.Limits)[name]; !set {
				return fmt.Sprintf("counts %s, which every container has to specify, and container %s", name, container.Name)
			}
		}
	}
	return ""
}

// usage is what a new pod counts in quotas.
func usage(pod *v1.Pod) v1.ResourceList {
	used := amounts(helpers.PodRequests(pod, helpers.PodResourcesOptions{}), helpers.PodLimits(pod, helpers.PodResourcesOptions{}))
	one := *apiresource.NewQuantity(1, apiresource.DecimalSI)
	used[v1.ResourcePods], used[countPods] = one, one.DeepCopy()
	return used
}

// amounts are requests and limits by the names that quotas have for them.
func amounts(requests, limits v1.ResourceList) v1.ResourceList {
	named := v1.ResourceList{}
	for name, amount := range requests {
		switch {
		case name == v1.ResourceCPU || name == v1.ResourceMemory || name == v1.ResourceEphemeralStorage || strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix):
			named[name], named[requestsPrefix+name] = amount, amount.DeepCopy()
		case strings.Contains(string(name), "/"):
			named[requestsPrefix+name] = amount
		}
	}
	for _, name := range []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourceEphemeralStorage} {
		if amount, limited := limits[name]; limited {
			named["limits."+name] = amount
		}
	}
	return named
}

// add adds amounts so many times.
func add(sum, amounts v1.ResourceList, times int) {
	for name, amount := range amounts {
		product := amount.DeepCopy()
		product.Mul(int64(times))
		total := sum[name]
		total.Add(product)
		sum[name] = total
	}
}
