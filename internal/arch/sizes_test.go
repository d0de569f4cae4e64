// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"bytes"
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// The limits. A file or function that comes near one usually does two things.
const (
	maxFile     = 500 // lines of a file of the product; the aim is 400
	maxTestFile = 800
	maxFunc     = 100 // lines of a function; the aim is 40 for nine in ten
	maxParams   = 6
	maxMethods  = 7 // of an interface, embedded ones not counted; the aim is 3
	maxPackage  = 2500
)

// larger names the packages above maxPackage with a ceiling of their own. It
// only shrinks: a package goes from it when it is split. internal/cli is one
// small file a verb.
var larger = map[string]int{"internal/cli": 9000, "internal/policy": 3000, "internal/hierarchy": 3800, "internal/audit": 4000}

func lines(s *source) int { return bytes.Count(s.text, []byte("\n")) }

func checkFileSize(s *source) []string {
	limit := maxFile
	if s.test {
		limit = maxTestFile
	}
	if n := lines(s); n > limit {
		return []string{s.at(s.file, "%d lines, more than %d", n, limit)}
	}
	return nil
}

// length is the number of lines of a function, its signature included.
func length(s *source, f *ast.FuncDecl) int {
	return s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1
}

func functions(s *source) []*ast.FuncDecl {
	var out []*ast.FuncDecl
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			out = append(out, f)
		}
	}
	return out
}

// checkFuncSize spares tests themselves: a table is long and has no branches.
func checkFuncSize(s *source) []string {
	var found []string
	for _, f := range functions(s) {
		if n := length(s, f); n > maxFunc && !(s.test && isTestFunc(f.Name.Name)) {
			found = append(found, s.at(f, "%s has %d lines, more than %d", f.Name.Name, n, maxFunc))
		}
	}
	return found
}

func checkParams(s *source) []string {
	if s.test { // a helper that takes a *testing.T and a case is readable
		return nil
	}
	var found []string
	for _, f := range functions(s) {
		n := 0
		for _, p := range f.Type.Params.List {
			n += max(1, len(p.Names))
		}
		if n > maxParams {
			found = append(found, s.at(f, "%s takes %d parameters; make them a struct", f.Name.Name, n))
		}
	}
	return found
}

func checkInterfaces(s *source) []string {
	var found []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		i, ok := n.(*ast.InterfaceType)
		if !ok {
			return true
		}
		methods := 0
		for _, m := range i.Methods.List {
			methods += len(m.Names)
		}
		if methods > maxMethods {
			found = append(found, s.at(i, "an interface of %d methods", methods))
		}
		return true
	})
	return found
}

func TestSizes(t *testing.T) {
	long := func(n int) string { return strings.Repeat("\n", n) }
	enforce(t, []rule{
		{name: "files", check: checkFileSize, bad: "package thing" + long(501), good: "package thing" + long(500)},
		{name: "test files", check: checkFileSize, path: "internal/thing/a_test.go", bad: "package thing" + long(801), good: "package thing" + long(800)},
		{name: "functions", check: checkFuncSize, bad: "package thing\nfunc f() {" + long(100) + "}", good: "package thing\nfunc f() {" + long(99) + "}"},
		{name: "helpers of tests", check: checkFuncSize, path: "internal/thing/a_test.go",
			bad: "package thing\nfunc f() {" + long(100) + "}", good: "package thing\nfunc TestF() {" + long(200) + "}"},
		{name: "parameters", check: checkParams, bad: "package thing\nfunc f(a, b, c, d int, e, f, g string) {}", good: "package thing\nfunc f(a, b, c, d, e, f int) {}"},
		{name: "interfaces", check: checkInterfaces, bad: "package thing\ntype I interface { A(); B(); C(); D(); E(); F(); G(); H() }", good: "package thing\ntype I interface { A(); B(); C(); D(); E(); J; K }"},
	})
}

// TestPackageSizes bounds packages and prints where the tree stands.
func TestPackageSizes(t *testing.T) {
	var files, funcs []int
	packages := map[string]int{}
	for _, s := range tree(t) {
		if s.test {
			continue
		}
		files = append(files, lines(s))
		packages[s.dir()] += lines(s)
		for _, f := range functions(s) {
			funcs = append(funcs, length(s, f))
		}
	}
	for dir, n := range packages {
		if limit := max(maxPackage, larger[dir]); n > limit {
			t.Errorf("%s has %d lines, more than %d: split it", dir, n, limit)
		}
	}
	t.Logf("files: %s; functions: %s; %d packages", spread(files), spread(funcs), len(packages))
}

// spread names the median, the ninth decile and the largest.
func spread(n []int) string {
	slices.Sort(n)
	return strings.Join([]string{"p50", itoa(n[len(n)/2]), "p90", itoa(n[len(n)*9/10]), "max", itoa(n[len(n)-1])}, " ")
}
