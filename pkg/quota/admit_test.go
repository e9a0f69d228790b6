package quota

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"retinue.dev/retinue/pkg/resource"
)

func TestAVerdictSaysWhatIsMissingWithNumbers(t *testing.T) {
	gang := func(user string, cores, leader int64) Demand {
		return Demand{User: user, Amount: resource.Vector{CPU: 1000 * cores}, Leader: resource.Vector{CPU: 1000 * leader}, Gangs: 1}
	}
	tests := map[string]struct {
		spec    Spec
		parent  Spec
		running []Demand
		asked   Demand
		reason  Reason
		want    string
	}{
		"what fits": {asked: gang("ann", 1, 1), want: "fits"},
		"more than the limit, ever": {
			spec: Spec{Limit: cpu(10)}, asked: gang("ann", 12, 0),
			reason: NeverFitsQueue, want: "asks for cpu 12, and the limit of queue etl is 10: it can never start",
		},
		"more than the limit above, ever": {
			parent: Spec{Limit: cpu(10)}, asked: gang("ann", 12, 0),
			reason: NeverFitsQueue, want: "asks for cpu 12, and the limit of queue team is 10: it can never start",
		},
		"more than a user's limit, ever": {
			spec: Spec{Users: Users{Limit: cpu(10)}}, asked: gang("ann", 12, 0),
			reason: NeverFitsQueue, want: "asks for cpu 12, and the limit of queue etl for each user is 10: it can never start",
		},
		"a draining queue": {
			spec: Spec{State: Draining}, asked: gang("ann", 1, 1),
			reason: QueueClosed, want: "queue etl is draining: no gang starts",
		},
		"a draining queue lets running gangs grow": {
			spec: Spec{State: Draining}, asked: Demand{Amount: resource.Vector{CPU: 1}}, want: "fits",
		},
		"a stopped queue above does not": {
			spec: Spec{State: Draining}, parent: Spec{State: Stopped}, asked: Demand{Amount: resource.Vector{CPU: 1}},
			reason: QueueClosed, want: "queue team is stopped: nothing starts",
		},
		"as many gangs as may run": {
			spec: Spec{MaxRunningGangs: pointer[int64](1), Limit: cpu(1)}, running: []Demand{gang("ann", 1, 1)}, asked: gang("ann", 1, 1),
			reason: QueueMaxGangs, want: "queue etl runs 1 of at most 1 gangs",
		},
		"workers are not gangs": {
			spec: Spec{MaxRunningGangs: pointer[int64](1)}, running: []Demand{gang("ann", 1, 1)}, asked: Demand{Amount: resource.Vector{CPU: 1}}, want: "fits",
		},
		"one leader always passes": {
			spec: Spec{MaxLeaderShare: pointer[int64](1), Limit: cpu(10)}, asked: gang("ann", 5, 2), want: "fits",
		},
		"leaders that hold their share": {
			spec: Spec{MaxLeaderShare: pointer[int64](10)}, parent: Spec{Limit: cpu(20)}, running: []Demand{gang("ann", 5, 1)}, asked: gang("bob", 5, 2),
			reason: LeaderShare, want: "the leaders in queue etl hold cpu 1 of at most 2, and this one asks for 2",
		},
		"the limit": {
			spec: Spec{Limit: cpu(20)}, running: []Demand{gang("ann", 15, 1)}, asked: gang("bob", 8, 1),
			reason: QueueLimit, want: "queue etl holds cpu 15 of at most 20, and 8 more is asked for; 3 too much",
		},
		"the user's limit": {
			spec: Spec{Users: Users{Limit: cpu(10)}}, running: []Demand{gang("ann", 8, 1)}, asked: gang("ann", 4, 1),
			reason: UserLimit, want: "user \"ann\" holds cpu 8 in queue etl, of at most 10 for each user, and asks for 4 more",
		},
		"another user's": {
			spec: Spec{Users: Users{Limit: cpu(10)}}, running: []Demand{gang("ann", 8, 1)}, asked: gang("bob", 4, 1), want: "fits",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test.spec.Name, test.spec.Parent, test.parent.Name = "etl", "team", "team"
			tree := New([]Spec{test.spec, test.parent})
			tree.SetCapacity(resource.Vector{CPU: 1000000})
			for _, d := range test.running {
				tree.Charge("etl", d)
			}
			got := tree.Fits("etl", test.asked)
			assert.Equal(t, test.reason, got.Reason)
			assert.Equal(t, test.want, got.String())
		})
	}
}

// Keeps tells of each reason by itself, where Fits tells the first.
//
// Seen failing when the queues above were not asked, and when the first reason was taken for the only one.
func TestEachReasonIsAskedForByItself(t *testing.T) {
	one := Demand{User: "ann", Amount: resource.Vector{CPU: 4000}, Leader: resource.Vector{CPU: 2000}, Gangs: 1}
	all := []Reason{QueueMaxGangs, LeaderShare, QueueLimit, UserLimit}
	for name, test := range map[string]struct {
		spec, parent Spec
		first        Reason
		want         []Reason
	}{
		"nothing":               {want: nil},
		"the limit of the user": {spec: Spec{Users: Users{Limit: cpu(7)}}, first: UserLimit, want: []Reason{UserLimit}},
		"two at once":           {spec: Spec{Limit: cpu(7), Users: Users{Limit: cpu(6)}}, first: QueueLimit, want: []Reason{QueueLimit, UserLimit}},
		"of the queue above":    {spec: Spec{Users: Users{Limit: cpu(6)}}, parent: Spec{Limit: cpu(7)}, first: UserLimit, want: []Reason{QueueLimit, UserLimit}},
		"all": {
			spec:   Spec{MaxRunningGangs: pointer[int64](1), MaxLeaderShare: pointer[int64](30), Users: Users{Limit: cpu(5)}},
			parent: Spec{Limit: cpu(6)}, first: QueueMaxGangs, want: all,
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.spec.Name, test.spec.Parent, test.parent.Name = "etl", "team", "team"
			tree := New([]Spec{test.spec, test.parent})
			tree.SetCapacity(resource.Vector{CPU: 1000000})
			tree.Charge("etl", one)
			assert.Equal(t, test.first, tree.Fits("etl", one).Reason)
			var keep []Reason
			for _, reason := range all {
				if tree.Keeps("etl", one, reason) {
					keep = append(keep, reason)
				}
			}
			assert.Equal(t, test.want, keep)
			assert.False(t, tree.Keeps("etl", one, QueueClosed), "of what ends by itself alone")
		})
	}
}
