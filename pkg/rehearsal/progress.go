package rehearsal

import (
	"fmt"
	"hash/maphash"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
)

// Progress is how far the rehearsals of a gang have come, one attempt after another: what one may ask the filters is bounded, and the next
// goes on from there. The zero Progress is that of a gang that is rehearsed for the first time. Nodes are remembered by their numbers, and
// every pod is asked about again before it is seated where it sat: what has changed meanwhile costs time, and never lets a pod sit where
// the filters refuse it. That somewhere was no way is believed until the search ends, and not longer.
type Progress struct {
	cut bool
	// spent is what the searches have cost, in filtered nodes, without what it took to get where the one before had come, and ofStart what
	// of it was for the start at which the last one was cut.
	spent, ofStart int
	start          start
	path           []seat
	// marks are the nodes that had refused when the first so many of the path had been placed.
	marks []refusedAt
	// asked are the nodes that have refused the pod after the path, of a role: node -> 1 + index of the reason.
	asked     map[int]int
	askedRole int
	passed    map[start]bool // starts from which there is no way, or the search has ended at its bound, of which bounded tells
	bounded   bool
	stuck     map[uint64]struct{} // arrangements from which there is none
	report    report
}

// seat is one pod of a path.
type seat struct{ role, node int32 }

// refusedAt is one entry of a member's refused.
type refusedAt struct{ depth, role, node, reason int32 }

// Cut tells whether the last rehearsal ended because its attempt had spent what it may.
func (p *Progress) Cut() bool { return p.cut }

// mostStuck bounds how many arrangements are remembered; of those that are not, the search finds out again.
const mostStuck = 1 << 14

// seed keeps arrangements from being made up that have the same number.
var seed = maphash.MakeSeed()

// numberOf is what a pod of a role on a node adds to the number of an arrangement, in which the order of pods makes no difference.
func numberOf(role, node int) uint64 { return maphash.Comparable(seed, [2]int{role, node}) }

func (p *Progress) isStuck(arranged uint64) bool {
	_, known := p.stuck[arranged]
	return known
}

func (p *Progress) noteStuck(arranged uint64) {
	if len(p.stuck) < mostStuck {
		p.stuck[arranged] = struct{}{}
	}
}

// replay is how a search follows the one before.
type replay struct {
	on   bool // it still does
	cost int  // of having come as far as the one before, or having left its way
	mark int  // the next of the marks
	// skips are the nodes that had refused the next pod of a role where the one before was cut, when so many had been placed.
	skips      map[int]int // node -> 1 + index of the reason
	skipsRole  int
	skipsDepth int
	// asked are the same where this one is cut; nil until it is.
	asked     map[int]int
	askedRole int
}

// fresh makes room for what is remembered.
func (p *Progress) fresh() {
	if p.passed == nil {
		p.passed, p.stuck = map[start]bool{}, map[uint64]struct{}{}
	}
}

// resumes tells whether the last search was cut at that start.
func (p *Progress) resumes(from start) bool { return p.cut && p.start == from }

// leave forgets where the last search was cut, once the search has come there or has left the way that led there.
func (p *Progress) leave() { p.path, p.marks, p.asked = nil, nil, nil }

// keep notes where a search is cut, for the next.
func (s *search) keep(from start) {
	p := s.progress
	p.cut, p.start = true, from
	p.path, p.marks = make([]seat, 0, len(s.path)), make([]refusedAt, 0, len(s.marks))
	p.asked, p.askedRole = s.replay.asked, s.replay.askedRole
	mark := 0
	note := func(depth, until int) {
		for ; mark < until; mark++ {
			m := s.marks[mark]
			p.marks = append(p.marks, refusedAt{int32(depth), int32(m.member.role), int32(m.node), int32(m.member.refused[m.node])})
		}
	}
	for depth, step := range s.path {
		note(depth, step.marks)
		p.path = append(p.path, seat{int32(step.member.role), int32(step.node)})
	}
	note(len(s.path), len(s.marks))
}

// next is the node on which the search before had the next pod of a member; placement.NoNode if this one does not follow it, or not any more.
func (s *search) next(m *member) int {
	if !s.replay.on {
		return placement.NoNode
	}
	seat := s.progress.path[len(s.path)]
	node, domain := int(seat.node), s.progress.start.domain
	if int(seat.role) != m.role || node >= len(s.snapshot.infos) || domain != "" && s.question.View.Domain(node) != domain { // it may be another node by now
		return placement.NoNode
	}
	return node
}

// follow goes on when one more has been placed as it was before: nodes that had refused then are not asked again.
func (s *search) follow() {
	if !s.replay.on {
		return
	}
	p, depth := s.progress, len(s.path)
	for ; s.replay.mark < len(p.marks) && int(p.marks[s.replay.mark].depth) <= depth; s.replay.mark++ {
		known := p.marks[s.replay.mark]
		m, node := s.memberOf(int(known.role)), int(known.node)
		if m != nil && node < len(m.refused) && m.refused[node] == 0 {
			m.refused[node] = int(known.reason)
			s.marks = append(s.marks, mark{m, node})
		}
	}
	if depth == len(p.path) {
		s.replay.skips, s.replay.skipsRole, s.replay.skipsDepth = p.asked, p.askedRole, depth
		s.stray()
	}
}

// stray ends that the search follows the one before.
func (s *search) stray() {
	if s.replay.on {
		s.replay.on, s.replay.cost = false, s.granted-s.budget
		s.progress.leave()
		s.bound(s.budget, s.ofSearch)
	}
}

// skipped are the nodes that had refused the next pod of a member where the search before was cut: node -> 1 + index of the reason.
func (s *search) skipped(m *member) (known map[int]int) {
	if s.replay.skips != nil && m.role == s.replay.skipsRole && len(s.path) == s.replay.skipsDepth {
		known, s.replay.skips = s.replay.skips, nil
	}
	return known
}

// isHopeless tells whether no node is known for the next pod of a member as the others sit; noteHopeless remembers it.
func (s *search) isHopeless(m *member) bool {
	return s.progress.isStuck(s.arranged + numberOf(m.role, placement.NoNode))
}

func (s *search) noteHopeless(m *member) {
	s.progress.noteStuck(s.arranged + numberOf(m.role, placement.NoNode))
}

// isStuckWith tells whether there is known to be no way on with the next pod of a member on a node that may have room for it.
func (s *search) isStuckWith(m *member, node int) bool {
	return len(s.progress.stuck) > 0 && m.usable[node] && m.refused[node] == 0 && s.progress.isStuck(s.arranged+numberOf(m.role, node))
}

func (s *search) memberOf(role int) *member {
	if role == noRole {
		return s.leader
	}
	for _, m := range s.workers {
		if m.role == role {
			return m
		}
	}
	return nil
}

// goesOn is the verdict on a gang whose rehearsal was cut.
func (s *search) goesOn() gang.Verdict {
	placed, all := len(s.path), 0
	if s.leader != nil {
		all++
	}
	for _, m := range s.workers {
		all += m.count
	}
	return gang.Verdict{Reason: gang.Constraints, Message: fmt.Sprintf("the filters have found nodes for %d of its %d pods so far, and are asked about the others at its next attempt", placed, all)}
}
