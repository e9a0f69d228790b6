package spark

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// What users write when there is nothing to infer from, or to overrule what is inferred.
const (
	// AnnotationRoles on a leader lists the roles of its workers.
	AnnotationRoles = "retinue.dev/roles"
	// AnnotationWorkers on a worker is how many pods of its gang start together, this one included.
	AnnotationWorkers = "retinue.dev/workers"
	// LabelGang names the gang that a pod belongs to. Spark's own label LabelApp serves as well.
	LabelGang = "retinue.dev/gang"
	// LabelGangRole names the role of a worker.
	LabelGangRole = "retinue.dev/role"

	// AnnotationSource is the gang.Definition.Source of what FromAnnotations returns.
	AnnotationSource = "annotations"
)

// MaxWorkers bounds how many workers of one gang start together: as many pods as a cluster of 1,000 nodes holds.
const MaxWorkers = 100_000

// MaxRoles bounds the roles of one leader. Nothing real comes close, and whatever looks at a gang looks at each on every node.
const MaxRoles = 16

// roleText is one entry of AnnotationRoles.
type roleText struct {
	Name     string                  `json:"name"`
	Count    *int64                  `json:"count"`
	Minimum  *int64                  `json:"minimum"`
	Maximum  *int64                  `json:"maximum"`
	Requests map[string]quantityText `json:"requests"`
	Selector map[string]string       `json:"selector"`

	Labels                    map[string]string             `json:"labels"`
	NodeSelector              map[string]string             `json:"nodeSelector"`
	Tolerations               []v1.Toleration               `json:"tolerations"`
	Affinity                  *v1.Affinity                  `json:"affinity"`
	TopologySpreadConstraints []v1.TopologySpreadConstraint `json:"topologySpreadConstraints"`
	PriorityClassName         string                        `json:"priorityClassName"`
}

// quantityText is a quantity before it is checked, written as a string or a number.
type quantityText string

// UnmarshalJSON takes strings and numbers.
func (q *quantityText) UnmarshalJSON(data []byte) error {
	var value any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	switch value := value.(type) {
	case string:
		*q = quantityText(value)
	case json.Number:
		*q = quantityText(value.String())
	default:
		return fmt.Errorf("requests: %s is no quantity", quote(string(data)))
	}
	return nil
}

// Leads tells whether a pod leads a gang: a Spark driver, or whoever says so by listing the roles of its workers.
func Leads(pod *v1.Pod) bool { return ListsRoles(pod) || IsDriver(pod) }

// ListsRoles tells whether a pod lists the roles of its workers.
func ListsRoles(pod *v1.Pod) bool {
	_, written := pod.Annotations[AnnotationRoles]
	return written
}

// FromAnnotations reads the gang that a pod's annotations define; found is false if they define none. The error of a
// wrong one names the annotation and its value.
//
// With AnnotationRoles the pod is the leader and the roles are its workers. With AnnotationWorkers the pod is itself
// one of the workers: its labels match the selector of the only role, and its spec is the role's pod.
func FromAnnotations(pod *v1.Pod) (definition gang.Definition, found bool, err error) {
	roles, hasRoles := pod.Annotations[AnnotationRoles]
	workers, hasWorkers := pod.Annotations[AnnotationWorkers]
	definition.Source = AnnotationSource
	switch {
	case hasRoles && hasWorkers:
		return gang.Definition{}, true, fmt.Errorf("annotations %s and %s exclude each other: a pod is either leader or worker", AnnotationRoles, AnnotationWorkers)
	case hasRoles:
		if definition.Roles, err = parseRoles(pod, roles); err != nil {
			return gang.Definition{}, true, fmt.Errorf("annotation %s=%s: %w", AnnotationRoles, quote(roles), err)
		}
		return definition, true, nil
	case hasWorkers:
		role, err := parseWorkers(pod, workers)
		if err != nil {
			return gang.Definition{}, true, fmt.Errorf("annotation %s=%s: %w", AnnotationWorkers, quote(workers), err)
		}
		definition.Roles = []gang.Role{role}
		return definition, true, nil
	default:
		return gang.Definition{}, false, nil
	}
}

