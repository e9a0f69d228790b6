package plugin

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	fwk "k8s.io/kube-scheduler/framework"

	"retinue.dev/retinue/pkg/placement"
)

// Names of plugins of the framework of which the search knows something.
const (
	resourcesPlugin    = "NodeResourcesFit"
	affinityPlugin     = "InterPodAffinity"
	restrictionsPlugin = "VolumeRestrictions"
)

// The bound of a search, counted in filtered nodes, of which each costs a few microseconds; PreFilter, which looks at all
// nodes and often at their pods, counts as one for every nodesPerStep and podsPerStep of them. With one seat of the
// leader a search may cost attemptFactor times what it takes to put everybody down at the first try, and leastSteps in
// any case; with all seats together seatFactor times that, and never more than mostSteps.
const (
	nodesPerStep  = 16
	podsPerStep   = 20
	leastSteps    = 1000
	attemptFactor = 2
	seatFactor    = 3
	mostSteps     = 100_000
)

// outcome of searching on from an arrangement.
type outcome int

const (
	// complete: every pod has a node.
	complete outcome = iota
	// stuck: there is no way from here; another node for an earlier pod may help.
	stuck
	// ended: the bound is reached, or the framework has failed.
	ended
)

// opening is what a search begins with.
type opening struct {
	leader int    // node; placement.NoNode for a gang without leader
	domain string // where all workers must be; "" means anywhere
}

// run tries one opening after another. found is nil when none leads to the end; ended tells whether the bound kept the
// search from trying everything, and cost is what was spent.
func (r *rehearsal) run() (found *rehearsed, cost int, bounded bool) {
	each := leastSteps + attemptFactor*r.effort()
	most := min(seatFactor*each, mostSteps)
	for _, o := range r.openings() {
		if cost >= most {
			return nil, cost, true
		}
		r.steps = min(each, most-cost)
		cost += r.steps
		result := r.try(o)
		cost -= max(r.steps, 0)
		if r.err != nil {
			return nil, cost, false
		}
		if result == complete {
			return r.found(o), cost, false
		}
		bounded = bounded || result == ended
		r.clear()
	}
	return nil, cost, bounded
}

// effort is what a search costs that never has to go back.
func (r *rehearsal) effort() int {
	effort := r.preFilterCost()
	for _, m := range r.workers {
		effort += 2*r.preFilterCost() + r.nodes + 3*m.count
	}
	return effort
}

func (r *rehearsal) preFilterCost() int { return 1 + r.nodes/nodesPerStep + r.pods/podsPerStep }

// openings are the seats of the leader, the best first, or for a gang without leader the domains it may be in.
func (r *rehearsal) openings() []opening {
	single := r.asked.Strategy == placement.SingleZone
	var openings []opening
	if r.leader != nil {
		for node := range r.infos {
			if r.leader.usable[node] && r.fit.LeaderFits(node) {
				o := opening{leader: node}
				if single {
					o.domain = r.view.Domain(node)
				}
				openings = append(openings, o)
			}
		}
		slices.SortStableFunc(openings, func(a, b opening) int { return cmp.Compare(r.fit.Score(b.leader), r.fit.Score(a.leader)) })
		return openings
	}
	if !single {
		return []opening{{leader: placement.NoNode}}
	}
	seen := sets.New("")
	add := func(domain string) {
		if !seen.Has(domain) && (r.asked.Home == "" || r.asked.Home == domain) {
			seen.Insert(domain)
			openings = append(openings, opening{placement.NoNode, domain})
		}
	}
	if plan, fits := r.fit.Plan(placement.NoNode); fits && len(plan) > 0 {
		add(r.view.Domain(plan[0].Node))
	}
	for node := range r.infos {
		add(r.view.Domain(node))
	}
	return openings
}

