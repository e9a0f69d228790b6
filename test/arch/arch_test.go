// Package arch_test is the structure of the project, checked: what may import what, and what pure code may use.
package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "retinue.dev/retinue/"

// layers lists the packages below pkg/ from the top of the house to the bottom: imports go only down. A package may be listed
// before it exists.
var layers = []string{"history/web", "history/meter", "history/store", "plugin", "plugin/podgroups", "plugin/queues", "plugin/namespaces", "plugin/autoscaler", "plugin/crd", "plugin/informer", "plugin/metric", "rehearsal", "ledger", "reclaim", "scaleup", "waiting", "view", "inventory",
	"placement", "reservation", "spark", "yarn", "limits", "gang", "quota", "heap", "resource", "apis/v1alpha1"}

// pure are the packages that return verdicts and effects and do nothing else.
var pure = []string{"reclaim", "scaleup", "waiting", "view", "inventory", "placement", "reservation", "spark", "yarn", "limits", "gang", "quota", "heap", "resource"}

// file is one parsed Go file that is not a test.
type file struct {
	path    string // from the root of the module, with slashes
	imports []string
	syntax  *ast.File
}

// folder of a file, from the root of the module.
func (f file) folder() string { return filepath.ToSlash(filepath.Dir(f.path)) }

// layer of a file in pkg/; empty for files elsewhere.
func (f file) layer() string {
	layer, inside := strings.CutPrefix(f.folder(), "pkg/")
	if !inside {
		return ""
	}
	return layer
}

func TestImportsGoOnlyDownTheHouse(t *testing.T) {
	for _, f := range sources(t) {
		layer := f.layer()
		if layer == "" {
			continue
		}
		own := slices.Index(layers, layer)
		if !slices.Contains(layers, layer) {
			t.Errorf("%s: package pkg/%s has no place in the layers", f.path, layer)
			continue
		}
		for _, path := range f.imports {
			imported, ours := strings.CutPrefix(path, module)
			if !ours {
				continue
			}
			imported, inPkg := strings.CutPrefix(imported, "pkg/")
			if !inPkg {
				t.Errorf("%s: imports %s from outside pkg/", f.path, path)
			} else if slices.Index(layers, imported) <= own {
				t.Errorf("%s: imports %s, which is not below it", f.path, path)
			}
		}
	}
}

// TestTheSchedulerAndTheHistoryKnowNothingOfEachOther: neither waits for the other, and the scheduler's binary holds no database.
func TestTheSchedulerAndTheHistoryKnowNothingOfEachOther(t *testing.T) {
	history := func(folder string) bool {
		return folder == "cmd/history" || strings.HasPrefix(folder, "pkg/history/") || strings.HasPrefix(folder, "test/history") || folder == "test/postgres"
	}
	may := []string{"history/web", "history/meter", "history/store", "spark", "gang", "quota", "heap", "resource", "apis/v1alpha1"}
	used := map[string]bool{} // the drivers of databases that are imported
	for _, f := range sources(t) {
		for _, path := range f.imports {
			imported, ours := strings.CutPrefix(path, module)
			driver := strings.HasPrefix(path, "modernc.org/") || strings.HasPrefix(path, "github.com/jackc/") || path == "database/sql"
			switch layer := strings.TrimPrefix(imported, "pkg/"); {
			case driver && !history(f.folder()):
				t.Errorf("%s: imports %s; only the history has a database", f.path, path)
			case driver:
				used[path] = true
			case ours && history(imported) && !history(f.folder()):
				t.Errorf("%s: imports %s of the history", f.path, path)
			case ours && strings.HasPrefix(imported, "pkg/") && history(f.folder()) && !slices.Contains(may, layer):
				t.Errorf("%s: imports %s of the scheduler", f.path, path)
			}
		}
	}
	require.NotEmpty(t, used)
}

func TestOnlyTheSchedulerImportsKubernetes(t *testing.T) {
	for _, f := range sources(t) {
		if strings.HasPrefix(f.path, "cmd/scheduler/") || strings.HasPrefix(f.path, "test/") {
			continue
		}
		for _, path := range f.imports {
			if path == "k8s.io/kubernetes" || strings.HasPrefix(path, "k8s.io/kubernetes/") {
				t.Errorf("%s: imports %s; only cmd/scheduler may", f.path, path)
			}
		}
	}
}

