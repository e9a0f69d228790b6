package resource

import (
	"strings"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
)

// Of is the amount of one resource, in the unit Vector keeps it in. It is zero for a resource the Vector does not name.
func (v Vector) Of(name v1.ResourceName) int64 {
	switch name {
	case v1.ResourceCPU:
		return v.CPU
	case v1.ResourceMemory:
		return v.Memory
	case v1.ResourceEphemeralStorage:
		return v.EphemeralStorage
	case v1.ResourcePods:
		return v.Pods
	default:
		return v.extended(name)
	}
}

// Quantity writes an amount, given in the unit Vector keeps it in, as a canonical quantity: 4, 1500m, 9011Mi.
func Quantity(name v1.ResourceName, value int64) *apiresource.Quantity {
	switch {
	case name == v1.ResourceCPU:
		return apiresource.NewMilliQuantity(value, apiresource.DecimalSI)
	case name == v1.ResourceMemory, name == v1.ResourceEphemeralStorage, strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix):
		return apiresource.NewQuantity(value, apiresource.BinarySI)
	default:
		return apiresource.NewQuantity(value, apiresource.DecimalSI)
	}
}
