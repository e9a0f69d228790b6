//go:build perf

package perf_test

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"runtime/pprof"
	"time"

	"retinue.dev/retinue/test/perf/shares"
)

// meter measures what a run takes. The process is the scheduler, the API server and the test, so what the scheduler takes
// is known only from profiles: by the stacks of their samples.
type meter struct {
	profiles string // what the names of profiles begin with; empty means that none are kept

	before, after bytes.Buffer // profiles of all allocations since the process began
	cpu           bytes.Buffer
	heap          uint64
	errs          []error
}

// start and stop bound what is measured. Both take some tens of milliseconds, whatever the scheduler.
func (m *meter) start() {
	m.errs = append(m.errs, pprof.Lookup("allocs").WriteTo(&m.before, 0), pprof.StartCPUProfile(&m.cpu))
}

func (m *meter) stop() {
	pprof.StopCPUProfile()
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	m.heap = memory.HeapAlloc
	m.errs = append(m.errs, pprof.Lookup("allocs").WriteTo(&m.after, 0))
	if m.profiles == "" {
		return
	}
	var mutex bytes.Buffer
	m.errs = append(m.errs, pprof.Lookup("mutex").WriteTo(&mutex, 0))
	for kind, profile := range map[string][]byte{"cpu": m.cpu.Bytes(), "allocs": m.after.Bytes(), "mutex": mutex.Bytes()} {
		m.errs = append(m.errs, os.WriteFile(m.profiles+"-"+kind+".pb.gz", profile, 0o644))
	}
}

// usage is what a run took.
type usage struct {
	cpu    shares.Shares // nanoseconds
	allocs shares.Shares // bytes
	heap   uint64        // bytes in use at the end, in the whole process
}

func (m *meter) usage() (usage, error) {
	if err := errors.Join(m.errs...); err != nil {
		return usage{}, err
	}
	cpu, err := shares.Of(m.cpu.Bytes())
	if err != nil {
		return usage{}, err
	}
	before, err := shares.Of(m.before.Bytes())
	if err != nil {
		return usage{}, err
	}
	after, err := shares.Of(m.after.Bytes())
	if err != nil {
		return usage{}, err
	}
	return usage{cpu: cpu, allocs: after.Sub(before), heap: m.heap}, nil
}

// seconds of a CPU share.
func seconds(nanoseconds int64) float64 { return time.Duration(nanoseconds).Seconds() }
