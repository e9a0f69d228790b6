package spark

import "math"

// Spark's arithmetic of pod memory. All amounts are in MiB.

const (
	defaultHeap  = 1024
	defaultFloor = 384
	leastHeap    = 450 // below it Spark's memory manager refuses to start
	// Overhead factors when the user sets none.
	jvmFactor    = 0.1
	nonJVMFactor = 0.4
)

// overheadKeys are the settings that give one role its overhead.
type overheadKeys struct{ absolute, absoluteOld, factor, floor string }

var (
	driverKeys   = overheadKeys{driverOverhead, driverOverheadYarn, driverOverheadFactor, driverOverheadFloor}
	executorKeys = overheadKeys{executorOverhead, executorOverheadYarn, executorOverheadFactor, executorOverheadFloor}
)

// overhead is the memory that a role gets beside a heap. An absolute setting replaces the computed amount, also when
// it is smaller.
func (s settings) overhead(keys overheadKeys, heap int64) (int64, error) {
	for _, name := range []string{keys.absolute, keys.absoluteOld} {
		if s.has(name) {
			return s.mebibytes(name, 0)
		}
	}
	factor, err := s.overheadFactor(keys.factor)
	if err != nil {
		return 0, err
	}
	floor := int64(defaultFloor)
	if s.has(keys.floor) {
		if floor, err = s.mebibytes(keys.floor, 0); err != nil {
			return 0, err
		}
	}
	return max(part(factor, heap), floor), nil
}

func (s settings) overheadFactor(roleKey string) (float64, error) {
	switch {
	case s.has(roleKey):
		factor, err := s.factor(roleKey)
		if err == nil && factor == 0 {
			return 0, s.invalid(roleKey, "not greater than 0, Spark will refuse to start")
		}
		return factor, err
	case s.has(overheadFactor):
		return s.factor(overheadFactor)
	case s.language() == "python" || s.language() == "r":
		return nonJVMFactor, nil
	default:
		return jvmFactor, nil
	}
}

// part is factor × heap the way Java computes it: in binary floating point, cut off, and held within 32 bits. Decimal
// arithmetic would differ: 0.29 × 100 is 28 here.
func part(factor float64, heap int64) int64 {
	product := factor * float64(heap)
	if product >= math.MaxInt32 {
		return math.MaxInt32
	}
	return int64(product)
}

// language is what the application is written in: "java", "python" or "r".
func (s settings) language() string {
	if language, found := s.lookup(resourceType); found {
		return language
	}
	return "java"
}

// driverMemory is the request and limit of the driver.
func (s settings) driverMemory() (int64, error) {
	heap, err := s.heap(driverMemory)
	if err != nil {
		return 0, err
	}
	overhead, err := s.overhead(driverKeys, heap)
	return heap + overhead, err
}

// executorMemory is the request and limit of an executor.
func (s settings) executorMemory() (int64, error) {
	heap, err := s.heap(executorMemory)
	if err != nil {
		return 0, err
	}
	overhead, err := s.overhead(executorKeys, heap)
	if err != nil {
		return 0, err
	}
	offHeap, err := s.offHeap()
	if err != nil {
		return 0, err
	}
	python := int64(0)
	if s.has(pysparkMemory) {
		// Read in every application, so a wrong value is an error in every application; added in Python only.
		if python, err = s.mebibytes(pysparkMemory, 0); err != nil {
			return 0, err
		}
		if s.language() != "python" {
			python = 0
		}
	}
	return heap + overhead + offHeap + python, nil
}

func (s settings) heap(name string) (int64, error) {
	if !s.has(name) {
		return defaultHeap, nil
	}
	return s.mebibytes(name, 1)
}

func (s settings) offHeap() (int64, error) {
	enabled, err := s.flag(offHeapEnabled)
	if err != nil || !enabled {
		return 0, err
	}
	value, found := s.lookup(offHeapSize)
	if !found {
		return 0, s.invalid(offHeapEnabled, "needs "+offHeapSize+", Spark will refuse to start")
	}
	return s.size(offHeapSize, value, 1, 1)
}
