package spark

import (
	"fmt"
	"math"
	"strings"
)

// defaultInstances is how many executors a driver asks for when the user says nothing.
const defaultInstances = 2

// noLimit is how Spark writes the absence of an upper bound.
const noLimit = math.MaxInt32

// numbers are the sizes of the role of executors; see gang.Role.
type numbers struct {
	count, minimum int
	maximum        *int // nil means without limit
}

// numbers computes how many executors a driver asks for.
func (s settings) numbers() (numbers, error) {
	dynamic, err := s.flag(dynamicEnabled)
	if err != nil {
		return numbers{}, err
	}
	streaming, err := s.flag(streamingEnabled)
	if err != nil {
		return numbers{}, err
	}
	var n numbers
	switch {
	case dynamic:
		n, err = s.dynamic()
	case streaming:
		n, err = s.streaming()
	default:
		n, err = s.static()
	}
	if err == nil && !s.has(allocationBound) {
		err = n.check()
	}
	if err != nil || !s.has(allocationBound) {
		return n, err
	}
	bound, err := s.count(allocationBound, 0, 1)
	if err != nil {
		return numbers{}, err
	}
	// Spark counts up before it compares: one executor less than the setting says is ever created.
	n = n.atMost(bound - 1)
	return n, n.check()
}

// check refuses what no cluster can hold.
func (n numbers) check() error {
	if n.count > MaxWorkers {
		return fmt.Errorf("%d executors at the start, more than %d", n.count, MaxWorkers)
	}
	return nil
}

func (s settings) static() (numbers, error) {
	count, err := s.count(executorInstances, defaultInstances, 0)
	return numbers{count, count, &count}, err
}

func (s settings) dynamic() (numbers, error) {
	minimum, err := s.count(dynamicMinimum, 0, 0)
	if err != nil {
		return numbers{}, err
	}
	initial, err := s.count(dynamicInitial, minimum, 0)
	if err != nil {
		return numbers{}, err
	}
	instances, err := s.count(executorInstances, 0, 0)
	if err != nil {
		return numbers{}, err
	}
	maximum, err := s.count(dynamicMaximum, noLimit, 1)
	if err != nil {
		return numbers{}, err
	}
	count := max(minimum, initial, instances)
	if count > maximum {
		return numbers{}, fmt.Errorf("%s=%d: less than the %d executors of the start, Spark will refuse to start", dynamicMaximum, maximum, count)
	}
	return numbers{count, minimum, limit(maximum)}, nil
}

// streaming is the older dynamic allocation of DStream applications: their number changes with the delay of batches.
func (s settings) streaming() (numbers, error) {
	n, err := s.static()
	if err != nil {
		return numbers{}, err
	}
	minimum, err := s.count(streamingMinimum, 1, 1)
	if err != nil {
		return numbers{}, err
	}
	maximum, err := s.count(streamingMaximum, noLimit, 1)
	if err != nil {
		return numbers{}, err
	}
	return numbers{n.count, min(minimum, n.count), limit(max(maximum, n.count))}, nil
}

// limit turns an upper bound of Spark's into one of a role.
func limit(bound int) *int {
	if bound == noLimit {
		return nil
	}
	return &bound
}

func (n numbers) atMost(bound int) numbers {
	n.count = min(n.count, bound)
	n.minimum = min(n.minimum, bound)
	if n.maximum == nil || *n.maximum > bound {
		n.maximum = &bound
	}
	return n
}

// driverOnly tells whether the driver works alone, as a local master does, and never asks for executors.
func (s settings) driverOnly() bool {
	master, _ := s.lookup(driverMaster)
	return strings.HasPrefix(master, "local")
}
