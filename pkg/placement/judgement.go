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

// judgement is which nodes do for the leader. Where it says so, there is a layout of all workers beside it.
type judgement struct {
	search

	verdicts [2][]verdict // 0 everywhere, 1 in the node's domain -> node -> verdict; only for several roles
}

// judge finds a layout of all workers for every scope, and a verdict for every node that workers and leader compete
// for. Roles share nodes, so no sum of counts says whether they fit together: a layout is the proof.
func (j *judgement) judge() {
	j.search.stepsLeft, j.search.gaveUp = stepsPerFit, false
	for i := range j.verdicts {
		j.verdicts[i] = grow(j.verdicts[i], j.nodes)
	}
	for i := range j.scopes {
		sc := &j.scopes[i]
		if sc.laid = false; j.hasty && i != everywhere && j.gang.Strategy == PreferSingleZone {
			continue // it would be better, and not necessary
		}
		sc.laid = sc.enough && (j.arrangeAny(sc, NoNode) || j.affordable() && j.searchLayout(sc, NoNode))
		if sc.laid && j.gang.Leader != nil {
			j.judgeNodes(sc)
		}
	}
}

// judgeNodes gives a verdict on every node of the scope, with the layout of all workers in j.work.
func (j *judgement) judgeNodes(sc *scope) {
	verdicts := j.verdictsOf(sc)
	undecided := false
	for _, node := range sc.nodes {
		verdicts[node] = refused
		switch {
		case !j.leaderAccepted(int(node)):
		case j.work.members[node] == 0 || j.leader.fits(j.rest(int(node))):
			verdicts[node] = kept
		default:
			undecided = true
		}
	}
	if !undecided {
		return
	}
	j.addSpare(sc)
	for _, node := range sc.nodes {
		if verdicts[node] == refused && j.leaderAccepted(int(node)) && j.canMove(int(node)) {
			verdicts[node] = moved
		}
	}
	j.spare.empty()
	j.search.tried = j.search.tried[:0]
	for _, node := range sc.nodes {
		if verdicts[node] == refused && j.leaderAccepted(int(node)) {
			verdicts[node] = j.searchBeside(sc, int(node))
		}
	}
}

// searchBeside looks for a layout with the leader on the node, once for all nodes that are alike.
func (j *judgement) searchBeside(sc *scope, node int) verdict {
	j.visits += len(j.active)
	for _, r := range j.active {
		total := sc.total[r] - int64(j.room[r][node]) + int64(j.roomBesideLeader(r, node))
		if total < int64(j.gang.Roles[r].Count) {
			return refused
		}
	}
	verdicts := j.verdictsOf(sc)
	for _, other := range j.search.tried {
		j.visits += len(j.active)
		if j.alike(node, int(other)) {
			return verdicts[other]
		}
	}
	if !j.affordable() {
		return refused
	}
	j.search.stepsLeft -= len(sc.nodes) * len(j.active) * len(j.active) // what arranging in every order costs
	j.search.tried = append(j.search.tried, int32(node))
	if j.layWorkers(sc, node) {
		return searched
	}
	return refused
}

func (j *judgement) verdictsOf(sc *scope) []verdict {
	if sc.index == everywhere {
		return j.verdicts[0]
	}
	return j.verdicts[1]
}

// verdictOf is the verdict on a node that accepts the leader. Where no worker has room nobody competes.
func (j *judgement) verdictOf(sc *scope, node int) verdict {
	if !sc.laid {
		return refused
	}
	for _, r := range j.active {
		if j.room[r][node] > 0 {
			return j.verdictsOf(sc)[node]
		}
	}
	return kept
}

// layOut leaves the final layout in j.work, given a scope and a leader's node that fit together.
func (j *judgement) layOut(sc *scope, leader int) bool {
	if j.arrangeAny(sc, leader) {
		return true
	}
	if len(j.active) < 2 {
		return false // a single role is always arranged when the sum suffices
	}
	if leader == NoNode {
		return j.layWorkers(sc, NoNode)
	}
	switch j.verdictOf(sc, leader) {
	case kept:
		return j.layWorkers(sc, NoNode)
	case moved:
		if !j.layWorkers(sc, NoNode) {
			return false
		}
		j.addSpare(sc)
		j.move(leader)
		j.spare.empty()
		return true
	case searched:
		return j.layWorkers(sc, leader)
	default:
		return false
	}
}

// scopeBeside is where the workers go when the leader sits on the node; nil means that the gang does not fit so.
func (j *judgement) scopeBeside(leader int) *scope {
	if j.gang.Leader == nil || leader < 0 || leader >= j.nodes || !j.leaderAccepted(leader) {
		return nil
	}
	if j.gang.Strategy.inDomains() {
		if d := j.domainOf[leader]; d >= 0 && j.seats(&j.scopes[1+d], leader) {
			return &j.scopes[1+d]
		}
	}
	if j.seats(&j.scopes[everywhere], leader) {
		return &j.scopes[everywhere]
	}
	return nil
}

// seats tells whether the workers fit into the scope when the leader, which the node accepts, sits there.
func (j *judgement) seats(sc *scope, leader int) bool {
	switch {
	case !sc.enough:
		return false
	case len(j.active) == 0:
		return true
	case len(j.active) == 1:
		r := j.active[0]
		lost := int(j.room[r][leader]) - j.roomBesideLeader(r, leader)
		return sc.total[r]-int64(lost) >= int64(j.gang.Roles[r].Count)
	default:
		return j.verdictOf(sc, leader) != refused
	}
}

// bestScope is where a gang without leader goes: the domain that has least to spare, else everywhere if that is
// allowed, else nil.
func (j *judgement) bestScope() *scope {
	if len(j.active) == 0 {
		return &j.scopes[everywhere] // nobody needs a seat
	}
	var best *scope
	for i := range j.scopes[1:] {
		sc := &j.scopes[1+i]
		if j.holdsWorkers(sc) && (best == nil || j.spareIn(sc) < j.spareIn(best)) {
			best = sc
		}
	}
	if best == nil && j.holdsWorkers(&j.scopes[everywhere]) {
		best = &j.scopes[everywhere]
	}
	return best
}
