package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"path/filepath"
	"strings"

	"golang.org/x/tools/go/packages"
)

// code is the source that walks do not leave.
type code struct {
	bodies map[*types.Func]body
	order  []*types.Func // as found, for names that several have
}

// body of a function that has one.
type body struct {
	syntax *ast.FuncDecl
	uses   map[*ast.Ident]types.Object
	file   string // package/file.go

}

// load reads the packages that match a pattern, seen from a directory.
func load(directory string, patterns ...string) (*code, error) {
	loaded, err := packages.Load(&packages.Config{
		Dir: directory,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo |
			packages.NeedImports | packages.NeedExportFile,
	}, patterns...)
	if err != nil {
		return nil, err
	}
	c := &code{bodies: map[*types.Func]body{}}
	for _, p := range loaded {
		for _, problem := range p.Errors {
			return nil, fmt.Errorf("package %s: %w", p.PkgPath, problem)
		}
		for i, file := range p.Syntax {
			for _, declaration := range file.Decls {
				function, ok := declaration.(*ast.FuncDecl)
				if !ok || function.Body == nil {
					continue
				}
				object, ok := p.TypesInfo.Defs[function.Name].(*types.Func)
				if !ok {
					continue
				}
				c.bodies[object] = body{function, p.TypesInfo.Uses, p.Name + "/" + filepath.Base(p.CompiledGoFiles[i])}
				c.order = append(c.order, object)
			}
		}
	}
	if len(c.order) == 0 {
		return nil, fmt.Errorf("no function in %s", strings.Join(patterns, " "))
	}
	return c, nil
}

// name of a function: package.Function, or Type.method.
func name(function *types.Func) string {
	if receiver := function.Signature().Recv(); receiver != nil {
		t := receiver.Type()
		if pointer, ok := t.(*types.Pointer); ok {
			t = pointer.Elem()
		}
		if named, ok := t.(*types.Named); ok {
			return named.Obj().Name() + "." + function.Name()
		}
	}
	return function.Pkg().Name() + "." + function.Name()
}

// find the function of a name; a method may have its package before the type, where several packages have such a type.
func (c *code) find(wanted string) (*types.Func, error) {
	var found []*types.Func
	for _, function := range c.order {
		if name(function) == wanted || function.Pkg().Name()+"."+name(function) == wanted {
			found = append(found, function)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d functions are called %s", len(found), wanted)
	}
	return found[0], nil
}

// from walks from a function on. With across the walk also enters the functions of other packages.
func (c *code) from(start *types.Func, across bool) walk {
	var w walk
	read := map[*types.Func]bool{}
	var enter func(function *types.Func)
	enter = func(function *types.Func) {
		function = function.Origin() // of an instance of a generic function
		b, ours := c.bodies[function]
		if !ours {
			return
		}
		if last := len(w.stays) - 1; last < 0 || w.stays[last].file != b.file {
			w.stays = append(w.stays, stay{file: b.file})
		}
		last := &w.stays[len(w.stays)-1]
		last.functions = append(last.functions, name(function))
		if read[function] || !across && function.Pkg() != start.Pkg() {
			return
		}
		read[function] = true
		ast.Inspect(b.syntax.Body, func(n ast.Node) bool {
			if ident, ok := n.(*ast.Ident); ok {
				if called, ok := b.uses[ident].(*types.Func); ok {
					enter(called)
				}
			}
			return true
		})
	}
	enter(start)
	w.functions = len(read)
	return w
}
