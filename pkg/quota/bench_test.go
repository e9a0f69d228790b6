package quota

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"retinue.dev/retinue/pkg/resource"
)

// thousand is 1,000 queues in three levels: 10 of 10 of 9 with their parents, a guarantee and a limit each.
func thousand() (*Tree, []string) {
	amounts := func(cores int64) Amounts {
		return Amounts{{Name: "cpu", Value: 1000 * cores}, {Name: "memory", Value: cores << 32}}
	}
	var specs []Spec
	var leaves []string
	for i := range 10 {
		top := fmt.Sprintf("q%d", i)
		specs = append(specs, Spec{Name: top, Guaranteed: amounts(9000), Limit: amounts(40000)})
		for j := range 10 {
			middle := fmt.Sprintf("%s-%d", top, j)
			specs = append(specs, Spec{Name: middle, Parent: top, Limit: amounts(20000)})
			for k := range 9 {
				leaf := fmt.Sprintf("%s-%d", middle, k)
				specs = append(specs, Spec{
					Name: leaf, Parent: middle, Guaranteed: amounts(100), Limit: amounts(10000), MaxRunningGangs: pointer[int64](1 << 30),
					MaxLeaderShare: pointer[int64](50), Users: Users{Limit: amounts(9000)}, Order: Fair,
				})
				leaves = append(leaves, leaf)
			}
		}
	}
	t := New(specs)
	t.SetCapacity(resource.Vector{CPU: 100_000_000, Memory: 100_000 << 32, Pods: 500_000})
	return t, leaves
}

func demandOf(i int) Demand {
	return Demand{
		User: fmt.Sprintf("user%d", i%7), Gangs: 1,
		Amount: resource.Vector{CPU: 20_000 + int64(i%50), Memory: 80 << 30, Pods: 5}, Leader: resource.Vector{CPU: 4000, Memory: 16 << 30, Pods: 1},
	}
}

// filled has 2,000 gangs running and so many waiting, all different or all of one signature in each queue.
func filled(waiting int, shapes bool) (*Tree, []string) {
	t, leaves := thousand()
	for i := range 2000 {
		t.Charge(leaves[i*7919%len(leaves)], demandOf(i))
	}
	for i := range waiting {
		shape := "same"
		if shapes {
			shape = fmt.Sprint(i)
		}
		t.Push(Waiter{ID: types.UID(fmt.Sprint(i)), Queue: leaves[i%len(leaves)], Signature: shape, Since: start.Add(time.Duration(i) * time.Millisecond), Demand: demandOf(i)})
	}
	return t, leaves
}

// BenchmarkAdmission is a gang that starts and ends in a cluster of so many queues with guarantees and limits: who is next, does
// it fit, charge and release. One gang waits in each queue.
func BenchmarkAdmission(b *testing.B) {
	for _, queues := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprint("queues=", queues), func(b *testing.B) {
			amounts := Amounts{{Name: "cpu", Value: 1_000_000}, {Name: "memory", Value: 1 << 50}}
			var specs []Spec
			for i := range queues {
				specs = append(specs, Spec{Name: fmt.Sprint("queue-", i), Guaranteed: amounts, Limit: amounts})
			}
			t := New(specs)
			t.SetCapacity(resource.Vector{CPU: 1_000_000_000, Memory: 1 << 60, Pods: 1 << 30})
			for i := range queues {
				t.Push(Waiter{ID: types.UID(fmt.Sprint(i)), Queue: fmt.Sprint("queue-", i), Signature: fmt.Sprint(i), Since: start.Add(time.Duration(i) * time.Millisecond), Demand: demandOf(i)})
			}
			b.ReportAllocs()
			for b.Loop() {
				w, ok := t.Next()
				if !ok || !t.Fits(w.Queue, w.Demand).Passes() {
					b.Fatal("nobody starts")
				}
				t.Remove(w.ID)
				t.Charge(w.Queue, w.Demand)
				t.Release(w.Queue, w.Demand)
				t.Push(w)
			}
		})
	}
}

func BenchmarkFitsIn1000Queues(b *testing.B) {
	t, leaves := filled(0, false)
	d := demandOf(1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if !t.Fits(leaves[i%len(leaves)], d).Passes() {
			b.Fatal("does not fit")
		}
	}
}

