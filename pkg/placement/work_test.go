package placement

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"retinue.dev/retinue/pkg/resource"
)

// rows are Nodes without domains.
type rows []resource.Vector

func (r rows) Len() int                       { return len(r) }
func (r rows) Free(node int) *resource.Vector { return &r[node] }
func (r rows) Domain(int) string              { return "" }

// looks is how many looks at one node for one role an answer may take that needs no search, for each node and role: to load them, to
// arrange everybody in two orders, nine for each, and to judge the nodes for the leader and to say what is missing.
const looks = 30

// TestTheWorkOfOneAnswerIsBounded counts looks at one node for one role, and the steps of searches: many roles of which the last has no room
// beside the others, up to the largest gang that there can be on the largest cluster; and what the empty cluster would lack, which is
// asked after it.
//
// Seen failing when every role was tried before the rest: 1,360,000 looks of the first kind on 5,000 nodes with 16 roles, and more than a second
// with 64 roles; and without a bound of the roles.
func TestTheWorkOfOneAnswerIsBounded(t *testing.T) {
	for _, test := range []struct{ nodes, roles int }{{200, 16}, {5000, 16}, {15_000, 16}, {15_000, 1}, {15_000, MostRoles(15_000)}, {200, MostRoles(15_000)}} {
		for _, strategy := range []Strategy{Pack, Spread} {
			t.Run(fmt.Sprint(test.nodes, " nodes, ", test.roles, " roles, ", strategy), func(t *testing.T) {
				c, empty := make(rows, test.nodes), make(rows, test.nodes)
				for i := range c {
					c[i] = resource.Vector{CPU: 4000 + int64(i%7), Pods: 110}
					empty[i] = resource.Vector{CPU: 9000 + int64(i%7), Pods: 110}
				}
				g := Gang{Strategy: strategy, Leader: &Member{Name: "leader", Request: resource.Vector{CPU: 1000, Pods: 1}}}
				for r := range test.roles {
					g.Roles = append(g.Roles, Role{Member: Member{Name: fmt.Sprint(r), Request: resource.Vector{CPU: int64(1500 + 10*r), Pods: 1}}, Count: 2*test.nodes/test.roles + 1})
				}
				var s Solver
				work := 0
				for _, nodes := range []rows{c, empty} {
					_, _ = s.Fit(nodes, g)
					work += s.visits
					assert.LessOrEqual(t, stepsPerFit-s.stepsLeft, 2*stepsPerFit+test.nodes*test.roles*test.roles, "steps of searches")
				}
				t.Logf("%d looks, %.1f for each node and role", work, float64(work)/float64(test.nodes*test.roles))
				assert.LessOrEqual(t, work, 2*looks*test.roles*test.nodes+2*9*visitsPerArranging)
			})
		}
	}
	assert.LessOrEqual(t, MostRoles(15_000)*15_000, visitsPerPass)
	assert.Equal(t, 16, MostRoles(1_000_000), "as many as an annotation may list")
}
