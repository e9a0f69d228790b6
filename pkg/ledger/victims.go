package ledger

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// victim is something that may be taken back, with what that means on nodes.
type victim struct {
	quota.Victim
	entry *entry // whose slots or whole gang it is; nil for a pod by itself
	pods  []*pod // that have to go, workers before their leader
}

// eachRoom is what comes free where.
func (v *victim) eachRoom(f func(node string, amount resource.Vector)) {
	for _, p := range v.pods {
		f(p.placed, p.Requests)
	}
	if v.entry == nil || v.Kind == quota.Elastic {
		return
	}
	for _, slot := range v.entry.Slots {
		if slot.Worker == "" && slot.Node != "" {
			f(slot.Node, slot.Requests)
		}
	}
}

// leaves tells whether something of it is on its way out already.
func (v *victim) leaves() bool {
	return v.entry != nil && v.entry.taker != "" || slices.ContainsFunc(v.pods, (*pod).leaves)
}

// leaves tells whether a pod has to go, or is going.
func (p *pod) leaves() bool { return p.taker != "" || p.Object.DeletionTimestamp != nil }

// victimsLocked is everything that may be taken back from somebody, rules of queues aside.
func (l *Ledger) victimsLocked() map[types.UID]*victim {
	all := map[types.UID]*victim{}
	add := func(v *victim) {
		v.Protected = slices.ContainsFunc(v.pods, func(p *pod) bool { return l.protectedLocked(p, v.pods) })
		all[v.ID] = v
	}
	of := func(key gang.Key, namespace string, kind quota.Kind, id types.UID, p *pod, amount resource.Vector) quota.Victim {
		return quota.Victim{
			ID: id, Kind: kind, Gang: key.String(), Queue: l.queueOfLocked(namespace),
			Priority: p.Priority, Since: p.Created, Amount: amount,
		}
	}
	for _, p := range l.pods {
		if p.placed == "" || p.Foreign || p.Kind == Leader || p.Kind == Worker && l.gangOfLocked(p) != nil {
			continue
		}
		kind, key := quota.Gang, gang.Key{Namespace: p.Namespace, Name: string(p.UID)}
		if p.Kind == Worker {
			kind, key = quota.Elastic, p.Gang // nobody knows how many of them its leader needs
		}
		add(&victim{Victim: of(key, p.Namespace, kind, p.UID, p, p.Requests), pods: []*pod{p}})
	}
	for _, e := range l.gangs {
		if e.Phase != gang.Running {
			continue
		}
		namespace, members := e.Key.Namespace, l.membersLocked(e)
		if _, open := e.Counts(); open > 0 && e.leader.Ready && l.now.Sub(e.progress) >= slotPatience {
			add(&victim{Victim: of(e.Key, namespace, quota.Slot, "slots of "+e.leader.UID, e.leader, e.open), entry: e})
		}
		for _, p := range e.expendable(members) {
			add(&victim{Victim: of(e.Key, namespace, quota.Elastic, p.UID, p, p.Requests), entry: e, pods: []*pod{p}})
		}
		whole := e.open
		for _, p := range members {
			whole = whole.Add(p.Requests)
		}
		if len(members) > 0 {
			add(&victim{Victim: of(e.Key, namespace, quota.Gang, "gang of "+e.leader.UID, e.leader, whole), entry: e, pods: members})
		}
	}
	return all
}

// membersLocked are the pods of a gang that have a node: workers by age, then their leader.
func (l *Ledger) membersLocked(e *entry) []*pod {
	var members []*pod
	for _, p := range l.apps[e.Key].workers {
		if p.placed != "" && l.gangOfLocked(p) == e {
			members = append(members, p)
		}
	}
	slices.SortFunc(members, func(a, b *pod) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.UID, b.UID))
	})
	if e.upfront == nil && e.leader.placed != "" {
		members = append(members, e.leader)
	}
	return members
}

// expendable are the youngest workers beyond those that the gang needs to go on, of each role.
func (e *entry) expendable(members []*pod) []*pod {
	var expendable []*pod
	staying := map[string]int{} // role -> workers
	for _, p := range members {
		if p.Kind == Worker && !p.leaves() {
			staying[p.Role]++
		}
	}
	for _, p := range slices.Backward(members) {
		if p.Kind != Worker || p.leaves() {
			continue
		}
		needed := 0
		if role := e.Gang.Definition.Role(p.Role); role != nil {
			needed = role.Minimum
		}
		if staying[p.Role] > needed {
			staying[p.Role]--
			expendable = append(expendable, p)
		}
	}
	return expendable
}

// protectedLocked tells whether a PodDisruptionBudget has no room for all of some pods that it selects, of which this is one.
func (l *Ledger) protectedLocked(p *pod, together []*pod) bool {
	for _, b := range l.budgets[p.Namespace] {
		if !b.Selector.Matches(labels.Set(p.Object.Labels)) {
			continue
		}
		selected := 0
		for _, other := range together {
			if b.Selector.Matches(labels.Set(other.Object.Labels)) {
				selected++
			}
		}
		if selected > b.Allowed {
			return true
		}
	}
	return false
}

func (l *Ledger) forgetBudgetLocked(namespace, name string) {
	rest := slices.DeleteFunc(l.budgets[namespace], func(b Budget) bool { return b.Name == name })
	if l.budgets[namespace] = rest; len(rest) == 0 {
		delete(l.budgets, namespace)
	}
}