// try searches on from an opening.
func (r *rehearsal) try(o opening) outcome {
	if r.leader != nil {
		short := r.shortfall(r.leader)
		if !r.accepts(r.leader, o.leader, short) {
			if r.over() {
				return ended
			}
			r.note(short)
			return stuck
		}
		if !r.sit(r.leader, o.leader) {
			return ended
		}
	}
	r.sort(o)
	return r.place()
}

// over tells whether the search has to end.
func (r *rehearsal) over() bool { return r.err != nil || r.steps < 0 }

// found is the result once everybody sits.
func (r *rehearsal) found(o opening) *rehearsed {
	found := &rehearsed{leader: o.leader}
	counts := map[placement.Slots]int{} // slots without Count -> how many
	for _, seat := range r.trail {
		if seat.member != r.leader {
			counts[placement.Slots{Role: seat.member.role, Node: seat.node}]++
		}
	}
	for slots, count := range counts {
		slots.Count = count
		found.slots = append(found.slots, slots)
	}
	slices.SortFunc(found.slots, func(a, b placement.Slots) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Node, b.Node))
	})
	return found
}

// sort puts the nodes in the order in which they are tried for workers: first those that the fast path chose, which
// are what the strategy wants; then those of the leader's domain if the strategy looks at domains; then, to pack, those
// with the least room, and to spread, those with the most.
func (r *rehearsal) sort(o opening) {
	chosen, home := make([]bool, len(r.infos)), r.asked.Home
	if plan, fits := r.fit.Plan(o.leader); fits {
		for _, slots := range plan {
			chosen[slots.Node] = true
			home = cmp.Or(home, r.view.Domain(slots.Node))
		}
	}
	if o.leader != placement.NoNode {
		home = r.view.Domain(o.leader)
	}
	zonal := r.asked.Strategy == placement.SingleZone || r.asked.Strategy == placement.PreferSingleZone
	rank, room := make([]int, len(r.infos)), make([]int, len(r.infos))
	r.order = r.order[:0]
	for node, info := range r.infos {
		if info == nil || o.domain != "" && r.view.Domain(node) != o.domain {
			continue
		}
		r.order = append(r.order, node)
		if !chosen[node] {
			rank[node] = 1
			if zonal && r.view.Domain(node) != home {
				rank[node] = 2
			}
		}
		if len(r.workers) > 0 {
			room[node] = r.workers[0].Request.Count(r.free[node], r.workers[0].count)
		}
		if r.asked.Strategy == placement.Spread {
			room[node] = -room[node]
		}
	}
	slices.SortStableFunc(r.order, func(a, b int) int { return cmp.Or(cmp.Compare(rank[a], rank[b]), cmp.Compare(room[a], room[b])) })
}

// place puts everybody down who is left. Whether that is possible depends on who sits where, not on the order in which
// they came, so an arrangement that was stuck once is stuck for good.
func (r *rehearsal) place() outcome {
	remaining := false
	if len(r.stuck) > 0 && r.stuck[r.arrangement()] {
		return stuck
	}
	for _, m := range r.workers {
		if m.left > 0 {
			remaining = true
			if result := r.placeNext(m); result != stuck {
				return result
			}
		}
	}
	if !remaining {
		return r.confirm()
	}
	if !r.alike || r.workers[0].domains > 1 {
		r.stuck[r.arrangement()] = true
	}
	return stuck
}

// placeNext puts the next pod of a member down, on the first node from where all others find nodes too.
func (r *rehearsal) placeNext(m *member) outcome {
	short := r.shortfall(m)
	somewhere := false
	refusing := map[int]bool{} // domain -> a node in it has refused
	failed := map[int]bool{}   // domain -> a node in it was taken, and there was no way on
	try := func(node int) outcome {
		if m.domain != nil && failed[m.domain[node]] {
			return stuck
		}
		if !r.accepts(m, node, short) {
			if r.over() {
				return ended
			}
			if m.domain != nil && !m.bonds.settled() && short.last == node {
				refusing[m.domain[node]] = true
			}
			return stuck
		}
		somewhere = true
		if !r.sit(m, node) {
			return ended
		}
		result := r.place()
		if result == stuck {
			if !r.stand() {
				return ended
			}
			if m.domain != nil && r.alike {
				failed[m.domain[node]] = true
			}
		}
		return result
	}
	var putOff []int // nodes like one that has refused are tried last
	for node := range r.candidates(m) {
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
		r.note(short)
	}
	return stuck
}

