package spark

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// defaultBlockManagerPort is where executors listen for each other.
const defaultBlockManagerPort = 7079

// executorPod is an executor of the default resource profile as Spark will create it, as far as scheduling is
// concerned: the template with Spark's settings laid over it.
func (s settings) executorPod(driver, template *v1.Pod) (*v1.Pod, error) {
	pod := &v1.Pod{}
	if template != nil {
		pod.Labels = maps.Clone(template.Labels)
		pod.Spec = *template.Spec.DeepCopy()
	}
	pod.Namespace = driver.Namespace
	pod.Name = AppID(driver) + "-executor"
	var err error
	if pod.Labels, err = s.executorLabels(driver, pod.Labels); err != nil {
		return nil, err
	}
	if err := checkAnnotations(s, template); err != nil {
		return nil, err
	}
	for _, check := range []func(settings) error{checkVolumes, checkPrefix} {
		if err := check(s); err != nil {
			return nil, err
		}
	}
	if pod.Spec.NodeSelector, err = s.selectors(pod.Spec.NodeSelector, nodeSelector, executorNodeSelector); err != nil {
		return nil, err
	}
	if name, found := s.executorScheduler(); found {
		pod.Spec.SchedulerName = name
	}
	pod.Spec.RestartPolicy = v1.RestartPolicyNever

	container, sidecars := s.mainContainer(pod.Spec.Containers)
	if container.Name == "" {
		container.Name = ExecutorContainer
	}
	container.Image = s.image(driver, container.Image, executorImage)
	if err := s.executorResources(&container.Resources); err != nil {
		return nil, err
	}
	if err := s.executorPorts(&container); err != nil {
		return nil, err
	}
	// Spark puts its own container behind the sidecars.
	pod.Spec.Containers = append(sidecars, container)
	pod.Spec.Volumes = append(pod.Spec.Volumes, s.claims()...)
	if errs := validateNames(field.NewPath("spec"), &pod.Spec); len(errs) > 0 {
		return nil, fmt.Errorf("the executor pod template: %w", oneLine(errs[0])) // some volumes are not kept
	}
	strip(pod)
	applyDefaults(&pod.Spec)
	return pod, nil
}

// image is the image of a role's container. missing is that of the template.
func (s settings) image(pod *v1.Pod, missing, roleKey string) string {
	name, found := s.text(roleKey, image)
	if !found {
		return missing
	}
	if s.version.AtLeast(v41) {
		name = strings.ReplaceAll(name, "{{SPARK_VERSION}}", pod.Labels[LabelVersion])
	}
	return name
}

// mainContainer separates the container that becomes Spark's from the sidecars of a template.
func (s settings) mainContainer(containers []v1.Container) (v1.Container, []v1.Container) {
	if len(containers) == 0 {
		return v1.Container{}, nil
	}
	main := 0
	if name, found := s.text(templateContainer); found {
		named := func(container v1.Container) bool { return container.Name == name }
		if i := slices.IndexFunc(containers, named); i >= 0 {
			main = i
		}
	}
	return containers[main], slices.Delete(slices.Clone(containers), main, main+1)
}

// executorResources lays Spark's amounts over those of the template: cpu and memory are always Spark's, everything
// else stays.
func (s settings) executorResources(r *v1.ResourceRequirements) error {
	memory, err := s.executorMemory()
	if err != nil {
		return err
	}
	cpu, err := s.cpu(requestCores, executorCores)
	if err != nil {
		return err
	}
	return s.overlay(r, amounts{memory, cpu, limitCores, [2]string{requestCores, executorCores}, executorResource})
}

// amounts is what Spark sets on its container.
type amounts struct {
	memory    int64 // MiB, request and limit
	cpu       resource.Quantity
	limitKey  string    // the setting of the cpu limit
	cpuKeys   [2]string // the settings of the cpu request; the first wins
	resources string    // the family of settings of extended resources
}

// requestedBy names the setting that a cpu request comes from, and its value.
func (s settings) requestedBy(a amounts) string {
	for _, key := range a.cpuKeys {
		if s.has(key) {
			return key + "=" + quote(s.properties[key].shown())
		}
	}
	return "the default of " + a.cpuKeys[1]
}

func (s settings) overlay(r *v1.ResourceRequirements, a amounts) error {
	r.Requests, r.Limits = maps.Clone(r.Requests), maps.Clone(r.Limits)
	if r.Requests == nil {
		r.Requests = v1.ResourceList{}
	}
	if r.Limits == nil {
		r.Limits = v1.ResourceList{}
	}
	memory := *resource.NewQuantity(a.memory*mebibyte, resource.BinarySI)
	r.Requests[v1.ResourceMemory], r.Limits[v1.ResourceMemory] = memory, memory
	r.Requests[v1.ResourceCPU] = a.cpu
	if s.has(a.limitKey) {
		limit, err := s.quantity(a.limitKey)
		if err != nil {
			return err
		}
		if limit.Cmp(a.cpu) < 0 {
			return s.invalid(a.limitKey, fmt.Sprintf("less than the %s that are requested by %s, which the API server will refuse", a.cpu.String(), s.requestedBy(a)))
		}
		r.Limits[v1.ResourceCPU] = limit
	} else if limit, limited := r.Limits[v1.ResourceCPU]; limited && limit.Cmp(a.cpu) < 0 {
		return fmt.Errorf("%s requests cpu %s, more than the limit of %s in the pod template, which the API server will refuse", s.requestedBy(a), a.cpu.String(), limit.String())
	}
	extended, err := s.extended(a.resources)
	if err != nil {
		return err
	}
	maps.Copy(r.Limits, extended)
	return nil
}

