// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	old := `// Payments.
@id("cards")
permit (principal, action, resource == Key::"pay/cards");

@id("gone") forbid (principal, action == Action::"sign", resource);
permit (principal is Admin, action, resource);
// 1
// 2
// 3
// 4
// 5
// 6
// 7
// 8
@id("last") permit (principal, action == Action::"mac", resource);
`
	changed := strings.Replace(old, "pay/cards", "pay/card", 1)
	changed = strings.Replace(changed, `@id("gone") forbid (principal, action == Action::"sign", resource);`+"\n", "", 1)
	changed = strings.Replace(changed, "// 8\n", "// 8\n@id(\"new\") permit (principal, action == Action::\"wrap\", resource);\n", 1)
	want := `changed  permit cards
added    permit new
removed  forbid gone
@@ old line 1, new line 1
  // Payments.
  @id("cards")
- permit (principal, action, resource == Key::"pay/cards");
+ permit (principal, action, resource == Key::"pay/card");
  
- @id("gone") forbid (principal, action == Action::"sign", resource);
  permit (principal is Admin, action, resource);
  // 1
  // 2
@@ old line 12, new line 11
  // 6
  // 7
  // 8
+ @id("new") permit (principal, action == Action::"wrap", resource);
  @id("last") permit (principal, action == Action::"mac", resource);
`
	if got := Diff([]byte(old), []byte(changed)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Diff([]byte(old), []byte(old)); got != "" {
		t.Errorf("equal sources: %s", got)
	}
}

// TestDiffHidesNothing: what a reader can't see on a terminal is written out.
func TestDiffHidesNothing(t *testing.T) {
	const base = "permit (principal, action, resource);\n"
	for name, test := range map[string]struct{ old, new, want string }{
		"bidi":          {"", "// a\u202eb\n", "+ // a⟨U+202E⟩b\n"},
		"escape":        {"", "// \x1b[2K\n", "+ // ⟨U+001B⟩[2K\n"},
		"not UTF-8":     {"", "// \xff\n", "+ // ⟨FF⟩\n"},
		"line ending":   {base, strings.ReplaceAll(base, "\n", "\r\n"), "+ permit (principal, action, resource);⟨U+000D⟩\n"},
		"last line":     {base, strings.TrimSuffix(base, "\n"), "+ permit (principal, action, resource);⟨no line feed at the end⟩\n"},
		"comment":       {base, "// x\n" + base, "no policy differs in itself\n"},
		"order":         {"@id(\"a\") " + base + "@id(\"b\") " + base, "@id(\"b\") " + base + "@id(\"a\") " + base, "no policy differs in itself\n"},
		"unreadable":    {base, "permit", "the new source can't be read"},
		"was broken":    {"permit", base, "the old source can't be read"},
		"unnamed":       {base, "// x\nforbid (principal, action, resource);\n" + base, "added    forbid policy1\n@@"},
		"unnamed goes":  {"forbid (principal, action, resource);\n" + base, base, "removed  forbid policy1\n@@"},
		"name in text":  {base, `permit (principal, action, resource) when { context.partition == "@id" };`, "added    permit policy1\n"},
		"all different": {"a\nb\n", "c\nd\n", "- a\n- b\n+ c\n+ d\n"},
	} {
		got := Diff([]byte(test.old), []byte(test.new))
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: got\n%s\nwant %q in it", name, got, test.want)
		}
	}
}

// TestDiffOfManyAlikeLines is the costly case of other methods: with a quadratic
// one this test would run for minutes.
func TestDiffOfManyAlikeLines(t *testing.T) {
	var a, b strings.Builder
	for i := range 200_000 {
		fmt.Fprintf(&a, "%d\n", i%7)
		fmt.Fprintf(&b, "%d\n", i%11)
	}
	text := Diff([]byte(a.String()), []byte(b.String()))
	if removed := strings.Count(text, "\n- "); removed < 100_000 {
		t.Errorf("%d lines removed", removed)
	}
}
