package placement

import (
	"fmt"
	"math/bits"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/resource"
)

// Kind is why a gang does not fit.
type Kind int

const (
	// NoDomain: the gang must sit in one domain, and no node that may be used is in any (or in the one it must be).
	NoDomain Kind = iota + 1
	// NoEligibleNode: no node may hold the member, resources aside.
	NoEligibleNode
	// Insufficient: all that is free on eligible nodes together is less than what is asked.
	Insufficient
	// Fragmented: what is free on eligible nodes would suffice as a sum, but not in pieces of the members' size.
	Fragmented
)

// String is the name of the constant.
func (k Kind) String() string {
	names := [...]string{NoDomain: "NoDomain", NoEligibleNode: "NoEligibleNode", Insufficient: "Insufficient", Fragmented: "Fragmented"}
	if k < NoDomain || int(k) >= len(names) {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return names[k]
}

// Shortage is what a gang lacks, in the place where most of it fits: in the best domain if it must sit in one.
type Shortage struct {
	Kind Kind
	// Member is the name of the role that lacks room, or of the leader.
	Member string
	// Leader tells that it is the leader that finds no node.
	Leader bool
	// Beside tells that the member alone would fit, but not together with the rest of the gang.
	Beside bool
	// TooLarge tells that no eligible node has enough free for even one member. It says more than Kind, which compares
	// sums: on an empty cluster it means that no cluster of such nodes will ever do.
	TooLarge bool
	// Placed of Count members find room. For Beside it is how many do beside the others.
	Placed, Count int
	// Request is what one member asks for.
	Request resource.Vector
	// Eligible of Nodes nodes may hold the member, resources aside. For Beside, a node counts that may hold any member
	// of the gang. Where Domain is set only its nodes are counted. Nodes leaves out those with nothing at all free.
	Eligible, Nodes int
	// Resource binds: it alone admits the fewest members, or is the scarcest one of an Insufficient. It is "" for
	// NoDomain and NoEligibleNode. The amounts below are of this resource, in the units of resource.Vector.
	Resource v1.ResourceName
	// Needed is what all that is counted asks for: the role's members, for Beside the whole gang.
	Needed int64
	// Free is what the eligible nodes have in all, overbooked nodes counted as zero, and Largest the most on one node.
	Free, Largest int64
	// Domain is the domain the numbers are about; "" means every node.
	Domain string
	// Proven is false when the gang has several roles and the search ended at its bound: a layout might exist.
	Proven bool
}

// diagnosis is why a judgement was that no node does.
type diagnosis struct{ *judgement }

// shortage finds out what is missing after Fit found that the gang does not fit.
func (d diagnosis) shortage() *Shortage {
	sc := d.closest()
	if sc == nil {
		return d.noDomain()
	}
	h := &Shortage{Proven: !d.search.gaveUp || len(d.active) < 2}
	if sc.index != everywhere {
		h.Domain = d.domainName(sc)
	}
	if r := d.scarcest(sc); r >= 0 {
		h.ofRole(&d.problem, r, int(sc.total[r]))
		d.measureShortage(h, sc, r)
		return h
	}
	// Every role has room of its own.
	if seat := d.leaderSeat(sc); d.gang.Leader != nil && seat == NoNode {
		h.ofLeader(&d.problem)
		d.measureShortage(h, sc, ofLeader)
	} else {
		h.Beside = true
		d.besides(h, sc, seat)
	}
	return h
}

// ofLeader stands for the leader where the number of a role is asked for.
const ofLeader = -1

func (h *Shortage) ofRole(p *problem, r, placed int) {
	role := &p.gang.Roles[r]
	h.Member, h.Request, h.Placed, h.Count = role.Name, role.Request, placed, role.Count
}

func (h *Shortage) ofLeader(p *problem) {
	h.Member, h.Request, h.Leader, h.Placed, h.Count = p.gang.Leader.Name, p.gang.Leader.Request, true, 0, 1
}

// closest is the allowed scope that has room for most of the gang's scarcest role; nil if none is allowed.
func (d diagnosis) closest() *scope {
	var best *scope
	for i := range d.scopes {
		sc := &d.scopes[i]
		if sc.allowed && (best == nil || d.closeness(sc) > d.closeness(best)) {
			best = sc
		}
	}
	return best
}

// closeness orders scopes: by how much of the scarcest role has room, and those that a leader may sit in first.
func (d diagnosis) closeness(sc *scope) float64 {
	c := min(d.spareIn(sc), 1)
	if d.gang.Leader != nil && c == 1 && d.leaderSeat(sc) != NoNode {
		c++
	}
	return c
}

// scarcest is the role with the smallest part of its workers placeable on its own, -1 if every role has room.
func (d diagnosis) scarcest(sc *scope) int {
	found, least := -1, 1.0
	for r := range d.gang.Roles {
		if want := d.gang.Roles[r].Count; want > 0 {
			if part := float64(sc.total[r]) / float64(want); part < least {
				found, least = r, part
			}
		}
	}
	return found
}

// leaderSeat is the node of the scope where the leader leaves most room to a gang's workers; NoNode if none takes it.
func (d diagnosis) leaderSeat(sc *scope) int {
	if d.gang.Leader == nil {
		return NoNode
	}
	seat, least := NoNode, 0.0
	for node := range d.nodes {
		if !d.inScope(sc, node) || !d.leaderAccepted(node) {
			continue
		}
		lost := 0.0
		for _, r := range d.active {
			lost += float64(int(d.room[r][node])-d.roomBesideLeader(r, node)) / float64(d.gang.Roles[r].Count)
		}
		if seat == NoNode || lost < least {
			seat, least = node, lost
		}
	}
	return seat
}

// besides names the first role that is left short when the roles are laid out one after another beside the leader.
func (d diagnosis) besides(h *Shortage, sc *scope, leader int) {
	r, placed := d.arrange(sc, leader, d.active)
	if r < 0 {
		// Workers and leader fit on this seat, but the search ended before it came to that.
		h.ofLeader(&d.problem)
		d.measureShortage(h, sc, ofLeader)
		return
	}
	h.ofRole(&d.problem, r, placed)
	d.measureShortage(h, sc, r)
}

// counts tells whether the node is one of those the shortage's sums are over.
func (d diagnosis) counts(h *Shortage, member *Member, node int) bool {
	if mayHold(member, node) {
		return true
	}
	if !h.Beside {
		return false
	}
	for _, r := range d.active {
		if mayHold(&d.gang.Roles[r].Member, node) {
			return true
		}
	}
	return d.gang.Leader != nil && mayHold(d.gang.Leader, node)
}

func mayHold(m *Member, node int) bool { return m.Eligible == nil || m.Eligible(node) }

// measureShortage fills in nodes, the binding resource and the kind for role r or the leader.
func (d diagnosis) measureShortage(h *Shortage, sc *scope, r int) {
	request, member := d.leader, d.gang.Leader
	if r != ofLeader {
		request, member = d.requests[r], &d.gang.Roles[r].Member
	}
	free, largest := make([]int64, d.width), make([]int64, d.width)
	admits := make([]int64, d.width) // column -> members that resource alone has room for
	for node := range d.nodes {
		if !d.inScope(sc, node) {
			continue
		}
		if d.offersAnything(node) {
			h.Nodes++
		}
		if !d.counts(h, member, node) {
			continue
		}
		h.Eligible++
		for column, amount := range d.freeOf(node) {
			free[column] += max(amount, 0)
			largest[column] = max(largest[column], amount)
		}
		for _, ask := range request {
			admits[ask.column] += int64(resource.Copies(ask.amount, d.freeOf(node)[ask.column], min(h.Count, maxPerNode)))
		}
	}
	if h.Eligible == 0 {
		h.Kind = NoEligibleNode
		return
	}
	needed := d.needed(h, request)
	column := -1
	h.Kind = Fragmented
	worst := 1.0
	for c := range needed {
		if needed[c] > free[c] {
			if ratio := float64(free[c]) / float64(needed[c]); ratio < worst {
				h.Kind, column, worst = Insufficient, c, ratio
			}
		}
	}
	h.TooLarge = h.Placed == 0 && !h.Beside
	if h.TooLarge || column < 0 {
		column = -1
		for _, ask := range request {
			if column < 0 || admits[ask.column] < admits[column] {
				column = ask.column
			}
		}
	}
	if column >= 0 {
		h.Resource, h.Needed, h.Free, h.Largest = d.columns.name(column), needed[column], free[column], largest[column]
	}
}

// needed is what the shortage's members ask for in all. An absurd count of workers stops at an absurd amount.
func (d diagnosis) needed(h *Shortage, member request) []int64 {
	const most = 1 << 62
	needed := make([]int64, d.width)
	add := func(member request, n int) {
		for _, ask := range member {
			high, product := bits.Mul64(uint64(ask.amount), uint64(n))
			if high > 0 || product > most {
				product = most
			}
			needed[ask.column] = int64(min(uint64(needed[ask.column])+product, most))
		}
	}
	if !h.Beside {
		add(member, h.Count)
		return needed
	}
	add(d.leader, 1)
	for _, r := range d.active {
		add(d.requests[r], d.gang.Roles[r].Count)
	}
	return needed
}

// noDomain is the shortage of a gang for which no scope is allowed.
func (d diagnosis) noDomain() *Shortage {
	h := &Shortage{Kind: NoDomain, Domain: d.gang.Home, Proven: true}
	for node := range d.nodes {
		if d.offersAnything(node) {
			h.Nodes++
		}
	}
	switch {
	case len(d.active) > 0:
		h.ofRole(&d.problem, d.active[0], 0)
	case d.gang.Leader != nil:
		h.ofLeader(&d.problem)
	}
	return h
}