// candidates are the nodes to try: those first, to keep numbers level, in whose domain the fewest of the member sit, and
// to spread, on which the fewest of the gang do.
func (r *rehearsal) candidates(m *member) iter.Seq[int] {
	level := len(m.bonds.spread) > 0
	if !level && r.asked.Strategy != placement.Spread {
		return slices.Values(r.order)
	}
	crowd := func(node int) [2]int {
		among := [2]int{}
		if level && m.domain != nil {
			among[0] = m.inDomain[m.domain[node]]
		}
		if level && m.domain == nil || r.asked.Strategy == placement.Spread {
			among[1] = r.seated[node]
		}
		return among
	}
	crowds := sets.New[[2]int]()
	for _, node := range r.order {
		crowds.Insert(crowd(node))
	}
	return func(yield func(int) bool) {
		for _, least := range slices.SortedFunc(maps.Keys(crowds), func(a, b [2]int) int { return slices.Compare(a[:], b[:]) }) {
			for _, node := range r.order {
				if crowd(node) == least && !yield(node) {
					return
				}
			}
		}
	}
}

// accepts asks room and the framework's filters about the next pod of a member on a node.
func (r *rehearsal) accepts(m *member, node int, short *shortfall) bool {
	short.last = placement.NoNode
	switch {
	case !m.usable[node]:
		short.barred++
		return false
	case m.refused[node] != 0:
		short.count(m.refused[node] - 1)
		return false
	case !m.Request.Fits(r.free[node]):
		short.full++
		return false
	case m.state == nil && m.rejected == nil && !r.preFilter(m):
		return false
	case m.rejected != nil:
		short.count(r.reason(*m.rejected))
		return false
	case m.allowed != nil && !m.allowed.Has(r.view.Name(node)):
		short.barred++
		return false
	}
	if r.steps--; r.steps < 0 {
		return false
	}
	status := r.handle.RunFilterPlugins(r.ctx, m.state, m.pod, r.infos[node])
	switch {
	case status.IsSuccess():
		return true
	case !status.IsRejected():
		r.err = fmt.Errorf("rehearse %s on node %s: %w", m.Name, r.view.Name(node), status.AsError())
		return false
	}
	why := r.reason(refusal{status.Plugin(), status.Message()})
	short.count(why)
	short.last = node
	if m.bonds.settled() {
		m.refused[node] = 1 + why
		r.marks = append(r.marks, mark{m, node})
	}
	return false
}

// preFilter begins a cycle for the next pod of a member, and tells whether the search goes on.
func (r *rehearsal) preFilter(m *member) bool {
	if r.steps -= r.preFilterCost(); r.steps < 0 {
		return false
	}
	state := r.blank.Clone()
	result, status, _ := r.framework.RunPreFilterPlugins(r.ctx, state, m.pod)
	switch {
	case status.IsRejected():
		m.rejected = &refusal{status.Plugin(), status.Message()}
	case !status.IsSuccess():
		r.err = fmt.Errorf("rehearse %s: %w", m.Name, status.AsError())
		return false
	default:
		m.state, m.allowed = state, nil
		if !result.AllNodes() {
			m.allowed = result.NodeNames
		}
	}
	return true
}

// reason numbers a refusal; there are few.
func (r *rehearsal) reason(why refusal) int {
	if i := slices.Index(r.reasons, why); i >= 0 {
		return i
	}
	r.reasons = append(r.reasons, why)
	return len(r.reasons) - 1
}

