package rehearsal

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/gang"
	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

// Names of plugins of the framework of which the search knows something.
const (
	resourcesPlugin    = "NodeResourcesFit"
	affinityPlugin     = "InterPodAffinity"
	restrictionsPlugin = "VolumeRestrictions"
)

// outcome of searching on from an arrangement.
type outcome int

const (
	// complete: every pod has a node.
	complete outcome = iota
	// stuck: there is no way from here; another node for an earlier pod may help.
	stuck
	// ended: a bound is reached, or the framework has failed.
	ended
)

// start is what a search begins with.
type start struct {
	leader int    // node; placement.NoNode for a gang without leader
	domain string // where all workers must be; "" means anywhere
}

// search is one attempt to place a gang in the opened snapshot.
type search struct {
	question Question
	snapshot *snapshot
	progress *Progress

	leader  *member   // nil for a gang without one
	workers []*member // the roles with workers, in the gang's order
	alike   bool      // all workers are, so of nodes of one domain the first that takes one is as good as any

	free   []resource.Vector // node -> what the View and the gang's pods placed so far leave
	beside []int             // node -> pods of the gang
	order  []int             // nodes in the order in which they are tried for workers
	path   []step            // which pod was placed where, in order
	marks  []mark            // what undo has to take out of members' refused

	arranged uint64 // number of the arrangement

	allowance
	replay replay // of the search before
}

// step is one pod that has been placed.
type step struct {
	member *member
	node   int
	info   fwk.PodInfo
	marks  int // length of search.marks before it was placed
}

// mark is one entry of a member's refused.
type mark struct {
	member *member
	node   int
}

func newSearch(opened *snapshot, question Question) *search {
	s := &search{question: question, snapshot: opened, progress: question.Progress}
	size := len(opened.infos)
	s.free, s.beside = make([]resource.Vector, size), make([]int, size)
	for i := range s.free {
		s.free[i] = *question.View.Free(i)
	}
	s.addMembers(question.Leader, question.Roles)
	return s
}

func (s *search) addMembers(leader *v1.Pod, roles []gang.Role) {
	if leader != nil {
		s.leader = newMember(s.snapshot.infos, *s.question.Asked.Leader, noRole, leader, 1)
	}
	for i, role := range s.question.Asked.Roles {
		if role.Count > 0 {
			s.workers = append(s.workers, newMember(s.snapshot.infos, role.Member, i, asCreated(roles[i].Pod), role.Count))
		}
	}
	s.alike = len(s.workers) == 1
}

// starts are the nodes of the leader, the best first, or for a gang without leader the domains it may be in.
func (s *search) starts() []start {
	single := s.question.Asked.Strategy == placement.SingleZone
	var starts []start
	if s.leader != nil {
		for node := range s.snapshot.infos {
			if s.leader.usable[node] && s.question.Fit.LeaderFits(node) {
				from := start{leader: node}
				if single {
					from.domain = s.question.View.Domain(node)
				}
				starts = append(starts, from)
			}
		}
		slices.SortStableFunc(starts, func(a, b start) int {
			return cmp.Compare(s.question.Fit.Score(b.leader), s.question.Fit.Score(a.leader))
		})
		return starts
	}
	if !single {
		return []start{{leader: placement.NoNode}}
	}
	seen := sets.New("")
	add := func(domain string) {
		if !seen.Has(domain) && (s.question.Asked.Home == "" || s.question.Asked.Home == domain) {
			seen.Insert(domain)
			starts = append(starts, start{placement.NoNode, domain})
		}
	}
	if plan, fits := s.question.Fit.Plan(placement.NoNode); fits && len(plan) > 0 {
		add(s.question.View.Domain(plan[0].Node))
	}
	for node := range s.snapshot.infos {
		add(s.question.View.Domain(node))
	}
	return starts
}

// try searches on from a start.
func (s *search) try(from start) outcome {
	s.follow()
	if s.leader != nil {
		short := s.shortfall(s.leader)
		if !s.accepts(s.leader, from.leader, short) {
			if s.over() {
				return ended
			}
			s.progress.report.note(short)
			return stuck
		}
		if !s.place(s.leader, from.leader) {
			return ended
		}
		s.follow()
	}
	s.sort(from)
	return s.placeAll()
}

// over tells whether the search has to end.
func (s *search) over() bool { return s.snapshot.err != nil || s.budget < 0 }

// found is the result once everybody has a node.
func (s *search) found(from start) *Found {
	found := &Found{Leader: from.leader}
	counts := map[placement.Slots]int{} // slots without Count -> how many
	for _, step := range s.path {
		if step.member != s.leader {
			counts[placement.Slots{Role: step.member.role, Node: step.node}]++
		}
	}
	for slots, count := range counts {
		slots.Count = count
		found.Slots = append(found.Slots, slots)
	}
	slices.SortFunc(found.Slots, func(a, b placement.Slots) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Node, b.Node))
	})
	return found
}