func BenchmarkChargeAndReleaseIn1000Queues(b *testing.B) {
	t, leaves := filled(0, false)
	d := demandOf(1)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t.Charge(leaves[i%len(leaves)], d)
		t.Release(leaves[i%len(leaves)], d)
	}
}

// BenchmarkStartWith100000Waiting is a whole turn: who is next, does it fit, it starts, another one ends and one comes.
func BenchmarkStartWith100000Waiting(b *testing.B) {
	for name, shapes := range map[string]bool{"of one signature in a queue": false, "all different": true} {
		b.Run(name, func(b *testing.B) {
			t, _ := filled(100_000, shapes)
			b.ReportAllocs()
			for b.Loop() {
				w, ok := t.Next()
				if !ok || !t.Fits(w.Queue, w.Demand).Passes() {
					b.Fatal("nobody starts")
				}
				t.Remove(w.ID)
				t.Charge(w.Queue, w.Demand)
				t.Release(w.Queue, w.Demand)
				t.Push(w)
			}
		})
	}
}

// BenchmarkParkAllOf100000 finds that nobody fits, and wakes everybody again: the most one change of the cluster can cost.
func BenchmarkParkAllOf100000(b *testing.B) {
	for name, shapes := range map[string]bool{"of one signature in a queue": false, "all different": true} {
		b.Run(name, func(b *testing.B) {
			t, _ := filled(100_000, shapes)
			b.ReportAllocs()
			for b.Loop() {
				for w, ok := t.Next(); ok; w, ok = t.Next() {
					t.Park(t.waiters[w.ID].group)
				}
				for _, g := range t.groups {
					t.Wake(g)
				}
			}
		})
	}
}

func BenchmarkCapacityChangesWith100000Waiting(b *testing.B) {
	t, _ := filled(100_000, true)
	b.ReportAllocs()
	for i := int64(0); b.Loop(); i++ {
		t.SetCapacity(resource.Vector{CPU: 100_000_000 + i%2, Memory: 100_000 << 32, Pods: 500_000})
		t.Next()
	}
}

func BenchmarkBuild1000Queues(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		t, _ := thousand()
		t.Next()
	}
}

// BenchmarkChooseAmong10000Victims takes back room for one gang from 900 queues that all borrow.
func BenchmarkChooseAmong10000Victims(b *testing.B) {
	t, leaves := thousand()
	var victims []Victim
	for i := range 10_000 {
		v := Victim{ID: types.UID(fmt.Sprint(i)), Kind: Elastic, Gang: fmt.Sprint(i / 10), Queue: leaves[1+i%(len(leaves)-1)], Amount: resource.Vector{CPU: 20_000, Memory: 80 << 30, Pods: 1}}
		victims = append(victims, v)
		t.Charge(v.Queue, Demand{Amount: v.Amount})
	}
	t.leaf(leaves[0]).Reclaim.Enabled = true
	claim := Request{Queue: leaves[0], Demand: resource.Vector{CPU: 100_000, Memory: 400 << 30, Pods: 5}, Lacking: resource.Vector{CPU: 100_000, Memory: 400 << 30}}
	b.ReportAllocs()
	for b.Loop() {
		if c := t.SelectVictims(claim, victims, nil); len(c.Victims) == 0 {
			b.Fatal(c)
		}
	}
}

func BenchmarkSharesOf900Queues(b *testing.B) {
	t, leaves := thousand()
	demand := map[string]resource.Vector{}
	for i, leaf := range leaves {
		demand[leaf] = resource.Vector{CPU: int64(i) * 1_000_000, Memory: int64(i) << 35}
	}
	b.ReportAllocs()
	for b.Loop() {
		t.Shares(demand)
	}
}

// BenchmarkChargeWith1000UsersWaiting is in the one kind of queue where a charge concerns every user's turn.
func BenchmarkChargeWith1000UsersWaiting(b *testing.B) {
	t := New([]Spec{{Name: "etl", Users: Users{MinimumShare: pointer[int64](10)}}})
	t.SetCapacity(resource.Vector{CPU: 100_000_000, Memory: 100_000 << 32})
	for i := range 1000 {
		d := demandOf(i)
		d.User = fmt.Sprint(i)
		t.Charge("etl", d)
		t.Push(Waiter{ID: types.UID(fmt.Sprint(i)), Queue: "etl", Demand: d})
	}
	b.ReportAllocs()
	for b.Loop() {
		t.Charge("etl", demandOf(1))
		t.Release("etl", demandOf(1))
	}
}
