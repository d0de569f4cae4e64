// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"os"
	"strings"
	"testing"
)

// TestDocumentation: every policy that docs/policy.md shows is valid, and every
// word of the schema is explained there.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "```cedar\n")[1:]
	if len(blocks) < 2 {
		t.Fatalf("%d policies shown", len(blocks))
	}
	for _, b := range blocks {
		source, _, _ := strings.Cut(b, "```")
		mustParse(t, source)
	}
	v := words()
	for _, name := range Actions() {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("action %s isn't explained", name)
		}
	}
	for entity, e := range v.entities {
		if !strings.Contains(string(text), string(entity)) {
			t.Errorf("type %s isn't explained", entity)
		}
		for name := range e.attributes {
			if !strings.Contains(string(text), "`"+string(name)+"`") {
				t.Errorf("attribute %s of %s isn't explained", name, entity)
			}
		}
	}
	for name := range v.context {
		if !strings.Contains(string(text), "`"+string(name)+"`") {
			t.Errorf("context.%s isn't explained", name)
		}
	}
}

// TestAllowIsAsDocumented compares Allow with the permit that docs/policy.md shows
// for it.
func TestAllowIsAsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := Allow(nil, "app1", "payments/cards", []string{"encrypt"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "```cedar\n"+string(out)+"```") {
		t.Errorf("docs/policy.md doesn't show\n%s", out)
	}
}
