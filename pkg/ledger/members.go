package ledger

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
)

// members are the pods that there are, and which of them make a gang. Every worker is in the app of its gang's key and in no other,
// every leader has a gang, and nothing is remembered of a key to which no pod belongs.
type members struct {
	pods  map[types.UID]*pod   // every pod that has not ended
	gangs map[types.UID]*entry // leader -> its gang
	apps  map[gang.Key]*app    // gang key -> who claims it
	// selectors are the roles of defined gangs that select pods.
	selectors selectors
	// unheard are up-front gangs whose pods may have been told something else than what is true now.
	unheard map[*entry]struct{}
	// editions counts what is given to gangs by renew.
	editions uint64
	// synced tells whether everything has been told that existed at the start.
	synced bool
}

func newMembers() *members {
	return &members{pods: map[types.UID]*pod{}, gangs: map[types.UID]*entry{}, apps: map[gang.Key]*app{}, selectors: newSelectors(), unheard: map[*entry]struct{}{}}
}

// claims tells whether a pod would take a slot of its gang, which its queue has been charged for already.
func (m *members) claims(p *pod) bool {
	if p.Kind != Worker {
		return false
	}
	e := m.gangOf(p)
	return e != nil && e.Phase.Admitted() && e.Open(p.Role) > 0
}

// gangOf is the gang a pod belongs to; nil for lone pods, for workers without a leader, and for leaders and
// workers of a leader that does not own its key.
func (m *members) gangOf(p *pod) *entry {
	if p.Kind == Lone {
		return nil
	}
	a := m.apps[p.Gang]
	if a == nil || len(a.leaders) == 0 {
		return nil
	}
	owner := a.leaders[0]
	if p.Kind == Worker && p.Leader != "" && p.Leader != owner.leader.UID && owner.upfront == nil || p.Kind == Leader && p != owner.leader {
		return nil
	}
	return owner
}

// object is the pod that is tried for a waiter: for an up-front gang, the first of its pods.
func (m *members) object(waiter types.UID) *v1.Pod {
	if e := m.gangs[waiter]; e != nil {
		return e.leader.Object
	}
	return m.pods[waiter].Object
}

// spread lets the other pods of an up-front gang hear what the one that is tried for all has been told; for any other waiter it does
// nothing.
func (m *members) spread(waiter types.UID) {
	if e := m.gangs[waiter]; e != nil && e.upfront != nil {
		m.unheard[e] = struct{}{}
	}
}

// admitted is the gangs that may hold slots.
func (m *members) admitted() map[*entry]struct{} {
	admitted := map[*entry]struct{}{}
	for _, e := range m.gangs {
		if e.Phase.Admitted() && len(e.Slots) > 0 {
			admitted[e] = struct{}{}
		}
	}
	return admitted
}

// waiterOf is under whose ID a pod waits: the leader of an up-front gang waits for the one that is tried for all.
func (m *members) waiterOf(p *pod) types.UID {
	if e := m.gangOf(p); e != nil && e.tries(p) {
		return e.leader.UID
	}
	return p.UID
}

// editionOf is the edition of what a pod is tried for; zero if that is nothing but itself.
func (m *members) editionOf(p *pod) uint64 {
	if e := m.gangOf(p); e != nil && e.Phase == gang.Waiting && (p == e.leader || e.tries(p)) {
		return e.edition
	}
	return 0
}

// renew makes attempts that are under way for a gang count for nothing.
func (m *members) renew(e *entry) {
	m.editions++
	e.edition = m.editions
}

// barredPods are the pods of the gang that have a node and are not bound.
func (m *members) barredPods(e *entry) []types.UID {
	var barred []types.UID
	for uid, p := range m.apps[e.Key].workers {
		if p.Upfront && p.placed != "" && !p.bound {
			barred = append(barred, uid)
		}
	}
	slices.Sort(barred)
	return barred
}
