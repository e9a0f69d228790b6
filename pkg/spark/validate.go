package spark

import (
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// validate finds what the API server would refuse in those parts of a pod that scheduling reads, so that a mistake is
// told before the leader runs and not by the first worker.
func validate(pod *v1.Pod) error {
	if err := validateLabels("metadata.labels", pod.Labels); err != nil {
		return err
	}
	if err := validateLabels("spec.nodeSelector", pod.Spec.NodeSelector); err != nil {
		return err
	}
	spec := &pod.Spec
	var errs field.ErrorList
	path := field.NewPath("spec")
	errs = append(errs, validateContainers(path, spec)...)
	if spec.Resources != nil {
		errs = append(errs, validatePodLevel(path, spec)...)
	}
	if err := checkNames(pod); err != nil {
		return err
	}
	errs = append(errs, validateAmounts(path.Child("overhead"), spec.Overhead)...)
	errs = append(errs, validateAffinity(path.Child("affinity"), spec.Affinity)...)
	errs = append(errs, validateSpread(path.Child("topologySpreadConstraints"), spec.TopologySpreadConstraints)...)
	errs = append(errs, validateTolerations(path.Child("tolerations"), spec.Tolerations)...)
	errs = append(errs, validateNames(path, spec)...)
	if len(errs) == 0 {
		return nil
	}
	// One clear line; the next mistake shows when this one is gone.
	return oneLine(errs[0])
}

// checkImages refuses containers without an image. That of the last comes from Spark's settings.
func checkImages(pod *v1.Pod) error {
	path := field.NewPath("spec")
	for _, list := range []struct {
		name       string
		containers []v1.Container
	}{{"initContainers", pod.Spec.InitContainers}, {"containers", pod.Spec.Containers[:len(pod.Spec.Containers)-1]}} {
		for i, container := range list.containers {
			if container.Image == "" {
				return oneLine(field.Required(path.Child(list.name).Index(i).Child("image"), ""))
			}
		}
	}
	return nil
}

// checkNames bounds how many different resources a pod asks for.
func checkNames(pod *v1.Pod) error {
	names := map[v1.ResourceName]bool{}
	count := func(lists ...v1.ResourceList) {
		for _, list := range lists {
			for name := range list {
				names[name] = true
			}
		}
	}
	for _, containers := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			count(containers[i].Resources.Requests, containers[i].Resources.Limits)
		}
	}
	if pod.Spec.Resources != nil {
		count(pod.Spec.Resources.Requests, pod.Spec.Resources.Limits)
	}
	if count(pod.Spec.Overhead); len(names) > resource.MaxNames {
		return fmt.Errorf("%d different resources, more than %d", len(names), resource.MaxNames)
	}
	return nil
}

// maxRoleBytes bounds what is kept of a gang's workers, as Kubernetes encodes pods: rules about nodes and other pods, labels
// and volumes, of real ones two or three thousand bytes. It is kept in memory and, but for volumes, in an annotation of the leader.
const maxRoleBytes = 16 << 10

// checkSize refuses roles whose workers say more than is kept.
func checkSize(roles ...gang.Role) error {
	size := 0
	for _, role := range roles {
		size += role.Pod.Size()
	}
	if size > maxRoleBytes {
		return fmt.Errorf("what the workers say about nodes, other pods and volumes takes %d bytes, more than %d", size, maxRoleBytes)
	}
	return nil
}

func validateAmounts(path *field.Path, list v1.ResourceList) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(list)) {
		if quantity := list[name]; quantity.Sign() < 0 {
			errs = append(errs, field.Invalid(path.Key(string(name)), quantity.String(), "must not be negative"))
		}
	}
	return errs
}

func validateSpread(path *field.Path, constraints []v1.TopologySpreadConstraint) field.ErrorList {
	type pair struct {
		key  string
		when v1.UnsatisfiableConstraintAction
	}
	var errs field.ErrorList
	seen := map[pair]bool{}
	for i, constraint := range constraints {
		at, when := path.Index(i), constraint.WhenUnsatisfiable
		if constraint.MaxSkew <= 0 {
			errs = append(errs, field.Invalid(at.Child("maxSkew"), constraint.MaxSkew, "must be at least 1"))
		}
		if when != v1.DoNotSchedule && when != v1.ScheduleAnyway {
			errs = append(errs, field.NotSupported(at.Child("whenUnsatisfiable"), when, []v1.UnsatisfiableConstraintAction{v1.DoNotSchedule, v1.ScheduleAnyway}))
		}
		if least := constraint.MinDomains; least != nil && *least <= 0 {
			errs = append(errs, field.Invalid(at.Child("minDomains"), *least, "must be at least 1"))
		} else if least != nil && when != v1.DoNotSchedule {
			errs = append(errs, field.Invalid(at.Child("minDomains"), *least, "needs whenUnsatisfiable: DoNotSchedule"))
		}
		for _, policy := range []struct {
			name  string
			value *v1.NodeInclusionPolicy
		}{{"nodeAffinityPolicy", constraint.NodeAffinityPolicy}, {"nodeTaintsPolicy", constraint.NodeTaintsPolicy}} {
			if policy.value != nil && *policy.value != v1.NodeInclusionPolicyHonor && *policy.value != v1.NodeInclusionPolicyIgnore {
				errs = append(errs, field.NotSupported(at.Child(policy.name), *policy.value, []v1.NodeInclusionPolicy{v1.NodeInclusionPolicyHonor, v1.NodeInclusionPolicyIgnore}))
			}
		}
		if len(constraint.MatchLabelKeys) > 0 && constraint.LabelSelector == nil {
			errs = append(errs, field.Forbidden(at.Child("matchLabelKeys"), "needs a labelSelector"))
		}
		if seen[pair{constraint.TopologyKey, when}] {
			errs = append(errs, field.Duplicate(at.Child("topologyKey"), constraint.TopologyKey))
		}
		seen[pair{constraint.TopologyKey, when}] = true
		errs = append(errs, validateTerm(at, constraint.TopologyKey, constraint.LabelSelector)...)
	}
	return errs
}

