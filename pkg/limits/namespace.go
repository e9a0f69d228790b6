// Package limits is what the LimitRanges and ResourceQuotas of a namespace let the API server admit.
package limits

import (
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// Namespace is the LimitRanges and ResourceQuotas of one namespace, each by name. The zero Namespace admits everything. None of
// the objects is ever changed.
type Namespace struct {
	Ranges []*v1.LimitRange
	Quotas []*v1.ResourceQuota
}

// Empty tells whether there is nothing that could keep a pod out.
func (n Namespace) Empty() bool { return len(n.Ranges)+len(n.Quotas) == 0 }

// Apply does to the workers of a definition what the LimitRanges do to new pods, and returns why their pods can never all be there,
// for their user; empty means that they can. The leader is there already. What only an assumption about the workers makes
// impossible is not assumed.
func (n Namespace) Apply(leader *v1.Pod, definition *gang.Definition) (problem string) {
	if n.Empty() {
		return ""
	}
	definition.Roles = slices.Clone(definition.Roles)
	for i := range definition.Roles {
		role := &definition.Roles[i]
		if role.Plain != nil {
			role.Plain, _ = n.defaulted(role.Plain)
		}
		pod, added := n.defaulted(role.Pod)
		refusal := n.refusal(role.Name, pod)
		if refusal != "" && role.Plain != nil {
			if plain := n.refusal(role.Name, role.Plain); plain == "" {
				pod, role.Plain, definition.Assumed, refusal = role.Plain, nil, "", ""
			}
		}
		if refusal != "" {
			return refusal
		}
		role.Pod = pod
		if requests := resource.OfPod(pod); !requests.Equal(role.Requests) {
			role.Requests = requests
			if added != "" {
				definition.Warnings = append(slices.Clone(definition.Warnings), fmt.Sprintf("the %s pod asks for %s, with what %s adds", role.Name, requests, added))
			}
		}
	}
	return n.never(leader, definition.Roles)
}

// defaulted is a pod with what LimitRanges add to one that is created, and whose they are, for people. The pod itself is returned
// where they add nothing.
func (n Namespace) defaulted(pod *v1.Pod) (*v1.Pod, string) {
	by := ""
	for _, limits := range n.Ranges {
		for _, item := range limits.Spec.Limits {
			if item.Type != v1.LimitTypeContainer {
				continue
			}
			changed := pod.DeepCopy()
			if !fill(changed, item) {
				continue
			}
			pod = changed
			if name := nameOf("LimitRange", limits.Namespace, limits.Name); by == "" {
				by = name
			} else if by != name {
				by += " and " + name
			}
		}
	}
	return pod, by
}

// fill gives every container the defaults that it lacks, and tells whether that changes anything.
func fill(pod *v1.Pod, item v1.LimitRangeItem) (changed bool) {
	for _, container := range containers(pod) {
		for _, list := range []struct {
			own      *v1.ResourceList
			defaults v1.ResourceList
		}{{&container.Resources.Limits, item.Default}, {&container.Resources.Requests, item.DefaultRequest}} {
			for name, amount := range list.defaults {
				if _, set := (*list.own)[name]; set {
					continue
				}
				if *list.own == nil {
					*list.own = v1.ResourceList{}
				}
				(*list.own)[name], changed = amount.DeepCopy(), true
			}
		}
	}
	return changed
}

// containers are all of a pod that LimitRanges look at, in an order.
func containers(pod *v1.Pod) []*v1.Container {
	all := make([]*v1.Container, 0, len(pod.Spec.Containers)+len(pod.Spec.InitContainers))
	for i := range pod.Spec.Containers {
		all = append(all, &pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		all = append(all, &pod.Spec.InitContainers[i])
	}
	return all
}

// refusal is why the API server would refuse a pod of a role, whatever else is there; empty means that it would not.
func (n Namespace) refusal(role string, pod *v1.Pod) string {
	for _, container := range containers(pod) {
		limits := container.Resources.Limits
		for _, name := range slices.Sorted(maps.Keys(limits)) {
			request, requested := container.Resources.Requests[name]
			if limit := limits[name]; requested && request.Cmp(limit) > 0 {
				return fmt.Sprintf("container %s of the %s pod requests %s %s, and its limit is %s, which %s: the API server will refuse it",
					container.Name, role, name, request.String(), limit.String(), n.origin(name, limit))
			}
		}
	}
	for _, limits := range n.Ranges {
		for _, item := range limits.Spec.Limits {
			if problem := outside(item, pod); problem != "" {
				return fmt.Sprintf("%s %s of the %s pod: the API server will refuse it", nameOf("LimitRange", limits.Namespace, limits.Name), problem, role)
			}
		}
	}
	for _, quota := range n.Quotas {
		if problem := unspecified(quota, pod); problem != "" {
			return fmt.Sprintf("%s %s of the %s pod does not: the API server will refuse it", nameOf("ResourceQuota", quota.Namespace, quota.Name), problem, role)
		}
	}
	return ""
}

// origin says which LimitRange a limit comes from that is below what is requested.
func (n Namespace) origin(name v1.ResourceName, limit quantity) string {
	for _, limits := range n.Ranges {
		for _, item := range limits.Spec.Limits {
			if amount, found := item.Default[name]; found && item.Type == v1.LimitTypeContainer && amount.Cmp(limit) == 0 {
				return "is the default of " + nameOf("LimitRange", limits.Namespace, limits.Name)
			}
		}
	}
	return "is less"
}

// nameOf is how messages name an object.
func nameOf(kind, namespace, name string) string { return kind + " " + namespace + "/" + name }
