package queues

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// elasticQueue is the queue that all ElasticQuotas stand below. A Queue of that name takes its place.
const elasticQueue = "elasticquota"

// ElasticResource is that of ElasticQuotas, of the scheduler-plugins project.
var ElasticResource = schedulingv1alpha1.SchemeGroupVersion.WithResource("elasticquotas")

// queueOfElastic is the name of the queue that an ElasticQuota is. It is no Queue's: those have no slash.
func queueOfElastic(namespace, name string) string {
	return elasticQueue + "/" + namespace + "/" + name
}

// addElastic adds ElasticQuotas, sorted by namespace and name, to what Queues say: each is a queue for its namespace, which
// may borrow what others leave of their min, and no more.
func (r *reading) addElastic(quotas []*schedulingv1alpha1.ElasticQuota) {
	var counted []quota.Spec
	for _, elastic := range quotas {
		name := queueOfElastic(elastic.Namespace, elastic.Name)
		switch other := r.queues.Namespaces[elastic.Namespace]; {
		case strings.HasPrefix(other, elasticQueue+"/"):
			r.idle[name] = fmt.Sprintf("It does not count: namespace %s has another ElasticQuota, %s, and the first by name counts", elastic.Namespace, other[strings.LastIndex(other, "/")+1:])
			continue
		case other != "":
			r.idle[name] = fmt.Sprintf("It does not count: namespace %s belongs to Queue %s", elastic.Namespace, other)
			continue
		}
		r.queues.Namespaces[elastic.Namespace] = name
		counted = append(counted, quota.OfQueue(&v1alpha1.Queue{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.QueueSpec{
			Parent: elasticQueue, Guaranteed: amountsOf(elastic.Spec.Min), Limit: amountsOf(elastic.Spec.Max),
			Reclaim: &v1alpha1.QueueReclaim{Enabled: true},
		}}))
	}
	if len(counted) == 0 {
		return
	}
	isElastic := func(spec quota.Spec) bool { return spec.Name == elasticQueue }
	if !slices.ContainsFunc(r.queues.Specs, isElastic) {
		all := quota.Spec{Name: elasticQueue, Limit: sumOfGuarantees(counted), LimitIs: sumOfMins}
		r.queues.Specs = append(r.queues.Specs, all)
		for _, spec := range counted {
			r.problems = append(r.problems, beyond(spec, all.Limit)...)
		}
	}
	r.queues.Specs = append(r.queues.Specs, counted...)
}

// sumOfMins is where the limit of all ElasticQuotas together comes from.
const sumOfMins = "the sum of the min of every ElasticQuota"

// beyond are the limits of a queue that it cannot reach because all of its kind have less in all.
func beyond(spec quota.Spec, all quota.Amounts) []quota.Problem {
	var problems []quota.Problem
	for _, limit := range spec.Limit {
		if most, limited := all.Of(limit.Name); limited && limit.Value > most {
			problems = append(problems, quota.Problem{
				Queue: spec.Name, Field: "limit." + string(limit.Name), Value: resource.Quantity(limit.Name, limit.Value).String(),
				Message: fmt.Sprintf("it can never use more than %s, %s", resource.Quantity(limit.Name, most), sumOfMins),
			})
		}
	}
	return problems
}

// sumOfGuarantees is what queues are guaranteed in all, of every resource that one of them names.
func sumOfGuarantees(specs []quota.Spec) quota.Amounts {
	var sum quota.Amounts
	for _, spec := range specs {
		for _, amount := range spec.Guaranteed {
			amount.Value = max(amount.Value, 0)
			i := slices.IndexFunc(sum, func(other resource.Amount) bool { return other.Name == amount.Name })
			if i < 0 {
				sum = append(sum, amount)
			} else {
				sum[i].Value = min(sum[i].Value+amount.Value, resource.LimitCap)
			}
		}
	}
	slices.SortFunc(sum, func(a, b resource.Amount) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return sum
}

func amountsOf(list v1.ResourceList) v1alpha1.Amounts {
	if list == nil {
		return nil
	}
	amounts := v1alpha1.Amounts{}
	for name, quantity := range list {
		amounts[name] = v1alpha1.Amount{Quantity: quantity}
	}
	return amounts
}

// statusOfElastic is what an ElasticQuota's namespace uses, of the resources that it names.
func statusOfElastic(elastic *schedulingv1alpha1.ElasticQuota, used resource.Vector) *schedulingv1alpha1.ElasticQuotaStatus {
	status := &schedulingv1alpha1.ElasticQuotaStatus{Used: v1.ResourceList{}}
	for _, list := range []v1.ResourceList{elastic.Spec.Min, elastic.Spec.Max} {
		for name := range list {
			status.Used[name] = *quantityOf(name, used)
		}
	}
	return status
}

func quantityOf(name v1.ResourceName, amounts resource.Vector) *apiresource.Quantity {
	return resource.Quantity(name, amounts.Of(name))
}

// elasticProblem tells what is wrong with an ElasticQuota in the words of its own fields.
func elasticProblem(problem quota.Problem) string {
	field := problem.Field
	for ours, theirs := range map[string]string{"guaranteed": "min", "limit": "max"} {
		if field == ours || strings.HasPrefix(field, ours+".") {
			field = theirs + strings.TrimPrefix(field, ours)
			break
		}
	}
	return fmt.Sprintf("spec.%s: %s: %s", field, problem.Value, problem.Message)
}
