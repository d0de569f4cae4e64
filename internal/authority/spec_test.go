// SPDX-License-Identifier: Apache-2.0

package authority

import (
	"os"
	"strings"
	"testing"

	"claviger/internal/wire"
)

// rows reads the table of kinds in the specification: the cells of each row that
// has four and begins with a kind.
func rows(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/spec/authority-log.md")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 {
			continue
		}
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		if strings.Contains(cells[0], ".") && strings.HasPrefix(cells[2], "[") {
			out[cells[0]] = cells[1:]
		}
	}
	return out
}

// TestSpecification holds the table of docs/spec/authority-log.md to the code:
// every kind with its rule, its object and the number of its payload's elements.
func TestSpecification(t *testing.T) {
	names := map[Rule]string{
		Quorum: "quorum", Chain: "chain", OneAdmin: "one admin", QuorumIfLoose: "quorum if loose", RuledAdmin: "ruled admin",
		AdminOrServer: "admin or server", RecoverQuorum: "recovery quorum", ServerAlone: "server",
	}
	spec := rows(t)
	for kind, rule := range Table() {
		if row := spec[kind]; row == nil || row[2] != names[rule] {
			t.Errorf("%s: the specification says %v, the table %s", kind, row, names[rule])
		}
	}
	if len(spec) != len(Table()) {
		t.Errorf("%d kinds in the specification, %d in the table", len(spec), len(Table()))
	}
	for _, f := range append(fixtures(), endpointFixtures()...) {
		row := spec[f.kind]
		if row == nil || f.variant != "" {
			continue
		}
		payload, _ := f.prepare(newTableKit(t))
		if have, want := int(wire.Marshal(payload)[0]&0x1f), strings.Count(row[1], ",")+1; have != want {
			t.Errorf("%s: a payload of %d elements, specified are %d", f.kind, have, want)
		}
		object, _, _ := strings.Cut(Object(payload), ":")
		if f.kind != KindRecoverBegin && !strings.HasPrefix(row[0], object) {
			t.Errorf("%s: about %s, specified is %s", f.kind, object, row[0])
		}
	}
}
