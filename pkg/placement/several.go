package placement

// verdict is what is known about a node as the seat of the leader of a gang with several roles, and how the proof goes.
type verdict uint8

const (
	refused  verdict = iota // no layout, or none found within the bound
	kept                    // the layout of the workers alone leaves room for the leader here
	moved                   // it does when the workers in the leader's way move to spare seats elsewhere
	searched                // there is a layout made for the leader on this node
)

// stepsPerFit bounds the work that one Fit spends on layouts which are not found at first sight. A step is a look at
// one node for one role, a few nanoseconds.
const stepsPerFit = 1 << 20

// judge finds a layout of all workers for every scope, and a verdict for every node that workers and leader compete
// for. Roles share nodes, so no sum of counts says whether they fit together: a layout is the proof.
func (s *Solver) judge() {
	s.search.stepsLeft, s.search.gaveUp = stepsPerFit, false
	for i := range s.verdicts {
		s.verdicts[i] = grow(s.verdicts[i], s.nodes)
	}
	for i := range s.scopes {
		sc := &s.scopes[i]
		sc.laid = sc.enough && (s.arrangeAny(sc, NoNode) || s.affordable() && s.searchLayout(sc, NoNode))
		if sc.laid && s.gang.Leader != nil {
			s.judgeNodes(sc)
		}
	}
}

// judgeNodes gives a verdict on every node of the scope, with the layout of all workers in s.work.
func (s *Solver) judgeNodes(sc *scope) {
	verdicts := s.verdictsOf(sc)
	undecided := false
	for _, node := range sc.nodes {
		verdicts[node] = refused
		switch {
		case !s.leaderAccepted(int(node)):
		case s.work.members[node] == 0 || s.leader.fits(s.rest(int(node))):
			verdicts[node] = kept
		default:
			undecided = true
		}
	}
	if !undecided {
		return
	}
	s.addSpare(sc)
	for _, node := range sc.nodes {
		if verdicts[node] == refused && s.leaderAccepted(int(node)) && s.canMove(int(node)) {
			verdicts[node] = moved
		}
	}
	s.spare.empty()
	s.search.tried = s.search.tried[:0]
	for _, node := range sc.nodes {
		if verdicts[node] == refused && s.leaderAccepted(int(node)) {
			verdicts[node] = s.searchBeside(sc, int(node))
		}
	}
}

// searchBeside looks for a layout with the leader on the node, once for all nodes that are alike.
func (s *Solver) searchBeside(sc *scope, node int) verdict {
	for _, r := range s.active {
		total := sc.total[r] - int64(s.room[r][node]) + int64(s.roomBesideLeader(r, node))
		if total < int64(s.gang.Roles[r].Count) {
			return refused
		}
	}
	verdicts := s.verdictsOf(sc)
	for _, other := range s.search.tried {
		if s.alike(node, int(other)) {
			return verdicts[other]
		}
	}
	if !s.affordable() {
		return refused
	}
	s.search.stepsLeft -= len(sc.nodes) * len(s.active) * len(s.active) // what arranging in every order costs
	s.search.tried = append(s.search.tried, int32(node))
	if s.layWorkers(sc, node) {
		return searched
	}
	return refused
}

// affordable tells whether this Fit may search on, and notes it when not.
func (s *Solver) affordable() bool {
	if s.search.stepsLeft > 0 {
		return true
	}
	s.search.gaveUp = true
	return false
}

// alike tells whether two nodes that may hold the leader are the same to the gang.
func (s *Solver) alike(a, b int) bool {
	for _, r := range s.active {
		if s.room[r][a] != s.room[r][b] {
			return false
		}
	}
	other := s.freeOf(b)
	for column, free := range s.freeOf(a) {
		if free != other[column] {
			return false
		}
	}
	return true
}

func (s *Solver) verdictsOf(sc *scope) []verdict {
	if sc.index == everywhere {
		return s.verdicts[0]
	}
	return s.verdicts[1]
}

