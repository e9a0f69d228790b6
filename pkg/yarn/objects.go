package yarn

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	admission "k8s.io/api/admissionregistration/v1"
	v1 "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const (
	podNodeSelector = "scheduler.alpha.kubernetes.io/node-selector"
	submitRole      = "yarn-submit"
	administerRole  = "yarn-administer"
)

// around is what stands around the Queues of a reading.
type around struct{ *reading }

func selectorOf(key, value string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{key: value}}
}

// objects around the Queues.
func (r around) objects() (all []any) {
	for _, q := range r.root.below() {
		if !q.leaf() || q.template != nil {
			continue
		}
		for _, label := range append([]string{""}, r.labels...) {
			if label != "" && q.parts[label] == nil {
				continue
			}
			all = append(all, r.namespace(q, label))
			if limits := r.limitRange(q, label); limits != nil {
				all = append(all, limits)
			}
			all = append(all, r.submitters(q, label)...)
		}
	}
	all = append(all, r.administrators()...)
	all = append(all, r.lifetimePolicies()...)
	return append(all, r.mappingPolicy()...)
}

func (r around) namespace(q *queue, label string) *v1.Namespace {
	namespace := &v1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: r.named(q, label)}}
	runsOn := label
	if label == "" && !slices.Contains(r.labels, q.defaultLabel) {
		runsOn = q.defaultLabel
	}
	if runsOn != "" {
		namespace.Annotations = map[string]string{podNodeSelector: r.options.LabelKey + "=" + runsOn}
	}
	return namespace
}

func (r around) limitRange(q *queue, label string) *v1.LimitRange {
	if q.largest == nil {
		return nil
	}
	most := v1.ResourceList{}
	for name, amount := range q.largest {
		most[name] = quantity(name, amount).Quantity
	}
	return &v1.LimitRange{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "LimitRange"}, ObjectMeta: metav1.ObjectMeta{Name: "yarn-maximum-allocation", Namespace: r.named(q, label)},
		Spec: v1.LimitRangeSpec{Limits: []v1.LimitRangeItem{{Type: v1.LimitTypePod, Max: most}}}}
}

// subjects of what is said of a queue and of all above it: who may do something above may do it below.
func subjects(q *queue, of func(*queue) acl) (found []rbac.Subject) {
	users, groups := map[string]bool{}, map[string]bool{}
	for ; q != nil; q = q.parent {
		who := of(q)
		for _, name := range who.users {
			if !users[name] {
				found = append(found, rbac.Subject{Kind: rbac.UserKind, APIGroup: rbac.GroupName, Name: name})
			}
			users[name] = true
		}
		for _, name := range who.groups {
			if !groups[name] {
				found = append(found, rbac.Subject{Kind: rbac.GroupKind, APIGroup: rbac.GroupName, Name: name})
			}
			groups[name] = true
		}
	}
	slices.SortFunc(found, func(a, b rbac.Subject) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	return found
}

// submitters are the Roles of those who may submit, and of those who may end what runs.
func (r around) submitters(q *queue, label string) (all []any) {
	for _, role := range []struct {
		name  string
		who   []rbac.Subject
		rules []rbac.PolicyRule
	}{
		{submitRole, subjects(q, func(q *queue) acl { return q.access.submit }), []rbac.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "services", "configmaps", "persistentvolumeclaims"}, Verbs: []string{"create", "get", "list", "watch", "update", "patch", "delete", "deletecollection"}},
			{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}},
		}},
		{administerRole, subjects(q, func(q *queue) acl { return q.access.administer }), []rbac.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list", "watch", "delete", "deletecollection"}},
			{APIGroups: []string{""}, Resources: []string{"pods/log"}, Verbs: []string{"get"}},
		}},
	} {
		if len(role.who) == 0 {
			continue
		}
		meta := metav1.ObjectMeta{Name: role.name, Namespace: r.named(q, label)}
		all = append(all,
			&rbac.Role{TypeMeta: metav1.TypeMeta{APIVersion: rbac.SchemeGroupVersion.String(), Kind: "Role"}, ObjectMeta: meta, Rules: role.rules},
			&rbac.RoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: rbac.SchemeGroupVersion.String(), Kind: "RoleBinding"}, ObjectMeta: meta, Subjects: role.who,
				RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: role.name}})
	}
	return all
}

// administrators of Queues: whoever may administer one may administer those below it.
func (r around) administrators() (all []any) {
	for _, q := range append([]*queue{r.root}, r.root.below()...) {
		who := subjects(&queue{access: q.access}, func(q *queue) acl { return q.access.administer })
		if len(who) == 0 {
			continue
		}
		var queues []string
		q.each(func(below *queue) {
			for _, label := range append([]string{""}, r.labels...) {
				if below != r.root && (label == "" || below.parts[label] != nil) {
					queues = append(queues, r.named(below, label))
				}
			}
		})
		name := "yarn-administer-root"
		if q != r.root {
			name = "yarn-administer-" + r.names[q]
		}
		meta := metav1.ObjectMeta{Name: name}
		all = append(all,
			&rbac.ClusterRole{TypeMeta: metav1.TypeMeta{APIVersion: rbac.SchemeGroupVersion.String(), Kind: "ClusterRole"}, ObjectMeta: meta,
				Rules: []rbac.PolicyRule{{APIGroups: []string{"retinue.dev"}, Resources: []string{"queues"}, ResourceNames: queues, Verbs: []string{"get", "update", "patch"}}}},
			&rbac.ClusterRoleBinding{TypeMeta: metav1.TypeMeta{APIVersion: rbac.SchemeGroupVersion.String(), Kind: "ClusterRoleBinding"}, ObjectMeta: meta, Subjects: who,
				RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: name}})
	}
	return all
}