// cpu is a request in cores: a quantity if the user gave one, otherwise a number.
func (s settings) cpu(quantityKey, coresKey string) (resource.Quantity, error) {
	cores, err := s.count(coresKey, 1, 1)
	if err != nil {
		return resource.Quantity{}, err
	}
	if s.has(quantityKey) {
		return s.quantity(quantityKey)
	}
	return *resource.NewQuantity(int64(cores), resource.DecimalSI), nil
}

// extended reads the limits of devices: <family><name>.amount of the resource <vendor>/<name>.
func (s settings) extended(family string) (v1.ResourceList, error) {
	limits := v1.ResourceList{}
	for _, key := range s.members(family) {
		name, _, _ := strings.Cut(strings.TrimPrefix(key, family), ".")
		amountKey, vendorKey := family+name+".amount", family+name+".vendor"
		amountValue, found := s.properties[amountKey]
		if !found {
			return nil, s.invalid(key, "needs "+amountKey+", Spark will refuse to start")
		}
		amount, err := strconv.ParseInt(strings.TrimSpace(amountValue.Text), 10, 32)
		if err != nil {
			return nil, s.invalid(amountKey, "not a whole number")
		}
		if amount <= 0 {
			continue // Spark passes over it
		}
		vendor := s.properties[vendorKey].Text
		if vendor == "" {
			return nil, s.invalid(amountKey, "needs "+vendorKey+", Spark will refuse to start")
		}
		if problem := resourceProblem(vendor + "/" + name); problem != "" {
			return nil, s.invalid(vendorKey, fmt.Sprintf("makes the resource %s: %s", quote(vendor+"/"+name), problem))
		}
		limits[v1.ResourceName(vendor+"/"+name)] = *resource.NewQuantity(amount, resource.DecimalSI)
	}
	return limits, nil
}

// members are the keys of a family that are set, sorted.
func (s settings) members(family string) []string {
	var members []string
	for key := range s.properties {
		if strings.HasPrefix(key, family) && s.has(key) {
			members = append(members, key)
		}
	}
	slices.Sort(members)
	return members
}

// selectors adds the node labels of some families of settings to those of a template; later families win.
func (s settings) selectors(template map[string]string, families ...string) (map[string]string, error) {
	selector := maps.Clone(template)
	for _, family := range families {
		for _, key := range s.members(family) {
			name, value := strings.TrimPrefix(key, family), s.properties[key].Text
			if problem := labelProblem(name, value); problem != "" {
				return nil, s.invalid(key, problem)
			}
			if selector == nil {
				selector = map[string]string{}
			}
			selector[name] = value
		}
	}
	return selector, nil
}

// Placeholders in the values of labels, which Spark replaces since 4.0.
const (
	appIDPlaceholder      = "{{APP_ID}}"
	executorIDPlaceholder = "{{EXECUTOR_ID}}"
)

// executorLabels are the labels that every executor has, without those that differ from one to the next.
func (s settings) executorLabels(driver *v1.Pod, template map[string]string) (map[string]string, error) {
	labels := maps.Clone(template)
	if labels == nil {
		labels = map[string]string{}
	}
	for _, key := range s.members(executorLabel) {
		value := s.properties[key].Text
		name := strings.TrimPrefix(key, executorLabel)
		if s.version.AtLeast(v40) {
			if strings.Contains(value, executorIDPlaceholder) {
				delete(labels, name)
				continue
			}
			value = strings.ReplaceAll(value, appIDPlaceholder, AppID(driver))
		}
		if problem := labelProblem(name, value); problem != "" {
			return nil, s.invalid(key, problem)
		}
		labels[name] = value
	}
	for _, name := range []string{LabelAppName, LabelVersion} {
		if value, found := driver.Labels[name]; found {
			labels[name] = value
		}
	}
	labels[LabelApp] = AppID(driver)
	labels[LabelRole] = RoleExecutor
	labels[LabelResourceProfile] = DefaultResourceProfile
	return labels, nil
}

// isAnnotation tells whether the API server takes an annotation of this name.
func isAnnotation(name string) bool {
	return len(validation.IsQualifiedName(strings.ToLower(name))) == 0
}

// checkAnnotations refuses annotations of executors whose names the API server would. Their values are not looked at.
func checkAnnotations(s settings, template *v1.Pod) error {
	for _, key := range s.members(executorAnnotation) {
		if !isAnnotation(strings.TrimPrefix(key, executorAnnotation)) {
			return fmt.Errorf("%s: not the name of an annotation, such as team or example.com/team", quote(key))
		}
	}
	if template == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(template.Annotations)) {
		if !isAnnotation(name) {
			return fmt.Errorf("the executor pod template: metadata.annotations: %s: not the name of an annotation, such as team or example.com/team", quote(name))
		}
	}
	return nil
}

// executorPorts adds Spark's port to the container, where it occupies the node's if the executor uses the host's network.
func (s settings) executorPorts(container *v1.Container) error {
	port := int64(defaultBlockManagerPort)
	if value, found := s.lookup(blockManagerPort); found {
		var err error
		if port, err = strconv.ParseInt(strings.TrimSpace(value), 10, 32); err != nil || port != 0 && (port < 1024 || port > 65535) {
			return s.invalid(blockManagerPort, "not a port: 0, or 1024 to 65535")
		}
	}
	if !s.version.AtLeast(v34) {
		container.Ports = nil
	}
	if port != 0 {
		container.Ports = append(container.Ports, v1.ContainerPort{Name: "blockmanager", ContainerPort: int32(port)})
	}
	return nil
}
