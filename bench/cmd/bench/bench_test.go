// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"claviger/bench/report"
)

// TestMeasurements does each thing once: what doesn't work has no speed.
func TestMeasurements(t *testing.T) {
	for name, prepare := range measurements {
		op, _, err := prepare([]string{t.TempDir(), "1048576"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := op(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := measure("nothing", nil); err == nil {
		t.Error("nothing was measured")
	}
}

// TestRowsAreMeasured: a row that nothing measures would show a dash for ever.
func TestRowsAreMeasured(t *testing.T) {
	var names []string
	for _, r := range inMemoryRows {
		names = append(names, r.name)
	}
	for _, r := range smallRows {
		names = append(names, r.name)
	}
	for _, name := range names {
		if _, ok := measurements[name]; !ok {
			t.Errorf("nothing measures %q", name)
		}
	}
}

func TestArgs(t *testing.T) {
	if got := args("tool", "-o", "OUT", "IN", "--INSIDE")("a", "b"); !slices.Equal(got, []string{"tool", "-o", "b", "a", "--INSIDE"}) {
		t.Errorf("%q", got)
	}
}

// TestFastest: ciphers that don't authenticate, ours and the limit are no peers.
func TestFastest(t *testing.T) {
	b := &bench{found: report.Rounds{}}
	var tools []tool
	for i, name := range []string{"slow", "peer", "weak", ours, plain} {
		tools = append(tools, tool{name: name, shown: name, weaker: name == "weak"})
		b.found.Add(name+"/encrypt/", float64(i+1))
	}
	if got := b.fastest(tools, "encrypt", ""); got.name != "peer" {
		t.Errorf("the fastest peer is %q", got.name)
	}
}

// TestPlaces: the page has a place for each group's text.
func TestPlaces(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if !strings.Contains(string(page), "<!-- bench:"+g.name+" -->") {
			t.Errorf("no place for %q", g.name)
		}
	}
}
