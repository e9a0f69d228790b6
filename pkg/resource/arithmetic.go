package resource

import (
	"math"
	"math/bits"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
)

// LimitCap is the largest amount that a limit or a guarantee is taken for, in the unit of Vector: 64 PiB of memory. Larger
// ones are cut down to it, so that the sum of a hundred still fits an int64.
const LimitCap int64 = 1 << 56

// Cap is the largest amount a Vector takes from a quantity, in the unit of its field (64 TiB for memory, 70 billion
// cores for cpu). Larger quantities are cut down to it, negative ones are raised to zero, so that the sum of 100,000
// of them still fits an int64 and no hostile request can overflow a running sum.
const Cap int64 = 1 << 46

// demandCap is the largest amount that a gang is taken to ask its queue for: more than any limit, and the sum of dozens fits an int64.
const demandCap = LimitCap + 1

// most is where Scale stops: an amount no sum of real pods comes near, and that can be added once more.
const most int64 = 1 << 62

var (
	capMilli = *apiresource.NewMilliQuantity(Cap, apiresource.DecimalSI)
	capUnits = *apiresource.NewQuantity(Cap, apiresource.DecimalSI)
)

// amount is a quantity in its own unit, rounded up, between zero and Cap. It compares before it converts, because
// Quantity.Value wraps around: 10E comes out as zero.
func amount(quantity apiresource.Quantity) int64 {
	switch {
	case quantity.Sign() <= 0:
		return 0
	case quantity.Cmp(capUnits) >= 0:
		return Cap
	default:
		return quantity.Value()
	}
}

// milliAmount is amount in thousandths of the quantity's unit.
func milliAmount(quantity apiresource.Quantity) int64 {
	switch {
	case quantity.Sign() <= 0:
		return 0
	case quantity.Cmp(capMilli) >= 0:
		return Cap
	default:
		return quantity.MilliValue()
	}
}

// LimitOf is a quantity of a resource in the unit that Vector keeps it in, rounded up, between zero and LimitCap.
func LimitOf(name v1.ResourceName, quantity apiresource.Quantity) int64 {
	scale := apiresource.Scale(0)
	if name == v1.ResourceCPU {
		scale = apiresource.Milli
	}
	switch {
	case quantity.Sign() <= 0:
		return 0
	case quantity.Cmp(*apiresource.NewScaledQuantity(LimitCap, scale)) >= 0:
		return LimitCap
	default:
		return quantity.ScaledValue(scale)
	}
}

// plus is a + b, held within ±MaxInt64 instead of wrapping around, so that every amount has a negative.
func plus(a, b int64) int64 {
	sum := a + b
	if (a >= 0) == (b >= 0) && (sum >= 0) != (a >= 0) {
		if a >= 0 {
			return math.MaxInt64
		}
		return -math.MaxInt64
	}
	return max(sum, -math.MaxInt64)
}

// times is value × n, held within ±most.
func times(value, n int64) int64 {
	negative := (value < 0) != (n < 0)
	high, product := bits.Mul64(magnitude(value), magnitude(n))
	if high > 0 || product > uint64(most) {
		product = uint64(most)
	}
	if negative {
		return -int64(product)
	}
	return int64(product)
}

func magnitude(value int64) uint64 {
	if value < 0 {
		return -uint64(value)
	}
	return uint64(value)
}

// Copies is how often request goes into free, at most limit, which is not negative. A request of zero or less sets no
// bound.
//
// This is the innermost step of placement, and an integer division would be most of its cost: mostly a product decides,
// else the quotient of two floating-point numbers that are exact, whose integer part is exact then as well.
func Copies(request, free int64, limit int) int {
	if request <= 0 {
		return limit
	}
	if free < request {
		return 0
	}
	if high, low := bits.Mul64(uint64(request), uint64(limit)); high == 0 && low <= uint64(free) {
		return limit
	}
	if free < 1<<53 {
		return int(float64(free) / float64(request))
	}
	return int(free / request)
}
