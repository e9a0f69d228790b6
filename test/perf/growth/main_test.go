package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGrowthIsToldForEveryParameterThatVaries(t *testing.T) {
	var out strings.Builder
	rows, err := run(strings.NewReader(`goos: linux
BenchmarkFit/nodes=100/roles=2-2   	  10	       1000 ns/op	       0 B/op	       0 allocs/op
BenchmarkFit/nodes=10000/roles=2-2 	  10	      10000 ns/op	       0 B/op	       0 allocs/op
BenchmarkOther-2                   	  10	          5 ns/op
`), &out)
	require.NoError(t, err)
	require.Equal(t, [][]string{
		{"benchmark", "from", "to", "time", "bytes", "×10 costs time", "bytes"},
		{"Fit/nodes=*/roles=2", "100", "10000", "1000 → 10000 ns", "0 → 0", "×3.2", "none"},
	}, rows)
	require.Contains(t, out.String(), "BenchmarkOther-2", "what was read is passed on")
}