// sit puts the next pod of a member on a node.
func (r *rehearsal) sit(m *member, node int) bool {
	if len(m.spare) == 0 {
		info, err := r.podInfo(m.pod)
		if err != nil {
			r.err = err
			return false
		}
		m.spare = append(m.spare, info)
	}
	info := m.spare[len(m.spare)-1]
	m.spare = m.spare[:len(m.spare)-1]
	info.GetPod().Spec.NodeName = r.view.Name(node)
	if !r.add(info, node) {
		return false
	}
	r.trail = append(r.trail, seat{m, node, info, len(r.marks)})
	r.free[node] = r.free[node].Sub(m.Request)
	r.seated[node]++
	m.left--
	if m.domain != nil {
		m.inDomain[m.domain[node]]++
	}
	for _, other := range r.workers {
		r.carry(other, m, info, node)
	}
	return !r.over()
}

func (r *rehearsal) add(info fwk.PodInfo, node int) bool {
	if err := r.cluster.AddPod(info, r.view.Name(node)); err != nil {
		r.err = fmt.Errorf("%w: %w", errSnapshot, err)
	}
	return r.err == nil
}

func (r *rehearsal) remove(info fwk.PodInfo, node int) bool {
	if err := r.cluster.RemovePod(r.logger, info.GetPod(), r.view.Name(node)); err != nil {
		r.err = fmt.Errorf("%w: %w", errSnapshot, err)
	}
	return r.err == nil
}

// carry lets a member's cycle know of a pod that has sat down, or ends it if it cannot: the framework tells only
// plugins that PreFilter did not skip, and the pod may be why one would not be skipped any more. PodTopologySpread keeps
// count of pods that come to one node, and of those that come to several it may think that numbers are more level than
// they are: it then accepts too much and never refuses too much, and confirm asks it anew.
func (r *rehearsal) carry(m, came *member, info fwk.PodInfo, node int) {
	m.rejected = nil
	if m.state == nil {
		return
	}
	skipped := m.state.GetSkipFilterPlugins()
	if skipped.Has(affinityPlugin) && len(came.bonds.apart) > 0 || skipped.Has(restrictionsPlugin) && came.bonds.claims {
		m.state = nil
		return
	}
	if status := r.handle.RunPreFilterExtensionAddPod(r.ctx, m.state, m.pod, info, r.infos[node]); !status.IsSuccess() {
		r.err = fmt.Errorf("rehearse %s: %w", m.Name, status.AsError())
	}
}

// stand takes back the last who sat down.
func (r *rehearsal) stand() bool {
	last := r.trail[len(r.trail)-1]
	r.trail = r.trail[:len(r.trail)-1]
	if !r.remove(last.info, last.node) {
		return false
	}
	last.member.spare = append(last.member.spare, last.info)
	last.member.left++
	if last.member.domain != nil {
		last.member.inDomain[last.member.domain[last.node]]--
	}
	r.seated[last.node]--
	r.free[last.node] = r.free[last.node].Add(last.member.Request)
	for _, mark := range r.marks[last.marks:] {
		mark.member.refused[mark.node] = 0
	}
	r.marks = r.marks[:last.marks]
	for _, m := range r.workers {
		m.state, m.rejected = nil, nil
	}
	return true
}

// clear lets everybody stand up, for the next opening.
func (r *rehearsal) clear() {
	for len(r.trail) > 0 && r.stand() {
		continue
	}
	for _, m := range r.workers {
		clear(m.refused)
	}
	r.marks = r.marks[:0]
	clear(r.stuck)
}

// confirm makes sure that the arrangement is one, and that the order in which workers come makes no difference. No rule
// but those that keep numbers level or seek company can be broken by who comes first: so the workers of each role with
// such a rule come once more, after those of all other roles. Among workers that are all alike the order makes none.
func (r *rehearsal) confirm() outcome {
	for _, m := range r.workers {
		var result outcome
		switch {
		case m.bonds.settled():
			continue
		case !r.alike:
			result = r.confirmLast(m)
		case len(m.bonds.spread) > 0:
			result = r.confirmLevel(m)
		}
		m.state, m.rejected = nil, nil
		if result != complete {
			return result
		}
	}
	return complete
}

