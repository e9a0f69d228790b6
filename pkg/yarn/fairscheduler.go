package yarn

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
)

// lostInFairScheduler are elements that have no place here, with the reason, by their last name.
var lostInFairScheduler = map[string]string{
	"rule":                                "a namespace is a queue: users choose theirs, and RBAC says which they may use; namespaces that come by themselves get queues where there is perNamespace",
	"queuePlacementPolicy":                "a namespace is a queue: users choose theirs, and RBAC says which they may use",
	"create":                              "a namespace is a queue, and somebody creates it",
	"queue":                               "a namespace is a queue",
	"reservation":                         "there are no reservations of the future",
	"reservation-agent":                   "there are no reservations of the future",
	"reservation-policy":                  "there are no reservations of the future",
	"reservation-planner":                 "there are no reservations of the future",
	"fairSharePreemptionTimeout":          "only guarantees are taken back; shares even out as applications end",
	"defaultFairSharePreemptionTimeout":   "only guarantees are taken back; shares even out as applications end",
	"fairSharePreemptionThreshold":        "a queue takes back up to its guarantee",
	"defaultFairSharePreemptionThreshold": "a queue takes back up to its guarantee",
}

// fairReading is what the whole file says, for queues that say nothing else.
type fairReading struct {
	*reading
	// reserved tells whether some queue has minResources.
	reserved bool
	// most is queueMaxResourcesDefault.
	most said
}

// fairScheduler reads a fair-scheduler.xml.
func (r *reading) fairScheduler(root *element) error {
	r.file = newSettings()
	r.unknown = "nobody knows it here: misspelt, or of a newer YARN"
	r.root = &queue{name: "root", path: "root"}
	f := &fairReading{reading: r}
	count := 0
	if err := f.flatten(root, r.root, "", 1, &count); err != nil {
		return err
	}
	if len(r.root.children) == 0 {
		return fmt.Errorf("line %d: <%s> has no <queue>", root.line, root.name)
	}
	r.names = names(r.root.below())
	for _, step := range []func() error{f.defaults, f.weights, f.queues, f.takeBack} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, name := range r.file.order {
		if why, lost := lostInFairScheduler[lastName(name)]; lost {
			r.file.note(name, Lost, "%s", why)
		}
	}
	return nil
}

// lastName of a setting: rule of queuePlacementPolicy/rule[2]@name.
func lastName(setting string) string {
	setting, _, _ = strings.Cut(setting, "@")
	setting = setting[strings.LastIndex(setting, "/")+1:]
	setting, _, _ = strings.Cut(setting, "[")
	return setting
}

// flatten names everything that an element says, and makes its queues.
func (f *fairReading) flatten(e *element, q *queue, at string, depth int, count *int) error {
	numbers := map[string]int{} // name -> how many elements have it
	for _, child := range e.children {
		if at == "" && (child.name == "queue" || child.name == "pool") || q.parent != nil && at == q.path+"/" && (child.name == "queue" || child.name == "pool") {
			if err := f.grow(child, q, depth, count); err != nil {
				return err
			}
			continue
		}
		name := at + child.name
		if which := child.attrs["name"]; child.name == "user" && which != "" {
			name = at + "user[" + which + "]"
		} else if child.name == "rule" {
			numbers[child.name]++
			name = fmt.Sprintf("%s%s[%d]", at, child.name, numbers[child.name])
		}
		if _, twice := f.file.values[name]; twice {
			f.file.note(name, Changed, "it stands there more than once, and the last counts")
		}
		for _, attr := range sortedKeys(child.attrs) {
			if child.name == "user" && attr == "name" {
				continue
			}
			f.file.put(name+"@"+attr, child.attrs[attr])
		}
		if len(child.children) == 0 && (child.text != "" || len(child.attrs) == 0) {
			f.file.put(name, child.text)
		}
		if err := f.flatten(child, q, name+"/", depth, count); err != nil {
			return err
		}
	}
	return nil
}

