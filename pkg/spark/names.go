package spark

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	helpers "k8s.io/component-helpers/resource"
)

// What the API server checks of a pod beyond the types of its fields, for the fields that are kept. Its own checks are internal
// to it.

// What names of two kinds have to look like.
const (
	wantLabel = "at most 63 lower case letters, digits and '-', with a letter or digit at both ends"
	anObject  = "the name of an object: lower case letters, digits, '-' and '.', with a letter or digit at both ends"
)

// resourceProblem is why the API server would refuse a container that asks for a resource of this name; "" means that it
// would not.
func resourceProblem(name string) string {
	if len(validation.IsQualifiedName(name)) > 0 {
		return "no resource has such a name; want one such as cpu, memory or nvidia.com/gpu"
	}
	domain, _, qualified := strings.Cut(name, "/")
	switch resource := v1.ResourceName(name); {
	case !qualified && resource != v1.ResourceCPU && resource != v1.ResourceMemory && resource != v1.ResourceEphemeralStorage && !isHugePages(resource):
		return "no resource of a container has such a name; want cpu, memory, ephemeral-storage, hugepages-<size> or one such as nvidia.com/gpu"
	case qualified && (domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io")):
		return "names of kubernetes.io are no extended resources"
	case qualified && strings.HasPrefix(name, v1.DefaultResourceRequestsPrefix):
		return "an extended resource has no prefix " + v1.DefaultResourceRequestsPrefix
	}
	return ""
}

func isHugePages(name v1.ResourceName) bool {
	return strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix)
}

// overcommitted tells whether a container may request less of a resource than its limit.
func overcommitted(name v1.ResourceName) bool {
	return !isHugePages(name) && !strings.Contains(string(name), "/")
}

