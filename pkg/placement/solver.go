package placement

import (
	"cmp"
	"slices"

	"retinue.dev/retinue/pkg/resource"
)

// maxPerNode bounds how many workers of one role a node is thought to take, and with it the counting tables. No kubelet
// runs nearly as many pods.
const maxPerNode = 1 << 16

// Solver holds the memory that answering needs, so that answering allocates nothing that grows with the number of
// nodes. One Solver serves one scheduling cycle at a time. The zero Solver is ready for use.
type Solver struct {
	fit Fit // handed out by Fit, valid until the next call

	gang       Gang
	nodes      int // number of nodes
	columns    columns
	width      int              // number of columns
	free       []int64          // node*width+column -> free amount
	leader     request          // of the leader; empty without one
	requests   []request        // role -> of one worker
	room       [][]int32        // role -> node -> workers the node takes when nothing else of the gang sits there
	active     []int            // the roles that need slots, largest worker first
	domains    map[string]int32 // domain -> its number; empty unless the strategy looks at domains
	domainOf   []int32          // node -> number of its domain, -1 for none
	scopes     []scope          // everywhere, then domain by number
	order      []int32          // the nodes with room for a worker, ascending; the scope of every node
	grouped    []int32          // the same nodes domain by domain; scopes of domains are parts of it
	verdicts   [2][]verdict     // 0 everywhere, 1 in the node's domain -> node -> verdict; only for several roles
	work       layout           // the layout in the making
	spare      layout           // seats beside it that a leader may push workers to
	capacity   []int32          // node -> workers of the role being placed that it takes now
	levels     []int64          // scratch of pack and spread
	sums       []int64          // the tops of all scopes, one after another
	largest    []int64          // column -> the most that is free on one node
	best       []candidate      // scratch of pack and spread
	row        []int64          // scratch: one row of free
	sequence   []int            // scratch: roles in another order than active
	spareSeats []int            // role -> seats in spare
	search     search           // scratch of the bounded search
}

// everywhere is the index of the scope of every node; the scope of domain d is at d+1.
const everywhere = 0

// scope is a set of nodes the whole gang may be laid out on.
type scope struct {
	index   int
	nodes   []int32 // those with room for a worker of at least one role, ascending
	total   []int64 // role -> workers they take if they take nothing else
	allowed bool    // the strategy lets a gang sit here
	enough  bool    // every role alone has room
	top     []int64 // one role: index+1 nodes with the most room -> workers they take; as many as a score may ask for
	laid    bool    // several roles: all workers together have room, leader aside
}

// Fit answers whether the whole gang fits, leader included. Exactly one of the results is nil. The Fit is valid until
// the next call; nodes and gang must not change as long as it is used. The cost is a pass over nodes × roles; several
// roles that do not fit at first sight add a search with a fixed bound.
func (s *Solver) Fit(nodes Nodes, gang Gang) (*Fit, *Shortage) {
	s.load(nodes, gang)
	for i := range s.scopes {
		sc := &s.scopes[i]
		sc.enough = sc.allowed && s.enough(sc)
	}
	if len(s.active) > 1 {
		s.judge()
	}
	s.fit = Fit{solver: s}
	if !s.fit.possible() {
		return nil, s.shortage()
	}
	s.rank()
	return &s.fit, nil
}

func (s *Solver) enough(sc *scope) bool {
	for _, r := range s.active {
		if sc.total[r] < int64(s.gang.Roles[r].Count) {
			return false
		}
	}
	return true
}

// load turns vectors into rows of numbers and counts what every node takes.
func (s *Solver) load(nodes Nodes, gang Gang) {
	s.gang, s.nodes = gang, nodes.Len()
	s.loadRequests()
	roles := len(gang.Roles)
	s.free = grow(s.free, s.nodes*s.width)
	s.row = grow(s.row, s.width)
	s.room = growAll(s.room, roles, s.nodes)
	s.capacity = grow(s.capacity, s.nodes)
	s.order = grow(s.order, s.nodes)[:0]
	s.work.prepare(roles, s.nodes)
	s.spare.prepare(roles, s.nodes)

	for node := range s.nodes {
		row := s.free[node*s.width : (node+1)*s.width]
		s.columns.fill(row, nodes.Free(node))
		useful := false
		for _, r := range s.active {
			role := &s.gang.Roles[r]
			n := s.requests[r].count(row, min(role.Count, maxPerNode))
			if n > 0 && role.Eligible != nil && !role.Eligible(node) {
				n = 0
			}
			s.room[r][node] = int32(n)
			useful = useful || n > 0
		}
		if useful {
			s.order = append(s.order, int32(node))
		}
	}
	s.loadScopes(nodes)
	s.sortRoles()
}

