package placement

import "slices"

// Fit is the answer that a gang fits, and what is asked about it next: on which nodes its leader may sit, and the plan
// once the leader's node is chosen. It lives until its Solver's next Fit. LeaderFits and Score only read and may be
// called in parallel; Plan must be alone.
type Fit struct {
	solver *Solver
}

// possible tells whether the gang fits at all.
func (f *Fit) possible() bool {
	s := f.solver
	if s.gang.Leader == nil {
		return s.bestScope() != nil
	}
	if !slices.ContainsFunc(s.scopes, func(sc scope) bool { return sc.enough }) {
		return false
	}
	for node := range s.nodes {
		if f.LeaderFits(node) {
			return true
		}
	}
	return false
}

// LeaderFits tells in O(1) whether the node can hold the leader and all workers then still fit: what the workers have
// in all, less what the leader takes from them on this node, is enough. It is false for a gang without leader.
func (f *Fit) LeaderFits(node int) bool { return f.solver.scopeBeside(node) != nil }

// Plan chooses the slots of all workers, given the node the leader was put on; NoNode for a gang without leader. It
// succeeds on every node for which LeaderFits is true. The slots are ordered by role and node and belong to the caller;
// a gang without workers has none.
func (f *Fit) Plan(leaderNode int) ([]Slots, bool) {
	s := f.solver
	defer s.bill()
	var sc *scope
	if s.gang.Leader == nil && leaderNode == NoNode {
		sc = s.bestScope()
	} else {
		sc = s.scopeBeside(leaderNode)
	}
	if sc == nil || !s.layOut(sc, leaderNode) {
		return nil, false
	}
	return s.work.slots(s.active), true
}
