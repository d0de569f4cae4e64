// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"claviger/internal/testkit"
	"claviger/internal/wire"
)

const top = "../.."

// product parses every file of the product: no tests, no other modules.
func product(t *testing.T, see func(name string, file *ast.File, fset *token.FileSet)) {
	t.Helper()
	n := 0
	for _, dir := range []string{"client", "envelope", "internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(top, dir), func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			rel := filepath.ToSlash(strings.TrimPrefix(name, top+"/"))
			if strings.Contains(rel, "test/") || strings.HasPrefix(rel, "internal/testkit/") {
				return nil // conformance suites and kits
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			n++
			see(rel, file, fset)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 100 {
		t.Fatalf("only %d files were found", n)
	}
}

// compareSites are the files that compare something which an attacker may guess at,
// and have to do it in constant time.
var compareSites = []string{
	"client/internal/trust/ask.go",         // key commitment of a release
	"envelope/header.go",                   // header MAC
	"envelope/internal/cobblestone/key.go", // commitment of a message
	"internal/hierarchy/version.go",        // commitment of a version
	"internal/pki/tlscert/tlscert.go",      // pinned TLS key
	"internal/secret/bytes.go",             // secrets
}

// secretName is what a value is called that must not be compared byte by byte.
var secretName = regexp.MustCompile(`(?i)^(mac|tag|commit(ment)?|kc|token|seed|secret|passphrase|hmac|signature)$`)

// Scenario 77: how long a comparison takes says nothing, and neither does an answer
// about what is there.
func TestScenario77_ConstantTime(t *testing.T) {
	t.Parallel()
	sites := map[string]bool{}
	product(t, func(name string, file *ast.File, fset *token.FileSet) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, _ := sel.X.(*ast.Ident)
			switch {
			case pkg != nil && (pkg.Name == "subtle" && sel.Sel.Name == "ConstantTimeCompare" || pkg.Name == "hmac" && sel.Sel.Name == "Equal"):
				sites[name] = true
			case pkg != nil && pkg.Name == "bytes" && (sel.Sel.Name == "Equal" || sel.Sel.Name == "Compare"):
				for _, arg := range call.Args {
					if secretName.MatchString(lastName(arg)) {
						t.Errorf("%s: compares %s byte by byte", fset.Position(call.Pos()), lastName(arg))
					}
				}
			}
			return true
		})
	})
	for _, want := range compareSites {
		if !sites[want] {
			t.Errorf("%s compares nothing in constant time any more", want)
		}
	}
	sameAnswers(t)
}

// lastName is the last identifier of an expression: x.mac[:] is mac.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.SliceExpr:
		return lastName(e.X)
	case *ast.IndexExpr:
		return lastName(e.X)
	}
	return ""
}

// sameAnswers holds that what isn't there and what is forbidden look alike.
func sameAnswers(t *testing.T) {
	t.Helper()
	w := newWorld(t)
	raw := w.Raw(w.app2.Dir)
	// One length for both names, so that answers can be compared whole.
	absent := strings.Repeat("x", len(cards))
	var items [2]wire.GrantItem
	for i, name := range []string{cards, absent} {
		items[i] = w.ask(raw, testkit.DataItem(name, "decrypt")).Items[0]
		items[i].Name, items[i].AuditIndex = "", 0
	}
	if !bytes.Equal(wire.Marshal(items[0]), wire.Marshal(items[1])) {
		t.Errorf("a release tells a forbidden key from an absent one:\n%+v\n%+v", items[0], items[1])
	}
	var bodies [2]string
	for i, name := range []string{cards, absent} {
		in, err := json.Marshal(map[string]any{"items": []any{map[string]any{"op": "encrypt", "key": name, "plaintext": []byte("x")}}})
		if err != nil {
			t.Fatal(err)
		}
		a := w.Send(raw.Identity, testkit.Message{Method: "POST", Path: "/v1/use", Body: in})
		bodies[i] = strconv.Itoa(a.Status) + strings.ReplaceAll(string(a.Body), name, "KEY")
	}
	if bodies[0] != bodies[1] {
		t.Errorf("server-side use tells a forbidden key from an absent one:\n%s\n%s", bodies[0], bodies[1])
	}
	// An invite that exists, asked for with a wrong seed, and one that doesn't.
	invite, err := wire.ParseInvite(w.Invite("app7"))
	if err != nil {
		t.Fatal(err)
	}
	own, _, _ := w.Introduction()
	for i, id := range []wire.BodyID{invite.ID, {1, 2, 3}} {
		key := newKey(t)
		_, guess, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := wire.Sign(wire.TypeEnroll, wire.Marshal(wire.Enroll{
			Type: wire.TypeEnroll, Domain: w.Founded.Domain, Invite: id, CSR: csr(t, key), HPKE: wire.NewKey().Public(),
			Descriptor: wire.DescriptorHash(own), NotAfter: w.clock.Now().Add(30 * time.Second).UnixMilli(),
		}), guess, key)
		if err != nil {
			t.Fatal(err)
		}
		a := w.Send(nil, testkit.Message{Method: "POST", Path: "/v1/enroll", Body: w.Seal(wire.TypeEnroll, msg)})
		if a.Status != http.StatusUnauthorized {
			t.Errorf("a guessed seed: %d %s", a.Status, a.Body)
		}
		bodies[i] = string(a.Body)
	}
	if bodies[0] != bodies[1] {
		t.Errorf("enrolment tells an invite that exists from one that doesn't:\n%s\n%s", bodies[0], bodies[1])
	}
}