// grow makes a queue of an element.
func (f *fairReading) grow(e *element, above *queue, depth int, count *int) error {
	name := e.attrs["name"]
	switch *count++; {
	case name == "" || strings.ContainsAny(name, " \t/["):
		return fmt.Errorf("line %d: <%s name=%s>: no name of a queue", e.line, e.name, shown(name))
	case *count > maxQueues:
		return fmt.Errorf("line %d: more than %d queues", e.line, maxQueues)
	case depth >= maxQueueDepth:
		return fmt.Errorf("line %d: <%s name=%s> is deeper than %d queues", e.line, e.name, shown(name), maxQueueDepth)
	}
	name = strings.TrimPrefix(name, "root.")
	q := above
	if name != "root" || above.parent != nil {
		if strings.Contains(name, ".") {
			return fmt.Errorf("line %d: <%s name=%s>: a queue below another stands in its element", e.line, e.name, shown(name))
		}
		if slices.ContainsFunc(above.children, func(other *queue) bool { return other.name == name }) {
			return fmt.Errorf("line %d: <%s name=%s> is there twice", e.line, e.name, shown(name))
		}
		q = &queue{name: name, path: above.path + "." + name, parent: above}
		above.children = append(above.children, q)
	} else {
		// What the root says is named by its path, as that of every queue.
		q.parent = nil
		for _, child := range e.children {
			if child.name == "queue" || child.name == "pool" {
				if err := f.grow(child, q, depth+1, count); err != nil {
					return err
				}
				continue
			}
			f.file.put(q.path+"/"+child.name, child.text)
		}
		return nil
	}
	for _, attr := range sortedKeys(e.attrs) {
		if attr == "type" {
			f.file.put(q.path+"@type", e.attrs[attr])
			f.file.note(q.path+"@type", Carried, "")
			if e.attrs[attr] == "parent" && !slices.ContainsFunc(e.children, func(c *element) bool { return c.name == "queue" || c.name == "pool" }) {
				q.template = &template{}
				f.file.note(q.path+"@type", Changed, "every namespace with the label %s gets a queue of its own; there are none of users", namespaceLabel)
			}
		} else if attr != "name" {
			f.file.put(q.path+"@"+attr, e.attrs[attr])
		}
	}
	return f.flatten(e, q, q.path+"/", depth+1, count)
}

// number of a setting; what is missing is not there.
func (f *fairReading) fairNumber(setting string, least, most float64) (float64, bool, error) {
	text, there := f.file.values[setting]
	if !there {
		return 0, false, nil
	}
	return numberIn(setting, text, least, most)
}

// defaults are for queues that say nothing else.
func (f *fairReading) defaults() error {
	apps, there, err := f.fairNumber("queueMaxAppsDefault", 0, math.MaxInt32)
	if err != nil {
		return err
	}
	f.file.note("queueMaxAppsDefault", Carried, "")
	leaders, leadersThere, err := f.fairNumber("queueMaxAMShareDefault", -1, 1)
	if err != nil {
		return err
	}
	f.file.note("queueMaxAMShareDefault", Carried, "")
	policy, policyThere := f.file.values["defaultQueueSchedulingPolicy"]
	if !policyThere {
		policy = f.file.values["defaultQueueSchedulingMode"]
	}
	for _, name := range []string{"defaultQueueSchedulingPolicy", "defaultQueueSchedulingMode"} {
		f.file.note(name, Carried, "")
	}
	if text, there := f.file.values["queueMaxResourcesDefault"]; there {
		if f.most, err = f.amount("queueMaxResourcesDefault", text); err != nil {
			return err
		}
		f.file.note("queueMaxResourcesDefault", Carried, "the limit of every queue that says nothing else")
	}
	for _, q := range f.root.below() {
		if there {
			count := int32(apps)
			q.spec.MaxRunningGangs = &count
		}
		if leadersThere && q.leaf() {
			f.leaders(q, leaders)
		}
		if err := f.policy(q, "defaultQueueSchedulingPolicy", policy); err != nil {
			return err
		}
	}
	users, there, err := f.fairNumber("userMaxAppsDefault", 0, math.MaxInt32)
	if err != nil {
		return err
	}
	if there {
		for _, q := range f.root.children {
			count := int32(users)
			q.users().MaxRunningGangs = &count
		}
	}
	f.file.note("userMaxAppsDefault", Changed, "a user is counted in every queue at the top by itself, and not in the cluster")
	for _, name := range f.file.order {
		if strings.HasPrefix(name, "user[") {
			f.file.note(name, Lost, "users are equal")
		}
	}
	f.file.remark("YARN gives ApplicationMasters half of a queue unless maxAMShare says otherwise; here drivers may hold all of it, because none starts without room for its executors")
	return nil
}

