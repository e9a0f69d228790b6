package property

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// Manifest is the content of an object that a CustomResourceDefinition defines, as the API server keeps it.
func Manifest(t testing.TB, text string) map[string]any {
	t.Helper()
	var content map[string]any
	if err := json.Unmarshal([]byte(text), &content); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return content
}

// Resources is a list of so many resources as JSON.
func Resources(n int, quantity string) string {
	var members []string
	for i := range n {
		members = append(members, fmt.Sprintf(`"a.b/r%d":%q`, i, quantity))
	}
	return "{" + strings.Join(members, ",") + "}"
}
