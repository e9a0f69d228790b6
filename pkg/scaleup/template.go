package scaleup

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/inventory"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// Label names on every pod that is asked for the leader of its gang, by UID.
const Label = "retinue.dev/scale-up"

// placeholder is the name of the only container, and of its image. Nothing ever runs of it.
const placeholder = "placeholder"

// Missing is what of a demand an autoscaler does not count by itself: all pods but the leader, each role with some. Where WithLeader is true
// the leader is asked for as well, before the others.
func Missing(demand inventory.Demand) []inventory.Pods {
	missing := slices.DeleteFunc(slices.Clone(demand.Roles), func(pods inventory.Pods) bool { return pods.Count <= 0 })
	if WithLeader(demand) {
		missing = slices.Insert(missing, 0, *demand.Leader)
	}
	return missing
}

// WithLeader tells whether the leader of a demand is asked for together with the others: all have to be in one domain, of which the pending pod
// does not know. An autoscaler that counted it by itself would buy it a node in any of them.
func WithLeader(demand inventory.Demand) bool {
	return demand.Leader != nil && demand.Strategy == placement.SingleZone && slices.ContainsFunc(demand.Roles, func(pods inventory.Pods) bool { return pods.Count > 0 })
}

// Template is one of several equal pods, as far as it decides which node may hold it: its requests as one container, its node selector,
// tolerations, affinity, spread and priority. It has no volumes, no secrets and no labels but those that its own rules may select. In one
// domain of domainKey if the whole gang has to be, which the pods of one leader say of one another.
func Template(leader types.UID, pods inventory.Pods, strategy placement.Strategy, domainKey string) v1.PodTemplateSpec {
	spec := &pods.Pod.Spec
	requests := pods.Requests.List()
	limits := v1.ResourceList{} // of extended resources, which have to equal the requests
	for _, amount := range pods.Requests.Extended {
		if quantity, asked := requests[amount.Name]; asked {
			limits[amount.Name] = quantity
		}
	}
	never := int64(0)
	automount := false
	template := v1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{Label: string(leader)}},
		Spec: v1.PodSpec{
			Containers:                    []v1.Container{{Name: placeholder, Image: placeholder, Resources: v1.ResourceRequirements{Requests: requests, Limits: limits}}},
			RestartPolicy:                 v1.RestartPolicyNever,
			TerminationGracePeriodSeconds: &never,
			AutomountServiceAccountToken:  &automount,
			NodeSelector:                  spec.NodeSelector,
			Tolerations:                   spec.Tolerations,
			Affinity:                      spec.Affinity.DeepCopy(),
			TopologySpreadConstraints:     spec.TopologySpreadConstraints,
			PriorityClassName:             spec.PriorityClassName,
			SchedulerName:                 spec.SchedulerName,
		},
	}
	for key, value := range pods.Pod.Labels {
		if key != Label {
			template.Labels[key] = value
		}
	}
	if strategy == placement.SingleZone && domainKey != "" {
		together(&template.Spec, leader, domainKey)
	}
	return template
}

// together adds that all pods of a leader have to be in one domain.
func together(spec *v1.PodSpec, leader types.UID, domainKey string) {
	if spec.Affinity == nil {
		spec.Affinity = &v1.Affinity{}
	}
	if spec.Affinity.PodAffinity == nil {
		spec.Affinity.PodAffinity = &v1.PodAffinity{}
	}
	terms := &spec.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	*terms = append(*terms, v1.PodAffinityTerm{TopologyKey: domainKey, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{Label: string(leader)}}})
}

// Total is what several kinds of pods ask for in all, cut down to what is more than any cluster has.
func Total(pods []inventory.Pods) resource.Vector {
	var total resource.Vector
	for _, some := range pods {
		total = total.Add(some.Requests.Scale(some.Count))
	}
	return total.Bounded()
}
