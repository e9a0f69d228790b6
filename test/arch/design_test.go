package arch_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	namedFile = "`([a-z0-9_-]+/[a-z0-9_/-]+\\.(?:go|yaml))`"
	// afterFile finds a file with what it declares in parentheses: `ledger/take.go` (`take`).
	afterFile = regexp.MustCompile(namedFile + "(?: \\(((?:`\\w+`(?:, )?)+)\\))?")
	// beforeFile finds a file after what it declares: `applyLocked` in `ledger/ledger.go`.
	beforeFile = regexp.MustCompile("(`\\w+`) in " + namedFile)
	quoted     = regexp.MustCompile("`(\\w+)`")
)

// TestDesignSendsReadersToWhatThereIs: the files that docs/design.md names exist, in pkg or from the root on, and declare what is named
// with them.
//
// Seen failing when whoever had a new reason was sent to a function of plugin/calls.go that was there no more.
func TestDesignSendsReadersToWhatThereIs(t *testing.T) {
	page, err := os.ReadFile("../../docs/design.md")
	require.NoError(t, err)
	declares := map[string]map[string]bool{} // path from the root -> names
	for _, f := range sources(t) {
		declares[f.path] = map[string]bool{}
		for _, name := range names([]file{f}) {
			declares[f.path][name.name] = true
		}
	}
	checked := 0
	check := func(path, declared string) {
		if exists(filepath.Join("../../pkg", path)) {
			path = "pkg/" + path
		}
		require.True(t, exists(filepath.Join("../..", path)), "docs/design.md names %s, which there is not", path)
		for _, name := range quoted.FindAllStringSubmatch(declared, -1) {
			require.True(t, declares[path][name[1]], "docs/design.md says that %s declares %s", path, name[1])
			checked++
		}
	}
	for _, found := range afterFile.FindAllStringSubmatch(string(page), -1) {
		check(found[1], found[2])
	}
	for _, found := range beforeFile.FindAllStringSubmatch(string(page), -1) {
		check(found[2], found[1])
	}
	require.Greater(t, checked, 10, "the page names less than a reader needs, or in another form")
}