func parseRoles(leader *v1.Pod, text string) ([]gang.Role, error) {
	documents, err := documents(text, true)
	if err != nil {
		return nil, err
	}
	if len(documents) > 1 {
		return nil, errors.New("more than one document")
	}
	var entries []roleText
	if len(documents) == 1 {
		if err := decodeStrictly(documents[0], &entries); err != nil {
			return nil, err
		}
	}
	if len(entries) == 0 {
		return nil, errors.New("no role in the list")
	}
	if len(entries) > MaxRoles {
		return nil, fmt.Errorf("%d roles, more than %d", len(entries), MaxRoles)
	}
	var roles []gang.Role
	workers := 0
	for i, entry := range entries {
		role, err := entry.role(leader)
		if err != nil {
			return nil, fmt.Errorf("[%d].%w", i, err)
		}
		if slices.ContainsFunc(roles, func(other gang.Role) bool { return other.Name == role.Name }) {
			return nil, fmt.Errorf("[%d].name=%s: there already is a role of this name", i, quote(role.Name))
		}
		if j := slices.IndexFunc(roles, func(other gang.Role) bool { return maps.Equal(other.Selector, role.Selector) }); j >= 0 {
			return nil, fmt.Errorf("[%d].selector: selects the same pods as role %s", i, quote(roles[j].Name))
		}
		if workers += role.Count; workers > MaxWorkers {
			return nil, fmt.Errorf("[%d].count=%d: with the roles before it that makes %d workers, more than %d", i, role.Count, workers, MaxWorkers)
		}
		roles = append(roles, role)
	}
	if err := checkSize(roles...); err != nil {
		return nil, err
	}
	return roles, nil
}

// role checks one entry. Errors begin with the field.
func (e roleText) role(leader *v1.Pod) (gang.Role, error) {
	if len(validation.IsDNS1123Label(e.Name)) > 0 {
		return gang.Role{}, fmt.Errorf("name=%s: want at most 63 lower case letters, digits and '-', with a letter or digit at both ends", quote(e.Name))
	}
	if e.Count == nil {
		return gang.Role{}, errors.New("count: required")
	}
	role := gang.Role{Name: e.Name, Count: int(*e.Count), Minimum: int(*e.Count)}
	for _, number := range []struct {
		name        string
		value       *int64
		least, most int64
	}{
		{"count", e.Count, 0, MaxWorkers},
		{"minimum", e.Minimum, 0, *e.Count},
		{"maximum", e.Maximum, *e.Count, noLimit},
	} {
		if v := number.value; v != nil && (*v < number.least || *v > number.most) {
			return gang.Role{}, fmt.Errorf("%s=%d: want %d to %d", number.name, *v, number.least, number.most)
		}
	}
	if e.Minimum != nil {
		role.Minimum = int(*e.Minimum)
	}
	if e.Maximum != nil {
		maximum := int(*e.Maximum)
		role.Maximum = &maximum
	}
	requests, err := e.requests()
	if err != nil {
		return gang.Role{}, err
	}
	if role.Selector, err = e.selector(leader); err != nil {
		return gang.Role{}, err
	}
	if err := validateLabels("labels", e.Labels); err != nil {
		return gang.Role{}, err
	}
	if err := validateLabels("nodeSelector", e.NodeSelector); err != nil {
		return gang.Role{}, err
	}
	role.Pod = e.pod(leader, requests, role.Selector)
	if err := validate(role.Pod); err != nil {
		return gang.Role{}, errors.New(strings.TrimPrefix(err.Error(), "spec."))
	}
	role.Requests = resource.OfPod(role.Pod)
	return role, nil
}