// Scenario 78: no name from data is ever executed, and two builds of one source are
// one program.
func TestScenario78_SupplyChain(t *testing.T) {
	t.Parallel()
	// The command line starts itself again, and what a person names after `run --`.
	runs := []string{"internal/cli"}
	product(t, func(name string, file *ast.File, fset *token.FileSet) {
		for _, i := range file.Imports {
			path, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if path == "plugin" || path == "os/exec" && !slices.Contains(runs, filepath.ToSlash(filepath.Dir(name))) {
				t.Errorf("%s imports %s", name, path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, _ := sel.X.(*ast.Ident)
			if pkg != nil && (pkg.Name == "os" && sel.Sel.Name == "StartProcess" || (pkg.Name == "syscall" || pkg.Name == "unix") && (sel.Sel.Name == "Exec" || sel.Sel.Name == "ForkExec")) {
				t.Errorf("%s: %s.%s", fset.Position(n.Pos()), pkg.Name, sel.Sel.Name)
			}
			return true
		})
	})
	var sums [2][32]byte
	for i := range sums {
		dir := filepath.Join(t.TempDir(), strings.Repeat("x", i*7)+"source")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"client", "envelope", "internal", "cmd"} {
			if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(top, part))); err != nil {
				t.Fatal(err)
			}
		}
		for _, file := range []string{"go.mod", "go.sum"} {
			data, err := os.ReadFile(filepath.Join(top, file))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, file), data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", "program", "./cmd/claviger")
		build.Dir = dir
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		data, err := os.ReadFile(filepath.Join(dir, "program"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte(dir)) {
			t.Error("the program tells where it was built")
		}
		sums[i] = sha256.Sum256(data)
	}
	if sums[0] != sums[1] {
		t.Error("two builds of one source differ")
	}
}

// numbers are the scenarios that this package has to show.
var numbers = [][2]int{{1, 27}, {33, 71}, {73, 73}, {75, 78}}

// TestEveryScenario holds that none of them is missing, and that each is there once.
func TestEveryScenario(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	have := map[int]string{}
	name := regexp.MustCompile(`^TestScenario(\d\d)_[A-Z]\w+$`)
	for _, f := range files {
		file, err := parser.ParseFile(token.NewFileSet(), f, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if m := name.FindStringSubmatch(fn.Name.Name); m != nil {
				n, err := strconv.Atoi(m[1])
				if err != nil {
					t.Fatal(err)
				}
				if other, twice := have[n]; twice {
					t.Errorf("scenario %d is both %s and %s", n, other, fn.Name.Name)
				}
				have[n] = fn.Name.Name
			} else if strings.HasPrefix(fn.Name.Name, "TestScenario") {
				t.Errorf("%s is not named after its scenario", fn.Name.Name)
			}
		}
	}
	for _, r := range numbers {
		for n := r[0]; n <= r[1]; n++ {
			if have[n] == "" {
				t.Errorf("scenario %d has no test", n)
			}
			delete(have, n)
		}
	}
	for n, f := range have {
		t.Errorf("scenario %d (%s) is not on the list", n, f)
	}
}
