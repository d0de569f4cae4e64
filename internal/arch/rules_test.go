// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"bytes"
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// importName returns the name under which s imports p, "" if it does not.
func importName(s *source, p string) string {
	for _, i := range s.file.Imports {
		if got, _ := strconv.Unquote(i.Path.Value); got == p {
			if i.Name != nil {
				return i.Name.Name
			}
			return path.Base(p)
		}
	}
	return ""
}

// uses finds every mention of the named things of package p, called or not:
// handing time.Now on as a value is as much a use as calling it.
func uses(s *source, p string, names ...string) []*ast.SelectorExpr {
	local := importName(s, p)
	if local == "" {
		return nil
	}
	var out []*ast.SelectorExpr
	ast.Inspect(s.file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if ok && slices.Contains(names, sel.Sel.Name) {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				out = append(out, sel)
			}
		}
		return true
	})
	return out
}

// only returns a rule that keeps things of a package to some directories. It
// does not look at tests.
func only(p string, names []string, dirs ...string) func(*source) []string {
	return func(s *source) []string {
		if s.test || slices.ContainsFunc(dirs, s.in) {
			return nil
		}
		var found []string
		for _, sel := range uses(s, p, names...) {
			found = append(found, s.at(sel, "%s.%s is for %v only", path.Base(p), sel.Sel.Name, dirs))
		}
		return found
	}
}

// onlyImport returns a rule that keeps an import, and all below it, to some
// directories. Tests are not exempt where the reason is not theirs.
func onlyImport(p string, tests bool, dirs ...string) func(*source) []string {
	return func(s *source) []string {
		if s.test && tests || slices.ContainsFunc(dirs, s.in) {
			return nil
		}
		var found []string
		for _, i := range s.file.Imports {
			if got, _ := strconv.Unquote(i.Path.Value); within(got, p) {
				found = append(found, s.at(i, "%s is for %v only", got, dirs))
			}
		}
		return found
	}
}

// neverIn returns a rule that keeps an import out of a package and all below it,
// but for some of those. It does not look at tests.
func neverIn(dir, p string, but ...string) func(*source) []string {
	rule := onlyImport(p, true, but...)
	return func(s *source) []string {
		if !s.in(dir) {
			return nil
		}
		return rule(s)
	}
}

func TestForbiddenCalls(t *testing.T) {
	enforce(t, []rule{
		{name: "time", check: only("time", []string{"Now", "Since", "Until"}, "internal/clock"),
			bad: "package thing\nimport \"time\"\nvar now = time.Now", good: "package thing\nimport \"time\"\nvar s = time.Second"},
		{name: "time under another name", check: only("time", []string{"Now", "Since", "Until"}, "internal/clock"),
			bad: "package thing\nimport tm \"time\"\nfunc f() { tm.Since(tm.Time{}) }", good: "package thing\nimport tm \"time\"\nvar d tm.Duration"},
		{name: "environment", check: only("os", []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv", "Setenv", "Unsetenv"}, "internal/cli", "cmd"),
			bad: "package thing\nimport \"os\"\nvar h = os.Getenv(\"HOME\")", good: "package thing\nimport \"os\"\nvar f = os.Open"},
		{name: "exit", check: only("os", []string{"Exit"}, "internal/cli", "cmd"),
			bad: "package thing\nimport \"os\"\nfunc f() { os.Exit(1) }", good: "package thing\nimport \"os\"\nvar f = os.Open"},
		{name: "log.Fatal", check: only("log", []string{"Fatal", "Fatalf", "Fatalln", "Panic", "Panicf", "Panicln"}, "internal/cli", "cmd"),
			bad: "package thing\nimport \"log\"\nfunc f() { log.Fatalf(\"\") }", good: "package thing\nimport \"log\"\nvar f = log.Prefix"},
		{name: "callers of doors", check: only("claviger/internal/authn", []string{"SubjectCaller"}, "internal/authn"), path: "internal/gateway/thing/a.go",
			bad: "package thing\nimport \"claviger/internal/authn\"\nvar f = authn.SubjectCaller", good: "package thing\nimport \"claviger/internal/authn\"\nvar c authn.Caller"},
		{name: "working directory", check: only("os", []string{"Chdir"}),
			bad: "package thing\nimport \"os\"\nfunc f() { os.Chdir(\"/\") }", good: "package thing\nimport \"os\"\nvar f = os.Open"},
	})
}

func TestForbiddenImports(t *testing.T) {
	imp := func(p string) string { return "package thing\nimport _ \"" + p + "\"" }
	enforce(t, []rule{
		{name: "unsafe", check: onlyImport("unsafe", true, "internal/secret"), bad: imp("unsafe"), good: imp("fmt")},
		{name: "math/rand", check: productOnly(onlyImport("math/rand", true)), bad: imp("math/rand/v2"), good: imp("math/bits")},
		{name: "experimental cedar", check: onlyImport("github.com/cedar-policy/cedar-go/x", true, "internal/policy"),
			bad: imp("github.com/cedar-policy/cedar-go/x/exp/ast"), good: imp("github.com/cedar-policy/cedar-go")},
		{name: "cobra", check: onlyImport("github.com/spf13", false, "internal/cli"), bad: imp("github.com/spf13/cobra"), good: imp("flag")},
		{name: "terminals", check: onlyImport("golang.org/x/term", false, "internal/cli"), bad: imp("golang.org/x/term"), good: imp("golang.org/x/sys/unix")},
		{name: "NATS", check: onlyImport("github.com/nats-io", false, "internal/relay/natsbus"), bad: imp("github.com/nats-io/nats.go/jetstream"), good: imp("net/http")},
		{name: "gRPC", check: onlyImport("google.golang.org/grpc", false), bad: imp("google.golang.org/grpc/codes"), good: imp("net/http")},
		{name: "protobuf", check: onlyImport("google.golang.org/protobuf", false, "internal/gateway/localrpc"),
			bad: imp("google.golang.org/protobuf/proto"), good: imp("github.com/fxamacker/cbor/v2")},
		{name: "testify", check: onlyImport("github.com/stretchr", false), bad: imp("github.com/stretchr/testify/assert"), good: imp("github.com/google/go-cmp/cmp")},
		{name: "HTTP at the choke point", check: neverIn("internal/keyserver", "net/http", "internal/keyserver/api", "internal/keyserver/keyservertest"),
			path: "internal/keyserver/a.go", bad: imp("net/http"), good: imp("net")},
		{name: "testing in the product", check: productOnly(onlyImport("testing", true)), bad: imp("testing"), good: imp("fmt")},
	})
}

// productOnly spares test support from a rule: suites import testing, and a
// fault that is drawn by a seed needs a generator that can be seeded.
func productOnly(check func(*source) []string) func(*source) []string {
	return func(s *source) []string {
		if isTestSupport(s.dir()) {
			return nil
		}
		return check(s)
	}
}

// header is the first line of every file that can have a comment.
const header = "SPDX-License-Identifier: Apache-2.0\n"

func checkHeader(s *source) []string {
	if bytes.HasPrefix(s.text, []byte("// "+header+"\n")) {
		return nil
	}
	return []string{s.path + ": does not begin with the licence line and an empty line"}
}

// unfinished matches the words that mark something left to do. They are
// written apart here, so that this file does not hold them.
var unfinished = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"}, "|") + `)\b|(?i)\b(` +
	strings.Join([]string{"not " + "(yet )?implemented", "unimple" + "mented", "place" + "holder", "for " + "now"}, "|") + `)\b`)

