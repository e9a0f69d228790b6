package property

import (
	"runtime/metrics"
	"testing"
	"time"
)

// What reading one text of a user may cost.
const (
	// MostAllocated is bytes in all, whatever of them is garbage at once.
	MostAllocated = 64 << 20
	// Patience is a hundred times what the costliest text takes on an idle machine.
	Patience = 20 * time.Second
)

// Within fails a test if a function allocates more than MostAllocated, or takes longer than Patience. One without end is left behind:
// the test's process is about to stop anyway.
func Within(t testing.TB, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if bytes := Allocated(do); bytes > MostAllocated {
			t.Errorf("%d bytes allocated, more than %d", bytes, MostAllocated)
		}
	}()
	select {
	case <-done:
	case <-time.After(Patience):
		t.Fatalf("not done after %v", Patience)
	}
}

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
