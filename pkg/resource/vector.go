// Package resource is the one place where Kubernetes quantities become numbers: a Vector of amounts in fixed units.
package resource

import (
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	helpers "k8s.io/component-helpers/resource"
)

// Vector is an amount of every resource. The zero Vector is "nothing". Vectors are values: no method changes its
// receiver, and Extended is never modified after it was made, so copies may share it.
type Vector struct {
	CPU              int64 // millicores
	Memory           int64 // bytes
	EphemeralStorage int64 // bytes
	Pods             int64 // places in a node's pod limit; a pod asks for 1
	// Extended holds every other resource, sorted by name, without zeros in requests. nil means none.
	Extended []Amount
}

// Amount is a quantity of one resource, in the unit of its field in Vector, else in its own: devices, or bytes for
// hugepages.
type Amount struct {
	Name  v1.ResourceName
	Value int64
}

// OfList turns a list of quantities, such as a node's allocatable, into a Vector.
func OfList(list v1.ResourceList) Vector {
	var v Vector
	for name, quantity := range list {
		switch name {
		case v1.ResourceCPU:
			v.CPU = milliAmount(quantity)
		case v1.ResourceMemory:
			v.Memory = amount(quantity)
		case v1.ResourceEphemeralStorage:
			v.EphemeralStorage = amount(quantity)
		case v1.ResourcePods:
			v.Pods = amount(quantity)
		default:
			if value := amount(quantity); value != 0 {
				v.Extended = append(v.Extended, Amount{name, value})
			}
		}
	}
	slices.SortFunc(v.Extended, byName)
	return v
}

// OfAmounts turns amounts in the units of Vector into one. Of two of the same resource the last counts.
func OfAmounts(amounts []Amount) Vector {
	var v Vector
	extended := map[v1.ResourceName]int64{}
	for _, amount := range amounts {
		switch amount.Name {
		case v1.ResourceCPU:
			v.CPU = amount.Value
		case v1.ResourceMemory:
			v.Memory = amount.Value
		case v1.ResourceEphemeralStorage:
			v.EphemeralStorage = amount.Value
		case v1.ResourcePods:
			v.Pods = amount.Value
		default:
			extended[amount.Name] = amount.Value
		}
	}
	return v.WithExtended(extended)
}

// OfPod is what a pod asks of a node: the effective request over its containers, init containers, sidecars and
// overhead by the rule kube-scheduler uses, and one place in the node's pod limit.
func OfPod(pod *v1.Pod) Vector { return OfPodAs(pod, helpers.PodResourcesOptions{}) }

// OfPodAs is OfPod for one who looks at more than the spec: what a pod with a node takes there differs from what it asks for while
// the kubelet resizes it.
func OfPodAs(pod *v1.Pod, options helpers.PodResourcesOptions) Vector {
	v := OfList(helpers.PodRequests(pod, options))
	v.Pods = 1
	return v
}

// List is the inverse of OfList. Zero amounts and Pods are left out: a pod does not write them down.
func (v Vector) List() v1.ResourceList {
	list := v1.ResourceList{}
	v.each(func(name v1.ResourceName, value int64) {
		if value != 0 && name != v1.ResourcePods {
			list[name] = *Quantity(name, value)
		}
	})
	return list
}

// Add returns v + w.
func (v Vector) Add(w Vector) Vector {
	return Vector{
		CPU:              plus(v.CPU, w.CPU),
		Memory:           plus(v.Memory, w.Memory),
		EphemeralStorage: plus(v.EphemeralStorage, w.EphemeralStorage),
		Pods:             plus(v.Pods, w.Pods),
		Extended:         mergeExtended(v.Extended, w.Extended, 1),
	}
}

// Sub returns v − w; amounts may become negative, as they do on an overbooked node.
func (v Vector) Sub(w Vector) Vector {
	return Vector{
		CPU:              plus(v.CPU, -w.CPU),
		Memory:           plus(v.Memory, -w.Memory),
		EphemeralStorage: plus(v.EphemeralStorage, -w.EphemeralStorage),
		Pods:             plus(v.Pods, -w.Pods),
		Extended:         mergeExtended(v.Extended, w.Extended, -1),
	}
}