func checkWords(s *source) []string {
	if s.test {
		return nil
	}
	var found []string
	for i, line := range strings.Split(string(s.text), "\n") {
		if w := unfinished.FindString(line); w != "" {
			found = append(found, s.path+":"+strconv.Itoa(i+1)+": says "+strconv.Quote(w))
		}
	}
	return found
}

func checkInit(s *source) []string {
	var found []string
	for _, d := range s.file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			found = append(found, s.at(f, "func init runs before anybody decided anything"))
		}
	}
	return found
}

// vague names say nothing about what a package is for.
var vague = []string{"util", "utils", "common", "types", "base", "helper", "helpers", "misc", "shared", "lib", "core", "model", "models"}

func checkPackageName(s *source) []string {
	name := strings.TrimSuffix(s.file.Name.Name, "_test")
	if slices.Contains(vague, name) || slices.Contains(vague, path.Base(s.dir())) || strings.ContainsAny(name, "_ABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		return []string{s.at(s.file.Name, "package name %s", name)}
	}
	return nil
}

// checkSkip: a test that is skipped in CI checks nothing. testing.Short is the
// same thing by another name.
func checkSkip(s *source) []string {
	var found []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) {
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb", "h"}, x.Name) {
				found = append(found, s.at(sel, "a test that is left out checks nothing"))
			}
		}
		return true
	})
	for _, sel := range uses(s, "testing", "Short") {
		found = append(found, s.at(sel, "a test that is left out checks nothing"))
	}
	return found
}

// checkSleep: outside a synctest bubble a sleep makes a test slow or flaky and
// a product both.
func checkSleep(s *source) []string {
	sleeps := uses(s, "time", "Sleep")
	bubble := importName(s, "testing/synctest")
	var found []string
	for _, sel := range sleeps {
		if !s.test || bubble == "" || !inBubble(s, sel, bubble) {
			found = append(found, s.at(sel, "time.Sleep outside a synctest bubble"))
		}
	}
	return found
}

// inBubble says whether n stands in a call of synctest.Test, or in a helper
// that is no test itself (and can only be called from one).
func inBubble(s *source, n ast.Node, bubble string) bool {
	inside := false
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || n.Pos() < f.Pos() || n.End() > f.End() {
			continue
		}
		if !isTestFunc(f.Name.Name) {
			return true
		}
		ast.Inspect(f, func(m ast.Node) bool {
			call, ok := m.(*ast.CallExpr)
			if !ok || n.Pos() < call.Pos() || n.End() > call.End() {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Test" {
				x, ok := sel.X.(*ast.Ident)
				inside = inside || ok && x.Name == bubble
			}
			return true
		})
	}
	return inside
}