func (f *fairReading) leaders(q *queue, share float64) {
	q.spec.MaxLeaderShare = nil
	if share >= 0 && share < 1 {
		percent := int32(max(1, math.Round(share*100)))
		q.spec.MaxLeaderShare = &percent
	}
}

func (f *fairReading) policy(q *queue, setting, policy string) error {
	switch name := strings.ToLower(strings.TrimSpace(policy[strings.LastIndex(policy, ".")+1:])); name {
	case "", "fair", "drf", "fairsharepolicy", "dominantresourcefairnesspolicy":
		q.spec.Order = v1alpha1.Fair
		if !q.leaf() {
			q.spec.Order = ""
		}
		if name == "fair" || name == "fairsharepolicy" {
			f.file.note(setting, Changed, "every resource counts, and not memory only; Fair is between users first, then between their applications")
		} else {
			f.file.note(setting, Changed, "Fair is between users first, then between their applications")
		}
	case "fifo", "fifopolicy":
		q.spec.Order = ""
		f.file.note(setting, Carried, "")
	default:
		return badValue(setting, policy, "fair, drf or fifo")
	}
	return nil
}

// weights gives every queue its weight, and its part of the cluster by weights.
func (f *fairReading) weights() error {
	for _, q := range f.root.below() {
		c := q.at("")
		c.in, c.weight = weights, 1
		value, there, err := f.fairNumber(q.path+"/weight", 0, maxWeight)
		if err != nil {
			return err
		}
		if there {
			c.weight = float32(value)
		}
		if _, there := f.file.values[q.path+"/minResources"]; there {
			f.reserved = true
		}
	}
	f.file.note("root/weight", Lost, "the root has what the cluster has")
	for _, q := range f.root.below() {
		q.spec.Weight = f.weigh(q, nil)
	}
	f.root.compute("", f.options.Cluster, f.options.Cluster, calculator{dominant: true})
	return nil
}

// queues reads what is said of each.
func (f *fairReading) queues() error {
	for _, name := range []string{"minResources", "maxResources", "maxRunningApps", "maxAMShare", "maxChildResources"} {
		f.file.note("root/"+name, Lost, "the root has what the cluster has")
	}
	f.file.note("root/schedulingPolicy", Changed, "queues below their guarantees go first, then who borrows least for its weight, of all resources")
	for _, q := range append([]*queue{f.root}, f.root.below()...) {
		for _, step := range []func(*queue, string) error{f.shares, f.counts, f.people, f.largest} {
			if err := step(q, q.path+"/"); err != nil {
				return err
			}
		}
	}
	if !f.reserved {
		if f.options.Cluster == nil {
			return fmt.Errorf("no queue has minResources, so that weights are all that is guaranteed: %w", errNoCluster)
		}
		f.file.remark("no queue has minResources: the part that its weight gives each queue of the cluster is written as its guarantee, and what is lent of that can be taken back")
		return nil
	}
	var without []string
	for _, q := range f.root.below() {
		if q.leaf() && len(q.part("").guaranteed) == 0 {
			without = append(without, q.path)
		}
	}
	if len(without) > 0 {
		f.file.remark("nothing is ever taken back for queues without minResources; they share by weight what is left: %s", strings.Join(without, ", "))
	}
	return nil
}