// Signed adds an amount to a sum, or takes it off if sign is −1; else it is 1.
func Signed[S int | int64](sum, amount Vector, sign S) Vector {
	if sign < 0 {
		return sum.Sub(amount)
	}
	return sum.Add(amount)
}

// Scale returns n × v. n is a number of pods. Absurd amounts stop at 1<<62.
func (v Vector) Scale(n int) Vector {
	k := int64(n)
	scaled := Vector{CPU: times(v.CPU, k), Memory: times(v.Memory, k), EphemeralStorage: times(v.EphemeralStorage, k), Pods: times(v.Pods, k)}
	for _, amount := range v.Extended {
		if value := times(amount.Value, k); value != 0 {
			scaled.Extended = append(scaled.Extended, Amount{amount.Name, value})
		}
	}
	return scaled
}

// Bounded returns v with every amount cut down to a little more than any limit may be: what is asked for in all may be absurd, and a sum
// that saturates does not come back to what it was.
func (v Vector) Bounded() Vector {
	bounded := Vector{CPU: min(v.CPU, demandCap), Memory: min(v.Memory, demandCap), EphemeralStorage: min(v.EphemeralStorage, demandCap), Pods: min(v.Pods, demandCap)}
	for _, amount := range v.Extended {
		bounded.Extended = append(bounded.Extended, Amount{amount.Name, min(amount.Value, demandCap)})
	}
	return bounded
}

// Max returns the larger amount of each resource.
func (v Vector) Max(w Vector) Vector {
	return v.Add(w.Sub(v).positive())
}

// Fits tells whether a request v can be taken out of free. A resource that v does not ask for is not checked, even
// when it is overbooked.
func (v Vector) Fits(free Vector) bool {
	if v.CPU > 0 && v.CPU > free.CPU ||
		v.Memory > 0 && v.Memory > free.Memory ||
		v.EphemeralStorage > 0 && v.EphemeralStorage > free.EphemeralStorage ||
		v.Pods > 0 && v.Pods > free.Pods {
		return false
	}
	for _, amount := range v.Extended {
		if amount.Value > 0 && amount.Value > free.extended(amount.Name) {
			return false
		}
	}
	return true
}

// Gains tells whether there is more than before of something that a request v asks for.
func (v Vector) Gains(before, now Vector) bool {
	if v.CPU > 0 && now.CPU > before.CPU ||
		v.Memory > 0 && now.Memory > before.Memory ||
		v.EphemeralStorage > 0 && now.EphemeralStorage > before.EphemeralStorage ||
		v.Pods > 0 && now.Pods > before.Pods {
		return true
	}
	return slices.ContainsFunc(v.Extended, func(asked Amount) bool {
		return asked.Value > 0 && now.extended(asked.Name) > before.extended(asked.Name)
	})
}

// Count is how many copies of the request v can be taken out of free, at most limit. A limit below zero is zero.
func (v Vector) Count(free Vector, limit int) int {
	n := max(limit, 0)
	n = Copies(v.CPU, free.CPU, n)
	n = Copies(v.Memory, free.Memory, n)
	n = Copies(v.EphemeralStorage, free.EphemeralStorage, n)
	n = Copies(v.Pods, free.Pods, n)
	for _, amount := range v.Extended {
		n = Copies(amount.Value, free.extended(amount.Name), n)
	}
	return n
}

// Missing is what a request v lacks in free: zero in every resource that suffices.
func (v Vector) Missing(free Vector) Vector {
	missing := v.Sub(free).positive()
	if v.CPU <= 0 {
		missing.CPU = 0
	}
	if v.Memory <= 0 {
		missing.Memory = 0
	}
	if v.EphemeralStorage <= 0 {
		missing.EphemeralStorage = 0
	}
	if v.Pods <= 0 {
		missing.Pods = 0
	}
	missing.Extended = slices.DeleteFunc(missing.Extended, func(amount Amount) bool { return v.extended(amount.Name) <= 0 })
	return missing
}

