package placement

import "sort"

// MaxScore is the score of the best seat; the worst is 0.
const MaxScore = 100

// ranking is how good the nodes are that do for the leader.
type ranking struct {
	judgement

	sums    []int64 // the tops of all scopes, one after another
	largest []int64 // column -> the most that is free on one node
}

// rank prepares what Score needs: for one role the sums of room over the nodes with the most of it.
func (k *ranking) rank() {
	k.sums = grow(k.sums, 2*len(k.order))[:0]
	if k.gang.Leader == nil {
		return
	}
	if k.gang.Strategy == Spread {
		k.largest = grow(k.largest, k.width)
		clear(k.largest)
		for node := range k.nodes {
			for column, free := range k.freeOf(node) {
				k.largest[column] = max(k.largest[column], free)
			}
		}
		return
	}
	for i := range k.scopes {
		sc := &k.scopes[i]
		sc.top = nil
		if sc.enough && len(k.active) == 1 {
			k.rankScope(sc, k.active[0])
		}
	}
}

// rankScope goes down the capacities until what is added up suffices even without any one node and beside a leader.
func (k *ranking) rankScope(sc *scope, r int) {
	want, largest := int64(k.gang.Roles[r].Count), int64(0)
	for _, node := range sc.nodes {
		largest = max(largest, int64(k.room[r][node]))
	}
	k.levels = grow(k.levels, int(largest)+1)
	clear(k.levels)
	for _, node := range sc.nodes {
		k.levels[k.room[r][node]]++
	}
	begin, sum := len(k.sums), int64(0)
	for level := largest; level > 0; level-- {
		for range k.levels[level] {
			if sum >= want+largest {
				break
			}
			sum += level
			k.sums = append(k.sums, sum)
		}
	}
	sc.top = k.sums[begin:len(k.sums):len(k.sums)]
}

// Score tells in the range 0 to MaxScore how good a seat the node is for the leader. It means something only where
// LeaderFits is true.
//
// Pack: on how few nodes the gang then sits, and how tightly the leader fills what its workers leave of the node.
// Spread: how much is left of the node. SingleZone: half of the score is how little the node's domain has to spare, so
// that large domains stay whole, and half is that of Pack. PreferSingleZone: a node whose domain holds the gang scores
// in the upper half, any other in the lower.
func (f *Fit) Score(node int) int {
	s := f.solver
	sc := s.scopeBeside(node)
	if sc == nil {
		return 0
	}
	var score float64
	switch {
	case s.gang.Strategy == Spread:
		score = s.emptiness(node)
	case s.gang.Strategy == SingleZone:
		score = s.scoreDomain(sc, node)
	case s.gang.Strategy == PreferSingleZone && sc.index != everywhere:
		score = (1 + s.scoreDomain(sc, node)) / 2
	case s.gang.Strategy == PreferSingleZone:
		score = s.scorePacked(sc, node) / 2
	default:
		score = s.scorePacked(sc, node)
	}
	return int(MaxScore*score + 0.5)
}

func (k *ranking) scoreDomain(sc *scope, node int) float64 {
	tight := 1.0
	if spare := k.spareIn(sc); spare > 1 {
		tight = 1 / spare
	}
	return (tight + k.scorePacked(sc, node)) / 2
}

// scorePacked has a step of a third for every node more than necessary; within a step the tightest node wins.
func (k *ranking) scorePacked(sc *scope, node int) float64 {
	return (float64(2-min(k.surplusNodes(sc, node), 2)) + k.tightness(node)) / 3
}

// surplusNodes is how many nodes the gang needs beyond the fewest conceivable when the leader sits on the node. For
// several roles it is how much of the workers' layout the leader upsets.
func (k *ranking) surplusNodes(sc *scope, leader int) int {
	switch len(k.active) {
	case 0:
		return 0
	case 1:
	default:
		return int(k.verdictOf(sc, leader)) - int(kept)
	}
	r := k.active[0]
	want := int64(k.gang.Roles[r].Count)
	fewest := sort.Search(len(sc.top), func(i int) bool { return sc.top[i] >= want }) + 1
	here, missing := int64(k.room[r][leader]), want-int64(k.roomBesideLeader(r, leader))
	if missing <= 0 {
		return 1 - fewest
	}
	others := sort.Search(len(sc.top), func(i int) bool { return sc.without(i+1, here) >= missing }) + 1
	return 1 + others - fewest
}

// without is how many workers the n best nodes take when one node that takes so many is not among them.
func (sc *scope) without(n int, here int64) int64 {
	if n >= len(sc.top) {
		return sc.top[len(sc.top)-1] - here
	}
	if next := sc.top[n] - sc.top[n-1]; here >= next {
		return sc.top[n] - here
	}
	return sc.top[n-1]
}

// tightness is the part of what workers leave of the node that the leader fills, averaged over what it asks for.
func (k *ranking) tightness(node int) float64 {
	if len(k.leader) == 0 {
		return 1
	}
	sum, free := 0.0, k.freeOf(node)
	for _, ask := range k.leader {
		rest := free[ask.column]
		if len(k.active) == 1 {
			r := k.active[0]
			rest -= int64(k.roomBesideLeader(r, node)) * k.requests[r].in(ask.column)
		}
		sum += float64(ask.amount) / float64(rest)
	}
	return sum / float64(len(k.leader))
}

// emptiness is how much of the largest free amount the leader leaves on the node, averaged over what it asks for.
func (k *ranking) emptiness(node int) float64 {
	if len(k.leader) == 0 {
		return 1
	}
	sum, free := 0.0, k.freeOf(node)
	for _, ask := range k.leader {
		sum += float64(free[ask.column]-ask.amount) / float64(k.largest[ask.column])
	}
	return sum / float64(len(k.leader))
}