// shares reads guarantee, limit and weight.
func (f *fairReading) shares(q *queue, own string) error {
	if q.parent == nil {
		return nil
	}
	p := q.part("")
	f.file.note(own+"weight", Carried, "")
	if !f.reserved {
		p.guaranteed = sayPart(f.options.Cluster, float64(q.at("").part), false)
		f.file.note(own+"weight", Changed, "its part of the cluster is written as a guarantee as well")
	}
	if text, there := f.file.values[own+"minResources"]; there {
		least, err := f.amount(own+"minResources", text)
		if err != nil {
			return err
		}
		for name, amount := range least {
			if amount.amount == 0 {
				delete(least, name)
			}
		}
		p.guaranteed = least
		f.file.note(own+"minResources", Carried, "")
	}
	if p.limit = f.most; p.limit != nil {
		p.limit = cloneSaid(p.limit)
	}
	if text, there := f.file.values[own+"maxResources"]; there {
		most, err := f.amount(own+"maxResources", text)
		if err != nil {
			return err
		}
		p.limit = most
		f.file.note(own+"maxResources", Carried, "")
	}
	if text, there := f.file.values[own+"maxChildResources"]; there {
		most, err := f.amount(own+"maxChildResources", text)
		if err != nil {
			return err
		}
		if q.template != nil {
			q.template.limit = most
			f.file.note(own+"maxChildResources", Carried, "perNamespace.limit")
		} else {
			f.file.note(own+"maxChildResources", Lost, "it is of queues that come by themselves, and below this one none do: say it as the limit of each")
		}
	}
	for _, setting := range []string{"minResources", "weight"} {
		if _, there := f.file.values[own+setting]; there && p.guaranteed.limitedTo(p.limit) {
			f.file.note(own+setting, Changed, "the guarantee is reduced to maxResources: nothing beyond a limit is guaranteed")
		}
	}
	p.guaranteed.limitedTo(p.limit)
	return nil
}

// counts reads how many applications run, their drivers' part, and their order.
func (f *fairReading) counts(q *queue, own string) error {
	if q.parent == nil {
		return nil
	}
	if apps, there, err := f.fairNumber(own+"maxRunningApps", 0, math.MaxInt32); err != nil {
		return err
	} else if there {
		count := int32(apps)
		q.spec.MaxRunningGangs = &count
		f.file.note(own+"maxRunningApps", Carried, "")
	}
	if share, there, err := f.fairNumber(own+"maxAMShare", -1, 1); err != nil {
		return err
	} else if there {
		f.leaders(q, share)
		f.file.note(own+"maxAMShare", Changed, "a part of what the queue may use at most, and not of its fair share")
	}
	if policy, there := f.file.values[own+"schedulingPolicy"]; there {
		if err := f.policy(q, own+"schedulingPolicy", policy); err != nil {
			return err
		}
	}
	if policy, there := f.file.values[own+"schedulingMode"]; there {
		return f.policy(q, own+"schedulingMode", policy)
	}
	return nil
}

// people reads access, and what is never taken.
func (f *fairReading) people(q *queue, own string) error {
	for setting, who := range map[string]*acl{"aclSubmitApps": &q.access.submit, "aclAdministerApps": &q.access.administer} {
		text, there := f.file.values[own+setting]
		if !there {
			continue
		}
		*who = parseACL(text)
		switch {
		case who.everybody:
			f.file.note(own+setting, Changed, "RBAC gives nobody anything by itself: whoever is meant needs a RoleBinding, or the group system:authenticated one")
		case who.nobody():
			f.file.note(own+setting, Carried, "RBAC gives nobody anything by itself")
		default:
			f.file.note(own+setting, Carried, "a RoleBinding in the namespace of every queue in it")
		}
	}
	exempt := q.parent != nil && q.parent.exempt()
	if text, there := f.file.values[own+"allowPreemptionFrom"]; there {
		switch strings.ToLower(text) {
		case "true":
			exempt = false
		case "false":
			exempt = true
		default:
			return badValue(own+"allowPreemptionFrom", text, "true or false")
		}
		f.file.note(own+"allowPreemptionFrom", Carried, "reclaim.exempt")
	}
	if exempt {
		q.spec.Reclaim = &v1alpha1.QueueReclaim{Exempt: true}
	}
	return nil
}

