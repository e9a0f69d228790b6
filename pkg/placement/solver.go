package placement

import (
	"cmp"
	"math/bits"
	"slices"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/resource"
)

// maxPerNode bounds how many workers of one role a node is thought to take, and with it the counting tables. No kubelet
// runs nearly as many pods.
const maxPerNode = 1 << 16

// Columns of the solver's tables. Resources without a column of their own follow in the order in which the gang's
// members name them.
const (
	columnCPU = iota
	columnMemory
	columnStorage
	columnPods
	columnExtended
)

// Solver holds the memory that answering needs, so that answering allocates nothing that grows with the number of
// nodes. One Solver serves one scheduling cycle at a time. The zero Solver is ready for use.
type Solver struct {
	fit Fit // handed out by Fit, valid until the next call

	gang       Gang
	nodes      int               // number of nodes
	extended   []v1.ResourceName // column-columnExtended -> name; only what the gang asks for
	width      int               // number of columns
	free       []int64           // node*width+column -> free amount
	leader     []int64           // column -> request of the leader; all zero without one
	requests   [][]int64         // role -> column -> request of one worker
	room       [][]int32         // role -> node -> workers the node takes when nothing else of the gang sits there
	active     []int             // the roles that need slots, largest worker first
	domains    map[string]int32  // domain -> its number; empty unless the strategy looks at domains
	domainOf   []int32           // node -> number of its domain, -1 for none
	scopes     []scope           // everywhere, then domain by number
	order      []int32           // the nodes with room for a worker, ascending; the scope of every node
	grouped    []int32           // the same nodes domain by domain; scopes of domains are parts of it
	verdicts   [2][]verdict      // 0 everywhere, 1 in the node's domain -> node -> verdict; only for several roles
	work       layout            // the layout in the making
	spare      layout            // seats beside it that a leader may push workers to
	capacity   []int32           // node -> workers of the role being placed that it takes now
	levels     []int64           // scratch of pack and spread
	sums       []int64           // the tops of all scopes, one after another
	largest    []int64           // column -> the most that is free on one node
	best       []candidate       // scratch of pack and spread
	row        []int64           // scratch: one row of free
	sequence   []int             // scratch: roles in another order than active
	spareSeats []int             // role -> seats in spare
	search     search            // scratch of the bounded search
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
		free := nodes.Free(node)
		row[columnCPU], row[columnMemory], row[columnStorage], row[columnPods] = free.CPU, free.Memory, free.EphemeralStorage, free.Pods
		for i, name := range s.extended {
			row[columnExtended+i] = amountOf(free.Extended, name)
		}
		useful := false
		for _, r := range s.active {
			role := &s.gang.Roles[r]
			n := count(row, s.requests[r], min(role.Count, maxPerNode))
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
	s.extended, s.active = s.extended[:0], s.active[:0]
	if s.gang.Leader != nil {
		s.addColumns(s.gang.Leader.Request)
	}
	for r, role := range s.gang.Roles {
		if role.Count > 0 {
			s.active = append(s.active, r)
			s.addColumns(role.Request)
		}
	}
	s.width = columnExtended + len(s.extended)
	s.leader = grow(s.leader, s.width)
	clear(s.leader)
	if s.gang.Leader != nil {
		s.fillRow(s.leader, &s.gang.Leader.Request)
	}
	s.requests = growAll(s.requests, len(s.gang.Roles), s.width)
	for r := range s.gang.Roles {
		s.fillRow(s.requests[r], &s.gang.Roles[r].Request)
	}
}

func (s *Solver) addColumns(request resource.Vector) {
	for _, amount := range request.Extended {
		if amount.Value > 0 && !slices.Contains(s.extended, amount.Name) {
			s.extended = append(s.extended, amount.Name)
		}
	}
}

func (s *Solver) fillRow(row []int64, v *resource.Vector) {
	row[columnCPU], row[columnMemory], row[columnStorage], row[columnPods] = v.CPU, v.Memory, v.EphemeralStorage, v.Pods
	for i, name := range s.extended {
		row[columnExtended+i] = amountOf(v.Extended, name)
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
		for column, request := range s.requests[r] {
			if request > 0 && totals[column] > 0 {
				largest = max(largest, float64(request)/float64(totals[column]))
			}
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
	return fits(s.freeOf(node), s.leader) && (leader.Eligible == nil || leader.Eligible(node))
}

// roomBesideLeader is how many workers of a role the node takes when the leader sits there.
func (s *Solver) roomBesideLeader(r, node int) int {
	free, request := s.freeOf(node), s.requests[r]
	n := int(s.room[r][node])
	for column, asked := range request {
		if n > 0 && asked > 0 {
			n = copies(asked, free[column]-max(s.leader[column], 0), n)
		}
	}
	return n
}

// count is how many copies of request go into free, at most limit.
func count(free, request []int64, limit int) int {
	n := limit
	for column, asked := range request {
		if asked > 0 {
			if n = copies(asked, free[column], n); n == 0 {
				return 0
			}
		}
	}
	return n
}

// copies is how often asked, which is positive, goes into free, at most limit. A product is cheaper than a division
// and mostly decides.
func copies(asked, free int64, limit int) int {
	if free < asked {
		return 0
	}
	if high, low := bits.Mul64(uint64(asked), uint64(limit)); high == 0 && low <= uint64(free) {
		return limit
	}
	return int(free / asked)
}

// fits tells whether request goes into free once.
func fits(free, request []int64) bool {
	for column, asked := range request {
		if asked > 0 && free[column] < asked {
			return false
		}
	}
	return true
}

func amountOf(amounts []resource.Amount, name v1.ResourceName) int64 {
	for i := range amounts {
		if amounts[i].Name == name {
			return amounts[i].Value
		}
	}
	return 0
}

// grow returns a slice of n elements with undefined content, the given one if it is large enough.
func grow[T any](slice []T, n int) []T {
	if cap(slice) >= n {
		return slice[:n]
	}
	return make([]T, n, n+n/4)
}

func growAll[T any](slices [][]T, rows, n int) [][]T {
	slices = slices[:cap(slices)]
	for len(slices) < rows {
		slices = append(slices, nil)
	}
	for i := range rows {
		slices[i] = grow(slices[i], n)
	}
	return slices[:rows]
}
