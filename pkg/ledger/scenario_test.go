package ledger

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write what happens into testdata/*.txt as what is expected")

// TestScenarios plays the files in testdata. A line is a command; what is indented below it is what the ledger says and
// wants done, which the file has to predict to the letter. The commands are those of script.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			got := play(t, string(text))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("%s: what happens (+) is not what is expected (-); go test -update accepts it\n%s", file, diff)
			}
			require.Equal(t, got, play(t, string(text)), "the same events have the same effects, byte for byte")
		})
	}
}

// play runs the commands of a scenario and writes below each what came of it.
func play(t *testing.T, text string) string {
	var out strings.Builder
	s := &script{world: newWorld(), plans: map[string]planned{}}
	for number, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(line, " ") {
			continue // an expectation of last time
		}
		out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		said, err := s.run(line)
		require.NoError(t, err, "line %d: %s", number+1, line)
		for _, sentence := range said {
			out.WriteString("    " + sentence + "\n")
		}
		s.checkSums(t)
		s.checkBooks(t)
	}
	return out.String()
}
