package ledger

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/resource"
)

// Standing is how one gang stands, for people and checks.
type Standing struct {
	Key    gang.Key
	Leader types.UID
	Phase  gang.Phase
	// Definition is zero while the gang is forming.
	Definition gang.Definition
	Slots      []gang.Slot
	// Live is how many of its workers have a node.
	Live int
}

// Gangs lists all gangs, by key and leader.
func (l *Ledger) Gangs() []Standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	var standings []Standing
	for uid, e := range l.gangs {
		standings = append(standings, Standing{e.Key, uid, e.Phase, e.Gang.Definition, slices.Clone(e.Slots), e.Live()})
	}
	slices.SortFunc(standings, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.Key.String(), b.Key.String()), cmp.Compare(a.Leader, b.Leader))
	})
	return standings
}

// Census counts what the ledger remembers besides nodes.
type Census struct {
	Pods, Gangs, Apps, Waiting, Degraded int
	// Synced tells whether gangs may be admitted.
	Synced bool
}

// Census counts what the ledger remembers besides nodes; all counts are zero when nothing runs and nothing waits.
func (l *Ledger) Census() Census {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Census{len(l.pods), len(l.gangs), len(l.apps), l.waiting.Len(), len(l.degraded), l.synced}
}

// Collected is what is kept for waiters for which room is collected: node -> sum; nil when there are none.
func (l *Ledger) Collected() map[string]resource.Vector {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.collections.list) == 0 {
		return nil
	}
	collected := map[string]resource.Vector{}
	for _, c := range l.collections.list {
		for node, amount := range c.amounts() {
			collected[node] = collected[node].Add(amount)
		}
	}
	return collected
}
