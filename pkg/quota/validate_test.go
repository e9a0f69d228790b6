package quota

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"retinue.dev/retinue/pkg/resource"
)

func cpu(cores int64) Amounts { return Amounts{{Name: "cpu", Value: 1000 * cores}} }

func TestWrongSpecsAreNamedWithTheirValueAndWhatHappensMeanwhile(t *testing.T) {
	tests := map[string]struct {
		specs    []Spec
		capacity int64 // cores; 0 means unknown
		want     []string
	}{
		"nothing is wrong": {
			specs: []Spec{
				{Name: "team", Guaranteed: cpu(10), Limit: cpu(20)},
				{Name: "etl", Parent: "team", Guaranteed: cpu(4), Weight: pointer[int64](0), Order: Fair, State: Draining},
				{Name: "adhoc", Parent: "team", Guaranteed: cpu(6), Limit: Amounts{{Name: gpu, Value: 0}}},
			},
			capacity: 10,
		},
		"no name": {
			specs: []Spec{{Guaranteed: cpu(1)}},
			want:  []string{`queue : name: "": a queue needs a name; this one is ignored`},
		},
		"twice the same name": {
			specs: []Spec{{Name: "etl"}, {Name: "etl", Parent: "team"}},
			want:  []string{"queue etl: name: etl: there are two queues of this name; the first counts"},
		},
		"negative amounts": {
			specs: []Spec{{Name: "etl", Guaranteed: cpu(-1), Limit: cpu(-2), Users: Users{Limit: cpu(-3)}}},
			want: []string{
				"queue etl: guaranteed.cpu: -1: must not be negative; counts as not written",
				"queue etl: limit.cpu: -2: must not be negative; counts as not written",
				"queue etl: users.limit.cpu: -3: must not be negative; counts as not written",
			},
		},
		"numbers out of their range": {
			specs: []Spec{{
				Name: "etl", Weight: pointer[int64](-1), MaxRunningGangs: pointer[int64](-1), MaxLeaderShare: pointer[int64](0), Users: Users{MinimumShare: pointer[int64](101)},
				Reclaim: Reclaim{After: -time.Second, Grace: pointer(-time.Minute), Budget: pointer[int64](200), DeadZone: -5, Protect: -time.Hour},
			}},
			want: []string{
				"queue etl: maxLeaderShare: 0: must be at least 1; counts as not written",
				"queue etl: maxRunningGangs: -1: must be at least 0; counts as not written",
				"queue etl: reclaim.after: -1s: must not be negative; counts as 0s",
				"queue etl: reclaim.budget: 200: must be at most 100; counts as not written",
				"queue etl: reclaim.deadZone: -5: must be at least 0; counts as not written",
				"queue etl: reclaim.grace: -1m0s: must not be negative; counts as 0s",
				"queue etl: reclaim.protect: -1h0m0s: must not be negative; counts as 0s",
				"queue etl: users.minimumShare: 101: must be at most 100; counts as not written",
				"queue etl: weight: -1: must be at least 0; counts as not written",
			},
		},
		"words nobody knows": {
			specs: []Spec{{Name: "etl", Order: "LIFO", State: "Shut"}},
			want: []string{
				"queue etl: order: LIFO: must be one of [FIFO Fair]; counts as FIFO",
				"queue etl: state: Shut: must be one of [Open Draining Stopped]; counts as Open",
			},
		},
		"more guaranteed than allowed": {
			specs: []Spec{{Name: "etl", Guaranteed: cpu(8), Limit: cpu(5)}},
			want:  []string{"queue etl: guaranteed.cpu: 8: more than the queue's limit of 5; counts as 5"},
		},
		"a parent that does not exist": {
			specs: []Spec{{Name: "etl", Parent: "team"}},
			want:  []string{"queue etl: parent: team: there is no such queue; this one stands at the top meanwhile"},
		},
		"a circle, and one queue that only leads to it": {
			specs: []Spec{{Name: "a", Parent: "b"}, {Name: "b", Parent: "a"}, {Name: "c", Parent: "a"}},
			want: []string{
				"queue a: parent: b: the parents go round in a circle (a → b → a); every queue of it stands at the top meanwhile",
				"queue b: parent: a: the parents go round in a circle (b → a → b); every queue of it stands at the top meanwhile",
			},
		},
		"its own parent": {
			specs: []Spec{{Name: "a", Parent: "a"}},
			want:  []string{"queue a: parent: a: the parents go round in a circle (a → a); every queue of it stands at the top meanwhile"},
		},
		"children who are guaranteed more than their parent": {
			specs: []Spec{
				{Name: "team", Guaranteed: cpu(10)},
				{Name: "etl", Parent: "team", Guaranteed: cpu(15)},
				{Name: "adhoc", Parent: "team", Guaranteed: cpu(5)},
			},
			want: []string{
				"queue adhoc: guaranteed.cpu: 5: the queues of team are guaranteed 20 in all, and team has 10; counts as 2500m, the same part as of its siblings",
				"queue etl: guaranteed.cpu: 15: the queues of team are guaranteed 20 in all, and team has 10; counts as 7500m, the same part as of its siblings",
			},
		},
		"a parent without a guarantee is guaranteed what its children need": {
			specs:    []Spec{{Name: "team"}, {Name: "etl", Parent: "team", Guaranteed: cpu(15)}},
			capacity: 15,
		},
		"children who are guaranteed more than their parent's limit": {
			specs: []Spec{{Name: "team", Limit: cpu(10)}, {Name: "etl", Parent: "team", Guaranteed: cpu(15)}},
			want: []string{
				"queue etl: guaranteed.cpu: 15: the queues of team are guaranteed 15 in all, and team has 10; counts as 10, the same part as of its siblings",
			},
		},
		"more guaranteed than the cluster has": {
			specs:    []Spec{{Name: "etl", Guaranteed: cpu(15)}, {Name: "adhoc", Guaranteed: cpu(5)}},
			capacity: 10,
			want: []string{
				"queue adhoc: guaranteed.cpu: 5: more than the nodes have, together with the other queues; counts as 2500m until there is more",
				"queue etl: guaranteed.cpu: 15: more than the nodes have, together with the other queues; counts as 7500m until there is more",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			tree := New(test.specs)
			if test.capacity > 0 {
				tree.SetCapacity(resource.Vector{CPU: 1000 * test.capacity})
			}
			var got []string
			for _, p := range tree.Problems() {
				got = append(got, p.String())
			}
			assert.Equal(t, test.want, got)
		})
	}
}