func TestPureCodeDoesNothingButCompute(t *testing.T) {
	forbidden := []string{"os", "io/fs", "net", "net/http", "log", "log/slog", "math/rand", "math/rand/v2", "sync", "sync/atomic", "context",
		"k8s.io/utils/clock", "k8s.io/klog/v2", "k8s.io/client-go", "k8s.io/kube-scheduler", "k8s.io/component-base"}
	for _, f := range sources(t) {
		if !slices.Contains(pure, f.layer()) {
			continue
		}
		for _, path := range f.imports {
			for _, not := range forbidden {
				if path == not || strings.HasPrefix(path, not+"/") && strings.Contains(not, ".") {
					t.Errorf("%s: pure code imports %s", f.path, path)
				}
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.GoStmt, *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
				t.Errorf("%s: pure code uses goroutines or channels", f.path)
			}
			return true
		})
	}
}

func TestOnlyPluginAndCommandsReadTheClockOrStartGoroutines(t *testing.T) {
	for _, f := range sources(t) {
		if layer := f.layer(); layer == "" || layer == "plugin" || strings.HasPrefix(layer, "plugin/") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s: starts a goroutine", f.path)
			case *ast.SelectorExpr:
				if name, ok := n.X.(*ast.Ident); ok && name.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "After", "Tick", "Sleep", "NewTimer", "NewTicker", "AfterFunc"}, n.Sel.Name) {
					t.Errorf("%s: uses time.%s", f.path, n.Sel.Name)
				}
			}
			return true
		})
	}
}

func TestOnlyCommandsNameTheRealClock(t *testing.T) {
	for _, f := range sources(t) {
		if !strings.HasPrefix(f.path, "pkg/") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok && selector.Sel.Name == "RealClock" {
				t.Errorf("%s: names the real clock", f.path)
			}
			return true
		})
	}
}

func TestEveryPackageSaysInOneSentenceWhatItIs(t *testing.T) {
	comments := map[string]string{} // folder -> package comment
	names := map[string]string{}    // folder -> package name
	for _, f := range sources(t) {
		names[f.folder()] = f.syntax.Name.Name
		if f.syntax.Doc != nil {
			require.Empty(t, comments[f.folder()], "%s: a second package comment in %s", f.path, f.folder())
			comments[f.folder()] = f.syntax.Doc.Text()
		}
	}
	for folder, name := range names {
		want := "Package " + name + " is "
		if name == "main" {
			want = "Command " + filepath.Base(folder) + " "
		}
		first, _, _ := strings.Cut(comments[folder], "\n\n")
		if !strings.HasPrefix(first, want) || !strings.HasSuffix(strings.TrimSpace(first), ".") {
			t.Errorf("%s: the package comment is %q, want one that starts with %q and is a sentence", folder, first, want)
		}
	}
}

func TestTestsDoNotSleep(t *testing.T) {
	for _, f := range parse(t, func(name string) bool { return strings.HasSuffix(name, "_test.go") }) {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok && selector.Sel.Name == "Sleep" {
				if name, ok := selector.X.(*ast.Ident); ok && name.Name == "time" {
					t.Errorf("%s: sleeps; wait on a condition", f.path)
				}
			}
			return true
		})
	}
}

// sources parses every Go file of the module that is neither a test nor generated.
func sources(t *testing.T) []file {
	return parse(t, func(name string) bool {
		return !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "zz_generated")
	})
}

func parse(t *testing.T, wanted func(name string) bool) []file {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	var files []file
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			hidden := strings.HasPrefix(entry.Name(), ".") && path != root
			if hidden || entry.Name() == "bin" || entry.Name() == "testdata" || path != root && exists(filepath.Join(path, "go.mod")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || !wanted(entry.Name()) {
			return nil
		}
		syntax, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f := file{path: filepath.ToSlash(relative), syntax: syntax}
		for _, spec := range syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported)
		}
		files = append(files, f)
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// TestTheDocsNameTheScenariosOfQueues: every file that says which property of YARN it replaces is named, and no other that is
// not there; and all of the arithmetic say it.
func TestTheDocsNameTheScenariosOfQueues(t *testing.T) {
	page, err := os.ReadFile("../../docs/queues.md")
	require.NoError(t, err)
	named := regexp.MustCompile("`[a-z-]+\\.txt`").FindAllString(string(page), -1)
	replaces := map[string]bool{} // file -> says what it replaces
	for _, pattern := range []string{"../../pkg/quota/testdata/*.txt", "../../pkg/ledger/testdata/queue-*.txt"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			name := "`" + filepath.Base(file) + "`"
			replaces[name] = strings.Contains(string(text), "\n# Replaces ")
			require.True(t, replaces[name] || strings.Contains(pattern, "ledger"), "%s says what it replaces", file)
		}
	}
	for _, name := range named {
		require.Contains(t, replaces, name)
	}
	for name, says := range replaces {
		require.True(t, !says || slices.Contains(named, name), "%s is not named", name)
	}
}
