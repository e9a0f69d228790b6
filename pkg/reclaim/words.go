package reclaim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"retinue.dev/retinue/pkg/quota"
	"retinue.dev/retinue/pkg/resource"
)

// summary is what is taken from whom.
func summary(chosen []quota.Victim) string {
	type part struct {
		amount resource.Vector
		kinds  [quota.Gang + 1]int
	}
	from := map[string]*part{} // queue -> what it gives
	for _, v := range chosen {
		if from[v.Queue] == nil {
			from[v.Queue] = &part{}
		}
		from[v.Queue].amount = from[v.Queue].amount.Add(v.Amount)
		from[v.Queue].kinds[v.Kind]++
	}
	var parts []string
	for _, queue := range slices.Sorted(maps.Keys(from)) {
		p := from[queue]
		var kinds []string
		for kind, word := range []string{quota.Slot: "gangs whose slots nobody has claimed", quota.Elastic: "expendable workers", quota.Gang: "whole gangs"} {
			if p.kinds[kind] > 0 {
				kinds = append(kinds, fmt.Sprintf("%s: %d", word, p.kinds[kind]))
			}
		}
		parts = append(parts, fmt.Sprintf("%s from %s (%s)", p.amount, titleOf(queue), strings.Join(kinds, ", ")))
	}
	return strings.Join(parts, "; ")
}

// titleOf is a queue's name for people.
func titleOf(queue string) string {
	if queue == quota.Unassigned {
		return "namespaces without a queue"
	}
	return "queue " + queue
}

// Why is what the user of a victim reads: of each of its pods, or of its slots.
func (p *Plan) Why(at int) string {
	what, v := "this pod", p.Chosen[at]
	switch {
	case v.Kind == quota.Slot:
		what = "its slots that nobody has claimed"
	case v.Kind == quota.Gang && p.Victims[at].Holder.Gang:
		what = "this pod, with its whole gang,"
	}
	if v.Queue == p.Request.Queue {
		return fmt.Sprintf("%s of %s makes place for %s, whose priority is %d; this one has %d", what, v.Amount, p.title, p.Request.Priority, v.Priority)
	}
	return fmt.Sprintf("%s was borrowed (%s) by %s, and goes back to %s for %s, which is within its guarantee",
		what, v.Amount, titleOf(v.Queue), titleOf(p.Request.Queue), p.title)
}