var createPods = admission.RuleWithOperations{Operations: []admission.OperationType{admission.Create}, Rule: admission.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}}}

// drivers are the pods that policies are about.
var drivers = admission.MatchCondition{Name: "is-a-driver-of-retinue", Expression: "object.spec.?schedulerName.orValue('') == 'retinue' && object.metadata.?labels[?'spark-role'].orValue('') == 'driver'"}

// lifetimePolicies give drivers a deadline. A pod's deadline counts from its start, so that waiting does not count.
func (r around) lifetimePolicies() (all []any) {
	namespaces := map[lifetime][]string{}
	var order []lifetime
	for _, q := range r.root.below() {
		if q.leaf() && q.lifetime != (lifetime{}) && q.template == nil {
			if namespaces[q.lifetime] == nil {
				order = append(order, q.lifetime)
			}
			for _, label := range append([]string{""}, r.labels...) {
				if label == "" || q.parts[label] != nil {
					namespaces[q.lifetime] = append(namespaces[q.lifetime], r.named(q, label))
				}
			}
		}
	}
	for i, life := range order {
		maximum, byDefault := int64(life.maximum.Seconds()), int64(life.byDefault.Seconds())
		if byDefault == 0 || maximum > 0 && byDefault > maximum {
			byDefault = maximum
		}
		wanted := fmt.Sprintf("int(object.spec.?activeDeadlineSeconds.orValue(%d))", byDefault)
		if maximum > 0 {
			wanted = fmt.Sprintf("%s < %d ? %s : %d", wanted, maximum, wanted, maximum)
		}
		name := "yarn-lifetime-" + strconv.Itoa(i+1)
		all = append(all,
			&admission.MutatingAdmissionPolicy{
				TypeMeta: metav1.TypeMeta{APIVersion: admission.SchemeGroupVersion.String(), Kind: "MutatingAdmissionPolicy"}, ObjectMeta: metav1.ObjectMeta{Name: name},
				Spec: admission.MutatingAdmissionPolicySpec{
					FailurePolicy:      ptr.To(admission.Fail),
					ReinvocationPolicy: admission.NeverReinvocationPolicy,
					MatchConstraints:   &admission.MatchResources{ResourceRules: []admission.NamedRuleWithOperations{{RuleWithOperations: createPods}}, NamespaceSelector: inNamespaces(namespaces[life])},
					MatchConditions:    []admission.MatchCondition{drivers},
					Mutations: []admission.Mutation{{PatchType: admission.PatchTypeApplyConfiguration,
						ApplyConfiguration: &admission.ApplyConfiguration{Expression: "Object{spec: Object.spec{activeDeadlineSeconds: " + wanted + "}}"}}},
				}},
			&admission.MutatingAdmissionPolicyBinding{
				TypeMeta: metav1.TypeMeta{APIVersion: admission.SchemeGroupVersion.String(), Kind: "MutatingAdmissionPolicyBinding"}, ObjectMeta: metav1.ObjectMeta{Name: name},
				Spec: admission.MutatingAdmissionPolicyBindingSpec{PolicyName: name}})
	}
	return all
}

func inNamespaces(names []string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: v1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: names}}}
}

// mappingPolicy refuses drivers outside of the namespaces of the queue that their user is mapped to; the first mapping counts.
func (r around) mappingPolicy() []any {
	if len(r.mappings) == 0 {
		return nil
	}
	var queues, steps strings.Builder
	for _, m := range r.mappings {
		is := "request.userInfo.username == " + celString(m.name)
		if m.group {
			is = celString(m.name) + " in request.userInfo.groups"
		}
		fmt.Fprintf(&steps, "%s ? %s : ", is, r.celNamespaces(m.queue))
	}
	fmt.Fprintf(&queues, "%s[request.namespace]", steps.String())
	const name = "yarn-queue-mappings"
	return []any{
		&admission.ValidatingAdmissionPolicy{
			TypeMeta: metav1.TypeMeta{APIVersion: admission.SchemeGroupVersion.String(), Kind: "ValidatingAdmissionPolicy"}, ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: admission.ValidatingAdmissionPolicySpec{
				FailurePolicy:    ptr.To(admission.Fail),
				MatchConstraints: &admission.MatchResources{ResourceRules: []admission.NamedRuleWithOperations{{RuleWithOperations: createPods}}},
				MatchConditions:  []admission.MatchCondition{drivers},
				Variables:        []admission.Variable{{Name: "namespaces", Expression: queues.String()}},
				Validations: []admission.Validation{{Expression: "request.namespace in variables.namespaces",
					MessageExpression: "'applications of ' + request.userInfo.username + ' belong to namespace ' + variables.namespaces.join(' or ')"}},
			}},
		&admission.ValidatingAdmissionPolicyBinding{
			TypeMeta: metav1.TypeMeta{APIVersion: admission.SchemeGroupVersion.String(), Kind: "ValidatingAdmissionPolicyBinding"}, ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: admission.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []admission.ValidationAction{admission.Deny}}},
	}
}

func (r around) celNamespaces(q *queue) string {
	var names []string
	for _, label := range append([]string{""}, r.labels...) {
		if label == "" || q.parts[label] != nil {
			names = append(names, celString(r.named(q, label)))
		}
	}
	return "[" + strings.Join(names, ", ") + "]"
}

// celString is a text as CEL reads it.
func celString(text string) string { return strconv.Quote(text) }
