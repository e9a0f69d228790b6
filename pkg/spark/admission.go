package spark

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
)

// Admission may change every pod that is created: webhooks, LimitRanges and the default PriorityClass. What it did to a driver
// can be seen, as the driver is there, and it will most likely do the same to executors.

// AnnotationLikeDriver on a driver with the value "false" ends the assumption that admission adds to executors what it added to
// the driver.
const AnnotationLikeDriver = "retinue.dev/like-driver"

// additions are what somebody put on a driver that neither its settings nor Spark did.
type additions struct {
	nodeSelector      map[string]string
	tolerations       []v1.Toleration
	affinity          *v1.Affinity
	initContainers    []v1.Container
	containers        []v1.Container
	priorityClassName string
	runtimeClassName  *string
	overhead          v1.ResourceList
	// resources of Spark's own container that a LimitRange defaults. Devices are not among them: they are asked for, for a driver
	// or for executors.
	resources v1.ResourceRequirements
}

// additionsTo compares a driver with the one that the settings make. What settings of drivers put there is none, and where a
// template of the driver is named nothing is: what was in it shows nowhere.
func additionsTo(driver *v1.Pod, s settings) additions {
	if driver.Annotations[AnnotationLikeDriver] == "false" || s.has(driverTemplate) {
		return additions{}
	}
	made, err := Driver(s.properties, s.version)
	if err != nil {
		return additions{} // a driver that is there was not made by these settings
	}
	isMain := func(container v1.Container) bool { return container.Name == DriverContainer }
	main := slices.IndexFunc(driver.Spec.Containers, isMain)
	if main < 0 {
		return additions{}
	}
	a := additions{
		affinity:          driver.Spec.Affinity,
		initContainers:    driver.Spec.InitContainers,
		containers:        slices.DeleteFunc(slices.Clone(driver.Spec.Containers), isMain),
		priorityClassName: driver.Spec.PriorityClassName,
		runtimeClassName:  driver.Spec.RuntimeClassName,
		overhead:          driver.Spec.Overhead,
	}
	for key, value := range driver.Spec.NodeSelector {
		if made.Spec.NodeSelector[key] != value {
			if a.nodeSelector == nil {
				a.nodeSelector = map[string]string{}
			}
			a.nodeSelector[key] = value
		}
	}
	a.tolerations = ownTolerations(driver)
	real, ours := driver.Spec.Containers[main].Resources, made.Spec.Containers[0].Resources
	a.resources.Limits = defaulted(real.Limits, ours.Limits)
	a.resources.Requests = defaulted(real.Requests, ours.Requests)
	return a
}

// defaulted are the amounts of real of which the others have none.
func defaulted(real, others v1.ResourceList) v1.ResourceList {
	list := v1.ResourceList{}
	for name, amount := range real {
		if _, there := others[name]; !there && overcommitted(name) {
			list[name] = amount
		}
	}
	return list
}

// apply adds to an executor what it does not have by itself and returns what that is, for people; empty means nothing.
// container is the index of Spark's own.
func (a additions) apply(executor *v1.Pod, container int) string {
	var added []string
	add := func(format string, arguments ...any) { added = append(added, fmt.Sprintf(format, arguments...)) }
	spec := &executor.Spec
	for _, key := range slices.Sorted(maps.Keys(a.nodeSelector)) {
		if _, own := spec.NodeSelector[key]; own {
			continue
		}
		if spec.NodeSelector == nil {
			spec.NodeSelector = map[string]string{}
		}
		spec.NodeSelector[key] = a.nodeSelector[key]
		add("node selector %s=%s", key, a.nodeSelector[key])
	}
	for _, toleration := range a.tolerations {
		if !slices.ContainsFunc(spec.Tolerations, func(own v1.Toleration) bool { return equality.Semantic.DeepEqual(own, toleration) }) {
			spec.Tolerations = append(spec.Tolerations, toleration)
			add("toleration %s", showToleration(toleration))
		}
	}
	if a.affinity != nil && spec.Affinity == nil {
		spec.Affinity = a.affinity.DeepCopy()
		add("affinity")
	}
	main := &spec.Containers[container].Resources
	for _, list := range []struct {
		name string
		from v1.ResourceList
		to   *v1.ResourceList
	}{{"limit", a.resources.Limits, &main.Limits}, {"request", a.resources.Requests, &main.Requests}} {
		for _, name := range slices.Sorted(maps.Keys(list.from)) {
			amount := list.from[name]
			if _, own := (*list.to)[name]; own || !fitsBeside(main, list.name, name, amount.DeepCopy()) {
				continue
			}
			if *list.to == nil {
				*list.to = v1.ResourceList{}
			}
			(*list.to)[name] = amount.DeepCopy()
			add("%s of %s %s", list.name, name, amount.String())
		}
	}
	// Spark's own container stays where it is: what comes goes behind it.
	spec.Containers = appendContainers(spec.Containers, a.containers, "container", add)
	spec.InitContainers = appendContainers(spec.InitContainers, a.initContainers, "init container", add)
	if a.priorityClassName != "" && spec.PriorityClassName == "" {
		spec.PriorityClassName = a.priorityClassName
		add("priority class %s", a.priorityClassName)
	}
	if a.runtimeClassName != nil && spec.RuntimeClassName == nil {
		spec.RuntimeClassName, spec.Overhead = a.runtimeClassName, a.overhead
		add("runtime class %s", *a.runtimeClassName)
	}
	return strings.Join(added, ", ")
}

// fitsBeside tells whether a request or limit that is added goes with what is there: a LimitRange that would make executors
// impossible is told by who reads LimitRanges.
func fitsBeside(resources *v1.ResourceRequirements, kind string, name v1.ResourceName, amount apiresource.Quantity) bool {
	if kind == "limit" {
		request, requested := resources.Requests[name]
		return !requested || request.Cmp(amount) <= 0
	}
	limit, limited := resources.Limits[name]
	return !limited || amount.Cmp(limit) <= 0
}

// appendContainers adds those containers whose names are not taken.
func appendContainers(own, more []v1.Container, kind string, add func(string, ...any)) []v1.Container {
	for _, container := range more {
		if !slices.ContainsFunc(own, func(other v1.Container) bool { return other.Name == container.Name }) {
			own = append(own, container)
			add("%s %s", kind, container.Name)
		}
	}
	return own
}

// showToleration writes a toleration as kubectl does: dedicated=spark:NoSchedule.
func showToleration(toleration v1.Toleration) string {
	text := toleration.Key
	if toleration.Operator == v1.TolerationOpExists {
		text = strings.TrimSpace(text + " exists")
	} else {
		text += "=" + toleration.Value
	}
	if toleration.Effect != "" {
		text += ":" + string(toleration.Effect)
	}
	return text
}
