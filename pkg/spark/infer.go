package spark

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// Source is the gang.Definition.Source of what Infer returns.
const Source = "spark.properties"

// Infer computes the gang that a driver will form. template is nil if its executors have none. schedulers are the
// names under which this scheduler runs: executors that another one will place get no slots. Empty means the driver's
// own scheduler only.
//
// Everything a user can get wrong comes back as an error that names setting and value; what can only be guessed comes
// back as a warning in the definition.
func Infer(driver *v1.Pod, properties Properties, template *v1.Pod, schedulers ...string) (gang.Definition, error) {
	definition := gang.Definition{Source: Source}
	version, err := ParseVersion(driver.Labels[LabelVersion])
	if err != nil {
		return larger(driver, properties, template, schedulers)
	}
	s := settings{properties, version}
	if s.driverOnly() {
		return definition, nil
	}
	n, err := s.numbers()
	if err != nil {
		return gang.Definition{}, err
	}
	pod, err := s.executorPod(driver, template)
	if err != nil {
		return gang.Definition{}, err
	}
	for _, check := range []func(*v1.Pod) error{validate, checkImages} {
		if err := check(pod); err != nil {
			return gang.Definition{}, fmt.Errorf("the executor pod template: %w", err)
		}
	}
	if !s.hasScheduler(template) && (driver.Labels[operatorLabel] == "true" || admissionNamesScheduler(driver, properties)) {
		pod.Spec.SchedulerName = schedulerOf(driver)
	}
	if len(schedulers) == 0 {
		schedulers = []string{schedulerOf(driver)}
	}
	if !slices.Contains(schedulers, pod.Spec.SchedulerName) {
		definition.Warnings = append(definition.Warnings, fmt.Sprintf(
			"executors use scheduler %s, so no room is kept for them; set %s to %s", quote(s.shown(pod.Spec.SchedulerName, executorScheduler, scheduler)), scheduler, quote(schedulerOf(driver))))
		return definition, nil
	}
	var plain *v1.Pod
	likely := pod.DeepCopy()
	added := additionsTo(driver, s).apply(likely, len(likely.Spec.Containers)-1)
	if strip(likely); added != "" && validate(likely) == nil {
		pod, plain, definition.Assumed = likely, pod, added
	}
	definition.Roles = []gang.Role{{
		Name:     RoleExecutor,
		Count:    n.count,
		Minimum:  n.minimum,
		Maximum:  n.maximum,
		Selector: map[string]string{LabelApp: AppID(driver), LabelRole: RoleExecutor},
		Requests: resource.OfPod(pod),
		Pod:      pod,
		Plain:    plain,
	}}
	if err := checkSize(definition.Roles...); err != nil {
		return gang.Definition{}, err
	}
	definition.Warnings = s.warnings(template)
	return definition, nil
}

// larger infers for a driver that does not tell its Spark version: the rules that ask for more win.
func larger(driver *v1.Pod, properties Properties, template *v1.Pod, schedulers []string) (gang.Definition, error) {
	var larger gang.Definition
	for _, version := range []Version{Latest, v33} {
		labelled := driver.DeepCopy()
		if labelled.Labels == nil {
			labelled.Labels = map[string]string{}
		}
		labelled.Labels[LabelVersion] = version.String()
		definition, err := Infer(labelled, properties, template, schedulers...)
		if err != nil {
			return gang.Definition{}, err
		}
		for i := range definition.Roles {
			delete(definition.Roles[i].Pod.Labels, LabelVersion)
		}
		if more(definition, larger) {
			larger = definition
		}
	}
	larger.Source = Source
	larger.Warnings = append(larger.Warnings, "the driver has no label "+LabelVersion+" that can be read: the larger of all versions' results is used")
	return larger, nil
}

// more tells whether a asks for more than b. Between versions only the memory and the number of executors differ.
func more(a, b gang.Definition) bool {
	if len(a.Roles) == 0 || len(b.Roles) == 0 {
		return len(a.Roles) > len(b.Roles)
	}
	x, y := a.Roles[0], b.Roles[0]
	if x.Count != y.Count {
		return x.Count > y.Count
	}
	return x.Requests.Memory > y.Requests.Memory
}

// executorScheduler is the scheduler that the settings give to executors; found is false if they leave it to the
// template. Set but empty means the cluster's default.
func (s settings) executorScheduler() (name string, found bool) {
	return s.text(executorScheduler, scheduler)
}

// hasScheduler tells whether settings or template choose the scheduler of executors.
func (s settings) hasScheduler(template *v1.Pod) bool {
	_, set := s.executorScheduler()
	return set || template != nil && template.Spec.SchedulerName != ""
}

// admissionNamesScheduler tells whether it was admission that gave a driver its scheduler, as a policy for all pods of a namespace does: nothing
// that the user says names one. Executors come through the same admission.
func admissionNamesScheduler(driver *v1.Pod, properties Properties) bool {
	for _, name := range []string{scheduler, driverScheduler, driverTemplate} {
		if _, written := properties[name]; written { // known to this version of Spark or not
			return false
		}
	}
	return driver.Annotations[AnnotationLikeDriver] != "false"
}

// warnings are what a user should know about an inferred gang.
func (s settings) warnings(template *v1.Pod) []string {
	var warnings []string
	warn := func(condition bool, text string) {
		if condition {
			warnings = append(warnings, text)
		}
	}
	warn(!s.version.AtLeast(v33), "Spark "+s.version.String()+" is older than "+v33.String()+", the oldest version whose rules are known")
	warn(s.version.AtLeast(Version{Latest.Major, Latest.Minor + 1}), "Spark "+s.version.String()+" is newer than "+Latest.String()+", whose rules are used")
	for _, name := range []string{driverMemory, executorMemory} {
		value, _ := s.lookup(name)
		heap, err := s.heap(name)
		if err != nil {
			continue // only that of the driver, whose pod has its size already
		}
		_, err = strconv.Atoi(strings.TrimSpace(value))
		warn(err == nil, fmt.Sprintf("%s=%s has no unit: pods are sized in MiB, but Java and parts of Spark read bytes and refuse to start; write %dm", name, quote(value), heap))
		warn(err != nil && heap < leastHeap, fmt.Sprintf("%s=%s: Spark refuses to start with less than %dm", name, quote(value), leastHeap))
	}
	warn(s.has(featureSteps), featureSteps+" may change executors in ways that only the first one shows")
	warn(s.has(excludedSteps), excludedSteps+" may leave out parts of executors; the first one shows which")
	warn(s.hasOwnClaims(), "every executor gets volume claims of its own: zones that they may be tied to are not considered")
	if template == nil {
		return warnings
	}
	spec := template.Spec
	warn(spec.RuntimeClassName != nil, "the executor template names a runtime class: an overhead that it adds shows in the first executor only")
	warn(len(spec.ResourceClaims) > 0, "the executor template has resource claims: devices that they need are not considered")
	ephemeral := slices.ContainsFunc(spec.Volumes, func(volume v1.Volume) bool { return volume.Ephemeral != nil })
	warn(ephemeral, "the executor template has ephemeral volumes: zones that they may be tied to are not considered")
	return warnings
}
