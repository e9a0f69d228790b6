package limits

import (
	"fmt"
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	helpers "k8s.io/component-helpers/resource"
)

type quantity = apiresource.Quantity

// outside is what of a pod, whose defaults are set, is outside of what an item of a LimitRange allows; empty means nothing. It says
// the whole rule but the words "of the … pod", which follow.
func outside(item v1.LimitRangeItem, pod *v1.Pod) string {
	switch item.Type {
	case v1.LimitTypeContainer:
		for _, container := range containers(pod) {
			if problem := beyond(item, container.Resources.Requests, container.Resources.Limits); problem != "" {
				return problem + " container " + container.Name
			}
		}
	case v1.LimitTypePod:
		requests := helpers.PodRequests(pod, helpers.PodResourcesOptions{ExcludeOverhead: true})
		limits := helpers.PodLimits(pod, helpers.PodResourcesOptions{ExcludeOverhead: true})
		if problem := beyond(item, requests, limits); problem != "" {
			return problem + " the whole"
		}
	}
	return ""
}

// beyond is which bound of an item requests and limits exceed; empty means none.
func beyond(item v1.LimitRangeItem, requests, limits v1.ResourceList) string {
	unit := "a container"
	if item.Type == v1.LimitTypePod {
		unit = "a pod"
	}
	for _, name := range slices.Sorted(maps.Keys(item.Min)) {
		least := item.Min[name]
		request, requested := requests[name]
		limit, limited := limits[name]
		switch {
		case !requested:
			return fmt.Sprintf("wants %s of %s to request at least %s, and nothing is requested by", name, unit, least.String())
		case request.Cmp(least) < 0:
			return fmt.Sprintf("wants %s of %s to be at least %s, and %s is requested by", name, unit, least.String(), request.String())
		case limited && limit.Cmp(least) < 0:
			return fmt.Sprintf("wants %s of %s to be at least %s, and %s is the limit of", name, unit, least.String(), limit.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(item.Max)) {
		most := item.Max[name]
		request, requested := requests[name]
		limit, limited := limits[name]
		switch {
		case !limited:
			return fmt.Sprintf("wants %s of %s to have a limit of at most %s, and there is none for", name, unit, most.String())
		case limit.Cmp(most) > 0:
			return fmt.Sprintf("allows %s of %s up to %s, and %s is the limit of", name, unit, most.String(), limit.String())
		case requested && request.Cmp(most) > 0:
			return fmt.Sprintf("allows %s of %s up to %s, and %s is requested by", name, unit, most.String(), request.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(item.MaxLimitRequestRatio)) {
		most := item.MaxLimitRequestRatio[name]
		request, limit := requests[name], limits[name]
		switch {
		case request.IsZero() || limit.IsZero():
			return fmt.Sprintf("allows a limit of %s of %s times the request, and one of both is not set for", name, most.String())
		case limit.AsApproximateFloat64() > request.AsApproximateFloat64()*most.AsApproximateFloat64():
			return fmt.Sprintf("allows a limit of %s of %s times the request, and with %s requested %s is the limit of", name, most.String(), request.String(), limit.String())
		}
	}
	return ""
}
