// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const output = `goos: linux
pkg: claviger/x
BenchmarkOne-2         	  744158	       479.4 ns/op	     200 B/op	       6 allocs/op
BenchmarkOne-2         	  744158	       481.0 ns/op	     200 B/op	       6 allocs/op
BenchmarkOne-2         	  744158	      1000 ns/op	     200 B/op	       6 allocs/op
BenchmarkSub/fast/16KiB-2	100	3413 ns/op	4800.02 MB/s
BenchmarkSub/slow	100	3413 ns/op	2400.01 MB/s	12 leaves/s
BenchmarkSub/slow	100	9413 ns/op	1400.01 MB/s	9 leaves/s
PASS
ok  	claviger/x	4.325s
`

func TestFigures(t *testing.T) {
	f := figures{}
	f.read("./x", strings.NewReader(output))
	for _, c := range []struct {
		name, unit string
		want       float64
	}{{"One", "ns/op", 479.4}, {"One", "allocs/op", 6}, {"Sub/fast/16KiB", "MB/s", 4800.02}, {"Sub/slow", "leaves/s", 12}} {
		if got, err := f.best("./x", c.name, c.unit); err != nil || got != c.want {
			t.Errorf("%s %s = %v, %v, want %v", c.name, c.unit, got, err, c.want)
		}
	}
	for _, name := range []string{"Two", "Sub", "Sub/fast"} {
		if _, err := f.best("./x", name, "ns/op"); err == nil {
			t.Errorf("%s has a figure", name)
		}
	}
	if _, err := f.best("./y", "One", "ns/op"); err == nil {
		t.Error("a figure of another package was taken")
	}
}

func TestCells(t *testing.T) {
	f := figures{}
	f.read("./x", strings.NewReader(output))
	for want, r := range map[string]row{
		"a|479 ns||6":                   {what: "a", pkg: "./x", name: "One", form: span},
		"a|2,085,941/s||":               {what: "a", pkg: "./x", name: "One", form: rate},
		"a|2,400 MB/s|0.50 × the fast|": {what: "a", pkg: "./x", name: "Sub/slow", form: speed, to: "Sub/fast/16KiB", toWhat: "the fast"},
	} {
		got, err := r.cells(f)
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("%q, %v, want %q", strings.Join(got, "|"), err, want)
		}
	}
	for _, r := range []row{{pkg: "./x", name: "Two"}, {pkg: "./x", name: "One", form: speed}, {pkg: "./x", name: "Sub/slow", to: "Two"}} {
		if _, err := r.cells(f); err == nil {
			t.Errorf("%+v has cells", r)
		}
	}
}

func TestShow(t *testing.T) {
	for want, got := range map[string]string{
		"3.41 µs": span.show(3413), "31.5 ms": lag.show(31.49), "26.1 ns": span.show(26.08), "21.3 ms": span.show(21_349_000), "1.23 s": span.show(1.234e9), "123 ms": cpuSpan.show(123e6), "2,000/s": cpuRate.show(500_000), "9.50 MiB": ownSize.show(9.5), "t = 1.3": welch.show(1.254), "1,234,567/s": rate.show(810.0006), "24.6 MiB": size.show(24.59), "51.3 KiB": each.show(51.27), "398 B": perKey.show(397.8), "26.0 s": replaySpan.show(26.04e9),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestMemory(t *testing.T) {
	if got := memory("24684084 kB"); got != "23.5 GiB" {
		t.Errorf("%q", got)
	}
	if got := memory(""); got != "unknown" {
		t.Errorf("%q", got)
	}
}

// Rows name benchmarks that exist, in one block a section, and the sections of
// one name stand together.
func TestRows(t *testing.T) {
	var sections []string
	for _, r := range rows {
		files, err := filepath.Glob(filepath.Join("..", "..", "..", r.pkg, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, text...)
		}
		for _, name := range []string{r.name, r.to} {
			top, _, _ := strings.Cut(name, "/")
			if name != "" && !regexp.MustCompile(`(?m)^func Benchmark`+top+`\(`).Match(all) {
				t.Errorf("%s has no benchmark %s", r.pkg, top)
			}
		}
		if (r.to == "") != (r.toWhat == "") {
			t.Errorf("%s: compared with what?", r.what)
		}
		if len(sections) == 0 || sections[len(sections)-1] != r.section {
			if slices.Contains(sections, r.section) {
				t.Errorf("section %q is in two places", r.section)
			}
			sections = append(sections, r.section)
		}
	}
}

// TestRun runs a benchmark of a module of its own.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":         "module thing\n\ngo 1.26\n",
		"x/x.go":         "package x\n",
		"x/x_test.go":    "package x\n\nimport \"testing\"\n\nfunc BenchmarkOne(b *testing.B) { for b.Loop() { } }\n\nfunc BenchmarkTwo(b *testing.B) { b.Error(\"not wanted\") }\n",
		"bad/bad.go":     "package bad\n",
		"bad/b_test.go":  "package bad\n\nimport \"testing\"\n\nfunc BenchmarkOne(b *testing.B) { b.Error(\"broken\") }\n",
		"none/none.go":   "package none\n",
		"none/n_test.go": "package none\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := options{root: dir, time: time.Millisecond, count: 2}
	var out, progress bytes.Buffer
	err := o.table(t.Context(), []row{{section: "Things", what: "one", pkg: "./x", name: "One", form: span}}, &out, &progress)
	if err != nil || !strings.Contains(out.String(), "| Things | figure |") || !strings.Contains(out.String(), "\n| one | ") || !strings.HasPrefix(out.String(), "Machine: ") {
		t.Errorf("%v\n%s", err, out.String())
	}
	for _, pkg := range []string{"./bad", "./none"} {
		out.Reset()
		if err := o.table(t.Context(), []row{{what: "one", pkg: pkg, name: "One"}}, &out, &progress); err == nil {
			t.Errorf("%s: a table without figures:\n%s", pkg, out.String())
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{{"extra"}, {"-count", "0"}, {"-benchtime", "0s"}, {"-bogus"}, {"-only", "no row says this"}, {"-only", "("}} {
		var out bytes.Buffer
		if run(t.Context(), args, &out, &out) == 0 {
			t.Errorf("%q ended well", args)
		}
	}
}