// sort puts the nodes in the order in which they are tried for workers: first those that the fast path chose, which
// are what the strategy wants; then those of the leader's domain if the strategy looks at domains; then, to pack, those
// with the least room, and to spread, those with the most.
func (s *search) sort(from start) {
	chosen, home := make([]bool, len(s.snapshot.infos)), s.question.Asked.Home
	before := s.question.Work.Spent()
	if plan, fits := s.question.Fit.Plan(from.leader); fits {
		for _, slots := range plan {
			chosen[slots.Node] = true
			home = cmp.Or(home, s.question.View.Domain(slots.Node))
		}
	}
	planned := s.question.Work.Spent() - before // which is paid for
	s.budget, s.granted = s.budget-planned, s.granted-planned
	s.budget -= s.sortCost()
	if from.leader != placement.NoNode {
		home = s.question.View.Domain(from.leader)
	}
	zonal := s.question.Asked.Strategy == placement.SingleZone || s.question.Asked.Strategy == placement.PreferSingleZone
	rank, room := make([]int, len(s.snapshot.infos)), make([]int, len(s.snapshot.infos))
	s.order = s.order[:0]
	for node, info := range s.snapshot.infos {
		if info == nil || from.domain != "" && s.question.View.Domain(node) != from.domain {
			continue
		}
		s.order = append(s.order, node)
		if !chosen[node] {
			rank[node] = 1
			if zonal && s.question.View.Domain(node) != home {
				rank[node] = 2
			}
		}
		if len(s.workers) > 0 {
			room[node] = s.workers[0].Request.Count(s.free[node], s.workers[0].count)
		}
		if s.question.Asked.Strategy == placement.Spread {
			room[node] = -room[node]
		}
	}
	slices.SortStableFunc(s.order, func(a, b int) int { return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(room[a], room[b])) })
}

// placeAll finds nodes for all pods that are left. Whether that is possible depends on which nodes the others have, not on the order
// in which they came, so an arrangement that was stuck once is stuck for good.
func (s *search) placeAll() outcome {
	if s.progress.isStuck(s.arranged) {
		return stuck
	}
	remaining := false
	for _, m := range s.inOrder() {
		if m.left > 0 {
			remaining = true
			if result := s.placeNext(m); result != stuck {
				return result
			}
		}
	}
	if !remaining {
		return s.confirm()
	}
	if !s.alike || s.workers[0].domains > 1 {
		s.progress.noteStuck(s.arranged)
	}
	return stuck
}

// inOrder are the workers, first those whose turn it was in the search before.
func (s *search) inOrder() []*member {
	if s.alike || !s.replay.on || len(s.path) >= len(s.progress.path) {
		return s.workers
	}
	was := int(s.progress.path[len(s.path)].role)
	order := slices.Clone(s.workers)
	slices.SortStableFunc(order, func(a, b *member) int {
		switch {
		case a.role == was && b.role != was:
			return -1
		case b.role == was && a.role != was:
			return 1
		}
		return 0
	})
	return order
}

// placeNext places the next pod of a member, on the first node from where all others find nodes too.
func (s *search) placeNext(m *member) outcome {
	if s.isHopeless(m) {
		return stuck
	}
	short := s.shortfall(m)
	somewhere := false
	refusing := map[int]bool{} // domain -> a node in it has refused
	failed := map[int]bool{}   // domain -> a node in it was taken, and there was no way on
	known := s.skipped(m)      // node -> 1 + index of the reason why it has refused in the search before
	asked := map[int]int{}     // the same in this one, unless the member keeps it
	tried := placement.NoNode
	refuse := func(node, why int) {
		if !m.rules.Settled() {
			asked[node] = 1 + why
			if m.domain != nil {
				refusing[m.domain[node]] = true
			}
		}
	}
	fail := func(node int) {
		if m.domain != nil && s.alike {
			failed[m.domain[node]] = true
		}
	}
	try := func(node int) outcome {
		switch {
		case node == tried, m.domain != nil && failed[m.domain[node]]:
			return stuck
		case s.isStuckWith(m, node):
			somewhere = true
			fail(node)
			return stuck
		case known[node] != 0:
			short.count(known[node] - 1)
			refuse(node, known[node]-1)
			return stuck
		}
		if !s.accepts(m, node, short) {
			if s.over() {
				if s.replay.asked == nil {
					s.replay.asked, s.replay.askedRole = asked, m.role
				}
				return ended
			}
			if short.last == node {
				refuse(node, short.why)
			}
			return stuck
		}
		somewhere = true
		if !s.place(m, node) {
			return ended
		}
		s.follow()
		result := s.placeAll()
		if result == stuck {
			if !s.undo() {
				return ended
			}
			fail(node)
		}
		return result
	}
	if before := s.next(m); before != placement.NoNode {
		if result := try(before); result != stuck {
			return result
		}
		tried = before
	}
	s.stray()
	var putOff []int // nodes like one that has refused are tried last
	for node := range s.candidates(m) {
		if m.domain != nil && refusing[m.domain[node]] {
			putOff = append(putOff, node)
		} else if result := try(node); result != stuck {
			return result
		}
	}
	for _, node := range putOff {
		if result := try(node); result != stuck {
			return result
		}
	}
	if !somewhere {
		s.progress.report.note(short)
	}
	if !s.alike {
		s.noteHopeless(m)
	}
	return stuck
}

