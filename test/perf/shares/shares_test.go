package shares

import (
	"bytes"
	"runtime"
	"runtime/pprof"
	"testing"

	"github.com/stretchr/testify/require"
)

var kept [][]byte

// A real profile of allocations is read, and what this package has allocated is attributed to the tests.
func TestAllocationsAreAttributedByTheStackThatMadeThem(t *testing.T) {
	defer func(rate int) { runtime.MemProfileRate = rate }(runtime.MemProfileRate)
	runtime.MemProfileRate = 1
	before := profile(t)
	for range 1000 {
		kept = append(kept, make([]byte, 1<<12))
	}
	runtime.GC()
	got := profile(t).Sub(before)
	require.GreaterOrEqual(t, got[Test], int64(1000<<12))
	require.GreaterOrEqual(t, got.Total(), got[Test])
	require.Zero(t, got.Scheduler())
}

func profile(t *testing.T) Shares {
	var written bytes.Buffer
	runtime.GC()
	require.NoError(t, pprof.Lookup("allocs").WriteTo(&written, 0))
	shares, err := Of(written.Bytes())
	require.NoError(t, err)
	return shares
}

func TestTheFirstOwnerThatAnyFrameNamesHasTheStack(t *testing.T) {
	tests := map[string]struct {
		function string
		want     Owner
	}{
		"a plugin":             {"retinue.dev/retinue/pkg/plugin.(*Plugin).Filter", Ours},
		"the scheduler":        {"k8s.io/kubernetes/pkg/scheduler.(*Scheduler).ScheduleOne", Upstream},
		"a sink of events":     {"k8s.io/client-go/tools/events.recordEvent", Upstream},
		"a handler":            {"k8s.io/apiserver/pkg/endpoints/handlers.createHandler", Server},
		"a client":             {"k8s.io/client-go/rest.(*Request).Do", Clients},
		"the collector":        {"runtime.gcBgMarkWorker", Runtime},
		"somebody else's code": {"example.com/x.F", Runtime},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.want, Owners[ownerOf(test.function)]) })
	}
}

func TestWhatIsNoProfileIsAnError(t *testing.T) {
	_, err := Of([]byte("no"))
	require.ErrorContains(t, err, "profile: ")
	require.ErrorIs(t, eachField([]byte{0x12, 0x7f}, nil), errShort)
	require.ErrorContains(t, eachField([]byte{0x0d}, nil), "wire type 5")
}
