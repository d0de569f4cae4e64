// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// top is the root of the checkout, seen from this package's directory.
const top = "../.."

// source is one Go file of the product module.
type source struct {
	path string // slash-separated, from the root of the checkout
	test bool
	text []byte
	fset *token.FileSet
	file *ast.File
}

// dir is the package's directory, "." for the root.
func (s *source) dir() string { return path.Dir(s.path) }

// in says whether the file lies in dir or below it.
func (s *source) in(dir string) bool { return within(s.dir(), dir) }

func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// at is a finding with its place.
func (s *source) at(n ast.Node, format string, args ...any) string {
	pos := s.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d: %s", s.path, pos.Line, fmt.Sprintf(format, args...))
}

func parse(name string, text []byte) (*source, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &source{path: name, test: strings.HasSuffix(name, "_test.go"), text: text, fset: fset, file: file}, nil
}

// paths lists the tree's files; own leaves out what belongs to other modules.
func paths(own bool) ([]string, error) {
	var out []string
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a temporary file that went away meanwhile
		}
		if err != nil || !d.IsDir() {
			rel, _ := filepath.Rel(top, p)
			out = append(out, filepath.ToSlash(rel))
			return err
		}
		if p == top {
			return nil
		}
		name := d.Name()
		if strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || name == "node_modules" {
			return fs.SkipDir
		}
		if _, err := os.Stat(filepath.Join(p, "go.mod")); own && err == nil {
			return fs.SkipDir
		}
		return nil
	})
	return out, err
}

// load parses every Go file of the product module, once.
var load = sync.OnceValues(func() ([]*source, error) {
	list, err := paths(true)
	if err != nil {
		return nil, err
	}
	var out []*source
	for _, p := range list {
		if !strings.HasSuffix(p, ".go") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(top, p))
		if err != nil {
			return nil, err
		}
		s, err := parse(p, text)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
})

// tree returns the sources or fails the test; a tree this small would mean
// that the walk is broken.
func tree(t *testing.T) []*source {
	t.Helper()
	list, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 30 {
		t.Fatalf("only %d Go files were found", len(list))
	}
	return list
}

// rule is one check of a single file, with an example that breaks it and one
// that does not.
type rule struct {
	name      string
	check     func(*source) []string
	path      string // where the examples stand
	bad, good string
}

// code is an example as a file.
func (r rule) code(t *testing.T, body string) *source {
	t.Helper()
	p := r.path
	if p == "" {
		p = "internal/thing/thing.go"
	}
	s, err := parse(p, []byte(body))
	if err != nil {
		t.Fatalf("the example of %s: %v", r.name, err)
	}
	return s
}

// enforce checks that each rule finds its bad example and spares its good one,
// and then that the tree keeps it.
func enforce(t *testing.T, rules []rule) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			if len(r.check(r.code(t, r.bad))) == 0 {
				t.Errorf("the rule does not find its bad example:\n%s", r.bad)
			}
			if found := r.check(r.code(t, r.good)); len(found) > 0 {
				t.Errorf("the rule refuses its good example: %v", found)
			}
			for _, s := range tree(t) {
				for _, f := range r.check(s) {
					t.Error(f)
				}
			}
		})
	}
}

// listed is what `go list` says of one package.
type listed struct {
	ImportPath, Dir, Export string
	Standard                bool
	GoFiles, CgoFiles       []string
	Module                  *struct{ Path string }
}

// golist runs `go list` at the root of the checkout, for Linux, where every
// dependency of a release takes part.
func golist(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,Export,Standard,GoFiles,CgoFiles,Module"}, args...)...)
	cmd.Dir = top
	cmd.Env = append(os.Environ(), "GOOS=linux")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	var list []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var p listed
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}
