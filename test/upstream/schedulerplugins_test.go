package upstream_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhatIsSaidToBePlayedIsPlayed compares the page's table of the scheduler-plugins project's own tests with the cases of test/integration
// that play them: each row that says yes has one of its name.
//
// Seen failing with a row that no case has, and with a case of another name.
func TestWhatIsSaidToBePlayedIsPlayed(t *testing.T) {
	page, err := os.ReadFile("../../docs/upstream.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(page), "## Of the scheduler-plugins project")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	played, err := os.ReadFile("../integration/schedulerplugins_test.go")
	require.NoError(t, err)
	rows := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(strings.TrimSpace(cells[3]), "yes") {
			continue
		}
		rows++
		assert.Contains(t, string(played), `"`+strings.TrimSpace(cells[2])+`"`)
	}
	assert.Greater(t, rows, 15)
}
