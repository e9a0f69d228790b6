package placement

// Solver holds the memory that answering needs, so that answering allocates nothing that grows with the number of
// nodes. One Solver serves one scheduling cycle at a time. The zero Solver is ready for use.
//
// It is a tower: the problem as it was asked, the seating of a gang on its nodes, the search for one that is not found at first
// sight, the judgement which nodes do for the leader, and the ranking of those. Each storey uses those below it and nothing else.
type Solver struct {
	ranking
	fit Fit // handed out by Fit, valid until the next call
	// Work is what the attempt that asks has spent and may spend; nil means that it has no bound. What an answer costs is added. Where
	// a search may cost more than is left there is none, and everybody is arranged in one order only.
	Work   *Work
	billed int // looks that have been added
}

// visitsPerPass bounds how many looks at one node for one role a pass over all of them may take.
const visitsPerPass = 1 << 20

// MostRoles is how many roles a gang may have that is to be laid out on so many nodes: 69 on 15,000.
func MostRoles(nodes int) int { return max(visitsPerPass/max(nodes, 1), 16) }

// Fit answers whether the whole gang fits, leader included. Exactly one of the results is nil. The Fit is valid until
// the next call; nodes and gang must not change as long as it is used. The cost is a pass over nodes × roles; several
// roles that do not fit at first sight add a search with a fixed bound.
func (s *Solver) Fit(nodes Nodes, gang Gang) (*Fit, *Shortage) {
	s.load(nodes, gang)
	s.prepare()
	s.billed, s.searched = 0, 0
	s.hasty = !s.Work.thorough(s.nodes, len(s.active))
	defer s.bill()
	for i := range s.scopes {
		sc := &s.scopes[i]
		sc.enough = sc.allowed && s.enough(sc)
	}
	if len(s.active) > 1 {
		s.judge()
	}
	s.fit = Fit{solver: s}
	if !s.fit.possible() {
		return nil, diagnosis{&s.judgement}.shortage()
	}
	s.rank()
	return &s.fit, nil
}

// bill adds what has been spent since the last time.
func (s *Solver) bill() {
	s.Work.Spend(s.looks() - s.billed)
	s.billed = s.looks()
}
