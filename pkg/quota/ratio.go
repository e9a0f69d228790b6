package quota

import (
	"cmp"
	"math/bits"

	v1 "k8s.io/api/core/v1"

	"retinue.dev/retinue/pkg/resource"
)

// ratio is num / (den × weight), compared exactly. The zero ratio is 0; den and weight of others are not zero.
type ratio struct{ num, den, weight uint64 }

// ratioOf is num / (den × weight). What is negative counts as zero, and a den of zero as one, so that a resource which
// no node has weighs more than any other.
func ratioOf(num, den, weight int64) ratio {
	return ratio{uint64(max(num, 0)), uint64(max(den, 1)), uint64(max(weight, 1))}
}

// compare of two ratios, by 192-bit cross products.
func (r ratio) compare(other ratio) int {
	if r.num == 0 || other.num == 0 {
		return cmp.Compare(r.num, other.num)
	}
	a, b := product(r.num, other.den, other.weight), product(other.num, r.den, r.weight)
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]), cmp.Compare(a[2], b[2]))
}

// product of three numbers, the most significant word first.
func product(a, b, c uint64) [3]uint64 {
	high, low := bits.Mul64(a, b)
	carry, last := bits.Mul64(low, c)
	first, middle := bits.Mul64(high, c)
	middle, overflow := bits.Add64(middle, carry, 0)
	return [3]uint64{first + overflow, middle, last}
}

// share is amount × part / whole, rounded down; whole is not zero and part at most whole. What is negative is nothing.
func share(amount, part, whole int64) int64 {
	if amount <= 0 {
		return 0
	}
	high, low := bits.Mul64(uint64(amount), uint64(part))
	quotient, _ := bits.Div64(high, low, uint64(whole))
	return int64(quotient)
}

// percent of an amount, rounded down and at most resource.LimitCap times a hundred.
func percent(amount, percent int64) int64 {
	high, low := bits.Mul64(uint64(amount), uint64(percent))
	if high >= 100 {
		return 100 * resource.LimitCap
	}
	quotient, _ := bits.Div64(high, low, 100)
	return int64(min(quotient, uint64(100*resource.LimitCap)))
}

// dominant is the resource of which used, beyond what is guaranteed, is the largest part of the capacity.
func dominant(used resource.Vector, guaranteed Amounts, capacity resource.Vector, weight int64) (v1.ResourceName, ratio) {
	var most ratio
	var of v1.ResourceName
	consider := func(name v1.ResourceName, value int64) {
		if value > 0 {
			if r := ratioOf(value-guaranteed.or0(name), capacity.Of(name), weight); r.compare(most) > 0 {
				of, most = name, r
			}
		}
	}
	consider(v1.ResourceCPU, used.CPU)
	consider(v1.ResourceMemory, used.Memory)
	consider(v1.ResourceEphemeralStorage, used.EphemeralStorage)
	consider(v1.ResourcePods, used.Pods)
	for _, amount := range used.Extended {
		consider(amount.Name, amount.Value)
	}
	return of, most
}

// fulfilment is the resource of which the largest part of what is guaranteed is used, among those that are asked for, and
// whether none of them is used up. Where nothing that is asked for is guaranteed, there is nothing to fulfil: a queue that is
// guaranteed GPUs does not go first for ever with gangs that ask for none.
func fulfilment(used resource.Vector, guaranteed Amounts, asked resource.Vector) (of v1.ResourceName, most ratio, below bool) {
	for _, amount := range guaranteed {
		if amount.Value == 0 || asked.Of(amount.Name) <= 0 {
			continue
		}
		value := used.Of(amount.Name)
		if value >= amount.Value {
			return amount.Name, most, false
		}
		if r := ratioOf(value, amount.Value, 1); of == "" || r.compare(most) > 0 {
			of, most = amount.Name, r
		}
	}
	return of, most, of != ""
}
