package quota_test

import (
	"fmt"

	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// One round of whoever owns the tree: everybody starts who is next, may, and finds room.
func Example() {
	cores := func(n int64) resource.Vector { return resource.Vector{CPU: 1000 * n} }
	tree := quota.New([]quota.Spec{
		{Name: "etl", Guaranteed: quota.Amounts{{Name: "cpu", Value: 60_000}}, Limit: quota.Amounts{{Name: "cpu", Value: 70_000}}},
		{Name: "adhoc"},
	})
	tree.SetCapacity(cores(100))

	groups := map[string]*quota.Group{}
	groups["a1"] = tree.Push(quota.Waiter{ID: "a1", Queue: "adhoc", Signature: "60", Demand: quota.Demand{Amount: cores(60), Gangs: 1}})
	groups["e1"] = tree.Push(quota.Waiter{ID: "e1", Queue: "etl", Signature: "50", Demand: quota.Demand{Amount: cores(50), Gangs: 1}})
	groups["e2"] = tree.Push(quota.Waiter{ID: "e2", Queue: "etl", Signature: "30", Demand: quota.Demand{Amount: cores(30), Gangs: 1}})
	fmt.Println("e1 before a1:", tree.Explain("e1", "a1").Named)

	free := cores(100)
	for w, ok := tree.Next(); ok; w, ok = tree.Next() {
		v := tree.Fits(w.Queue, w.Demand)
		switch {
		case !v.Passes():
			fmt.Printf("%s waits: %s: %s\n", w.ID, v.Reason, v)
			tree.Park(groups[string(w.ID)]) // until the queue has released enough
		case !w.Demand.Amount.Fits(free):
			fmt.Printf("%s waits for room\n", w.ID)
			tree.Park(groups[string(w.ID)]) // until the nodes have changed
		default:
			fmt.Printf("%s starts\n", w.ID)
			tree.Remove(w.ID)
			tree.Charge(w.Queue, w.Demand)
			free = free.Sub(w.Demand.Amount)
		}
	}
	// Output:
	// e1 before a1: queue etl is below its guarantee (cpu 0 of 60), queue adhoc is not
	// e1 starts
	// e2 waits: QueueLimit: queue etl holds cpu 50 of at most 70, and 30 more is asked for; 10 too much
	// a1 waits for room
}
