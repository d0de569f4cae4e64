// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const good = `why: sums must add
package: ./sum
test: TestAdd$
--- find sum/sum.go
	return a + b
--- replace
	return a - b
`

// checkout writes a small module with mutants and returns its root.
func checkout(t *testing.T, mutants map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"go.mod":     "module thing\n\ngo 1.26\n",
		"sum/sum.go": "package sum\n\nfunc Add(a, b int) int {\n\treturn a + b\n}\n\nfunc Twice(a int) int {\n\treturn 2 * a\n}\n\nfunc Wait(n int) int {\n\treturn n\n}\n",
		"sum/sum_test.go": `package sum

import (
	"os"
	"testing"
)

func TestAdd(t *testing.T) {
	if Add(2, 3) != 5 {
		t.Error("two and three")
	}
	if _, err := os.Stat("sum.go"); err != nil {
		t.Error("not run in the package's directory")
	}
}

func TestTwice(t *testing.T) { Twice(2) }

func TestWait(t *testing.T) {
	if Wait(1) != 1 {
		select {}
	}
}

func TestBroken(t *testing.T) { t.Error("always") }
`,
	}
	for name, text := range mutants {
		files["test/mutants/"+name+suffix] = text
	}
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// variant is the good mutant with something replaced.
func variant(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(good) }

func TestVerdicts(t *testing.T) {
	twice := variant("TestAdd$", "TestTwice", "return a + b", "return 2 * a", "return a - b", "return 3 * a")
	cases := []struct {
		name, mutant, out string
		code              int
	}{
		{"killed", good, "killed   sum/01  TestAdd", 0},
		{"killed by hanging", variant("TestAdd$", "TestWait", "return a + b", "return n", "return a - b", "return n + 1"), "killed   sum/01  panic: test timed out", 0},
		{"killed by any test", variant("test: TestAdd$\n", "", "./sum", "./sum"), "BROKEN", 1}, // TestBroken fails without it
		{"survivor", twice, "SURVIVED sum/01: sums must add", 1},
		{"moved code", variant("return a + b", "return b + a"), "STALE sum/01: stale: the lines to find stand 0 times", 1},
		{"no such file", variant("sum/sum.go", "sum/gone.go"), "STALE", 1},
		{"does not build", variant("return a - b", "return nothing"), "BROKEN sum/01: does not build", 1},
		{"no such test", variant("TestAdd$", "TestNone"), "no test of ./sum matches", 1},
		{"test fails anyway", variant("TestAdd$", "TestBroken"), "the tests fail without any mutant: TestBroken", 1},
		{"no such package", variant("./sum", "./none"), "BROKEN", 1},
		{"misspelt key", variant("why:", "wy:"), "unknown key", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			root := checkout(t, map[string]string{"sum/01": c.mutant})
			before, _ := os.ReadFile(filepath.Join(root, "sum", "sum.go"))
			var out bytes.Buffer
			code := run(t.Context(), []string{"-root", root, "-timeout", "2s"}, &out, &out)
			if code != c.code || !strings.Contains(out.String(), c.out) {
				t.Errorf("code %d, want %d and %q in:\n%s", code, c.code, c.out, out.String())
			}
			if after, _ := os.ReadFile(filepath.Join(root, "sum", "sum.go")); !bytes.Equal(before, after) {
				t.Error("the checkout was changed")
			}
		})
	}
}

func TestChoosing(t *testing.T) {
	root := checkout(t, map[string]string{
		"sum/01":   variant("why:", "ci: yes\nwhy:"),
		"sum/02":   good,
		"other/01": good,
	})
	for args, want := range map[string]string{"": "killed 3/3", "-only ci": "killed 1/1", "-area sum": "killed 2/2", "-area sum -only ci": "killed 1/1"} {
		var out bytes.Buffer
		code := run(t.Context(), append([]string{"-root", root}, strings.Fields(args)...), &out, &out)
		if code != 0 || !strings.HasSuffix(out.String(), want+"\n") {
			t.Errorf("%q: code %d, want %s in:\n%s", args, code, want, out.String())
		}
	}
	for _, args := range []string{"-area none", "-only some", "-j 0", "extra", "-bogus"} {
		var out bytes.Buffer
		if run(t.Context(), append([]string{"-root", root}, strings.Fields(args)...), &out, &out) == 0 {
			t.Errorf("%q ended well", args)
		}
	}
}

// What is left out of a run must still fit, or a stale mutant hides until the
// next full one.
func TestStaleMutantsAreFoundInEveryRun(t *testing.T) {
	root := checkout(t, map[string]string{"sum/01": variant("why:", "ci: yes\nwhy:"), "sum/02": variant("a + b", "moved")})
	var out bytes.Buffer
	if code := run(t.Context(), []string{"-root", root, "-only", "ci"}, &out, &out); code != 1 || !strings.Contains(out.String(), "STALE sum/02") {
		t.Errorf("code %d:\n%s", code, out.String())
	}
}

func TestTooManyInEveryRun(t *testing.T) {
	mutants := map[string]string{}
	for i := range maxCI + 1 {
		mutants[fmt.Sprintf("sum/%02d", i)] = variant("why:", "ci: yes\nwhy:")
	}
	var out bytes.Buffer
	if code := run(t.Context(), []string{"-root", checkout(t, mutants), "-only", "ci"}, &out, &out); code != 1 || !strings.Contains(out.String(), "at most 60") {
		t.Errorf("code %d:\n%s", code, out.String())
	}
}

func TestInterruptedRunIsNoSuccess(t *testing.T) {
	root := checkout(t, map[string]string{"sum/01": good})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if code := run(ctx, []string{"-root", root}, &out, &out); code == 0 {
		t.Errorf("ended well:\n%s", out.String())
	}
}

func TestParse(t *testing.T) {
	m, err := parse("sum/01", variant("why:", "ci: yes\nwhy:")+"--- find sum/two.go\nx\n\ny\n--- replace\n")
	if err != nil {
		t.Fatal(err)
	}
	if !m.ci || m.area() != "sum" || m.pkg != "./sum" || m.tests != "TestAdd$" || m.why != "sums must add" {
		t.Errorf("header: %+v", m)
	}
	if len(m.edits) != 2 || m.edits[0] != (edit{"sum/sum.go", "\treturn a + b\n", "\treturn a - b\n"}) || m.edits[1] != (edit{"sum/two.go", "x\n\ny\n", ""}) {
		t.Errorf("edits: %+v", m.edits)
	}
	bad := map[string]string{
		"nothing":            "",
		"no why":             variant("why: sums must add\n", ""),
		"no package":         variant("package: ./sum\n", ""),
		"odd package":        variant("./sum", "sum"),
		"unknown key":        variant("test:", "tests:"),
		"twice":              "why: again\n" + good,
		"empty value":        variant("TestAdd$", ""),
		"ci: no":             "ci: no\n" + good,
		"no edit":            "why: x\npackage: ./x\n",
		"no replace":         variant("--- replace\n", ""),
		"two finds":          good + "--- find a.go\nx\n--- find b.go\ny\n--- replace\n",
		"two replaces":       good + "--- replace\n",
		"replace first":      "why: x\npackage: ./x\n--- replace\n",
		"unknown block":      good + "--- end\n",
		"empty find":         variant("\treturn a + b\n", "\n"),
		"changes nothing":    variant("a - b", "a + b"),
		"outside":            variant("sum/sum.go", "../sum.go"),
		"absolute":           variant("sum/sum.go", "/sum.go"),
		"a test":             variant("sum/sum.go", "sum/sum_test.go"),
		"text without colon": "hello\n" + good,
	}
	for name, text := range bad {
		if _, err := parse("sum/01", text); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, name := range []string{"01", "a/b/01"} {
		if _, err := parse(name, good); err == nil {
			t.Errorf("name %s was taken", name)
		}
	}
}

func TestApply(t *testing.T) {
	root := t.TempDir()
	text := "one\ntwo\n\ttwo\nthree\nthree\nend"
	if err := os.WriteFile(filepath.Join(root, "a.go"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct{ name, find, replace, want string }{
		{"once", "one\n", "1\n", "1\ntwo\n\ttwo\nthree\nthree\nend"},
		{"removed", "one\n", "", "two\n\ttwo\nthree\nthree\nend"},
		{"only at the beginning of a line", "two\n", "2\n", "one\n2\n\ttwo\nthree\nthree\nend"},
		{"several lines", "\ttwo\nthree\n", "x\n", "one\ntwo\nx\nthree\nend"},
		{"twice", "three\n", "3\n", ""},
		{"never", "four\n", "4\n", ""},
		{"whole lines", "on\n", "1\n", ""},
		{"last line lacks its line feed", "end\n", "x\n", ""},
	}
	for _, c := range cases {
		m := &mutant{edits: []edit{{"a.go", c.find, c.replace}}}
		got, err := m.apply(root)
		if c.want == "" {
			if !errors.Is(err, errStale) {
				t.Errorf("%s: got %q, %v", c.name, got["a.go"], err)
			}
			continue
		}
		if err != nil || string(got["a.go"]) != c.want {
			t.Errorf("%s: got %q, %v", c.name, got["a.go"], err)
		}
	}
	m := &mutant{edits: []edit{{"a.go", "one\n", "1\n"}, {"a.go", "end\n", "x\n"}}}
	if _, err := m.apply(root); !errors.Is(err, errStale) {
		t.Errorf("second edit: %v", err)
	}
	m.edits[1] = edit{"a.go", "two\n", "2\n"}
	if got, err := m.apply(root); err != nil || !strings.HasPrefix(string(got["a.go"]), "1\n2\n") {
		t.Errorf("two edits of one file: %q, %v", got["a.go"], err)
	}
}