func TestProblemsOfTheClusterEndWhenNodesCome(t *testing.T) {
	tree := New([]Spec{{Name: "etl", Guaranteed: cpu(15)}})
	tree.SetCapacity(resource.Vector{CPU: 10000})
	require.Len(t, tree.Problems(), 1)
	tree.SetCapacity(resource.Vector{CPU: 15000})
	require.Empty(t, tree.Problems())
	usage, _ := tree.Usage("etl")
	require.Equal(t, cpu(15), usage.Guaranteed)
}

func TestAmountsThatAreAbsentAreSomethingElseThanZero(t *testing.T) {
	tree := New([]Spec{{Name: "etl", Limit: Amounts{{Name: gpu, Value: 0}, {Name: "cpu", Value: 4000}}}})
	require.True(t, tree.Fits("etl", Demand{Amount: vector(4000, 1<<60, 0)}).Passes(), "memory is not limited")
	require.Equal(t, NeverFitsQueue, tree.Fits("etl", Demand{Amount: vector(0, 0, 1)}).Reason, "no GPU is allowed")
	tree.Charge("etl", Demand{Amount: vector(5000, 0, 0)})
	require.True(t, tree.Fits("etl", Demand{Amount: vector(0, 1, 0)}).Passes(), "a resource not asked for is not checked")
}
