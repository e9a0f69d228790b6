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

// selectors are the roles that select pods, and the pods that they may select. Pods are found by a label as long as some role selects by
// its key in its namespace, and whoever selects pays for the pods of its own namespace only.
type selectors struct {
	// claims are the roles of defined gangs by one label of their selectors.
	claims map[label][]claim
	// labelled are the pods by their labels, for the keys by which some role is found.
	labelled map[scope]*keyed
	// pods are all that have labels: namespace -> pods.
	pods map[string]map[types.UID]*pod
}

// scope is a key of labels in one namespace.
type scope struct{ namespace, key string }

// keyed are the pods that have a key.
type keyed struct {
	roles  int                           // that are found by the key
	values map[string]map[types.UID]*pod // value -> pods
}

func newSelectors() selectors {
	return selectors{claims: map[label][]claim{}, labelled: map[scope]*keyed{}, pods: map[string]map[types.UID]*pod{}}
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
// known by their labels before; of others some may have been taken for lone pods.
func (s *selectors) register(e *entry) map[types.UID]*pod {
	s.remove(e)
	selected := map[types.UID]*pod{}
	for i, role := range e.Gang.Definition.Roles {
		at := handle(e.Key.Namespace, role.Selector)
		s.claims[at] = append(s.claims[at], claim{e, i})
		e.handles = append(e.handles, at)
		for uid, p := range s.use(at) {
			if role.Selector[spark.LabelApp] == "" && p.Kind != Leader && selects(role.Selector, p.Labels) {
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
		if l := s.labelled[at.scope()]; l != nil {
			if l.roles--; l.roles == 0 {
				delete(s.labelled, at.scope()) // keys that nobody selects by must not collect
			}
		}
	}
	e.handles = nil
}

func (l label) scope() scope { return scope{l.namespace, l.key} }

// use takes that one more role is found by a label, and returns the pods that have it. Executors of Spark are known without that.
func (s *selectors) use(at label) map[types.UID]*pod {
	if at.key == spark.LabelApp || at.key == "" {
		return nil
	}
	l := s.labelled[at.scope()]
	if l == nil {
		l = &keyed{values: map[string]map[types.UID]*pod{}}
		s.labelled[at.scope()] = l
		for _, p := range s.pods[at.namespace] {
			l.add(p, at.key)
		}
	}
	l.roles++
	return l.values[at.value]
}

func (l *keyed) add(p *pod, key string) {
	value, has := p.Labels[key]
	if !has {
		return
	}
	if l.values[value] == nil {
		l.values[value] = map[types.UID]*pod{}
	}
	l.values[value][p.UID] = p
}

// addPod and removePod keep the pods of every key that some role is found by in step with their labels.
func (s *selectors) addPod(p *pod) {
	if len(p.Labels) == 0 {
		return
	}
	if s.pods[p.Namespace] == nil {
		s.pods[p.Namespace] = map[types.UID]*pod{}
	}
	s.pods[p.Namespace][p.UID] = p
	for key := range p.Labels {
		if l := s.labelled[scope{p.Namespace, key}]; l != nil {
			l.add(p, key)
		}
	}
}

func (s *selectors) removePod(p *pod) {
	delete(s.pods[p.Namespace], p.UID)
	if len(s.pods[p.Namespace]) == 0 {
		delete(s.pods, p.Namespace)
	}
	for key, value := range p.Labels {
		if l := s.labelled[scope{p.Namespace, key}]; l != nil {
			delete(l.values[value], p.UID)
			if len(l.values[value]) == 0 {
				delete(l.values, value)
			}
		}
	}
}