// validateResources checks what a container, or a pod as a whole, requests and is limited to.
func validateResources(path *field.Path, requirements v1.ResourceRequirements) field.ErrorList {
	var errs field.ErrorList
	requests, limits := requirements.Requests, requirements.Limits
	for _, list := range []struct {
		name    string
		amounts v1.ResourceList
	}{{"requests", requests}, {"limits", limits}} {
		for _, name := range slices.Sorted(maps.Keys(list.amounts)) {
			at := path.Child(list.name).Key(string(name))
			quantity := list.amounts[name]
			if problem := resourceProblem(string(name)); problem != "" {
				errs = append(errs, field.Invalid(at, quantity.String(), problem))
			}
			if quantity.Sign() < 0 {
				errs = append(errs, field.Invalid(at, quantity.String(), "must not be negative"))
			}
			if strings.Contains(string(name), "/") && quantity.MilliValue()%1000 != 0 {
				errs = append(errs, field.Invalid(at, quantity.String(), "must be a whole number"))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		request, limit := requests[name], limits[name]
		_, limited := limits[name]
		at := path.Child("requests").Key(string(name))
		switch {
		case limited && overcommitted(name) && request.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(at, request.String(), "more than the limit of "+limit.String()))
		case limited && !overcommitted(name) && request.Cmp(limit) != 0:
			errs = append(errs, field.Invalid(at, request.String(), "must be the same as the limit of "+limit.String()))
		case !limited && !overcommitted(name):
			errs = append(errs, field.Invalid(at, request.String(), "needs a limit of the same amount"))
		}
	}
	return errs
}

// validatePodLevel compares what a pod as a whole requests and is limited to with its containers.
func validatePodLevel(path *field.Path, spec *v1.PodSpec) field.ErrorList {
	errs := validateResources(path.Child("resources"), *spec.Resources)
	within := helpers.AggregateContainerRequests(&v1.Pod{Spec: *spec}, helpers.PodResourcesOptions{})
	for _, list := range []struct {
		name    string
		amounts v1.ResourceList
	}{{"requests", spec.Resources.Requests}, {"limits", spec.Resources.Limits}} {
		for _, name := range slices.Sorted(maps.Keys(list.amounts)) {
			if name != v1.ResourceCPU && name != v1.ResourceMemory && !isHugePages(name) {
				errs = append(errs, field.NotSupported(path.Child("resources", list.name).Key(string(name)), name, []v1.ResourceName{v1.ResourceCPU, v1.ResourceMemory, v1.ResourceHugePagesPrefix}))
			}
			// Where only a limit is set, what the containers request is the pod's request.
			if whole, parts := list.amounts[name], within[name]; parts.Cmp(whole) > 0 {
				errs = append(errs, field.Invalid(path.Child("resources", list.name).Key(string(name)), whole.String(), "less than the "+parts.String()+" that its containers request"))
			}
		}
	}
	for i, container := range spec.Containers {
		for _, name := range slices.Sorted(maps.Keys(container.Resources.Limits)) {
			limit := container.Resources.Limits[name]
			if whole, limited := spec.Resources.Limits[name]; limited && limit.Cmp(whole) > 0 {
				errs = append(errs, field.Invalid(path.Child("containers").Index(i).Child("resources", "limits").Key(string(name)), limit.String(), "more than the limit of the pod, "+whole.String()))
			}
		}
	}
	return errs
}

// restartPolicies are those that a container may have.
var restartPolicies = []v1.ContainerRestartPolicy{v1.ContainerRestartPolicyAlways, v1.ContainerRestartPolicyOnFailure, v1.ContainerRestartPolicyNever}

// validateContainers checks containers of a pod, init containers and sidecars included.
func validateContainers(path *field.Path, spec *v1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for _, list := range []struct {
		name       string
		containers []v1.Container
	}{{"initContainers", spec.InitContainers}, {"containers", spec.Containers}} {
		for i, container := range list.containers {
			at := path.Child(list.name).Index(i)
			switch {
			case container.Name == "":
				errs = append(errs, field.Required(at.Child("name"), ""))
			case len(validation.IsDNS1123Label(container.Name)) > 0:
				errs = append(errs, field.Invalid(at.Child("name"), container.Name, "want "+wantLabel))
			case names[container.Name]:
				errs = append(errs, field.Duplicate(at.Child("name"), container.Name))
			}
			names[container.Name] = true
			if policy := container.RestartPolicy; policy != nil && !slices.Contains(restartPolicies, *policy) {
				errs = append(errs, field.NotSupported(at.Child("restartPolicy"), *policy, restartPolicies))
			}
			errs = append(errs, validateResources(at.Child("resources"), container.Resources)...)
			errs = append(errs, validatePorts(at.Child("ports"), container.Ports, spec.HostNetwork)...)
		}
	}
	return errs
}

// validatePorts checks those of one container.
func validatePorts(path *field.Path, ports []v1.ContainerPort, hostNetwork bool) field.ErrorList {
	var errs field.ErrorList
	names := map[string]bool{}
	for i, port := range ports {
		at := path.Index(i)
		if len(validation.IsValidPortNum(int(port.ContainerPort))) > 0 {
			errs = append(errs, field.Invalid(at.Child("containerPort"), port.ContainerPort, "want 1 to 65535"))
		}
		switch at := at.Child("hostPort"); {
		case port.HostPort == 0:
		case len(validation.IsValidPortNum(int(port.HostPort))) > 0:
			errs = append(errs, field.Invalid(at, port.HostPort, "want 1 to 65535"))
		case hostNetwork && port.HostPort != port.ContainerPort:
			errs = append(errs, field.Invalid(at, port.HostPort, fmt.Sprintf("must be the containerPort, %d, on the host's network", port.ContainerPort)))
		}
		if port.Protocol != "" && !slices.Contains(protocols, port.Protocol) {
			errs = append(errs, field.NotSupported(at.Child("protocol"), port.Protocol, protocols))
		}
		if name := port.Name; name != "" && (len(validation.IsValidPortName(name)) > 0 || names[name]) {
			errs = append(errs, field.Invalid(at.Child("name"), name, "want a name of its own of at most 15 lower case letters, digits and '-', with a letter among them"))
		}
		names[port.Name] = true
	}
	return errs
}

// protocols are those that a port may have.
var protocols = []v1.Protocol{v1.ProtocolTCP, v1.ProtocolUDP, v1.ProtocolSCTP}

// validateTolerations checks what a toleration may say together.
func validateTolerations(path *field.Path, tolerations []v1.Toleration) field.ErrorList {
	var errs field.ErrorList
	for i, toleration := range tolerations {
		at := path.Index(i)
		if key := toleration.Key; key != "" && len(validation.IsQualifiedName(key)) > 0 {
			errs = append(errs, field.Invalid(at.Child("key"), key, "not the key of a taint, such as dedicated or example.com/team"))
		}
		if toleration.Key == "" && (toleration.Operator == "" || toleration.Operator == v1.TolerationOpEqual) {
			errs = append(errs, field.Invalid(at.Child("operator"), toleration.Operator, "must be Exists where key is empty"))
		}
		switch toleration.Operator {
		case "", v1.TolerationOpEqual:
			if len(validation.IsValidLabelValue(toleration.Value)) > 0 {
				errs = append(errs, field.Invalid(at.Child("value"), toleration.Value, "not the value of a taint"))
			}
		case v1.TolerationOpExists:
			if toleration.Value != "" {
				errs = append(errs, field.Invalid(at.Child("value"), toleration.Value, "must be empty with operator Exists"))
			}
		case v1.TolerationOpLt, v1.TolerationOpGt:
			if _, err := apiresource.ParseQuantity(toleration.Value); len(toleration.Value) > 20 || err != nil {
				errs = append(errs, field.Invalid(at.Child("value"), toleration.Value, "must be an integer with operator Lt or Gt"))
			}
		default:
			errs = append(errs, field.Invalid(at.Child("operator"), toleration.Operator, "unknown operator"))
		}
		switch toleration.Effect {
		case "", v1.TaintEffectNoSchedule, v1.TaintEffectPreferNoSchedule, v1.TaintEffectNoExecute:
		default:
			errs = append(errs, field.NotSupported(at.Child("effect"), toleration.Effect, []v1.TaintEffect{v1.TaintEffectNoSchedule, v1.TaintEffectPreferNoSchedule, v1.TaintEffectNoExecute}))
		}
		if toleration.TolerationSeconds != nil && toleration.Effect != v1.TaintEffectNoExecute {
			errs = append(errs, field.Invalid(at.Child("effect"), toleration.Effect, "must be NoExecute with tolerationSeconds"))
		}
	}
	return errs
}

// validateNames checks the names of other objects that a pod mentions.
func validateNames(path *field.Path, spec *v1.PodSpec) field.ErrorList {
	var errs field.ErrorList
	object := func(at *field.Path, name string) {
		if name != "" && len(validation.IsDNS1123Subdomain(name)) > 0 {
			errs = append(errs, field.Invalid(at, name, "not "+anObject))
		}
	}
	object(path.Child("priorityClassName"), spec.PriorityClassName)
	if name := spec.RuntimeClassName; name != nil {
		object(path.Child("runtimeClassName"), *name)
	}
	volumes := map[string]bool{}
	for i, volume := range spec.Volumes {
		at := path.Child("volumes").Index(i)
		if volumes[volume.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), volume.Name))
		}
		volumes[volume.Name] = true
		if len(validation.IsDNS1123Label(volume.Name)) > 0 {
			errs = append(errs, field.Invalid(at.Child("name"), volume.Name, "want "+wantLabel))
		}
		if claim := volume.PersistentVolumeClaim; claim != nil {
			object(at.Child("persistentVolumeClaim", "claimName"), claim.ClaimName)
		}
	}
	return errs
}