func (s *Solver) loadRequests() {
	s.columns, s.active = s.columns[:0], s.active[:0]
	if s.gang.Leader != nil {
		s.columns = s.columns.add(&s.gang.Leader.Request)
	}
	for r := range s.gang.Roles {
		if role := &s.gang.Roles[r]; role.Count > 0 {
			s.active = append(s.active, r)
			s.columns = s.columns.add(&role.Request)
		}
	}
	s.width = s.columns.width()
	s.leader = s.leader[:0]
	if s.gang.Leader != nil {
		s.leader = s.columns.of(&s.gang.Leader.Request, s.leader)
	}
	s.requests = growAll(s.requests, len(s.gang.Roles), 0)
	for _, r := range s.active {
		s.requests[r] = s.columns.of(&s.gang.Roles[r].Request, s.requests[r])
	}
}

// loadScopes sorts the nodes with room into scopes and adds up what they take.
func (s *Solver) loadScopes(nodes Nodes) {
	if s.domains == nil {
		s.domains = map[string]int32{}
	}
	clear(s.domains)
	strategy := s.gang.Strategy
	if strategy.inDomains() {
		s.domainOf = grow(s.domainOf, s.nodes)
		for node := range s.nodes {
			s.domainOf[node] = s.numberOf(nodes.Domain(node))
		}
	}
	s.scopes = slices.Grow(s.scopes[:0], 1+len(s.domains))[:1+len(s.domains)]
	for i := range s.scopes {
		sc := &s.scopes[i]
		sc.index, sc.nodes, sc.laid = i, nil, false
		sc.total = grow(sc.total, len(s.gang.Roles))
		clear(sc.total)
		sc.allowed = i != everywhere || strategy != SingleZone
	}
	if home := s.gang.Home; home != "" && strategy.inDomains() {
		for name, domain := range s.domains {
			s.scopes[1+domain].allowed = name == home
		}
	}
	s.scopes[everywhere].nodes = s.order
	for _, node := range s.order {
		for _, r := range s.active {
			s.scopes[everywhere].total[r] += int64(s.room[r][node])
		}
	}
	if strategy.inDomains() {
		s.groupByDomain()
	}
}

func (s *Solver) numberOf(domain string) int32 {
	if domain == "" {
		return -1
	}
	number, known := s.domains[domain]
	if !known {
		number = int32(len(s.domains))
		s.domains[domain] = number
	}
	return number
}

// groupByDomain is a counting sort of the nodes with room.
func (s *Solver) groupByDomain() {
	s.grouped = grow(s.grouped, len(s.order))
	starts := grow(s.levels, len(s.scopes)+1)
	s.levels = starts
	clear(starts)
	for _, node := range s.order {
		if d := s.domainOf[node]; d >= 0 {
			starts[d+2]++
			for _, r := range s.active {
				s.scopes[1+d].total[r] += int64(s.room[r][node])
			}
		}
	}
	for i := 2; i < len(starts); i++ {
		starts[i] += starts[i-1]
	}
	for d := range len(s.domains) {
		s.scopes[1+d].nodes = s.grouped[starts[d+1]:starts[d+1]:starts[d+2]]
	}
	for _, node := range s.order {
		if d := s.domainOf[node]; d >= 0 {
			sc := &s.scopes[1+d]
			sc.nodes = append(sc.nodes, node)
		}
	}
}

// sortRoles puts the role with the largest worker first. A worker is as large as its largest share of what is free.
func (s *Solver) sortRoles() {
	if len(s.active) < 2 {
		return
	}
	totals := s.row
	clear(totals)
	for _, node := range s.order {
		for column, free := range s.freeOf(int(node)) {
			totals[column] += max(free, 0)
		}
	}
	size := func(r int) float64 {
		largest := 0.0
		for _, ask := range s.requests[r] {
			largest = max(largest, float64(ask.amount)/float64(totals[ask.column]))
		}
		return largest
	}
	slices.SortStableFunc(s.active, func(a, b int) int { return cmp.Compare(size(b), size(a)) })
}

// freeOf is the row of a node, not to be written.
func (s *Solver) freeOf(node int) []int64 { return s.free[node*s.width : (node+1)*s.width] }

// leaderAccepted tells whether the node can hold the leader, workers aside.
func (s *Solver) leaderAccepted(node int) bool {
	leader := s.gang.Leader
	return s.leader.fits(s.freeOf(node)) && (leader.Eligible == nil || leader.Eligible(node))
}

// roomBesideLeader is how many workers of a role the node, which accepts the leader, takes when the leader sits there.
func (s *Solver) roomBesideLeader(r, node int) int {
	free, n := s.freeOf(node), int(s.room[r][node])
	for _, ask := range s.requests[r] {
		if n == 0 {
			break
		}
		n = resource.Copies(ask.amount, free[ask.column]-s.leader.in(ask.column), n)
	}
	return n
}

// grow returns a slice of n elements with undefined content, the given one if it is large enough.
func grow[T any](slice []T, n int) []T {
	if cap(slice) >= n {
		return slice[:n]
	}
	return make([]T, n, n+n/4)
}

func growAll[R ~[]T, T any](slices []R, rows, n int) []R {
	slices = slices[:cap(slices)]
	for len(slices) < rows {
		slices = append(slices, nil)
	}
	for i := range rows {
		slices[i] = grow(slices[i], n)
	}
	return slices[:rows]
}
