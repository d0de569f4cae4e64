// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse: whatever parses can be asked everything, keeps its bytes, and says
// the same when its policies are put together again.
func FuzzParse(f *testing.F) {
	for _, source := range []string{
		"", "// x", `permit (principal, action, resource);`,
		`@id("a") @description("b") forbid (principal is Workload in Path::"a/b", action in [Action::"encrypt", Action::"mac"], resource in Folder::"p") when { principal has region && ["eu"].contains(principal.region) } unless { context has reason && context.reason like "x*" };`,
		`permit (principal == Workload::"spiffe://acme.example/workload/app1", action == Action::"sign", resource == Key::"p/k") when { if context.time < datetime("2026-01-01") then resource.hasTag("x") && resource.getTag("x") == "y" else !(principal.files.containsAll(["a"])) };`,
		`permit (principal is Workload, action, resource) when { principal has files && ["a"].containsAll(principal.files) && principal has attestation && -principal.attestation + 1 * 2 - 3 < 9 };`,
		"permit (principal, action, resource) when { \"\\u{41}\\\"\\*\" == context.partition };", "/* ; */ permit(principal,action,resource)/*;*/;",
		strings.Repeat("(", 70), strings.Repeat("!", 10), "permit (principal, action, resource) when { ((((((true)))))) };",
		"@", "@id", `@id("`, "\"", "permit (principal, action, resource) when { context.purpose has a.b.c };",
	} {
		f.Add([]byte(source))
	}
	q := at("encrypt", "p/k", app("team/app1", map[string]any{"region": "eu", "attestation": 2, "files": []string{"a"}}))
	q.Resource.Tags = map[string]string{"x": "y"}
	f.Fuzz(func(t *testing.T, source []byte) {
		s, err := Parse(source)
		if err != nil {
			if s != nil {
				t.Fatal("a set beside an error")
			}
			return
		}
		if !bytes.Equal(s.Source(), source) || !utf8.Valid(source) {
			t.Fatal("the source changed")
		}
		d := s.Decide(q)
		s.Explain(q)
		s.WhoCan(q.Action, q.Resource, []Principal{q.Principal})
		var again strings.Builder
		for _, p := range s.Policies() {
			again.WriteString(p.Text + "\n")
		}
		s2, err := Parse([]byte(again.String()))
		if err != nil {
			t.Fatalf("the texts of the policies don't parse: %v", err)
		}
		if d2 := s2.Decide(q); d2.Allowed != d.Allowed || d2.Alarm != d.Alarm {
			t.Fatalf("the texts of the policies decide otherwise: %+v, %+v", d, d2)
		}
	})
}

// FuzzAllow: a permit is written for exactly what was asked, or not at all.
func FuzzAllow(f *testing.F) {
	f.Add("app1", "payments/cards", "encrypt", "")
	f.Add("spiffe://acme.example/workload/a", "k", "secret:read", "// x")
	f.Add(`a"`, "k\n", "mac", "permit (principal, action, resource);")
	f.Add("a", `x" } y`, "secret:write", "/*")
	f.Fuzz(func(t *testing.T, who, key, action, source string) {
		before, err := Parse([]byte(source))
		if err != nil {
			return
		}
		out, name, err := Allow([]byte(source), who, key, []string{action})
		if err != nil {
			return
		}
		after := mustParse(t, string(out))
		if len(after.rules) > len(before.rules)+1 || !strings.HasPrefix(string(out), source) && len(after.rules) != len(before.rules) {
			t.Fatalf("more than one policy was added:\n%s", out)
		}
		p := Workload(who, domain)
		if !strings.HasPrefix(who, "spiffe://") {
			p = app(who, nil)
		}
		q := at(action, key, p)
		if strings.HasPrefix(action, "secret:") {
			q.Resource.Type = "Secret"
		}
		if len(id(who)) > 256 && strings.HasPrefix(p.ID, id("")) {
			return // a path that is too long for a SPIFFE id names nobody
		}
		d := after.Decide(q)
		if !d.Allowed && len(before.rules) == 0 {
			t.Fatalf("%s isn't permitted by %s: %+v\n%s", who, name, d, out)
		}
		q.Principal = app("somebody/else", nil)
		if got, want := after.Decide(q), before.Decide(q); got.Allowed != want.Allowed && who != "somebody/else" && who != id("somebody/else") {
			t.Fatalf("somebody else gained from it:\n%s", out)
		}
	})
}

// FuzzDiff: the lines of a diff that aren't removed are lines of the new source,
// and the other way round.
func FuzzDiff(f *testing.F) {
	f.Add([]byte("a\nb\nc\n"), []byte("a\nc\nb"))
	f.Add([]byte("a\na\na\n"), []byte("a\n"))
	f.Add([]byte(""), []byte("x\r\n\xff"))
	f.Fuzz(func(t *testing.T, old, new []byte) {
		a, b := splitLines(old), splitLines(new)
		var gotA, gotB []string
		i, j := 0, 0
		for _, c := range blocks(a, b) {
			if c.aStart-i != c.bStart-j || c.aStart < i || c.bStart < j || c.aEnd < c.aStart || c.bEnd < c.bStart {
				t.Fatalf("block %+v after %d, %d", c, i, j)
			}
			gotA = append(append(gotA, b[j:c.bStart]...), a[c.aStart:c.aEnd]...)
			gotB = append(append(gotB, a[i:c.aStart]...), b[c.bStart:c.bEnd]...)
			i, j = c.aEnd, c.bEnd
		}
		gotA, gotB = append(gotA, b[j:]...), append(gotB, a[i:]...)
		if strings.Join(gotA, "") != string(old) || strings.Join(gotB, "") != string(new) {
			t.Fatalf("the blocks don't lead from one to the other:\n%q\n%q\n%+v", old, new, blocks(a, b))
		}
		text := Diff(old, new)
		if (text == "") != bytes.Equal(old, new) || !utf8.ValidString(text) {
			t.Fatalf("diff %q", text)
		}
	})
}