func validateAffinity(path *field.Path, affinity *v1.Affinity) field.ErrorList {
	var errs field.ErrorList
	if affinity == nil {
		return nil
	}
	if node := affinity.NodeAffinity; node != nil {
		if required := node.RequiredDuringSchedulingIgnoredDuringExecution; required != nil {
			if len(required.NodeSelectorTerms) == 0 {
				errs = append(errs, field.Required(path.Child("nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"), ""))
			}
			if _, err := nodeaffinity.NewNodeSelector(required); err != nil {
				errs = append(errs, field.Invalid(path.Child("nodeAffinity"), field.OmitValueType{}, err.Error()))
			}
		}
		for i, term := range node.PreferredDuringSchedulingIgnoredDuringExecution {
			errs = append(errs, validateWeight(path.Child("nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution").Index(i), term.Weight)...)
		}
		if _, err := nodeaffinity.NewPreferredSchedulingTerms(node.PreferredDuringSchedulingIgnoredDuringExecution); err != nil {
			errs = append(errs, field.Invalid(path.Child("nodeAffinity"), field.OmitValueType{}, err.Error()))
		}
	}
	if pod := affinity.PodAffinity; pod != nil {
		errs = append(errs, validateTerms(path.Child("podAffinity"), pod.RequiredDuringSchedulingIgnoredDuringExecution, pod.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	if anti := affinity.PodAntiAffinity; anti != nil {
		errs = append(errs, validateTerms(path.Child("podAntiAffinity"), anti.RequiredDuringSchedulingIgnoredDuringExecution, anti.PreferredDuringSchedulingIgnoredDuringExecution)...)
	}
	return errs
}

func validateTerms(path *field.Path, required []v1.PodAffinityTerm, preferred []v1.WeightedPodAffinityTerm) field.ErrorList {
	var errs field.ErrorList
	for i, term := range required {
		at := path.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i)
		errs = append(errs, validateTerm(at, term.TopologyKey, term.LabelSelector, term.NamespaceSelector)...)
		errs = append(errs, validateNamespaces(at, term.Namespaces)...)
	}
	for i, weighted := range preferred {
		term, at := weighted.PodAffinityTerm, path.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i)
		errs = append(errs, validateWeight(at, weighted.Weight)...)
		errs = append(errs, validateTerm(at, term.TopologyKey, term.LabelSelector, term.NamespaceSelector)...)
		errs = append(errs, validateNamespaces(at, term.Namespaces)...)
	}
	return errs
}

func validateWeight(path *field.Path, weight int32) field.ErrorList {
	if weight < 1 || weight > 100 {
		return field.ErrorList{field.Invalid(path.Child("weight"), weight, "want 1 to 100")}
	}
	return nil
}

func validateNamespaces(path *field.Path, namespaces []string) field.ErrorList {
	var errs field.ErrorList
	for i, namespace := range namespaces {
		if len(validation.IsDNS1123Label(namespace)) > 0 {
			errs = append(errs, field.Invalid(path.Child("namespaces").Index(i), namespace, "want "+wantLabel))
		}
	}
	return errs
}

func validateTerm(path *field.Path, topologyKey string, selectors ...*metav1.LabelSelector) field.ErrorList {
	var errs field.ErrorList
	if topologyKey == "" {
		errs = append(errs, field.Required(path.Child("topologyKey"), "must name a node label"))
	} else if len(validation.IsQualifiedName(topologyKey)) > 0 {
		errs = append(errs, field.Invalid(path.Child("topologyKey"), topologyKey, "not the key of a node label"))
	}
	for _, selector := range selectors {
		if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			errs = append(errs, field.Invalid(path.Child("labelSelector"), field.OmitValueType{}, fmt.Sprint(err)))
		}
	}
	return errs
}

// labelProblem is why the API server would refuse a label of a pod or in a node selector; "" means that it would not.
func labelProblem(name, value string) string {
	if len(validation.IsQualifiedName(name)) > 0 {
		return "not the name of a label, such as team or example.com/team"
	}
	if len(validation.IsValidLabelValue(value)) > 0 {
		return "not the value of a label: at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
	}
	return ""
}

// validateLabels checks labels that are written as a map. name is that of the field.
func validateLabels(name string, labels map[string]string) error {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		if problem := labelProblem(key, labels[key]); problem != "" {
			return fmt.Errorf("%s[%s]=%s: %s", name, key, quote(labels[key]), problem)
		}
	}
	return nil
}
