// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"go/ast"
	"strings"
	"testing"
)

// checkExportedDocs: every exported name of a package that others import says
// what it is. A group's comment speaks for constants and variables in it.
func checkExportedDocs(s *source) []string {
	if s.test || s.file.Name.Name == "main" {
		return nil
	}
	var found []string
	miss := func(n ast.Node, name string) { found = append(found, s.at(n, "exported %s has no comment", name)) }
	for _, d := range s.file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
				miss(d, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				checkSpec(d, spec, miss)
			}
		}
	}
	return found
}

func checkSpec(d *ast.GenDecl, spec ast.Spec, miss func(ast.Node, string)) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if !spec.Name.IsExported() {
			return
		}
		if spec.Doc == nil && (d.Doc == nil || len(d.Specs) > 1) {
			miss(spec, spec.Name.Name)
		}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			if name.IsExported() && d.Doc == nil && spec.Doc == nil && spec.Comment == nil {
				miss(name, name.Name)
			}
		}
	}
}

// exportedReceiver is false for methods of types that nobody outside can name,
// and for the small well-known methods whose contract is the interface's.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return true
	}
	e := f.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
			continue
		case *ast.IndexExpr:
			e = x.X
			continue
		case *ast.Ident:
			return x.IsExported()
		}
		return true
	}
}

func TestExportedNamesAreDocumented(t *testing.T) {
	enforce(t, []rule{
		{name: "functions", check: checkExportedDocs, bad: "package thing\nfunc F() {}", good: "package thing\n// F does it.\nfunc F() {}\nfunc f() {}"},
		{name: "methods", check: checkExportedDocs, bad: "package thing\nfunc (t *T[K]) M() {}", good: "package thing\nfunc (t *t) M() {}"},
		{name: "types", check: checkExportedDocs, bad: "package thing\n// Group.\ntype (\n\tA int\n\tB int\n)", good: "package thing\n// A is one.\ntype A int"},
		{name: "values", check: checkExportedDocs, bad: "package thing\nvar A = 1", good: "package thing\n// Two of them.\nconst (\n\tA = 1\n\tB = 2\n)\nvar C = 1 // three"},
	})
}

// minDoc is how long a package comment is at least: one sentence that says
// what the package is for and one that says what it leaves to others.
const minDoc = 120

// packageDocs collects the package comments of each directory, and the name.
func packageDocs(list []*source) map[string]string {
	docs := map[string]string{}
	for _, s := range list {
		if s.test {
			continue
		}
		docs[s.dir()] += ""
		if s.file.Doc != nil {
			docs[s.dir()] += s.file.Doc.Text()
		}
	}
	return docs
}

// badDoc says what is wrong with the comment of the package in dir.
func badDoc(dir, doc string) string {
	command := within(dir, "cmd")
	switch {
	case doc == "":
		return "has no package comment"
	case !strings.HasPrefix(doc, "Package ") && !command:
		return "has a package comment that doesn't begin with \"Package\", or two of them"
	case len(doc) < minDoc && !command:
		return "has a package comment that is no guide"
	}
	return ""
}

func TestEveryPackageHasAGuide(t *testing.T) {
	for _, doc := range []string{"", "Thing does it.", "Package thing does it."} {
		if badDoc("internal/thing", doc) == "" {
			t.Errorf("%q was taken for a guide", doc)
		}
	}
	for dir, doc := range packageDocs(tree(t)) {
		if bad := badDoc(dir, doc); bad != "" {
			t.Errorf("%s %s", dir, bad)
		}
	}
}
