// SPDX-License-Identifier: Apache-2.0

package arch

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const lastThreat = 95

var (
	threatRow   = regexp.MustCompile(`(?m)^\| (T-\d\d) \| [^|]+ \| ([^|]+) \| ([^|]*)\|$`)
	citedTest   = regexp.MustCompile("`(\\w+)\\.(Test\\w+)`")
	citedThreat = regexp.MustCompile(`\bT-\d\d\b`)
)

// threatRows reads the page: the tests each threat's row names. A row that is
// open names none.
func threatRows(page string) (rows map[string][][]string, bad []string) {
	rows = map[string][][]string{}
	for _, m := range threatRow.FindAllStringSubmatch(page, -1) {
		id, tests := m[1], citedTest.FindAllStringSubmatch(m[3], -1)
		if _, twice := rows[id]; twice {
			bad = append(bad, id+" stands twice")
		}
		if open := strings.HasPrefix(m[2], "open: "); open != (len(tests) == 0) {
			bad = append(bad, id+" has to name a test, or to say that it is open and why")
		}
		rows[id] = tests
	}
	for i := range lastThreat {
		id := fmt.Sprintf("T-%02d", i+1)
		if _, ok := rows[id]; !ok {
			bad = append(bad, id+" is missing, or its row is not of four cells")
		}
	}
	if len(rows) != lastThreat {
		bad = append(bad, fmt.Sprintf("%d rows, want %d", len(rows), lastThreat))
	}
	return rows, bad
}

// testNames lists "package.TestX" for every test of the tree, the package by
// the last part of its directory.
func testNames(sources []*source) map[string]bool {
	out := map[string]bool{}
	for _, s := range sources {
		if !s.test {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				out[filepath.Base(s.dir())+"."+f.Name.Name] = true
			}
		}
	}
	return out
}

// TestThreatModel holds docs/threat-model.md to what the tree shows.
func TestThreatModel(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(top, "docs", "threat-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows, bad := threatRows(string(page))
	for _, b := range bad {
		t.Error(b)
	}
	sources := tree(t)
	known := testNames(sources)
	for id, tests := range rows {
		for _, m := range tests {
			if name := m[1] + "." + m[2]; !known[name] {
				t.Errorf("%s: there is no test %s", id, name)
			}
		}
	}
	for _, s := range sources {
		if s.in("internal/arch") {
			continue
		}
		for _, id := range citedThreat.FindAllString(string(s.text), -1) {
			if len(rows[id]) == 0 {
				t.Errorf("%s cites %s, which is open or no threat", s.path, id)
			}
		}
	}
}

func TestThreatModelIsRead(t *testing.T) {
	page := "| T-01 | a | b | `x.TestA`, `y.TestB` |\n| T-02 | a | open: because | |\n"
	rows, bad := threatRows(page)
	if len(rows) != 2 || len(rows["T-01"]) != 2 || rows["T-01"][1][2] != "TestB" || len(bad) != lastThreat-2+1 { // each missing one, and the number
		t.Errorf("rows %v, bad %v", rows, bad)
	}
	for _, wrong := range []string{"| T-03 | a | b | |\n", "| T-03 | a | open: why | `x.TestA` |\n", "| T-01 | a | b | `x.TestA` |\n"} {
		if _, more := threatRows(page + wrong); len(more) < len(bad) || !strings.Contains(strings.Join(more, "\n"), wrong[2:6]) {
			t.Errorf("%q is taken: %v", wrong, more)
		}
	}
}
