// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int) string { return strconv.Itoa(n) }

// mutable names the package variables that may change, with the reason.
var mutable = map[string]string{}

// typed is one package with its types.
type typed struct {
	files []*ast.File
	fset  *token.FileSet
	info  *types.Info
}

func typecheck(path string, fset *token.FileSet, files []*ast.File, imp types.Importer) (*typed, error) {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	conf := types.Config{Importer: imp, FakeImportC: true}
	_, err := conf.Check(path, fset, files, info)
	return &typed{files: files, fset: fset, info: info}, err
}

// changed finds the package variables that code of p writes to, takes the
// address of, or hands to a method that could change them.
func (p *typed) changed() []string {
	var found []string
	report := func(e ast.Expr, how string) {
		if v := p.packageVar(e); v != nil && mutable[v.Pkg().Path()+"."+v.Name()] == "" {
			pos := p.fset.Position(e.Pos())
			found = append(found, fmt.Sprintf("%s:%d: package variable %s %s", pos.Filename, pos.Line, v.Name(), how))
		}
	}
	for _, f := range p.files {
		ast.Inspect(f, func(n ast.Node) bool {
			p.visit(n, report)
			return true
		})
	}
	return found
}

func (p *typed) visit(n ast.Node, report func(ast.Expr, string)) {
	switch n := n.(type) {
	case *ast.AssignStmt:
		for _, l := range n.Lhs {
			report(l, "is assigned to")
		}
	case *ast.IncDecStmt:
		report(n.X, "is counted")
	case *ast.RangeStmt:
		if n.Tok == token.ASSIGN {
			report(n.Key, "is assigned to")
			report(n.Value, "is assigned to")
		}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			report(n.X, "has its address taken")
		}
	case *ast.CallExpr:
		p.visitCall(n, report)
	case *ast.SelectorExpr:
		if p.pointerMethod(n) {
			report(n.X, "is used through a method that may change it")
		}
	}
}

func (p *typed) visitCall(n *ast.CallExpr, report func(ast.Expr, string)) {
	id, ok := n.Fun.(*ast.Ident)
	if !ok || len(n.Args) == 0 {
		return
	}
	if b, ok := p.info.Uses[id].(*types.Builtin); ok && (b.Name() == "delete" || b.Name() == "clear" || b.Name() == "copy") {
		report(n.Args[0], "is changed by "+b.Name())
	}
}

// pointerMethod says whether the selector takes the address of a variable to
// call or bind a method, as once.Do and mutex.Lock do.
func (p *typed) pointerMethod(n *ast.SelectorExpr) bool {
	sel := p.info.Selections[n]
	if sel == nil || sel.Kind() != types.MethodVal {
		return false
	}
	f, ok := sel.Obj().(*types.Func)
	if !ok {
		return false
	}
	_, receiver := f.Signature().Recv().Type().(*types.Pointer)
	_, pointer := sel.Recv().Underlying().(*types.Pointer)
	return receiver && !pointer && !sel.Indirect()
}

// packageVar finds the package variable at the root of an expression such as
// v.field[i].
func (p *typed) packageVar(e ast.Expr) *types.Var {
	for {
		switch x := e.(type) {
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.SliceExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if p.info.Selections[x] == nil { // another package's name
				e = x.Sel
				continue
			}
			e = x.X
		case *ast.Ident:
			v, ok := p.info.Uses[x].(*types.Var)
			if ok && v.Pkg() != nil && v.Parent() == v.Pkg().Scope() {
				return v
			}
			return nil
		default:
			return nil
		}
	}
}

// exports reads the compiled form of imports that `go list -export` made.
func exports(list []listed) types.Importer {
	files := map[string]string{}
	for _, p := range list {
		files[p.ImportPath] = p.Export
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(files[path])
	})
}

func TestNoMutablePackageVariables(t *testing.T) {
	list := golist(t, "-export", "-deps", "./...")
	imp := exports(list)
	packages := 0
	for _, l := range list {
		if l.Module == nil || l.Module.Path != "claviger" {
			continue
		}
		packages++
		fset := token.NewFileSet()
		var files []*ast.File
		for _, name := range append(l.GoFiles, l.CgoFiles...) {
			f, err := parser.ParseFile(fset, filepath.Join(l.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		p, err := typecheck(l.ImportPath, fset, files, imp)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range p.changed() {
			t.Error(f)
		}
	}
	if packages < 5 {
		t.Errorf("only %d packages were checked", packages)
	}
}

func TestMutableVariablesAreFound(t *testing.T) {
	const decls = `package thing
type T struct{ n int; next *T }
func (t *T) Inc() { t.n++ }
func (t T) Get() int { return t.n }
var (
	number int
	table = map[string]int{}
	list = []int{1}
	value T
	pointer = &T{}
	array [4]byte
)
`
	bad := []string{
		"number = 1", "number++", "number, _ = 1, 2", "table[\"a\"] = 1", "delete(table, \"a\")", "clear(table)", "list[0] = 2",
		"copy(list, list)", "value.n = 1", "value.next.n = 1", "_ = &value", "_ = &value.n", "value.Inc()", "f := value.Inc; f()",
		"*pointer = T{}", "pointer.n = 1", "for number = range 3 {}", "copy(array[:], \"abcd\")", "(number) = 2", "list = append(list, 1)",
	}
	good := []string{
		"_ = number", "number := 1; number++; _ = number", "_ = table[\"a\"]", "_ = value.Get()", "_ = len(list)", "pointer.Inc()",
		"f := func(value T) { value.n = 2 }; f(value)", "for number := range 3 { _ = number }", "_ = string(array[:])",
	}
	check := func(body string) []string {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "a.go", decls+"func f() {\n"+body+"\n}", parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		p, err := typecheck("thing", fset, []*ast.File{f}, nil)
		if err != nil && !strings.Contains(err.Error(), "declared and not used") {
			t.Fatalf("%s: %v", body, err)
		}
		return p.changed()
	}
	for _, body := range bad {
		if len(check(body)) == 0 {
			t.Errorf("not found: %s", body)
		}
	}
	for _, body := range good {
		if found := check(body); len(found) > 0 {
			t.Errorf("found in %s: %v", body, found)
		}
	}
}
