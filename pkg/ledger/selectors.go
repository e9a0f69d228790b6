package ledger

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/spark"
)

// label is one label of the pods of one namespace.
type label struct{ namespace, key, value string }

// claim is a role that selects pods.
type claim struct {
	entry *entry
	role  int // index into the definition's roles
}

// handle is the one label of a selector under which its role is found; a pod that the selector selects has it too.
func handle(namespace string, selector map[string]string) label {
	keys := slices.Sorted(maps.Keys(selector))
	if len(keys) == 0 {
		return label{}
	}
	return label{namespace, keys[0], selector[keys[0]]}
}

// enlistLocked makes a pod a worker if a role of a defined gang selects it. To a pod that shows itself whose worker it
// is, only that gang can give a role.
func (l *Ledger) enlistLocked(p *Pod) {
	if p.Kind == Leader {
		return
	}
	var chosen *claim
	for key, value := range p.Labels {
		for _, c := range l.claims[label{p.Namespace, key, value}] {
			if p.Kind == Worker && c.entry.Key != p.Gang || c.entry.leader.UID == p.UID {
				continue
			}
			if selects(c.entry.Gang.Definition.Roles[c.role].Selector, p.Labels) && (chosen == nil || c.compare(*chosen) < 0) {
				chosen = &c
			}
		}
	}
	if chosen != nil {
		p.Kind, p.Gang, p.Role = Worker, chosen.entry.Key, chosen.entry.Gang.Definition.Roles[chosen.role].Name
	}
}

// compare orders claims for a pod that several select: the oldest leader's first role has it.
func (c claim) compare(other claim) int {
	return cmp.Or(turnOf(c.entry.leader).compare(turnOf(other.entry.leader)), cmp.Compare(c.role, other.role))
}

func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return len(selector) > 0
}

// recruitLocked registers the selectors of a gang that has just been defined. Pods of Spark are known by their labels
// before; of others some may have been taken for lone pods.
func (l *Ledger) recruitLocked(e *entry) {
	l.dismissLocked(e)
	candidates := maps.Clone(l.apps[e.Key].workers)
	for i, role := range e.Gang.Definition.Roles {
		at := handle(e.Key.Namespace, role.Selector)
		l.claims[at] = append(l.claims[at], claim{e, i})
		e.handles = append(e.handles, at)
		if role.Selector[spark.LabelApp] != "" {
			continue
		}
		for uid, p := range l.labelledLocked(at) {
			if p.Kind != Leader && selects(role.Selector, p.Labels) {
				candidates[uid] = p
			}
		}
	}
	for _, p := range sorted(candidates) {
		l.reconsiderLocked(p)
	}
}

// reconsiderLocked finds out anew what a pod is in which gang.
func (l *Ledger) reconsiderLocked(p *pod) {
	seen := p.Pod
	seen.play(p.shown)
	l.enlistLocked(&seen)
	if seen.part() != p.part() {
		l.updateLocked(p, seen)
	}
}

// disbandLocked reconsiders the workers of an application that are workers only because a role, which may be gone,
// selected them.
func (l *Ledger) disbandLocked(a *app) {
	for _, p := range sorted(a.workers) {
		if p.part() != p.shown {
			l.reconsiderLocked(p)
		}
	}
}

// workLocked lets a placed pod that was found to be a worker take its place in the gang.
func (l *Ledger) workLocked(p *pod) {
	if e := l.gangOfLocked(p); e != nil && p.Kind == Worker && p.placed != "" {
		l.measureLocked(e, p)
		l.stepLocked(e, gang.WorkerPlaced{Worker: p.UID, Role: p.Role, Node: p.placed, Requests: p.Requests})
	}
}

// dismissLocked forgets the selectors of a gang.
func (l *Ledger) dismissLocked(e *entry) {
	for _, at := range e.handles {
		l.claims[at] = slices.DeleteFunc(l.claims[at], func(c claim) bool { return c.entry == e })
		if len(l.claims[at]) == 0 {
			delete(l.claims, at)
		}
	}
	e.handles = nil
	if len(l.claims) == 0 {
		clear(l.labelled) // keys that nobody selects by must not collect
	}
}

// labelledLocked are the pods with a label. The first one who asks for a key pays for going through all pods.
func (l *Ledger) labelledLocked(at label) map[types.UID]*pod {
	if l.labelled[at.key] == nil {
		l.labelled[at.key] = map[label]map[types.UID]*pod{}
		for _, p := range l.pods {
			l.labelLocked(p, at.key)
		}
	}
	return l.labelled[at.key][at]
}

// labelLocked and unlabelLocked keep the pods of every key that was asked for in step with their labels.
func (l *Ledger) labelLocked(p *pod, key string) {
	value, labelled := p.Labels[key]
	if !labelled {
		return
	}
	at := label{p.Namespace, key, value}
	if l.labelled[key][at] == nil {
		l.labelled[key][at] = map[types.UID]*pod{}
	}
	l.labelled[key][at][p.UID] = p
}

func (l *Ledger) labelAllLocked(p *pod) {
	for key := range l.labelled {
		l.labelLocked(p, key)
	}
}

func (l *Ledger) unlabelLocked(p *pod) {
	for key, pods := range l.labelled {
		at := label{p.Namespace, key, p.Labels[key]}
		delete(pods[at], p.UID)
		if len(pods[at]) == 0 {
			delete(pods, at)
		}
	}
}
