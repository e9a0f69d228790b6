// Package scenario is files that hold what is told and what comes of it, line by line, for people to read.
package scenario

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

// Run plays every file of testdata, each from a new beginning. A line is a command, which run executes; what is indented
// below it is what comes of it, which the file has to predict to the letter. A line of nothing, or that begins with #,
// is for the reader. Each file is played twice: the same commands come to the same.
func Run(t *testing.T, begin func(*testing.T) (run func(line string) ([]string, error))) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			got := play(t, string(text), begin(t))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("%s: what happens (+) is not what is expected (-); go test -update accepts it\n%s", file, diff)
			}
			require.Equal(t, got, play(t, string(text), begin(t)), "the same commands come to the same, byte for byte")
		})
	}
}

// play runs the commands of a scenario and writes below each what came of it.
func play(t *testing.T, text string, run func(string) ([]string, error)) string {
	var out strings.Builder
	for number, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(line, " ") {
			continue // an expectation of last time
		}
		out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		said, err := run(line)
		require.NoError(t, err, "line %d: %s", number+1, line)
		for _, sentence := range said {
			out.WriteString("    " + sentence + "\n")
		}
	}
	return out.String()
}