func (e roleText) requests() (v1.ResourceList, error) {
	if len(e.Requests) == 0 {
		return nil, errors.New("requests: required, for example {cpu: 4, memory: 8Gi}")
	}
	list := v1.ResourceList{}
	for _, name := range slices.Sorted(maps.Keys(e.Requests)) {
		text := string(e.Requests[name])
		if problem := resourceProblem(name); problem != "" {
			return nil, fmt.Errorf("requests.%s: %s", quote(name), problem)
		}
		quantity, err := resource.Parse(text)
		if err != nil || quantity.Sign() < 0 {
			return nil, fmt.Errorf("requests.%s=%s: not a quantity such as 4 or 8Gi", name, quote(text))
		}
		list[v1.ResourceName(name)] = quantity
	}
	return list, nil
}

// selector is how the role's pods are known: by what the user says, or by Spark's labels or ours.
func (e roleText) selector(leader *v1.Pod) (map[string]string, error) {
	if len(e.Selector) > 0 {
		return e.Selector, validateLabels("selector", e.Selector)
	}
	if name := leader.Labels[LabelGang]; name != "" {
		return map[string]string{LabelGang: name, LabelGangRole: e.Name}, nil
	}
	if IsDriver(leader) && e.Name == RoleExecutor {
		return map[string]string{LabelApp: AppID(leader), LabelRole: RoleExecutor}, nil
	}
	return nil, fmt.Errorf("selector: required, as the leader has no label %s", LabelGang)
}

// pod is a worker of the role, as far as scheduling is concerned.
func (e roleText) pod(leader *v1.Pod, requests v1.ResourceList, selector map[string]string) *v1.Pod {
	labels := maps.Clone(selector)
	for key, value := range e.Labels {
		if _, taken := labels[key]; !taken {
			labels[key] = value
		}
	}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: leader.Namespace, Name: leader.Name + "-" + e.Name, Labels: labels},
		Spec: v1.PodSpec{
			SchedulerName:             leader.Spec.SchedulerName,
			Containers:                []v1.Container{{Name: e.Name, Resources: v1.ResourceRequirements{Requests: requests, Limits: limitsOf(requests)}}},
			NodeSelector:              e.NodeSelector,
			Tolerations:               e.Tolerations,
			Affinity:                  e.Affinity,
			TopologySpreadConstraints: e.TopologySpreadConstraints,
			PriorityClassName:         e.PriorityClassName,
		},
	}
}

// limitsOf are the limits without which the API server takes no such requests.
func limitsOf(requests v1.ResourceList) v1.ResourceList {
	var limits v1.ResourceList
	for name, quantity := range requests {
		if !overcommitted(name) {
			if limits == nil {
				limits = v1.ResourceList{}
			}
			limits[name] = quantity
		}
	}
	return limits
}

// parseWorkers makes the role of a pod that says how many of its kind start together.
func parseWorkers(pod *v1.Pod, text string) (gang.Role, error) {
	count, err := strconv.ParseInt(text, 10, 32)
	if err != nil || count < 1 || count > MaxWorkers {
		return gang.Role{}, fmt.Errorf("want the number of pods like this one that start together, 1 to %d", MaxWorkers)
	}
	name, selector := RoleExecutor, map[string]string{LabelApp: AppID(pod), LabelRole: RoleExecutor}
	if gangName := pod.Labels[LabelGang]; gangName != "" {
		name, selector = "worker", map[string]string{LabelGang: gangName}
		if role := pod.Labels[LabelGangRole]; role != "" {
			name = role
			selector[LabelGangRole] = role
		}
	} else if !IsExecutor(pod) {
		return gang.Role{}, fmt.Errorf("needs the label %s, which names the gang", LabelGang)
	}
	like := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, Labels: maps.Clone(pod.Labels)},
		Spec:       *pod.Spec.DeepCopy(),
	}
	like.Spec.NodeName = ""
	strip(like)
	n := int(count)
	if err := checkNames(like); err != nil {
		return gang.Role{}, err
	}
	return gang.Role{Name: name, Count: n, Minimum: n, Selector: selector, Requests: resource.OfPod(pod), Pod: like}, nil
}
