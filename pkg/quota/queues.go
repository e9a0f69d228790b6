package quota

import (
	"maps"
	"slices"
	"strings"

	"retinue.dev/retinue/pkg/apis/v1alpha1"
	"retinue.dev/retinue/pkg/resource"
)

// OfQueue is what a Queue object says. What is wrong with it is left for New to find.
func OfQueue(queue *v1alpha1.Queue) Spec {
	in := queue.Spec
	spec := Spec{
		Name:            queue.Name,
		Parent:          in.Parent,
		NodeSelector:    in.NodeSelector,
		Guaranteed:      amountsOf(in.Guaranteed),
		Limit:           amountsOf(in.Limit),
		Weight:          wide(in.Weight),
		MaxRunningGangs: wide(in.MaxRunningGangs),
		MaxLeaderShare:  wide(in.MaxLeaderShare),
		Order:           Order(in.Order),
		Priority:        in.Priority,
		State:           State(in.State),
	}
	if users := in.Users; users != nil {
		spec.Users = Users{MinimumShare: wide(users.MinimumShare), Limit: amountsOf(users.Limit), MaxRunningGangs: wide(users.MaxRunningGangs)}
	}
	if reclaim := in.Reclaim; reclaim != nil {
		spec.Reclaim = Reclaim{Enabled: reclaim.Enabled, Budget: wide(reclaim.Budget), Exempt: reclaim.Exempt, DryRun: reclaim.DryRun}
		if reclaim.After != nil {
			spec.Reclaim.After = reclaim.After.Duration
		}
		if reclaim.Grace != nil {
			spec.Reclaim.Grace = &reclaim.Grace.Duration
		}
		if reclaim.Protect != nil {
			spec.Reclaim.Protect = reclaim.Protect.Duration
		}
		if reclaim.DeadZone != nil {
			spec.Reclaim.DeadZone = int64(*reclaim.DeadZone)
		}
		spec.Reclaim.Utilization = int64(reclaim.Utilization)
	}
	return spec
}

func wide(value *int32) *int64 {
	if value == nil {
		return nil
	}
	wider := int64(*value)
	return &wider
}

// amountsOf keeps what resource.OfList drops: a zero, and what is negative, which somebody is to be told of.
func amountsOf(list v1alpha1.Amounts) Amounts {
	var amounts Amounts
	for _, name := range slices.Sorted(maps.Keys(list)) {
		quantity := list[name].Quantity
		negative := quantity.Sign() < 0
		if negative {
			quantity.Neg()
		}
		value := resource.LimitOf(name, quantity)
		if negative {
			value = -value
		}
		amounts = append(amounts, resource.Amount{Name: name, Value: value})
	}
	return amounts
}

// Defaults is the queue above those of namespaces that belong to none, where each of them has a limit. No Queue can have that name.
const Defaults = "namespaces/"

// Written is the queue that somebody has written by which one of a namespace was made, Defaults for one below that, and for any other
// itself. A queue of a namespace bears the name of the one that it was made by, and a slash behind that.
func Written(queue string) string {
	if strings.HasPrefix(queue, Defaults) {
		return Defaults
	}
	by, _, _ := strings.Cut(queue, "/")
	return by
}

// OfNamespace is the queue of a namespace that belongs to a Queue with PerNamespace, as its template says.
func OfNamespace(queue *v1alpha1.Queue, namespace string) Spec {
	template, own := queue.Spec.PerNamespace, queue.Spec
	own.Parent, own.NodeSelector = queue.Name, nil
	own.Guaranteed, own.Limit = template.Guaranteed, template.Limit
	own.Weight, own.MaxRunningGangs, own.MaxLeaderShare = template.Weight, template.MaxRunningGangs, template.MaxLeaderShare
	own.State, own.Priority = "", 0 // those of the queue above count
	spec := OfQueue(&v1alpha1.Queue{Spec: own})
	spec.Name = queue.Name + "/" + namespace
	spec.Users.Limit, spec.Users.MaxRunningGangs = nil, nil // likewise
	return spec
}
