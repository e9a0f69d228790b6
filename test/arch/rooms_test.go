package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// room is how big a type is.
type room struct {
	methods, fields int
}

// largest is how big a type in pkg may be.
var largest = room{methods: 40, fields: 16}

// tooLarge are the types that are larger -> how large they are; zero means no larger than any type may be. A number may only
// fall: who makes one of them smaller writes the new number here, and a type that has become small enough leaves the list.
var tooLarge = map[string]room{}

// Lines a file may have.
const (
	linesOfCode  = 600
	linesOfTests = 800
)

// tooLong are the files that are longer -> how long they are. The same rule.
var tooLong = map[string]int{}

func TestTypesAreRooms(t *testing.T) {
	files := slices.DeleteFunc(sources(t), func(f file) bool { return f.layer() == "" })
	found := rooms(files)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		listed := tooLarge[name]
		check(t, name, "methods", found[name].methods, largest.methods, listed.methods)
		check(t, name, "fields", found[name].fields, largest.fields, listed.fields)
	}
	for name := range tooLarge {
		if _, there := found[name]; !there {
			t.Errorf("%s is gone: take it from the list", name)
		}
	}
}

// check holds something that is counted to its limit, or to the number that the list of exceptions gives; zero means none.
func check(t *testing.T, name, what string, is, limit, listed int) {
	t.Helper()
	switch {
	case is > max(limit, listed):
		t.Errorf("%s has %d %s, and may have %d: divide it", name, is, what, max(limit, listed))
	case listed > 0 && is <= limit:
		t.Errorf("%s has %d %s, which is no exception: take it from the list", name, is, what)
	case is < listed:
		t.Errorf("%s has %d %s, and the list says %d: write the smaller number down", name, is, what, listed)
	}
}

func TestFilesAreShort(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range parse(t, func(name string) bool { return !strings.HasPrefix(name, "zz_generated") }) {
		text, err := os.ReadFile("../../" + f.path)
		require.NoError(t, err)
		lines, allowed := strings.Count(string(text), "\n"), linesOfCode
		if strings.HasSuffix(f.path, "_test.go") {
			allowed = linesOfTests
		}
		seen[f.path] = true
		check(t, f.path, "lines", lines, allowed, tooLong[f.path])
	}
	for path := range tooLong {
		if !seen[path] {
			t.Errorf("%s is gone: take it from the list", path)
		}
	}
}

// TestOnlyTheLedgerNeedsItsLock: a name that ends in Locked says that the ledger's lock has to be held, which a type without
// that lock cannot know.
func TestOnlyTheLedgerNeedsItsLock(t *testing.T) {
	for _, f := range sources(t) {
		for _, declaration := range f.syntax.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || !strings.HasSuffix(function.Name.Name, "Locked") {
				continue
			}
			if receiver := receiverOf(function); f.layer() != "ledger" || receiver != "Ledger" {
				t.Errorf("%s: %s.%s needs a lock that only the ledger has", f.path, receiver, function.Name.Name)
			}
		}
	}
}

func TestRoomsAreCounted(t *testing.T) {
	source := func(path, text string) file {
		syntax, err := parser.ParseFile(token.NewFileSet(), path, "package a\n"+text, 0)
		require.NoError(t, err)
		return file{path: path, syntax: syntax}
	}
	require.Equal(t, map[string]room{
		"a.T":     {methods: 3, fields: 6},
		"a.I":     {methods: 2},
		"a.N":     {methods: 1},
		"a.Alias": {},
		"b.T":     {fields: 1},
	}, rooms([]file{
		source("pkg/a/one.go", `
type T struct {
	x, y int
	*N
	inner struct { z int }
	_ int
}
type (
	I interface { Do(); Undo() }
	N int
)
func (t *T) first() {}
func (*T) second() {}
func (n N) String() string { return "" }
func free() {}`),
		source("pkg/a/two.go", `
type Alias = T
func (t T) third() { type local struct { a, b, c int } }`),
		source("pkg/b/one.go", `type T struct { x int }`),
	}))
}

// rooms of the files: package.type -> how many methods and fields it has, over all files of its package. An embedded type is one
// field, and an anonymous struct is no wall: its fields count as well as itself.
func rooms(files []file) map[string]room {
	found := map[string]room{}
	for _, f := range files {
		layer := f.layer()
		for _, declaration := range f.syntax.Decls {
			switch declaration := declaration.(type) {
			case *ast.FuncDecl:
				if receiver := receiverOf(declaration); receiver != "" {
					r := found[layer+"."+receiver]
					r.methods++
					found[layer+"."+receiver] = r
				}
			case *ast.GenDecl:
				for _, spec := range declaration.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						r := found[layer+"."+spec.Name.Name]
						ast.Inspect(spec.Type, func(n ast.Node) bool {
							switch n := n.(type) {
							case *ast.StructType:
								r.fields += n.Fields.NumFields()
							case *ast.InterfaceType:
								r.methods += n.Methods.NumFields()
							}
							return true
						})
						found[layer+"."+spec.Name.Name] = r
					}
				}
			}
		}
	}
	return found
}

// receiverOf a method, without its pointer and type parameters; empty for functions.
func receiverOf(function *ast.FuncDecl) string {
	if function.Recv == nil {
		return ""
	}
	expression := function.Recv.List[0].Type
	for {
		switch e := expression.(type) {
		case *ast.StarExpr:
			expression = e.X
		case *ast.IndexExpr:
			expression = e.X
		case *ast.IndexListExpr:
			expression = e.X
		case *ast.Ident:
			return e.Name
		default:
			return ""
		}
	}
}
