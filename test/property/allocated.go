package property

import "runtime/metrics"

// Allocated is how many bytes a function allocates in all, whatever of it is garbage at once. What other goroutines allocate
// meanwhile counts as well.
func Allocated(do func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	do()
	metrics.Read(sample)
	return sample[0].Value.Uint64() - before
}
