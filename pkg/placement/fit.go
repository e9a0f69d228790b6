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

// scopeBeside is where the workers go when the leader sits on the node; nil means that the gang does not fit so.
func (s *Solver) scopeBeside(leader int) *scope {
	if s.gang.Leader == nil || leader < 0 || leader >= s.nodes || !s.leaderAccepted(leader) {
		return nil
	}
	if s.gang.Strategy.inDomains() {
		if d := s.domainOf[leader]; d >= 0 && s.seats(&s.scopes[1+d], leader) {
			return &s.scopes[1+d]
		}
	}
	if s.seats(&s.scopes[everywhere], leader) {
		return &s.scopes[everywhere]
	}
	return nil
}

// seats tells whether the workers fit into the scope when the leader, which the node accepts, sits there.
func (s *Solver) seats(sc *scope, leader int) bool {
	switch {
	case !sc.enough:
		return false
	case len(s.active) == 0:
		return true
	case len(s.active) == 1:
		r := s.active[0]
		lost := int(s.room[r][leader]) - s.roomBesideLeader(r, leader)
		return sc.total[r]-int64(lost) >= int64(s.gang.Roles[r].Count)
	default:
		return s.verdictOf(sc, leader) != refused
	}
}

// bestScope is where a gang without leader goes: the domain that has least to spare, else everywhere if that is
// allowed, else nil.
func (s *Solver) bestScope() *scope {
	if len(s.active) == 0 {
		return &s.scopes[everywhere] // nobody needs a seat
	}
	var best *scope
	for i := range s.scopes[1:] {
		sc := &s.scopes[1+i]
		if s.holdsWorkers(sc) && (best == nil || s.spareIn(sc) < s.spareIn(best)) {
			best = sc
		}
	}
	if best == nil && s.holdsWorkers(&s.scopes[everywhere]) {
		best = &s.scopes[everywhere]
	}
	return best
}

// holdsWorkers tells whether all workers together fit into the scope, leader aside.
func (s *Solver) holdsWorkers(sc *scope) bool { return sc.enough && (len(s.active) < 2 || sc.laid) }

// spareIn is how often over the scope takes the gang's tightest role; 1 is just enough.
func (s *Solver) spareIn(sc *scope) float64 {
	spare := 0.0
	for i, r := range s.active {
		ratio := float64(sc.total[r]) / float64(s.gang.Roles[r].Count)
		if i == 0 || ratio < spare {
			spare = ratio
		}
	}
	return spare
}

// Plan chooses the slots of all workers, given the node the leader was put on; NoNode for a gang without leader. It
// succeeds on every node for which LeaderFits is true. The slots are ordered by role and node and belong to the caller;
// a gang without workers has none.
func (f *Fit) Plan(leaderNode int) ([]Slots, bool) {
	s := f.solver
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
