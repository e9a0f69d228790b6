package sim

import (
	"math/rand/v2"
	"time"
)

// chance draws from the seed. Every decision of a simulation comes from one of these, in the order in which decisions
// are needed.
type chance struct{ *rand.Rand }

func newChance(seed uint64) chance {
	return chance{rand.New(rand.NewPCG(seed, 0x5e7135))}
}

// happens is true with probability p.
func (c chance) happens(p float64) bool { return c.Float64() < p }

// number is between low and high, both included.
func (c chance) number(low, high int) int { return low + c.IntN(high-low+1) }

// between is a time between low and high, to the nanosecond: two timers hardly ever fire at the same moment.
func (c chance) between(low, high time.Duration) time.Duration {
	return low + time.Duration(c.Int64N(int64(high-low)+1))
}

// delay is short most of the time, and sometimes long: usual is what it is about, worst the longest.
func (c chance) delay(usual, worst time.Duration) time.Duration {
	switch n := c.IntN(100); {
	case n < 70:
		return c.between(usual/10, usual)
	case n < 95:
		return c.between(usual, 3*usual)
	default:
		return c.between(usual, worst)
	}
}

// pick is one of the choices.
func pick[T any](c chance, choices ...T) T { return choices[c.IntN(len(choices))] }