// candidates are the nodes to try: for topology spread those first in whose domain the fewest of the member are, and
// for the strategy Spread, on which the fewest of the gang are.
func (s *search) candidates(m *member) iter.Seq[int] {
	level := len(m.rules.topologySpread) > 0
	if !level && s.question.Asked.Strategy != placement.Spread {
		return slices.Values(s.order)
	}
	crowd := func(node int) [2]int {
		among := [2]int{}
		if level && m.domain != nil {
			among[0] = m.inDomain[m.domain[node]]
		}
		if level && m.domain == nil || s.question.Asked.Strategy == placement.Spread {
			among[1] = s.beside[node]
		}
		return among
	}
	s.budget -= len(s.order) / looksPerStep
	crowds := sets.New[[2]int]()
	for _, node := range s.order {
		crowds.Insert(crowd(node))
	}
	return func(yield func(int) bool) {
		for _, least := range slices.SortedFunc(maps.Keys(crowds), func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }) {
			for _, node := range s.order {
				if crowd(node) == least && !yield(node) {
					return
				}
			}
		}
	}
}

// accepts asks room and the framework's filters about the next pod of a member on a node.
func (s *search) accepts(m *member, node int, short *shortfall) bool {
	short.last = placement.NoNode
	if s.looks++; s.looks == looksPerStep {
		s.looks = 0
		s.budget--
	}
	switch {
	case !m.usable[node]:
		short.excluded++
		return false
	case m.refused[node] != 0:
		short.count(m.refused[node] - 1)
		return false
	case !m.Request.Fits(s.free[node]):
		short.full++
		return false
	case m.state == nil && m.rejected == nil && !s.preFilter(m):
		return false
	case m.rejected != nil:
		short.count(s.progress.report.reason(*m.rejected))
		return false
	case m.allowed != nil && !m.allowed.Has(s.question.View.Name(node)):
		short.excluded++
		return false
	}
	if s.budget--; s.budget < 0 {
		return false
	}
	refused := s.snapshot.filter(m, node)
	if refused == nil {
		return s.snapshot.err == nil
	}
	why := s.progress.report.reason(*refused)
	short.count(why)
	short.last, short.why = node, why
	if m.rules.Settled() {
		m.refused[node] = 1 + why
		s.marks = append(s.marks, mark{m, node})
	}
	return false
}

// preFilter begins a cycle for the next pod of a member, and tells whether the search goes on.
func (s *search) preFilter(m *member) bool {
	if s.budget -= s.cycleCost(m); s.budget < 0 {
		return false
	}
	return s.snapshot.preFilter(m)
}

// place puts the next pod of a member on a node, and tells whether the search goes on.
func (s *search) place(m *member, node int) bool {
	if len(m.spare) == 0 {
		info := s.snapshot.podInfo(m.pod)
		if info == nil {
			return false
		}
		m.spare = append(m.spare, info)
	}
	info := m.spare[len(m.spare)-1]
	m.spare = m.spare[:len(m.spare)-1]
	info.GetPod().Spec.NodeName = s.question.View.Name(node)
	if !s.snapshot.add(info, node) {
		return false
	}
	s.path = append(s.path, step{m, node, info, len(s.marks)})
	s.arranged += numberOf(m.role, node)
	s.free[node] = s.free[node].Sub(m.Request)
	s.beside[node]++
	m.moved(node, 1)
	for _, other := range s.workers {
		s.snapshot.added(other, m, info, node)
	}
	return !s.over()
}

// undo takes the pod that was placed last off its node, and tells whether the search goes on.
func (s *search) undo() bool {
	last := s.path[len(s.path)-1]
	s.path = s.path[:len(s.path)-1]
	s.arranged -= numberOf(last.member.role, last.node)
	if !s.snapshot.remove(last.info, last.node) {
		return false
	}
	if len(s.path) < s.replay.skipsDepth {
		s.replay.skips = nil
	}
	last.member.spare = append(last.member.spare, last.info)
	last.member.moved(last.node, -1)
	s.beside[last.node]--
	s.free[last.node] = s.free[last.node].Add(last.member.Request)
	for _, mark := range s.marks[last.marks:] {
		mark.member.refused[mark.node] = 0
	}
	s.marks = s.marks[:last.marks]
	for _, m := range s.workers {
		m.reset()
	}
	return true
}

// clear takes everybody off their nodes, for the next start.
func (s *search) clear() {
	for len(s.path) > 0 && s.undo() {
		continue
	}
	for _, m := range s.workers {
		clear(m.refused)
	}
	s.marks = s.marks[:0]
}

func (s *search) shortfall(m *member) *shortfall {
	return &shortfall{placed: len(s.path), name: m.Name, leads: m == s.leader, pods: m.count, beside: m.count - m.left}
}