// IsZero tells whether every amount is zero.
func (v Vector) IsZero() bool {
	for _, amount := range v.Extended {
		if amount.Value != 0 {
			return false
		}
	}
	return v.CPU == 0 && v.Memory == 0 && v.EphemeralStorage == 0 && v.Pods == 0
}

// Equal compares amounts; a missing extended resource equals zero.
func (v Vector) Equal(w Vector) bool { return v.Sub(w).IsZero() }

// String names every amount that is not zero, in canonical quantities: "cpu 4, memory 9011Mi, nvidia.com/gpu 1".
// The zero Vector is "nothing". Places in the pod limit are left out when they are the only thing a single pod adds.
func (v Vector) String() string {
	var parts []string
	v.each(func(name v1.ResourceName, value int64) {
		if value != 0 && (name != v1.ResourcePods || v.onlyPods()) {
			parts = append(parts, fmt.Sprintf("%s %s", name, Quantity(name, value)))
		}
	})
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func (v Vector) onlyPods() bool {
	return v.CPU == 0 && v.Memory == 0 && v.EphemeralStorage == 0 && len(v.Extended) == 0
}

// each calls f for every resource in a fixed order.
func (v Vector) each(f func(v1.ResourceName, int64)) {
	f(v1.ResourceCPU, v.CPU)
	f(v1.ResourceMemory, v.Memory)
	f(v1.ResourceEphemeralStorage, v.EphemeralStorage)
	f(v1.ResourcePods, v.Pods)
	for _, amount := range v.Extended {
		f(amount.Name, amount.Value)
	}
}

func (v Vector) extended(name v1.ResourceName) int64 {
	for _, amount := range v.Extended {
		if amount.Name == name {
			return amount.Value
		}
	}
	return 0
}

// positive drops what is negative.
func (v Vector) positive() Vector {
	positive := Vector{CPU: max(v.CPU, 0), Memory: max(v.Memory, 0), EphemeralStorage: max(v.EphemeralStorage, 0), Pods: max(v.Pods, 0)}
	for _, amount := range v.Extended {
		if amount.Value > 0 {
			positive.Extended = append(positive.Extended, amount)
		}
	}
	return positive
}

// mergeExtended returns v + sign × w, sorted by name and without zeros. Where one side is empty nothing is copied.
func mergeExtended(v, w []Amount, sign int64) []Amount {
	if len(w) == 0 {
		return v
	}
	if len(v) == 0 && sign == 1 {
		return w
	}
	merged := make([]Amount, 0, len(v)+len(w))
	for len(v) > 0 || len(w) > 0 {
		var next Amount
		switch {
		case len(w) == 0 || len(v) > 0 && v[0].Name < w[0].Name:
			next, v = v[0], v[1:]
		case len(v) == 0 || w[0].Name < v[0].Name:
			next, w = Amount{w[0].Name, sign * w[0].Value}, w[1:]
		default:
			next, v, w = Amount{v[0].Name, plus(v[0].Value, sign*w[0].Value)}, v[1:], w[1:]
		}
		if next.Value != 0 {
			merged = append(merged, next)
		}
	}
	return slices.Clip(merged)
}

// Without returns v without the extended resources that are ignored.
func (v Vector) Without(ignored func(v1.ResourceName) bool) Vector {
	if slices.ContainsFunc(v.Extended, func(amount Amount) bool { return ignored(amount.Name) }) {
		v.Extended = slices.DeleteFunc(slices.Clone(v.Extended), func(amount Amount) bool { return ignored(amount.Name) })
	}
	return v
}

func byName(a, b Amount) int { return strings.Compare(string(a.Name), string(b.Name)) }

// WithExtended returns v with the given extended resources in place of its own. Values are in the resource's own unit.
func (v Vector) WithExtended(values map[v1.ResourceName]int64) Vector {
	v.Extended = nil
	for name, value := range values {
		if value != 0 {
			v.Extended = append(v.Extended, Amount{name, value})
		}
	}
	slices.SortFunc(v.Extended, byName)
	return v
}
