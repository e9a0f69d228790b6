//go:build image || release

package release

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// static fails unless a program for Linux needs no other file and has no symbols.
func static(t *testing.T, content []byte) {
	t.Helper()
	file, err := elf.NewFile(bytes.NewReader(content))
	require.NoError(t, err)
	libraries, err := file.ImportedLibraries()
	require.True(t, err != nil || len(libraries) == 0, "it needs %v", libraries)
	for _, part := range file.Progs {
		require.NotEqual(t, elf.PT_INTERP, part.Type, "it needs a loader")
	}
	require.Nil(t, file.Section(".symtab"), "it has symbols")
	require.Nil(t, file.Section(".debug_info"), "it has debug information")
}

// ingredients looks whether a list of what went into a program names what surely did.
func ingredients(t *testing.T, list []byte) {
	t.Helper()
	var document struct {
		Format     string `json:"bomFormat"`
		Components []struct {
			Name, Version, PURL string
		} `json:"components"`
	}
	require.NoError(t, json.Unmarshal(list, &document))
	require.Equal(t, "CycloneDX", document.Format)
	found := map[string]string{}
	for _, component := range document.Components {
		found[component.Name] = component.PURL
	}
	require.Greater(t, len(found), 20)
	require.Equal(t, fmt.Sprintf("pkg:golang/k8s.io/client-go@%s", pinned(t, "k8s.io/client-go")), strings.SplitN(found["k8s.io/client-go"], "?", 2)[0])
}

// pinned is the version that go.mod requires of a module.
func pinned(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{if .Replace}}{{.Replace.Version}}{{else}}{{.Version}}{{end}}", module).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
