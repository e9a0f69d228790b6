package spark

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the table of settings into docs/spark.md")

func TestTheDocumentListsEverySetting(t *testing.T) {
	const (
		path  = "../../docs/spark.md"
		begin = "<!-- keys: made by go test ./pkg/spark -update -->\n"
		end   = "<!-- end of keys -->\n"
	)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(content), begin)
	table, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no table of settings", path)
	}
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+keysTable()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(keysTable(), table); diff != "" {
		t.Errorf("run go test ./pkg/spark -update: -want +got:\n%s", diff)
	}
}

func keysTable() string {
	var table strings.Builder
	table.WriteString("| Setting | Default | Since | Unit | Effect |\n|---|---|---|---|---|\n")
	for _, key := range Keys() {
		name := key.Name
		if key.family() {
			name += "*"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s | %s |\n", name, key.Default, key.Since, key.Unit, key.Effect)
	}
	return table.String()
}

func TestEverySettingOfTheTableHasItsPlace(t *testing.T) {
	seen := map[string]bool{}
	for _, key := range Keys() {
		if seen[key.Name] {
			t.Errorf("%s stands twice in the table", key.Name)
		}
		seen[key.Name] = true
		name := key.Name
		if key.family() {
			name += "x"
		}
		if got, found := find(name); !found || got.Name != key.Name {
			t.Errorf("%s is found as %q", name, got.Name)
		}
		if !strings.HasPrefix(key.Name, "spark.") || key.Effect == "" || key.Since == (Version{}) {
			t.Errorf("an incomplete entry: %+v", key)
		}
	}
}
