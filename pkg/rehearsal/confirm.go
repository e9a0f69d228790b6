package rehearsal

import (
	"slices"

	"k8s.io/apimachinery/pkg/util/sets"
)

// confirm makes sure that the arrangement is one, and that the order in which workers come makes no difference. No rule
// but topology spread and pod affinity can be broken by who comes first: so the workers of each role with
// such a rule come once more, after those of all other roles. Among workers that are all alike the order makes none.
func (s *search) confirm() outcome {
	for _, m := range s.workers {
		var result outcome
		switch {
		case m.rules.Settled():
			continue
		case !s.alike:
			result = s.confirmLast(m)
		case len(m.rules.topologySpread) > 0:
			result = s.confirmLevel(m)
		}
		m.reset()
		if result != complete {
			return result
		}
	}
	return complete
}

// confirmCost is what confirm costs for a member.
func (s *search) confirmCost(m *member) int {
	level := len(m.rules.topologySpread) > 0
	switch {
	case m.rules.Settled():
		return 0
	case !s.alike && level:
		return m.count * (s.cycleCost(m) + 1)
	case !s.alike:
		return s.cycleCost(m) + m.count
	case level:
		return s.cycleCost(m) + min(m.count, max(m.domains, 1))
	}
	return 0
}

// confirmLast lets the workers of a role come again when all others are there, to their nodes in any order.
func (s *search) confirmLast(m *member) outcome {
	var waiting []step
	for _, step := range s.path {
		if step.member == m {
			waiting = append(waiting, step)
			s.free[step.node] = s.free[step.node].Add(m.Request)
			if !s.snapshot.remove(step.info, step.node) {
				return ended
			}
		}
	}
	short := s.shortfall(m)
	m.reset()
	for came := true; came; {
		came = false
		waiting = slices.DeleteFunc(waiting, func(step step) bool {
			accepted := !s.over() && s.accepts(m, step.node, short) && s.snapshot.add(step.info, step.node)
			if accepted {
				came = true
				s.free[step.node] = s.free[step.node].Sub(m.Request)
				if len(m.rules.topologySpread) > 0 { // what is told of pods that have come is not exact for it
					m.reset()
				} else {
					s.snapshot.added(m, m, step.info, step.node)
				}
			}
			return accepted
		})
	}
	left := len(waiting) > 0
	for _, step := range waiting {
		s.free[step.node] = s.free[step.node].Sub(m.Request)
		s.snapshot.add(step.info, step.node)
	}
	switch {
	case s.over():
		return ended
	case left:
		s.progress.report.note(short)
		return stuck
	default:
		return complete
	}
}

// confirmLevel lets one worker in each domain come last. Where all can, they can come in any order: a domain that could
// not take its next worker would have one with fewer, which has all of its own, and could not take its last.
func (s *search) confirmLevel(m *member) outcome {
	m.reset()
	if !s.preFilter(m) {
		return ended
	}
	if m.rejected != nil {
		return stuck
	}
	fresh := m.state
	asked := sets.New[int]() // domains, or nodes where nodes have none in common
	short := s.shortfall(m)
	for _, step := range s.path {
		where := step.node
		if m.domain != nil {
			where = m.domain[step.node]
		}
		if step.member != m || asked.Has(where) {
			continue
		}
		asked.Insert(where)
		m.state = fresh.Clone()
		if !s.snapshot.removed(m, step.info, step.node) || !s.snapshot.remove(step.info, step.node) {
			return ended
		}
		s.free[step.node] = s.free[step.node].Add(m.Request)
		accepted := s.accepts(m, step.node, short)
		s.free[step.node] = s.free[step.node].Sub(m.Request)
		switch {
		case !s.snapshot.add(step.info, step.node) || s.over():
			return ended
		case !accepted:
			s.progress.report.note(short)
			return stuck
		}
	}
	return complete
}
