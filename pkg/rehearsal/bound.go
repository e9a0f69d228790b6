package rehearsal

import (
	"hash/maphash"
	"slices"

	"retinue.dev/retinue/pkg/placement"
)

// The bound of a search, counted in filtered nodes, of which each costs a few microseconds; PreFilter of a pod with rules that look at all
// nodes and at their pods counts as one for every nodesPerStep and podsPerStep of them. To look at looksPerStep nodes without a question
// counts as one as well. With one node of the
// leader a search may cost attemptFactor times what it takes to place everybody at the first try, and leastSteps in
// any case; with all its nodes together startFactor times that, up to mostEffort. What is more than the attempt may still spend is left to the
// next.
const (
	nodesPerStep  = 16
	podsPerStep   = 20
	leastSteps    = 1000
	attemptFactor = 2
	startFactor   = 3
	looksPerStep  = 200
	mostEffort    = 10 * placement.MostNodes
)

// allowance is what a search may cost from a start.
type allowance struct {
	budget, granted int  // what is left, and what it was at first
	ofSearch        int  // what of that the bound of a search leaves, without what a replay costs
	byAttempt       bool // the attempt's bound is the narrower
	looks           int  // at nodes that were not filtered, which have not been paid for
}

// ending is how a search has ended that has found nothing.
type ending int

const (
	// exhausted: there is no way.
	exhausted ending = iota
	// bounded: the search has cost what a search may, and has not tried everything.
	bounded
	// cut: the attempt has spent what it may, and the next goes on.
	cut
)

// run tries one start after another. found is nil when none leads to the end, and why is then set; cost is what was spent.
func (s *search) run() (found *Found, cost int, why ending) {
	p, had := s.progress, s.progress.spent
	each := leastSteps + attemptFactor*s.effort()
	most := min(startFactor*each, mostEffort)
	allowed, before := s.question.Work.Left(), s.question.Work.Spent()
	starts := s.starts()
	if i := slices.IndexFunc(starts, p.resumes); i > 0 { // the others are as good as they were
		starts[0], starts[i] = starts[i], starts[0]
	}
	for _, from := range starts {
		if p.passed[from] {
			continue
		}
		s.begin(from)
		ofAttempt := allowed - cost - (s.question.Work.Spent() - before) // plans of the fast path cost something as well
		if most <= p.spent {
			return nil, cost, bounded
		}
		s.granted = max(ofAttempt, 0)
		s.ofSearch = min(each-p.ofStart, most-p.spent)
		if s.budget, s.byAttempt = s.granted, true; !s.replay.on {
			s.bound(s.granted, s.ofSearch)
		}
		result := s.try(from)
		spent := s.granted - max(s.budget, 0)
		cost += spent
		if s.replay.on {
			s.replay.cost = spent
		}
		p.spent, p.ofStart = p.spent+spent-s.replay.cost, p.ofStart+spent-s.replay.cost
		switch {
		case s.snapshot.err != nil:
			return nil, cost, exhausted
		case result == complete:
			return s.found(from), cost, exhausted
		case result == ended && s.byAttempt && p.spent == had:
			return nil, cost, bounded // the next attempt would come no further
		case result == ended && s.byAttempt:
			s.keep(from)
			return nil, cost, cut
		}
		p.bounded = p.bounded || result == ended
		p.passed[from] = true
		s.clear()
	}
	if p.bounded {
		return nil, cost, bounded
	}
	return nil, cost, exhausted
}

// bound lets the search go on with what is left of the attempt, and of the search.
func (s *search) bound(ofAttempt, ofSearch int) {
	s.byAttempt = ofAttempt < ofSearch
	budget := min(ofAttempt, max(ofSearch, 0))
	s.granted -= s.budget - budget
	s.budget = budget
}

// begin is at a start, where nobody has been placed.
func (s *search) begin(from start) {
	p := s.progress
	s.replay = replay{on: p.resumes(from)}
	if !s.replay.on {
		p.ofStart = 0
		p.leave()
	}
	p.cut = false
	s.arranged = maphash.Comparable(seed, from)
}

// effort is what a search costs that never has to go back.
func (s *search) effort() int {
	effort := 0
	if s.leader != nil {
		effort += s.cycleCost(s.leader)
	}
	for _, m := range s.workers {
		effort += 2*s.cycleCost(m) + s.snapshot.nodes + 3*m.count
	}
	return effort + s.sortCost()
}

// sortCost is what it costs to put the nodes in order.
func (s *search) sortCost() int { return 1 + s.snapshot.nodes/(2*nodesPerStep) }

// least is what an attempt costs that knows where everybody goes, and confirms it: what no attempt may cost cannot be rehearsed.
func (s *search) least() int {
	least := s.sortCost()
	if s.leader != nil {
		least += s.cycleCost(s.leader) + 1
	}
	for _, m := range s.workers {
		least += s.cycleCost(m) + m.count + s.confirmCost(m)
	}
	return least
}

// cycleCost is what it costs to begin the cycle of a member's pod: PodTopologySpread and InterPodAffinity look at all pods for the rules
// of its own, and at those with required anti-affinity in any case.
func (s *search) cycleCost(m *member) int {
	if terms := m.rules.aboutPods(); terms > 0 {
		return 1 + s.snapshot.nodes/nodesPerStep + terms*s.snapshot.pods/podsPerStep
	}
	return 1 + s.snapshot.guards/podsPerStep
}