func isTestFunc(name string) bool {
	return strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Benchmark") || strings.HasPrefix(name, "Fuzz") || strings.HasPrefix(name, "Example")
}

// checkContext: a context is a call's, never a value's. In test support the
// *testing.T comes before it, as everywhere.
func checkContext(s *source) []string {
	if s.test || isTestSupport(s.dir()) || importName(s, "context") == "" {
		return nil
	}
	name := importName(s, "context")
	isContext := func(e ast.Expr) bool {
		sel, ok := e.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "Context" {
			return false
		}
		x, ok := sel.X.(*ast.Ident)
		return ok && x.Name == name
	}
	var found []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			for _, f := range n.Fields.List {
				if isContext(f.Type) {
					found = append(found, s.at(f, "a context is stored in a struct"))
				}
			}
		case *ast.FuncType:
			for i, f := range n.Params.List {
				if i > 0 && isContext(f.Type) {
					found = append(found, s.at(f, "a context comes first"))
				}
			}
		}
		return true
	})
	return found
}

func TestRules(t *testing.T) {
	pkg := func(body string) string { return "// " + header + "\npackage thing\n" + body }
	enforce(t, []rule{
		{name: "licence line", check: checkHeader, bad: "package thing", good: pkg("")},
		{name: "unfinished words", check: checkWords, bad: "package thing // TO" + "DO: more", good: "package thing // methodology, before nowhere"},
		{name: "unfinished phrases", check: checkWords, bad: "package thing\nvar e = \"Not imple" + "mented\"", good: "package thing"},
		{name: "init", check: checkInit, bad: pkg("func init() {}"), good: pkg("type T int\nfunc (T) init() {}")},
		{name: "package names", check: checkPackageName, bad: "package common", good: "package commons"},
		{name: "skipped tests", check: checkSkip, path: "internal/thing/a_test.go",
			bad: "package thing\nfunc TestA(t *T) { t.Skip() }", good: "package thing\nfunc f(r *R) { r.Skip() }"},
		{name: "short tests", check: checkSkip, path: "internal/thing/a_test.go",
			bad: "package thing\nimport \"testing\"\nvar s = testing.Short()", good: "package thing\nimport \"testing\"\nvar s = testing.Verbose()"},
		{name: "sleep in the product", check: checkSleep,
			bad: "package thing\nimport \"time\"\nfunc f() { time.Sleep(1) }", good: "package thing\nimport \"time\"\nvar t = time.NewTimer"},
		{name: "sleep in tests", check: checkSleep, path: "internal/thing/a_test.go",
			bad:  "package thing\nimport (\"time\"; \"testing/synctest\")\nfunc TestA(t *T) { synctest.Test(t, nil); time.Sleep(1) }",
			good: "package thing\nimport (\"time\"; \"testing/synctest\")\nfunc TestA(t *T) { synctest.Test(t, func() { time.Sleep(1) }) }\nfunc wait() { time.Sleep(1) }"},
		{name: "context in a struct", check: checkContext,
			bad: "package thing\nimport \"context\"\ntype T struct { ctx context.Context }", good: "package thing\nimport \"context\"\ntype T struct { cancel context.CancelFunc }"},
		{name: "context first", check: checkContext,
			bad: "package thing\nimport \"context\"\nfunc f(n int, ctx context.Context) {}", good: "package thing\nimport \"context\"\nfunc f(ctx context.Context, n int) {}"},
	})
}

// TestOtherFiles holds the rules that are not about Go code of the product:
// the licence line of other modules and scripts, unfinished words in pages.
func TestOtherFiles(t *testing.T) {
	list, err := paths(false)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list {
		text, err := os.ReadFile(filepath.Join(top, p))
		if err != nil {
			continue // a link to nowhere, or gone meanwhile
		}
		switch path.Ext(p) {
		case ".go":
			if !bytes.HasPrefix(text, []byte("// "+header+"\n")) && !bytes.Contains(text, []byte("\n// Code generated ")) {
				t.Errorf("%s: does not begin with the licence line", p)
			}
		case ".sh":
			if !bytes.HasPrefix(text, []byte("#!/usr/bin/env bash\n# "+header)) {
				t.Errorf("%s: does not begin with bash and the licence line", p)
			}
		case ".md":
			if w := unfinished.Find(text); w != nil {
				t.Errorf("%s: says %q", p, w)
			}
		}
	}
}

// TestGoMod: a replace would build something other than what go.sum names.
func TestGoMod(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(top, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "module claviger\n") {
		t.Error("go.mod is not that of the product")
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 0 && (f[0] == "replace" || f[0] == "exclude") {
			t.Errorf("go.mod: %s", line)
		}
	}
}
