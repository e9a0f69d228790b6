package placement_test

import (
	"fmt"

	"pgregory.net/rapid"

	"retinue.dev/retinue/pkg/placement"
	"retinue.dev/retinue/pkg/resource"
)

const gpu = "nvidia.com/gpu"

// drawCluster makes up to 4 small nodes, some of them alike, some overbooked, some gone.
func drawCluster(t *rapid.T) *cluster {
	amount := rapid.Int64Range(-1, 9)
	vector := rapid.Custom(func(t *rapid.T) resource.Vector {
		v := resource.Vector{CPU: amount.Draw(t, "cpu"), Memory: amount.Draw(t, "memory"), EphemeralStorage: 4, Pods: rapid.Int64Range(0, 6).Draw(t, "pods")}
		if n := rapid.Int64Range(-1, 2).Draw(t, "gpu"); n != 0 {
			v.Extended = []resource.Amount{{Name: gpu, Value: n}}
		}
		return v
	})
	n := rapid.IntRange(0, 4).Draw(t, "nodes")
	c := &cluster{}
	for i := range n {
		if i > 0 && rapid.Bool().Draw(t, "likeTheOneBefore") {
			c.free = append(c.free, c.free[i-1])
		} else {
			c.free = append(c.free, vector.Draw(t, fmt.Sprintf("node%d", i)))
		}
		c.domains = append(c.domains, rapid.SampledFrom([]string{"a", "b", ""}).Draw(t, "domain"))
	}
	return c
}

func drawMember(t *rapid.T, name string, nodes int) placement.Member {
	amount := rapid.Int64Range(0, 4)
	m := placement.Member{Name: name, Request: resource.Vector{CPU: amount.Draw(t, "cpu"), Memory: amount.Draw(t, "memory"), Pods: 1}}
	if rapid.IntRange(0, 3).Draw(t, "withGPU") == 0 {
		m.Request.Extended = []resource.Amount{{Name: gpu, Value: 1}}
	}
	if rapid.IntRange(0, 3).Draw(t, "picky") == 0 {
		eligible := rapid.SliceOfN(rapid.Bool(), nodes, nodes).Draw(t, "eligible")
		m.Eligible = func(node int) bool { return eligible[node] }
	}
	return m
}

type gangOption struct {
	roles  int // at most
	leader bool
	// strategies to draw from
	strategies []placement.Strategy
}

func drawGang(t *rapid.T, nodes int, o gangOption) placement.Gang {
	g := placement.Gang{Strategy: rapid.SampledFrom(o.strategies).Draw(t, "strategy")}
	if o.leader || rapid.Bool().Draw(t, "withLeader") {
		leader := drawMember(t, "driver", nodes)
		g.Leader = &leader
	}
	if rapid.IntRange(0, 3).Draw(t, "atHome") == 0 {
		g.Home = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "home")
	}
	most := 6
	if o.roles > 1 {
		most = 3
	}
	for r := range rapid.IntRange(0, o.roles).Draw(t, "roles") {
		g.Roles = append(g.Roles, placement.Role{
			Member: drawMember(t, fmt.Sprintf("role%d", r), nodes),
			Count:  rapid.IntRange(0, most).Draw(t, "count"),
		})
	}
	return g
}

var everyStrategy = []placement.Strategy{"", placement.Pack, placement.Spread, placement.SingleZone, placement.PreferSingleZone}

// drawTight makes a gang of several roles and a cluster that it fills nearly to the last seat: the nodes are made of
// the pods they could hold. Laying out role after role mostly fails here.
func drawTight(t *rapid.T, strategy placement.Strategy) (*cluster, placement.Gang) {
	amount := rapid.Int64Range(1, 7)
	member := func(name string) placement.Member {
		return placement.Member{Name: name, Request: resource.Vector{CPU: amount.Draw(t, "cpu"), Memory: amount.Draw(t, "memory"), Pods: 1}}
	}
	roles := rapid.IntRange(2, 3).Draw(t, "roles")
	gang := placement.Gang{Strategy: strategy}
	barred := map[[2]int]bool{} // role, node -> not eligible
	for r := range roles {
		gang.Roles = append(gang.Roles, placement.Role{Member: member(fmt.Sprintf("role%d", r))})
		gang.Roles[r].Eligible = func(node int) bool { return !barred[[2]int{r, node}] }
	}
	c := &cluster{}
	for range rapid.IntRange(2, 6-roles).Draw(t, "nodes") {
		free := resource.Vector{CPU: rapid.Int64Range(0, 2).Draw(t, "slack"), Pods: 20}
		for r := range gang.Roles {
			n := rapid.IntRange(0, 2).Draw(t, "planted")
			gang.Roles[r].Count += n
			free = free.Add(gang.Roles[r].Request.Scale(n))
			if n == 0 && rapid.Bool().Draw(t, "barred") {
				barred[[2]int{r, c.Len()}] = true
			}
		}
		c.free = append(c.free, free)
		c.domains = append(c.domains, "a")
	}
	if rapid.Bool().Draw(t, "withLeader") {
		leader := member("driver")
		gang.Leader = &leader
		node := rapid.IntRange(0, c.Len()-1).Draw(t, "leaderNode")
		c.free[node] = c.free[node].Add(leader.Request)
	}
	return c, gang
}
