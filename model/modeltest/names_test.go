// SPDX-License-Identifier: Apache-2.0

package modeltest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// messages are those of package wire whose every field is in a model, or in
// abstracted.txt.
var messages = []string{
	"Descriptor", "Item", "Request", "GrantItem", "Grant", "Release", "Statement", "Enroll", "Renew", "Enrolled",
}

// wire is what package internal/wire names: the fields of each struct, and all
// exported constants, variables and functions.
type wire struct {
	fields map[string][]string
	names  map[string]bool
}

func parseWire(t *testing.T) wire {
	t.Helper()
	w := wire{fields: map[string][]string{}, names: map[string]bool{}}
	files, err := filepath.Glob("../../internal/wire/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("package wire: %d files, %v", len(files), err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			w.declare(d)
		}
	}
	return w
}

func (w wire) declare(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			w.names[d.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch spec := spec.(type) {
			case *ast.ValueSpec:
				for _, n := range spec.Names {
					w.names[n.Name] = true
				}
			case *ast.TypeSpec:
				w.names[spec.Name.Name] = true
				if s, ok := spec.Type.(*ast.StructType); ok {
					w.fields[spec.Name.Name] = exported(s)
				}
			}
		}
	}
}

func exported(s *ast.StructType) []string {
	var out []string
	for _, f := range s.Fields.List {
		for _, n := range f.Names {
			if n.IsExported() {
				out = append(out, n.Name)
			}
		}
	}
	return out
}

// anyField reports whether some struct of the package has the field.
func (w wire) anyField(name string) bool {
	for _, fields := range w.fields {
		if slices.Contains(fields, name) {
			return true
		}
	}
	return false
}

var (
	letfun    = regexp.MustCompile(`(?m)^letfun ([A-Z]\w*)\(([^)]*)\)`)
	param     = regexp.MustCompile(`(\w+): \w+`)
	qualified = regexp.MustCompile(`\b([A-Z]\w+)\.([A-Z]\w+)\b`)
	typeConst = regexp.MustCompile(`(?m)^const (Type\w+): bitstring`)
	backticks = regexp.MustCompile("`([A-Z]\\w*)(?:\\.([A-Z]\\w*))?`")
)

// local are messages of the models that are none of package wire.
var local = []string{"Certificate"}

// modelled collects what the models name: the parameters of each message's
// letfun; what a comment calls Message.Field; and type strings.
func modelled(t *testing.T, w wire) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for name, text := range models(t) {
		for _, m := range letfun.FindAllStringSubmatch(text, -1) {
			if slices.Contains(local, m[1]) {
				continue
			}
			if w.fields[m[1]] == nil {
				t.Errorf("%s: package wire has no message %s", name, m[1])
			}
			for _, p := range param.FindAllStringSubmatch(m[2], -1) {
				add(out, w, m[1], p[1])
			}
		}
		for _, m := range qualified.FindAllStringSubmatch(text, -1) {
			if w.fields[m[1]] != nil {
				out[m[1]+"."+m[2]] = true
			}
		}
		for _, m := range typeConst.FindAllStringSubmatch(text, -1) {
			if message := strings.TrimPrefix(m[1], "Type"); !slices.Contains(local, message) {
				out[message+".Type"] = true
				if !w.names[m[1]] {
					t.Errorf("%s: package wire has no type string %s", name, m[1])
				}
			}
		}
	}
	return out
}

// add notes a field. A parameter named as a message stands for its fields: the
// grant's item repeats what was asked.
func add(out map[string]bool, w wire, message, field string) {
	if slices.Contains(w.fields[message], field) || w.fields[field] == nil {
		out[message+"."+field] = true
		return
	}
	for _, f := range w.fields[field] {
		if slices.Contains(w.fields[message], f) {
			out[message+"."+f] = true
		}
	}
}

// abstracted reads abstracted.txt: the reason for each field.
func abstracted(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../abstracted.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		field, reason, _ := strings.Cut(line, " ")
		if _, twice := out[field]; twice {
			t.Errorf("abstracted.txt has %s twice", field)
		}
		out[field] = strings.TrimSpace(reason)
	}
	return out
}

// TestFields holds the messages' fields in the models to those of package wire.
func TestFields(t *testing.T) {
	w := parseWire(t)
	in, out := modelled(t, w), abstracted(t)
	all := map[string]bool{}
	for _, message := range messages {
		if len(w.fields[message]) == 0 {
			t.Errorf("package wire has no message %s", message)
		}
		for _, field := range w.fields[message] {
			name := message + "." + field
			all[name] = true
			switch _, listed := out[name]; {
			case in[name] && listed:
				t.Errorf("%s is in a model and in abstracted.txt", name)
			case !in[name] && !listed:
				t.Errorf("%s is in no model: model it, or say in abstracted.txt why not", name)
			}
		}
	}
	for name := range in {
		message, field, _ := strings.Cut(name, ".")
		if field != "Type" && !slices.Contains(w.fields[message], field) {
			t.Errorf("a model names %s, which package wire doesn't have", name)
		}
	}
	for name, reason := range out {
		if !all[name] {
			t.Errorf("abstracted.txt names %s, which no modelled message has", name)
		}
		if len(reason) < 5 {
			t.Errorf("abstracted.txt gives no reason for %s", name)
		}
	}
}

// TestSpecificationNames holds docs/spec/release.md to package wire, and the
// models to it: each name in backticks is one of the package, and each field
// that the models have is spoken of.
func TestSpecificationNames(t *testing.T) {
	w := parseWire(t)
	var text string
	for _, name := range []string{"release.md", "authn.md"} {
		b, err := os.ReadFile(filepath.Join("../../docs/spec", name))
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
	}
	found := backticks.FindAllStringSubmatch(text, -1)
	if len(found) < 30 {
		t.Fatalf("only %d names were found", len(found))
	}
	for _, m := range found {
		name, field := m[1], m[2]
		ok := w.names[name] || w.anyField(name)
		if field != "" {
			ok = slices.Contains(w.fields[name], field)
		}
		if !ok {
			t.Errorf("the specification names %s, which package wire doesn't have", strings.Trim(m[0], "`"))
		}
	}
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return r < 'a' || r > 'z' })
	for name := range modelled(t, w) {
		if _, field, _ := strings.Cut(name, "."); !slices.Contains(words, strings.ToLower(field)) {
			t.Errorf("a model has %s, and the specification doesn't speak of it", name)
		}
	}
}
