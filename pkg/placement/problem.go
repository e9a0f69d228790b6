package placement

import (
	"cmp"
	"slices"

	"retinue.dev/retinue/pkg/resource"
)

// maxPerNode bounds how many workers of one role a node is thought to take, and with it the counting tables. No kubelet
// runs nearly as many pods.
const maxPerNode = 1 << 16

// problem is a question as numbers. Nothing of it changes until the next one is loaded.
type problem struct {
	gang     Gang
	nodes    int // number of nodes
	columns  columns
	width    int              // number of columns
	free     []int64          // node*width+column -> free amount
	leader   request          // of the leader; empty without one
	requests []request        // role -> of one worker
	room     [][]int32        // role -> node -> workers the node takes when nothing else of the gang sits there
	active   []int            // the roles that need slots, largest worker first
	domains  map[string]int32 // domain -> its number; empty unless the strategy looks at domains
	domainOf []int32          // node -> number of its domain, -1 for none
	scopes   []scope          // everywhere, then domain by number
	order    []int32          // the nodes with room for a worker, ascending; the scope of every node
	grouped  []int32          // the same nodes domain by domain; scopes of domains are parts of it
	starts   []int64          // scratch of groupByDomain
	totals   []int64          // scratch of sortRoles: column -> what is free in all
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

func (p *problem) enough(sc *scope) bool {
	for _, r := range p.active {
		if sc.total[r] < int64(p.gang.Roles[r].Count) {
			return false
		}
	}
	return true
}

// load turns vectors into rows of numbers and counts what every node takes.
func (p *problem) load(nodes Nodes, gang Gang) {
	p.gang, p.nodes = gang, nodes.Len()
	p.loadRequests()
	roles := len(gang.Roles)
	p.free = grow(p.free, p.nodes*p.width)
	p.room = growAll(p.room, roles, p.nodes)
	p.order = grow(p.order, p.nodes)[:0]

	for node := range p.nodes {
		row := p.free[node*p.width : (node+1)*p.width]
		p.columns.fill(row, nodes.Free(node))
		useful := false
		for _, r := range p.active {
			role := &p.gang.Roles[r]
			n := p.requests[r].count(row, min(role.Count, maxPerNode))
			if n > 0 && role.Eligible != nil && !role.Eligible(node) {
				n = 0
			}
			p.room[r][node] = int32(n)
			useful = useful || n > 0
		}
		if useful {
			p.order = append(p.order, int32(node))
		}
	}
	p.loadScopes(nodes)
	p.sortRoles()
}

func (p *problem) loadRequests() {
	p.columns, p.active = p.columns[:0], p.active[:0]
	if p.gang.Leader != nil {
		p.columns = p.columns.add(&p.gang.Leader.Request)
	}
	for r := range p.gang.Roles {
		if role := &p.gang.Roles[r]; role.Count > 0 {
			p.active = append(p.active, r)
			p.columns = p.columns.add(&role.Request)
		}
	}
	p.width = p.columns.width()
	p.leader = p.leader[:0]
	if p.gang.Leader != nil {
		p.leader = p.columns.of(&p.gang.Leader.Request, p.leader)
	}
	p.requests = growAll(p.requests, len(p.gang.Roles), 0)
	for _, r := range p.active {
		p.requests[r] = p.columns.of(&p.gang.Roles[r].Request, p.requests[r])
	}
}

// loadScopes sorts the nodes with room into scopes and adds up what they take.
func (p *problem) loadScopes(nodes Nodes) {
	if p.domains == nil {
		p.domains = map[string]int32{}
	}
	clear(p.domains)
	strategy := p.gang.Strategy
	if strategy.inDomains() {
		p.domainOf = grow(p.domainOf, p.nodes)
		for node := range p.nodes {
			p.domainOf[node] = p.numberOf(nodes.Domain(node))
		}
	}
	p.scopes = slices.Grow(p.scopes[:0], 1+len(p.domains))[:1+len(p.domains)]
	for i := range p.scopes {
		sc := &p.scopes[i]
		sc.index, sc.nodes, sc.laid = i, nil, false
		sc.total = grow(sc.total, len(p.gang.Roles))
		clear(sc.total)
		sc.allowed = i != everywhere || strategy != SingleZone
	}
	if home := p.gang.Home; home != "" && strategy.inDomains() {
		for name, domain := range p.domains {
			p.scopes[1+domain].allowed = name == home
		}
	}
	p.scopes[everywhere].nodes = p.order
	for _, node := range p.order {
		for _, r := range p.active {
			p.scopes[everywhere].total[r] += int64(p.room[r][node])
		}
	}
	if strategy.inDomains() {
		p.groupByDomain()
	}
}

func (p *problem) numberOf(domain string) int32 {
	if domain == "" {
		return -1
	}
	number, known := p.domains[domain]
	if !known {
		number = int32(len(p.domains))
		p.domains[domain] = number
	}
	return number
}

// groupByDomain is a counting sort of the nodes with room.
func (p *problem) groupByDomain() {
	p.grouped = grow(p.grouped, len(p.order))
	starts := grow(p.starts, len(p.scopes)+1)
	p.starts = starts
	clear(starts)
	for _, node := range p.order {
		if d := p.domainOf[node]; d >= 0 {
			starts[d+2]++
			for _, r := range p.active {
				p.scopes[1+d].total[r] += int64(p.room[r][node])
			}
		}
	}
	for i := 2; i < len(starts); i++ {
		starts[i] += starts[i-1]
	}
	for d := range len(p.domains) {
		p.scopes[1+d].nodes = p.grouped[starts[d+1]:starts[d+1]:starts[d+2]]
	}
	for _, node := range p.order {
		if d := p.domainOf[node]; d >= 0 {
			sc := &p.scopes[1+d]
			sc.nodes = append(sc.nodes, node)
		}
	}
}

// sortRoles puts the role with the largest worker first. A worker is as large as its largest share of what is free.
func (p *problem) sortRoles() {
	if len(p.active) < 2 {
		return
	}
	totals := grow(p.totals, p.width)
	p.totals = totals
	clear(totals)
	for _, node := range p.order {
		for column, free := range p.freeOf(int(node)) {
			totals[column] += max(free, 0)
		}
	}
	size := func(r int) float64 {
		largest := 0.0
		for _, ask := range p.requests[r] {
			largest = max(largest, float64(ask.amount)/float64(totals[ask.column]))
		}
		return largest
	}
	slices.SortStableFunc(p.active, func(a, b int) int { return cmp.Compare(size(b), size(a)) })
}

// freeOf is the row of a node, not to be written.
func (p *problem) freeOf(node int) []int64 {
	return p.free[node*p.width : (node+1)*p.width]
}

// leaderAccepted tells whether the node can hold the leader, workers aside.
func (p *problem) leaderAccepted(node int) bool {
	leader := p.gang.Leader
	return p.leader.fits(p.freeOf(node)) && (leader.Eligible == nil || leader.Eligible(node))
}

// roomBesideLeader is how many workers of a role the node, which accepts the leader, takes when the leader sits there.
func (p *problem) roomBesideLeader(r, node int) int {
	free, n := p.freeOf(node), int(p.room[r][node])
	for _, ask := range p.requests[r] {
		if n == 0 {
			break
		}
		n = resource.Copies(ask.amount, free[ask.column]-p.leader.in(ask.column), n)
	}
	return n
}

// holdsWorkers tells whether all workers together fit into the scope, leader aside.
func (p *problem) holdsWorkers(sc *scope) bool {
	return sc.enough && (len(p.active) < 2 || sc.laid)
}

// spareIn is how often over the scope takes the gang's tightest role; 1 is just enough.
func (p *problem) spareIn(sc *scope) float64 {
	spare := 0.0
	for i, r := range p.active {
		ratio := float64(sc.total[r]) / float64(p.gang.Roles[r].Count)
		if i == 0 || ratio < spare {
			spare = ratio
		}
	}
	return spare
}

// alike tells whether two nodes that may hold the leader are the same to the gang.
func (p *problem) alike(a, b int) bool {
	for _, r := range p.active {
		if p.room[r][a] != p.room[r][b] {
			return false
		}
	}
	other := p.freeOf(b)
	for column, free := range p.freeOf(a) {
		if free != other[column] {
			return false
		}
	}
	return true
}

// freeSuffices compares sums: what all workers and the leader ask with what the scope has.
func (p *problem) freeSuffices(sc *scope, leader int) bool {
	for column := range p.width {
		var asked, free int64
		for _, r := range p.active {
			asked += p.requests[r].in(column) * int64(p.gang.Roles[r].Count)
		}
		for _, node := range sc.nodes {
			f := p.freeOf(int(node))[column]
			if int(node) == leader {
				f -= p.leader.in(column)
			}
			if free += max(f, 0); free >= asked {
				break
			}
		}
		if free < asked {
			return false
		}
	}
	return true
}

func (p *problem) inScope(sc *scope, node int) bool {
	return sc.index == everywhere || int(p.domainOf[node]) == sc.index-1
}

// offersAnything is false for a node that is full in every respect, which nothing tells from one that is gone.
func (p *problem) offersAnything(node int) bool {
	row := p.freeOf(node)
	return row[columnCPU] > 0 || row[columnMemory] > 0 || row[columnStorage] > 0 || row[columnPods] > 0
}

func (p *problem) domainName(sc *scope) string {
	for name, number := range p.domains {
		if int(number) == sc.index-1 {
			return name
		}
	}
	return ""
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