// verdictOf is the verdict on a node that accepts the leader. Where no worker has room nobody competes.
func (s *Solver) verdictOf(sc *scope, node int) verdict {
	if !sc.laid {
		return refused
	}
	for _, r := range s.active {
		if s.room[r][node] > 0 {
			return s.verdictsOf(sc)[node]
		}
	}
	return kept
}

// layOut leaves the final layout in s.work, given a scope and a leader's node that fit together.
func (s *Solver) layOut(sc *scope, leader int) bool {
	if s.arrangeAny(sc, leader) {
		return true
	}
	if len(s.active) < 2 {
		return false // a single role is always arranged when the sum suffices
	}
	if leader == NoNode {
		return s.layWorkers(sc, NoNode)
	}
	switch s.verdictOf(sc, leader) {
	case kept:
		return s.layWorkers(sc, NoNode)
	case moved:
		if !s.layWorkers(sc, NoNode) {
			return false
		}
		s.addSpare(sc)
		s.move(leader)
		s.spare.empty()
		return true
	case searched:
		return s.layWorkers(sc, leader)
	default:
		return false
	}
}

// layWorkers finds a layout of all workers beside a leader on a node: role after role, else by search. It gives the
// same layout each time it is asked.
func (s *Solver) layWorkers(sc *scope, leader int) bool {
	return s.arrangeAny(sc, leader) || s.searchLayout(sc, leader)
}

// arrangeAny tries the roles largest first, then each other role before the rest.
func (s *Solver) arrangeAny(sc *scope, leader int) bool {
	if r, _ := s.arrange(sc, leader, s.active); r < 0 {
		return true
	}
	for i := 1; i < len(s.active); i++ {
		s.sequence = append(append(append(s.sequence[:0], s.active[i]), s.active[:i]...), s.active[i+1:]...)
		if r, _ := s.arrange(sc, leader, s.sequence); r < 0 {
			return true
		}
	}
	return false
}

// addSpare finds seats beside the layout for the workers that a leader may push off one node: at most as many per
// node as the layout has on any, and twice that in all, so that enough remain whichever node the leader takes.
func (s *Solver) addSpare(sc *scope) {
	s.spare.empty()
	s.spareSeats = grow(s.spareSeats, len(s.gang.Roles))
	clear(s.spareSeats)
	for _, r := range s.active {
		most := 0
		for _, node := range s.work.touched {
			most = max(most, int(s.work.workers[r][node]))
		}
		for _, node := range sc.nodes {
			if s.spareSeats[r] >= 2*most {
				break
			}
			if limit := min(most, int(s.room[r][node])); limit > 0 {
				n := s.requests[r].count(s.rest(int(node)), limit)
				s.spare.seat(r, int(node), n)
				s.spareSeats[r] += n
			}
		}
	}
}

// canMove tells whether the leader has room on the node when the workers in its way take spare seats elsewhere.
func (s *Solver) canMove(node int) bool {
	row := s.besideLeader(node)
	for _, r := range s.active {
		here := int(s.work.workers[r][node])
		stay := s.requests[r].count(row, here)
		s.requests[r].take(row, stay)
		if here-stay > s.spareSeats[r]-int(s.spare.workers[r][node]) {
			return false
		}
	}
	return true
}

// move does what canMove found possible.
func (s *Solver) move(leader int) {
	row := s.besideLeader(leader)
	s.work.seatLeader(leader)
	for _, r := range s.active {
		here := int(s.work.workers[r][leader])
		stay := s.requests[r].count(row, here)
		s.requests[r].take(row, stay)
		s.work.seat(r, leader, stay-here)
		for _, node := range s.spare.touched {
			if n := min(here-stay, int(s.spare.workers[r][node])); n > 0 && int(node) != leader {
				s.work.seat(r, int(node), n)
				here -= n
			}
		}
	}
}

func (s *Solver) besideLeader(node int) []int64 {
	copy(s.row, s.freeOf(node))
	s.leader.take(s.row, 1)
	return s.row
}