// largest reads how large a container may be.
func (f *fairReading) largest(q *queue, own string) error {
	if q.parent != nil {
		q.largest = q.parent.largest
	}
	text, there := f.file.values[own+"maxContainerAllocation"]
	if !there {
		return nil
	}
	most, err := f.amount(own+"maxContainerAllocation", text)
	if err != nil {
		return err
	}
	q.largest = Resources{}
	for name, amount := range most {
		q.largest[name] = amount.amount
	}
	f.file.note(own+"maxContainerAllocation", Carried, "a LimitRange in the namespaces of the queue")
	return nil
}

// takeBack reads whether queues take back what is theirs.
func (f *fairReading) takeBack() error {
	const scheduler = "yarn.scheduler.fair."
	timeouts := map[*queue]time.Duration{} // -1 means never
	byDefault, there, err := f.fairNumber("defaultMinSharePreemptionTimeout", 0, math.MaxInt32)
	if err != nil {
		return err
	}
	timeouts[f.root] = -1
	if there {
		timeouts[f.root] = time.Duration(byDefault) * time.Second
		f.file.note("defaultMinSharePreemptionTimeout", Carried, "reclaim.after of every queue that says nothing else")
	}
	for _, q := range append([]*queue{f.root}, f.root.below()...) {
		if q.parent != nil {
			timeouts[q] = timeouts[q.parent]
		}
		seconds, there, err := f.fairNumber(q.path+"/minSharePreemptionTimeout", 0, math.MaxInt32)
		if err != nil {
			return err
		}
		if there {
			timeouts[q] = time.Duration(seconds) * time.Second
			f.file.note(q.path+"/minSharePreemptionTimeout", Carried, "reclaim.after")
		}
	}
	if f.site == nil {
		f.file.remark("whether queues take back what is theirs says yarn-site.xml, which was not given: here none does, and what others have borrowed comes back when their applications end")
		return nil
	}
	site := reading{file: f.site}
	enabled, _, err := site.truth(scheduler + "preemption")
	if err != nil {
		return err
	}
	f.site.note(scheduler+"preemption", Carried, "reclaim.enabled of every queue with a guarantee and a timeout")
	threshold, there, err := site.number(scheduler+"preemption.cluster-utilization-threshold", 0, 1)
	if err != nil {
		return err
	}
	if !there {
		threshold = 0.8
	}
	f.site.note(scheduler+"preemption.cluster-utilization-threshold", Carried, "reclaim.utilization")
	wait, there, err := site.number(scheduler+"waitTimeBeforeKill", 0, math.MaxInt32)
	if err != nil {
		return err
	}
	if !there {
		wait = 15000
	}
	f.site.note(scheduler+"waitTimeBeforeKill", Carried, "reclaim.grace")
	for _, q := range f.root.below() {
		after := timeouts[q]
		if !f.reserved && after < 0 {
			after = 15 * time.Second
		}
		if enabled && after >= 0 && len(q.part("").guaranteed) > 0 {
			q.spec.Reclaim = &v1alpha1.QueueReclaim{Enabled: true, Exempt: q.exempt(), After: &metav1.Duration{Duration: after},
				Grace: &metav1.Duration{Duration: time.Duration(wait) * time.Millisecond}, Utilization: int32(math.Round(threshold * 100))}
		}
	}
	return nil
}
