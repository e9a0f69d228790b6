package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestThePageIsUpToDate.
//
// Seen failing with another Help.
func TestThePageIsUpToDate(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	require.NoError(t, err)
	var fresh bytes.Buffer
	require.NoError(t, write(&fresh))
	require.Equal(t, fresh.String(), string(page), "run make generate")
}
