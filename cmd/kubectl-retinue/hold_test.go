package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnApplicationIsHeldBack and released, by one patch of one annotation; one that runs is not, nor one without a driver.
func TestAnApplicationIsHeldBack(t *testing.T) {
	s := afternoon(t)
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{"release", "clickstream"}, "application clickstream-driver is not held back already\n"},
		{[]string{"hold", "clickstream", "--dry-run"}, "application clickstream-driver would be held back, and is not held back\n"},
		{[]string{"hold", "clickstream"}, "application clickstream-driver is held back, and was not held back\n"},
		{[]string{"hold", "pod/clickstream-driver"}, "application clickstream-driver is held back already\n"},
		{[]string{"release", "clickstream"}, "application clickstream-driver is not held back, and was held back\n"},
	} {
		code, stdout, stderr := s.run(step.args...)
		require.Zero(t, code, stderr)
		require.Equal(t, step.want, stdout)
	}
	const pod = "/api/v1/namespaces/etl-prod/pods/clickstream-driver "
	require.Equal(t, []string{
		pod + `{"metadata":{"uid":"clickstream","annotations":{"retinue.dev/hold":"true"}}}`, // which changes nothing
		pod + `{"metadata":{"uid":"clickstream","annotations":{"retinue.dev/hold":"true"}}}`,
		pod + `{"metadata":{"uid":"clickstream","annotations":{"retinue.dev/hold":null}}}`,
	}, s.patches)
	for want, args := range map[string][]string{
		"application sessions-join-driver is Running: only one that waits can be held back": {"hold", "sessions-join"},
		"application render has no driver that could carry annotation retinue.dev/hold":     {"hold", "render", "-n", "web-prod"},
		`there is no application "nothing"`:                                                 {"hold", "nothing"},
	} {
		code, stdout, stderr := s.run(args...)
		require.Equal(t, exitBadInput, code, want)
		require.Empty(t, stdout)
		require.Equal(t, "error: "+want+"\n", stderr)
	}
}
