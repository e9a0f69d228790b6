package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
)

// ProfilePackage is what the patch imports.
const ProfilePackage = "retinue.dev/retinue/test/upstream/profile"

// ProfileFile is the environment variable that names the shipped KubeSchedulerConfiguration; where it is not set, the patched
// kube-scheduler is as upstream's.
const ProfileFile = "RETINUE_UPSTREAM_PROFILE"

// Patch puts a call of profile.Apply into the function New of kube-scheduler's package scheduler, before the registry of plugins is
// made. It finds its places by syntax and names every one that it did not find.
func Patch(source []byte) ([]byte, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "scheduler.go", source, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var missing []error
	miss := func(format string, args ...any) { missing = append(missing, fmt.Errorf("not found: "+format, args...)) }

	var options *ast.StructType
	var setUp *ast.FuncDecl
	for _, declaration := range file.Decls {
		switch d := declaration.(type) {
		case *ast.FuncDecl:
			if d.Name.Name == "New" && d.Recv == nil {
				setUp = d
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok && t.Name.Name == "schedulerOptions" {
					options, _ = t.Type.(*ast.StructType)
				}
			}
		}
	}
	for _, name := range []string{"profiles", "frameworkOutOfTreeRegistry", "extenders", "clock"} {
		if !hasField(options, name) {
			miss("field %s of the struct schedulerOptions", name)
		}
	}
	var registry ast.Stmt
	variable, optionsAt := "", token.NoPos
	if setUp == nil {
		miss("function New")
	} else {
		for _, statement := range setUp.Body.List {
			if calls(statement, "NewInTreeRegistry") && registry == nil {
				registry = statement
			}
			if name := assigned(statement, "defaultSchedulerOptions"); name != "" {
				variable, optionsAt = name, statement.Pos()
			}
		}
		if registry == nil {
			miss("call of NewInTreeRegistry in function New")
		}
		if variable == "" {
			miss("assignment of defaultSchedulerOptions in function New")
		} else if registry != nil && optionsAt > registry.Pos() {
			miss("the options before the registry in function New")
		}
	}
	imports := importBlock(file)
	if imports == nil {
		miss("import block")
	}
	if len(missing) > 0 {
		return nil, errors.Join(missing...)
	}

	var patched bytes.Buffer
	atImport, atCall := files.Position(imports.Lparen).Offset+1, files.Position(registry.Pos()).Offset
	patched.Write(source[:atImport])
	fmt.Fprintf(&patched, "\n\tretinueprofile %q\n", ProfilePackage)
	patched.Write(source[atImport:atCall])
	fmt.Fprintf(&patched, "if err := retinueprofile.Apply(&%[1]s.profiles, &%[1]s.frameworkOutOfTreeRegistry, %[1]s.extenders, %[1]s.clock); err != nil {\nreturn nil, err\n}\n", variable)
	patched.Write(source[atCall:])
	return format.Source(patched.Bytes())
}

func hasField(of *ast.StructType, name string) bool {
	if of == nil {
		return false
	}
	for _, field := range of.Fields.List {
		for _, n := range field.Names {
			if n.Name == name {
				return true
			}
		}
	}
	return false
}

// calls says whether the statement assigns the result of a call of a package's function of that name.
func calls(statement ast.Stmt, name string) bool {
	assignment, ok := statement.(*ast.AssignStmt)
	if !ok || len(assignment.Rhs) != 1 {
		return false
	}
	call, ok := assignment.Rhs[0].(*ast.CallExpr)
	if !ok {
		return false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	return ok && selector.Sel.Name == name
}

// assigned is the variable that the statement sets to the value of that name; empty for any other statement.
func assigned(statement ast.Stmt, value string) string {
	assignment, ok := statement.(*ast.AssignStmt)
	if !ok || len(assignment.Lhs) != 1 || len(assignment.Rhs) != 1 {
		return ""
	}
	from, ok := assignment.Rhs[0].(*ast.Ident)
	if !ok || from.Name != value {
		return ""
	}
	to, ok := assignment.Lhs[0].(*ast.Ident)
	if !ok {
		return ""
	}
	return to.Name
}

func importBlock(file *ast.File) *ast.GenDecl {
	for _, declaration := range file.Decls {
		if d, ok := declaration.(*ast.GenDecl); ok && d.Tok == token.IMPORT && d.Lparen.IsValid() {
			return d
		}
	}
	return nil
}

// Patient lets the API servers of the tests take two minutes to start instead of ten seconds: on a machine that does something else as
// well, they need that. What is judged does not change by it.
func Patient(source []byte) ([]byte, error) {
	impatient, patient := []byte("100*time.Millisecond, 10*time.Second, true, func(ctx context.Context) (done bool"), []byte("100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (done bool")
	if found := bytes.Count(source, impatient); found != 1 {
		return nil, fmt.Errorf("not found: the one wait for an API server to be healthy; %d are there", found)
	}
	return bytes.Replace(source, impatient, patient, 1), nil
}
