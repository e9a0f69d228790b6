package yarn

import (
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

// Why settings have no place here, by the end of their names: the first that matches counts.
var lostInCapacityScheduler = []struct{ end, why string }{
	{"maximum-applications", "YARN refuses applications beyond it; here they wait, and a ResourceQuota with count/pods bounds what a namespace may create"},
	{".user-settings.*.weight", "users are equal"},
	{"workflow-priority-mappings", "the PriorityClass of the driver is its priority"},
	{"workflow-priority-mappings-override.enable", "the PriorityClass of the driver is its priority"},
	{"default-application-priority", "the PriorityClass of the driver is its priority; a PriorityClass with globalDefault is the default"},
	{"acl_application_max_priority", "who may use which PriorityClass is said by a ResourceQuota with scopeSelector"},
	{"acl_list_reservations", "there are no reservations of the future"},
	{"acl_administer_reservations", "there are no reservations of the future"},
	{"acl_submit_reservations", "there are no reservations of the future"},
	{"reservable", "there are no reservations of the future"},
	{"enable-size-based-weight", "an order by size can be gamed by asking for more"},
	{"node-locality-delay", "executors do not wait for data"},
	{"rack-locality-additional-delay", "executors do not wait for data"},
	{"rack-locality-full-reset", "executors do not wait for data"},
	{"per-node-heartbeat.multiple-assignments-enabled", "there are no heartbeats that assign"},
	{"per-node-heartbeat.maximum-container-assignments", "there are no heartbeats that assign"},
	{"per-node-heartbeat.maximum-offswitch-assignments", "there are no heartbeats that assign"},
	{"application.fail-fast", "who asks for a queue that is not there waits, and reads why"},
	{"queue-management-policy", "namespaces make their queues themselves"},
	{"auto-queue-creation-v2.max-queues", "how many namespaces there are is not limited here"},
	{"max-queues", "how many namespaces there are is not limited here"},
	{"fail-on-exceeding-parent-capacity", "guarantees beyond the parent's are reduced in proportion"},
	{"intra-queue-preemption.disable_preemption", "a PriorityClass with preemptionPolicy: Never takes no one's place"},
	{"legacy-queue-mode.enabled", "percentages, weights and amounts are read as in legacy mode"},
	{"multi-node-sorting.policy", "nodes are chosen by the argument placement of the scheduler"},
	{"multi-node-placement-enabled", "nodes are chosen by the argument placement of the scheduler"},
	{"user-metrics.enable", "there are no metrics by user"},
	{"lazy-preemption-enabled", "what is taken back leaves at once, and its room is kept"},
	{"reservations-continue-look-all-nodes", "room is kept for a gang that waits for long, on all nodes"},
	{"schedule-asynchronously.*", "scheduling is asynchronous"},
	{"asynchronously.*", "scheduling is asynchronous"},
	{"mapping-rule-json", "rules in JSON are not converted: write them as a ValidatingAdmissionPolicy"},
	{"mapping-rule-json-file", "rules in JSON are not converted: write them as a ValidatingAdmissionPolicy"},
	{"mapping-rule-format", "mappings are read in the old format only"},
	{"app-placement.*", "a namespace is a queue, and nothing else places applications"},
	{"queue-placement-rules.app-name", "a namespace is a queue, and nothing else places applications"},
}

// matches tells whether the end of a name is that of a pattern, in which a star at the end stands for anything.
func matches(name, end string) bool {
	if before, after, found := strings.Cut(end, "*"); found {
		if after == "" {
			return strings.Contains(name, "."+strings.TrimPrefix(before, "."))
		}
		return strings.Contains(name, before) && strings.HasSuffix(name, after)
	}
	return name == prefix+end || strings.HasSuffix(name, "."+end)
}

// global reads what is said of the whole scheduler.
func (r *reading) global() error {
	for _, name := range r.file.order {
		for _, lost := range lostInCapacityScheduler {
			if strings.HasPrefix(name, prefix) && matches(name, lost.end) && r.ofQueue(name) {
				r.file.note(name, Lost, "%s", lost.why)
				break
			}
		}
	}
	return r.gangs()
}

// ofQueue tells whether a property is of a queue that exists, or of none.
func (r *reading) ofQueue(name string) bool {
	rest := strings.TrimPrefix(name, prefix)
	if !strings.HasPrefix(rest, "root.") {
		return true
	}
	known := false
	r.root.each(func(q *queue) { known = known || strings.HasPrefix(rest, q.path+".") })
	return known
}

// gangs reads how many applications run at once.
func (r *reading) gangs() error {
	all := prefix + "max-parallel-apps"
	most, there, err := r.whole(all)
	if err != nil {
		return err
	}
	if there {
		r.file.note(all, Changed, "every queue has it that says nothing else; the cluster as a whole has no such limit")
	}
	for _, q := range r.root.below() {
		property := prefix + q.path + ".max-parallel-apps"
		own, said, err := r.whole(property)
		if err != nil {
			return err
		}
		r.file.note(property, Carried, "")
		if !said {
			own, said = most, there
		}
		if said && own >= 0 {
			q.spec.MaxRunningGangs = &own
		}
	}
	r.file.note(prefix+"root.max-parallel-apps", Lost, "the cluster as a whole has no such limit")
	each := prefix + "user.max-parallel-apps"
	most, there, err = r.whole(each)
	if err != nil {
		return err
	}
	if there && most >= 0 {
		for _, q := range r.root.children {
			count := most
			q.users().MaxRunningGangs = &count
		}
	}
	r.file.note(each, Changed, "a user is counted in every queue at the top by itself, and not in the cluster")
	for _, name := range r.file.order {
		if strings.HasPrefix(name, prefix+"user.") && strings.HasSuffix(name, ".max-parallel-apps") && name != each {
			r.file.note(name, Lost, "users are equal")
		}
	}
	return nil
}

// users of a queue, which are made if there are none.
func (q *queue) users() *v1alpha1.QueueUsers {
	if q.spec.Users == nil {
		q.spec.Users = &v1alpha1.QueueUsers{}
	}
	return q.spec.Users
}

// perQueue reads what is said of each queue, the root first.
func (r *reading) perQueue() error {
	sharesOfLeaders := prefix + "maximum-am-resource-percent"
	inAll, _, err := r.number(sharesOfLeaders, -1, math.MaxInt32)
	if err != nil {
		return err
	}
	r.file.note(sharesOfLeaders, Carried, "the maxLeaderShare of every queue with applications that says nothing else")
	if _, there := r.file.values[sharesOfLeaders]; !there {
		r.file.remark("YARN gives ApplicationMasters a tenth of a queue unless maximum-am-resource-percent says otherwise; here drivers may hold all of it, because none starts without room for its executors")
	}
	for _, q := range append([]*queue{r.root}, r.root.below()...) {
		own := prefix + q.path + "."
		for _, step := range []func(*queue, string) error{r.order, r.people, r.lifetimes, r.labelsOf, r.largest, r.templateOf} {
			if err := step(q, own); err != nil {
				return err
			}
		}
		value, there, err := r.number(own+"maximum-am-resource-percent", -1, math.MaxInt32)
		switch {
		case err != nil:
			return err
		case !q.leaf():
			r.file.note(own+"maximum-am-resource-percent", Lost, "YARN reads it of queues with applications only")
			continue
		case !there:
			value, there = inAll, inAll > 0
		}
		if there && value >= 0 && value < 1 {
			percent := int32(max(1, math.Round(value*100)))
			q.spec.MaxLeaderShare = &percent
			if float64(percent) != value*100 {
				r.file.note(own+"maximum-am-resource-percent", Changed, "%d%%, the nearest whole percentage from 1 on", percent)
			}
		}
		r.file.note(own+"maximum-am-resource-percent", Carried, "")
	}
	r.userLimits()
	return nil
}

// order reads state, order and priority.
func (r *reading) order(q *queue, own string) error {
	property := own + "state"
	switch text := r.file.values[property]; strings.ToUpper(strings.TrimSpace(text)) {
	case "":
	case "RUNNING":
		r.file.note(property, Carried, "")
	case "STOPPED":
		q.spec.State = v1alpha1.Draining
		r.file.note(property, Changed, "Draining: what runs goes on, and what comes waits; YARN refuses it")
		if q.parent == nil {
			for _, child := range q.children {
				child.spec.State = v1alpha1.Draining
			}
		}
	default:
		return badValue(property, text, "RUNNING or STOPPED")
	}
	property = own + "ordering-policy"
	switch policy := strings.TrimSpace(r.file.values[property]); {
	case policy == "":
	case !q.leaf() && (policy == "utilization" || policy == "priority-utilization"):
		r.file.note(property, Carried, "queues below their guarantees go by priority, then by what they use of them")
	case policy == "fair":
		q.spec.Order = v1alpha1.Fair
		r.file.note(property, Changed, "Fair is between users first, then between their applications")
	case policy == "fifo":
		r.file.note(property, Carried, "")
	case strings.HasPrefix(policy, "fifo-"):
		r.file.note(property, Changed, "FIFO")
	default:
		r.file.note(property, Lost, "the order is FIFO or Fair")
	}
	priority, there, err := r.number(own+"priority", math.MinInt32, math.MaxInt32)
	if err != nil {
		return err
	}
	if there {
		q.spec.Priority = int32(priority)
		r.file.note(own+"priority", Carried, "")
	}
	return nil
}

// people reads access, and what is never taken.
func (r *reading) people(q *queue, own string) error {
	for property, who := range map[string]*acl{"acl_submit_applications": &q.access.submit, "acl_administer_queue": &q.access.administer} {
		text, there := r.file.values[own+property]
		if !there {
			continue
		}
		*who = parseACL(text)
		switch {
		case who.everybody:
			r.file.note(own+property, Changed, "RBAC gives nobody anything by itself: whoever is meant needs a RoleBinding, or the group system:authenticated one")
		case who.nobody():
			r.file.note(own+property, Carried, "RBAC gives nobody anything by itself")
		case property == "acl_submit_applications":
			r.file.note(own+property, Carried, "a RoleBinding in the namespace of every queue in it")
		default:
			r.file.note(own+property, Carried, "rights on the Queue and those below it, and on the pods in their namespaces")
		}
	}
	disabled, there, err := r.truth(own + "disable_preemption")
	if err != nil {
		return err
	}
	exempt := q.parent != nil && q.parent.exempt()
	if there {
		exempt = disabled
		r.file.note(own+"disable_preemption", Carried, "reclaim.exempt of the queues with applications")
	}
	if exempt {
		q.spec.Reclaim = &v1alpha1.QueueReclaim{Exempt: true}
	}
	return nil
}

func (q *queue) exempt() bool { return q.spec.Reclaim != nil && q.spec.Reclaim.Exempt }

// lifetimes reads how long applications run.
func (r *reading) lifetimes(q *queue, own string) error {
	if q.parent != nil {
		q.lifetime = q.parent.lifetime
	}
	for property, duration := range map[string]*time.Duration{"maximum-application-lifetime": &q.lifetime.maximum, "default-application-lifetime": &q.lifetime.byDefault} {
		seconds, there, err := r.number(own+property, -1, math.MaxInt32)
		if err != nil {
			return err
		}
		if there {
			*duration = time.Duration(max(seconds, 0)) * time.Second
			r.file.note(own+property, Changed, "activeDeadlineSeconds of drivers, by a MutatingAdmissionPolicy: it counts from the start, and waiting does not count")
		}
	}
	return nil
}

// labelsOf reads which nodes a queue may use.
func (r *reading) labelsOf(q *queue, own string) error {
	q.defaultLabel = ""
	if q.parent != nil {
		q.defaultLabel = q.parent.defaultLabel
	}
	if text, there := r.file.values[own+"default-node-label-expression"]; there {
		q.defaultLabel = strings.TrimSpace(text)
		switch {
		case q.defaultLabel == "":
			r.file.note(own+"default-node-label-expression", Carried, "")
		case slices.Contains(r.labels, q.defaultLabel) && r.options.Labels[q.defaultLabel] != nil:
			r.file.note(own+"default-node-label-expression", Changed, "a namespace has one kind of nodes: what names no label and ran on nodes with %s goes to namespace %s now", q.defaultLabel, r.named(q, q.defaultLabel))
		default:
			r.file.note(own+"default-node-label-expression", Changed, "the node selector of the namespace, by the admission plugin PodNodeSelector: its pods run on those nodes, and count in the rest of the cluster")
		}
	}
	property := own + "accessible-node-labels"
	r.file.note(property, Changed, "who may use which nodes is said by the node selector of a namespace, and by taints")
	for _, label := range r.labels {
		r.file.note(property+"."+label+".maximum-am-resource-percent", Lost, "the queue of the pool has the share of the queue itself")
	}
	return nil
}

// largest reads how large a container may be.
func (r *reading) largest(q *queue, own string) error {
	if q.parent != nil {
		q.largest = q.parent.largest
	}
	sizes := Resources{}
	for property, name := range map[string]v1.ResourceName{"maximum-allocation-mb": v1.ResourceMemory, "maximum-allocation-vcores": v1.ResourceCPU} {
		size, there, err := r.number(own+property, 0, math.MaxInt32)
		if err != nil {
			return err
		}
		if there {
			sizes[name] = int64(size)
			r.file.note(own+property, Carried, "a LimitRange in the namespaces of the queue")
		}
	}
	if text, there := r.file.values[own+"maximum-allocation"]; there {
		given, strange, err := parseAllocation(text)
		if err != nil {
			return badValue(own+"maximum-allocation", text, err.Error())
		}
		r.file.note(own+"maximum-allocation", Carried, "a LimitRange in the namespaces of the queue")
		r.strange(own+"maximum-allocation", strange)
		for name, size := range given {
			sizes[name] = size
		}
	}
	if len(sizes) > 0 {
		q.largest = sizes
	}
	return nil
}

// parseAllocation reads memory-mb=8192,vcores=4, in brackets or not.
func parseAllocation(text string) (Resources, []string, error) {
	return parseAbsolute(strings.TrimSpace(text))
}

var templates = regexp.MustCompile(`^(leaf-queue-template|auto-queue-creation-v2\.(?:template|parent-template|leaf-template))\.(.+)$`)

// templateOf reads what queues are like that come by themselves.
func (r *reading) templateOf(q *queue, own string) error {
	const why = "every namespace with the label " + namespaceLabel + " gets a queue of its own"
	made := false
	for _, property := range []string{"auto-create-child-queue.enabled", "auto-queue-creation-v2.enabled"} {
		enabled, there, err := r.truth(own + property)
		if err != nil {
			return err
		}
		made = made || enabled
		if there {
			r.file.note(own+property, Changed, "%s; there are none of users", why)
		}
	}
	for _, name := range r.file.order {
		rest, found := strings.CutPrefix(name, own)
		match := templates.FindStringSubmatch(rest)
		if !found || match == nil {
			continue
		}
		if !made || q.parent == nil || !q.leaf() {
			r.file.note(name, Lost, "only a queue without queues has a template here")
			continue
		}
		if q.template == nil {
			q.template = &template{}
		}
		if err := r.templateSetting(q, name, match[2]); err != nil {
			return err
		}
	}
	if made && q.parent != nil && q.leaf() && q.template == nil {
		q.template = &template{}
	}
	if made && (q.parent == nil || !q.leaf()) {
		for _, property := range []string{"auto-create-child-queue.enabled", "auto-queue-creation-v2.enabled"} {
			r.file.note(own+property, Lost, "only a queue without queues makes one of every namespace here")
		}
	}
	return nil
}

// templateSetting reads one setting of a template.
func (r *reading) templateSetting(q *queue, name, setting string) error {
	text := strings.TrimSpace(r.file.values[name])
	t := q.template
	switch setting {
	case "capacity", "maximum-capacity":
		if match := weight.FindStringSubmatch(text); match != nil && setting == "capacity" {
			value, _, err := numberIn(name, match[1], 0, maxWeight)
			if err != nil {
				return err
			}
			whole := int32(max(1, math.Round(value)))
			t.spec.Weight = &whole
			r.file.note(name, Carried, "the weight of each namespace's queue")
			return nil
		}
		if absolute.MatchString(text) {
			given, strange, err := parseAbsolute(text)
			if err != nil {
				return badValue(name, text, err.Error())
			}
			r.strange(name, strange)
			if setting == "capacity" {
				t.guarantee = sayAmounts(given, false)
			} else {
				t.limit = sayAmounts(given, true)
			}
			r.file.note(name, Carried, "")
			return nil
		}
		percent, _, err := numberIn(name, text, -1, 100)
		if err != nil {
			return err
		}
		r.file.note(name, Changed, "an amount, of the same nodes as the queue's own")
		if setting == "capacity" {
			t.guarantee = said{"": {fraction: percent / 100}}
		} else if percent >= 0 && percent < 100 {
			t.limit = said{"": {fraction: percent / 100}}
		}
	case "maximum-am-resource-percent":
		value, _, err := numberIn(name, text, 0, 1)
		if err != nil {
			return err
		}
		percent := int32(max(1, math.Round(value*100)))
		t.spec.MaxLeaderShare = &percent
		r.file.note(name, Carried, "")
	case "max-parallel-apps":
		value, _, err := numberIn(name, text, 0, math.MaxInt32)
		if err != nil {
			return err
		}
		count := int32(value)
		t.spec.MaxRunningGangs = &count
		r.file.note(name, Carried, "")
	case "ordering-policy":
		if text == "fair" {
			q.spec.Order = v1alpha1.Fair
		}
		r.file.note(name, Changed, "the order of the queue above")
	default:
		r.file.note(name, Lost, "a queue of a namespace is as the queue above in this")
	}
	return nil
}

// userLimits reads what one user has of a queue. Amounts are filled in when those of the queues are known.
func (r *reading) userLimits() {
	inAll := prefix + "user-limit-factor"
	r.file.note(inAll, Lost, "say it of queues")
	r.file.note(prefix+"minimum-user-limit-percent", Lost, "say it of queues")
	r.file.remark("YARN keeps one user within the queue's capacity unless user-limit-factor is more than 1; here a user without a limit may borrow")
}
