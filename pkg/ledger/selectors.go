package ledger

import (
	"cmp"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

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

// selectors are the roles that select pods, and the pods that they may select.
type selectors struct {
	// claims are the roles of defined gangs by one label of their selectors.
	claims map[label][]claim
	// labelled are the pods by one label, for the keys by which some role is found: key -> label -> pods.
	labelled map[string]map[label]map[types.UID]*pod
}

func newSelectors() selectors {
	return selectors{claims: map[label][]claim{}, labelled: map[string]map[label]map[types.UID]*pod{}}
}

// assignRole makes a pod a worker if a role of a defined gang selects it. To a pod that shows itself whose worker it is, only
// that gang can give a role.
func (s *selectors) assignRole(p *Pod) {
	if p.Kind == Leader {
		return
	}
	var chosen *claim
	for key, value := range p.Labels {
		for _, c := range s.claims[label{p.Namespace, key, value}] {
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
	return cmp.Or(turnOf(c.entry.leader).Compare(turnOf(other.entry.leader)), cmp.Compare(c.role, other.role))
}

func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return len(selector) > 0
}

// register takes the selectors of a gang that has just been defined, and returns the pods that they select. Pods of Spark are
// known by their labels before; of others some may have been taken for lone pods. all are those that there are.
func (s *selectors) register(e *entry, all map[types.UID]*pod) map[types.UID]*pod {
	s.remove(e)
	selected := map[types.UID]*pod{}
	for i, role := range e.Gang.Definition.Roles {
		at := handle(e.Key.Namespace, role.Selector)
		s.claims[at] = append(s.claims[at], claim{e, i})
		e.handles = append(e.handles, at)
		if role.Selector[spark.LabelApp] != "" {
			continue
		}
		for uid, p := range s.with(at, all) {
			if p.Kind != Leader && selects(role.Selector, p.Labels) {
				selected[uid] = p
			}
		}
	}
	return selected
}

// remove forgets the selectors of a gang.
func (s *selectors) remove(e *entry) {
	for _, at := range e.handles {
		s.claims[at] = slices.DeleteFunc(s.claims[at], func(c claim) bool { return c.entry == e })
		if len(s.claims[at]) == 0 {
			delete(s.claims, at)
		}
	}
	e.handles = nil
	if len(s.claims) == 0 {
		clear(s.labelled) // keys that nobody selects by must not collect
	}
}

// with are the pods with a label. The first one who asks for a key pays for going through all pods.
func (s *selectors) with(at label, all map[types.UID]*pod) map[types.UID]*pod {
	if s.labelled[at.key] == nil {
		s.labelled[at.key] = map[label]map[types.UID]*pod{}
		for _, p := range all {
			s.add(p, at.key)
		}
	}
	return s.labelled[at.key][at]
}

// add, addPod and removePod keep the pods of every key that was asked for in step with their labels.
func (s *selectors) add(p *pod, key string) {
	value, labelled := p.Labels[key]
	if !labelled {
		return
	}
	at := label{p.Namespace, key, value}
	if s.labelled[key][at] == nil {
		s.labelled[key][at] = map[types.UID]*pod{}
	}
	s.labelled[key][at][p.UID] = p
}

func (s *selectors) addPod(p *pod) {
	for key := range s.labelled {
		s.add(p, key)
	}
}

func (s *selectors) removePod(p *pod) {
	for key, pods := range s.labelled {
		at := label{p.Namespace, key, p.Labels[key]}
		delete(pods[at], p.UID)
		if len(pods[at]) == 0 {
			delete(pods, at)
		}
	}
}
