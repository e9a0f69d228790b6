package arch_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestWhatTheSecurityPagePromisesIsTested: every test that docs/security.md names exists.
//
// Seen failing with a name of which one letter was changed.
func TestWhatTheSecurityPagePromisesIsTested(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	require.NoError(t, err)
	tests := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, dir := range []string{"cmd", "pkg", "test"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, match := range declared.FindAllSubmatch(text, -1) {
				tests[string(match[1])] = true
			}
			return err
		}))
	}
	named := regexp.MustCompile("`(Test\\w+)").FindAllSubmatch(page, -1)
	assert.Greater(t, len(named), 40)
	for _, match := range named {
		assert.True(t, tests[string(match[1])], "docs/security.md names %s, which does not exist", match[1])
	}
}