// confirmLast lets the workers of a role come again when all others are there, to their nodes in any order.
func (r *rehearsal) confirmLast(m *member) outcome {
	var waiting []seat
	for _, seat := range r.trail {
		if seat.member == m {
			waiting = append(waiting, seat)
			r.free[seat.node] = r.free[seat.node].Add(m.Request)
			if !r.remove(seat.info, seat.node) {
				return ended
			}
		}
	}
	short := r.shortfall(m)
	for came := true; came; {
		came = false
		waiting = slices.DeleteFunc(waiting, func(seat seat) bool {
			m.state, m.rejected = nil, nil
			accepted := !r.over() && r.accepts(m, seat.node, short) && r.add(seat.info, seat.node)
			if accepted {
				came = true
				r.free[seat.node] = r.free[seat.node].Sub(m.Request)
			}
			return accepted
		})
	}
	stranded := len(waiting) > 0
	for _, seat := range waiting {
		r.free[seat.node] = r.free[seat.node].Sub(m.Request)
		r.add(seat.info, seat.node)
	}
	switch {
	case r.over():
		return ended
	case stranded:
		r.note(short)
		return stuck
	default:
		return complete
	}
}

// confirmLevel lets one worker in each domain come last. Where all can, they can come in any order: a domain that could
// not take its next worker would have one with fewer, which has all of its own, and could not take its last.
func (r *rehearsal) confirmLevel(m *member) outcome {
	m.state, m.rejected = nil, nil
	if !r.preFilter(m) {
		return ended
	}
	if m.rejected != nil {
		return stuck
	}
	fresh := m.state
	asked := sets.New[int]() // domains, or nodes where nodes have none in common
	short := r.shortfall(m)
	for _, seat := range r.trail {
		where := seat.node
		if m.domain != nil {
			where = m.domain[seat.node]
		}
		if seat.member != m || asked.Has(where) {
			continue
		}
		asked.Insert(where)
		m.state = fresh.Clone()
		if status := r.handle.RunPreFilterExtensionRemovePod(r.ctx, m.state, m.pod, seat.info, r.infos[seat.node]); !status.IsSuccess() {
			r.err = fmt.Errorf("rehearse %s: %w", m.Name, status.AsError())
			return ended
		}
		if !r.remove(seat.info, seat.node) {
			return ended
		}
		r.free[seat.node] = r.free[seat.node].Add(m.Request)
		accepted := r.accepts(m, seat.node, short)
		r.free[seat.node] = r.free[seat.node].Sub(m.Request)
		switch {
		case !r.add(seat.info, seat.node) || r.over():
			return ended
		case !accepted:
			r.note(short)
			return stuck
		}
	}
	return complete
}

// arrangement names who sits where, whatever the order.
func (r *rehearsal) arrangement() string {
	seats := slices.Clone(r.trail)
	slices.SortFunc(seats, func(a, b seat) int {
		return cmp.Or(cmp.Compare(a.member.role, b.member.role), cmp.Compare(a.node, b.node))
	})
	var name strings.Builder
	for _, seat := range seats {
		name.WriteString(strconv.Itoa(seat.member.role))
		name.WriteByte('@')
		name.WriteString(strconv.Itoa(seat.node))
		name.WriteByte(' ')
	}
	return name.String()
}

func (r *rehearsal) shortfall(m *member) *shortfall {
	return &shortfall{placed: len(r.trail), member: m, beside: m.count - m.left}
}

// count adds a node that refuses for a reason.
func (s *shortfall) count(reason int) {
	for len(s.refused) <= reason {
		s.refused = append(s.refused, 0)
	}
	s.refused[reason]++
}

// note keeps the furthest shortfall.
func (r *rehearsal) note(short *shortfall) {
	if r.best == nil || short.placed > r.best.placed {
		r.best = short
	}
}
