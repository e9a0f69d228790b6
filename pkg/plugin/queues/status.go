package queues

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	schedulingv1alpha1 "sigs.k8s.io/scheduler-plugins/apis/scheduling/v1alpha1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/ledger"
	"retinue.dev/retinue/pkg/plugin/crd"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

const (
	// statusPeriod is how often the statuses are compared with what the ledger says.
	statusPeriod = 3 * time.Second
	// statusCalls is how many of one kind are written each time at most; the others come next time.
	statusCalls = 100
	// maxProblems is how many problems the condition of a queue names.
	maxProblems = 10
)

// Reasons of the condition Valid.
const (
	reasonAsWritten    = "AsWritten"
	reasonNotAsWritten = "NotAsWritten"
	reasonUnreadable   = "Unreadable"
)

// status keeps the statuses of Queues and ElasticQuotas up.
type status struct {
	queues *Queues
	// last are the objects that were written last, where the next round begins: kind -> namespace/name.
	last map[*crd.OptionalResource]string
	// complaints are what was said last about an ElasticQuota: UID -> message.
	complaints map[types.UID]string
}

func newStatus(q *Queues) *status {
	return &status{queues: q, last: map[*crd.OptionalResource]string{}, complaints: map[types.UID]string{}}
}

// run works until the context ends.
func (s *status) run(ctx context.Context) {
	ticker := s.queues.outside.Clock.NewTicker(statusPeriod)
	defer ticker.Stop()
	for {
		s.update(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

// update writes every status that has changed.
func (s *status) update(ctx context.Context) {
	q := s.queues
	latest := q.latest.Load()
	if latest == nil {
		return
	}
	listed, problems := q.outside.Ledger.Queues()
	shares := q.outside.Ledger.Shares()
	published.publish(q.outside.Ledger, listed, shares, slices.Concat(problems, latest.problems), q.outside.Clock.Now())
	if len(q.outside.Queues.All()) == 0 && len(q.outside.Elastic.All()) == 0 {
		return
	}
	standings := make(map[string]*ledger.QueueStanding, len(listed)) // queue -> how it stands
	for i := range listed {
		standings[listed[i].Name] = &listed[i]
	}
	wrong := map[string][]quota.Problem{} // queue -> what is wrong with it
	for _, problem := range slices.Concat(problems, latest.problems) {
		wrong[problem.Queue] = append(wrong[problem.Queue], problem)
		if template, _, below := strings.Cut(problem.Queue, "/"); below {
			problem.Field = "perNamespace." + problem.Field
			wrong[template] = append(wrong[template], problem)
		}
	}

	s.each(q.outside.Queues, func(object *unstructured.Unstructured) bool {
		name := object.GetName()
		status := statusOfQueue(conditionsOf(object), standings[name], shares[name])
		status.ObservedGeneration = latest.generations[name]
		if why, unreadable := latest.unreadable[name]; unreadable {
			status.ObservedGeneration = object.GetGeneration()
			s.judge(status, metav1.ConditionFalse, reasonUnreadable, "It counts as if it were not there: "+why)
		} else if _, read := latest.generations[name]; !read {
			return true // it has just come
		} else if found := wrong[name]; len(found) > 0 {
			s.judge(status, metav1.ConditionFalse, reasonNotAsWritten, problemsOf(found))
		} else {
			s.judge(status, metav1.ConditionTrue, reasonAsWritten, "")
		}
		return s.write(ctx, q.outside.Queues, object, status)
	})

	s.each(q.outside.Elastic, func(object *unstructured.Unstructured) bool {
		name := queueOfElastic(object.GetNamespace(), object.GetName())
		s.complain(object, complaintOf(latest.idle[name], wrong[name]))
		standing := standings[name]
		elastic, err := crd.Decode[schedulingv1alpha1.ElasticQuota](object)
		if standing == nil || err != nil {
			return true
		}
		return s.write(ctx, q.outside.Elastic, object, statusOfElastic(elastic, standing.Used))
	})
	present := map[types.UID]bool{}
	for _, object := range q.outside.Elastic.All() {
		present[object.GetUID()] = true
	}
	maps.DeleteFunc(s.complaints, func(uid types.UID, _ string) bool { return !present[uid] })
}

// each visits the objects of a kind, beginning with the one after the last that was written, until f returns false.
func (s *status) each(r *crd.OptionalResource, f func(*unstructured.Unstructured) bool) {
	objects := r.All()
	key := func(object *unstructured.Unstructured) string {
		return object.GetNamespace() + "/" + object.GetName()
	}
	start := max(slices.IndexFunc(objects, func(object *unstructured.Unstructured) bool { return key(object) > s.last[r] }), 0)
	calls := 0
	for i := range objects {
		object := objects[(start+i)%len(objects)]
		before := s.last[r]
		if !f(object) {
			return
		}
		if s.last[r] != before {
			if calls++; calls == statusCalls {
				return
			}
		}
	}
}

// write writes one status; false means that the API server should be left alone for a while.
func (s *status) write(ctx context.Context, r *crd.OptionalResource, object *unstructured.Unstructured, status any) bool {
	written, err := r.Write(ctx, object, status)
	if written {
		s.last[r] = object.GetNamespace() + "/" + object.GetName()
	}
	if err != nil && ctx.Err() == nil {
		s.queues.outside.Logger.Error(err, "Status not written", "kind", object.GetKind(), "name", klog.KObj(object))
	}
	return err == nil
}

// judge says whether everything counts as it is written.
func (s *status) judge(status *v1alpha1.QueueStatus, valid metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionValid, Status: valid, Reason: reason, Message: message, ObservedGeneration: status.ObservedGeneration,
		LastTransitionTime: metav1.NewTime(s.queues.outside.Clock.Now().Truncate(time.Second)),
	})
}

// complain says what is wrong with an ElasticQuota, whose status has no room for it, once.
func (s *status) complain(object *unstructured.Unstructured, complaint string) {
	if uid := object.GetUID(); s.complaints[uid] != complaint {
		s.complaints[uid] = complaint
		if complaint != "" {
			s.queues.outside.Recorder.Eventf(object, nil, v1.EventTypeWarning, reasonNotAsWritten, "Reading", "%s", complaint)
		}
	}
}

func complaintOf(idle string, problems []quota.Problem) string {
	if idle != "" {
		return idle
	}
	var texts []string
	for _, problem := range problems {
		texts = append(texts, elasticProblem(problem))
	}
	return joined(texts)
}

// problemsOf are the problems of one queue in one message.
func problemsOf(problems []quota.Problem) string {
	var texts []string
	for _, problem := range problems {
		texts = append(texts, fmt.Sprintf("spec.%s: %s: %s", problem.Field, problem.Value, problem.Message))
	}
	return joined(texts)
}

// joined are sentences, as many as somebody reads.
func joined(texts []string) string {
	if more := len(texts) - maxProblems; more > 0 {
		texts = append(slices.Clone(texts[:maxProblems]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(texts, "; ")
}

// conditionsOf are the conditions of a Queue, of which the rest may be unreadable.
func conditionsOf(object *unstructured.Unstructured) []metav1.Condition {
	written, _, err := unstructured.NestedMap(object.Object, "status")
	if err != nil {
		return nil
	}
	status, err := crd.Decode[v1alpha1.QueueStatus](&unstructured.Unstructured{Object: written})
	if err != nil {
		return nil
	}
	return status.Conditions
}

// roughly is an amount as exact as a share is: nobody wants to read bytes of it.
func roughly(share resource.Vector) resource.Vector {
	const mebibyte = 1 << 20
	share.CPU -= share.CPU % 100
	share.Memory -= share.Memory % mebibyte
	share.EphemeralStorage -= share.EphemeralStorage % mebibyte
	return share
}

// statusOfQueue is what the ledger knows of a queue, with the conditions it had. What the ledger does not know, or not
// yet, uses nothing.
func statusOfQueue(conditions []metav1.Condition, standing *ledger.QueueStanding, share resource.Vector) *v1alpha1.QueueStatus {
	status := &v1alpha1.QueueStatus{Conditions: conditions}
	if standing == nil {
		return status
	}
	status.Running, status.Waiting = standing.Gangs, int64(standing.Waiting)
	status.TopReason = topReason(standing.Reasons)
	for _, w := range standing.First {
		status.Waiters = append(status.Waiters, v1alpha1.QueueWaiter{Namespace: w.Namespace, Name: w.Name, Reason: string(w.Reason)})
	}
	if pool := standing.Pool; pool != nil {
		status.Pool = &v1alpha1.QueuePool{Nodes: int64(pool.Nodes), Capacity: pool.Capacity.List()}
	}
	status.Guaranteed = v1.ResourceList{}
	status.Used = standing.Used.List()
	for _, amounts := range []quota.Amounts{standing.Guaranteed, standing.Limit} {
		for _, amount := range amounts {
			status.Used[amount.Name] = *quantityOf(amount.Name, standing.Used)
		}
	}
	for _, amount := range standing.Guaranteed {
		status.Guaranteed[amount.Name] = *resource.Quantity(amount.Name, amount.Value)
	}
	status.FairShare = roughly(share).List()
	status.Borrowed = standing.Borrowed.List()
	status.Columns = v1alpha1.QueueColumns{CPU: column(standing, v1.ResourceCPU), Memory: column(standing, v1.ResourceMemory)}
	if len(status.Borrowed) > 0 {
		status.Columns.Borrowed = standing.Borrowed.String()
	}
	return status
}

// column is used/guaranteed/limit of a resource; a dash is what is not there.
func column(standing *ledger.QueueStanding, name v1.ResourceName) string {
	text := quantityOf(name, standing.Used).String()
	for _, amounts := range []quota.Amounts{standing.Guaranteed, standing.Limit} {
		if value, there := amounts.Of(name); there {
			text += "/" + resource.Quantity(name, value).String()
		} else {
			text += "/-"
		}
	}
	return text
}

// topReason is the one of most who wait, of several the first by name.
func topReason(reasons map[gang.Reason]int) string {
	top := gang.Reason("")
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		if reasons[reason] > reasons[top] {
			top = reason
		}
	}
	return string(top)
}
