// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"strings"
	"testing"
)

func TestAllow(t *testing.T) {
	out, name, err := Allow(nil, "app1", "payments/cards", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `@id("allow-app1:payments/cards")
permit (
    principal is Workload,
    action in [Action::"decrypt", Action::"encrypt", Action::"mac", Action::"release", Action::"sign", Action::"unwrap", Action::"verify", Action::"wrap"],
    resource == Key::"payments/cards"
)
when { principal has path && principal.path == "app1" };
`
	if string(out) != want || name != "allow-app1:payments/cards" {
		t.Errorf("got %s\n%s", name, out)
	}
	s := mustParse(t, string(out))
	for _, test := range []struct {
		request Request
		want    bool
	}{
		{at("encrypt", "payments/cards", app("app1", nil)), true},
		{at("release", "payments/cards", app("app1", nil)), true},
		{at("export", "payments/cards", app("app1", nil)), false},
		{at("key:create", "payments/cards", app("app1", nil)), false},
		{at("encrypt", "payments/card", app("app1", nil)), false},
		{at("encrypt", "payments/cards", app("app1/x", nil)), false},
		{at("encrypt", "payments/cards", Workload("spiffe://evil.example/workload/app1", domain)), false},
		{at("encrypt", "payments/cards", Admin("app1", "")), false},
		{at("encrypt", "payments/cards", Subject("app1", "app1", "xks")), false},
	} {
		if d := s.Decide(test.request); d.Allowed != test.want {
			t.Errorf("%s %s by %s: %+v", test.request.Action, test.request.Resource.Name, test.request.Principal.ID, d)
		}
	}
}

func TestAllowBySPIFFEID(t *testing.T) {
	out, name, err := Allow([]byte("// ours"), "spiffe://outside.example/workload/app1", "k", []string{"encrypt"})
	if err != nil {
		t.Fatal(err)
	}
	want := `// ours

@id("allow-spiffe://outside.example/workload/app1:k")
permit (
    principal == Workload::"spiffe://outside.example/workload/app1",
    action in [Action::"encrypt", Action::"release"],
    resource == Key::"k"
);
`
	if string(out) != want || name != "allow-spiffe://outside.example/workload/app1:k" {
		t.Errorf("got %s\n%s", name, out)
	}
	s := mustParse(t, string(out))
	if !s.Decide(at("encrypt", "k", Workload("spiffe://outside.example/workload/app1", domain))).Allowed ||
		s.Decide(at("encrypt", "k", app("app1", nil))).Allowed {
		t.Error("the permit doesn't mean the one id")
	}
}

func TestAllowAgain(t *testing.T) {
	base := "permit (principal == Admin::\"alice\", action, resource); // first\n"
	once, name, err := Allow([]byte(base), "app1", "k", []string{"encrypt"})
	if err != nil {
		t.Fatal(err)
	}
	twice, again, err := Allow(once, "app1", "k", []string{"encrypt"})
	if err != nil || string(twice) != string(once) || again != name {
		t.Errorf("not idempotent: %v\n%s", err, twice)
	}
	tail := string(once) + "// last"
	wide, _, err := Allow([]byte(tail), "app1", "k", []string{"decrypt"})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(tail, `[Action::"encrypt", `, `[Action::"decrypt", Action::"encrypt", `, 1)
	if string(wide) != want {
		t.Errorf("widened:\n%s", wide)
	}
	if _, _, err := Allow(wide, "app1", "k", []string{"encrypt"}); err == nil || !strings.Contains(err.Error(), "already gives more: decrypt too") {
		t.Errorf("narrowing: %v", err)
	}
	edited := strings.Replace(string(once), ");\nwhen", ")\nwhen", 1)
	edited = strings.Replace(edited, `== "app1" }`, `== "app1" && context.partition == "x" }`, 1)
	if _, _, err := Allow([]byte(edited), "app1", "k", nil); err == nil || !strings.Contains(err.Error(), "edited by hand") {
		t.Errorf("edited: %v", err)
	}
	taken := `@id("allow-app1:k") forbid (principal, action, resource);`
	if _, _, err := Allow([]byte(taken), "app1", "k", nil); err == nil || !strings.Contains(err.Error(), "edited by hand") {
		t.Errorf("forbid under the name: %v", err)
	}
}

func TestAllowSecrets(t *testing.T) {
	out, name, err := Allow(nil, "app1", "db/Main Password", []string{"secret:read"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(name, "allow-") || strings.Contains(name, " ") {
		t.Errorf("name %q", name)
	}
	r := at("secret:read", "", app("app1", nil))
	r.Resource = Resource{Type: "Secret", Name: "db/Main Password"}
	if s := mustParse(t, string(out)); !s.Decide(r).Allowed {
		t.Error("not permitted")
	}
	_, key, err := Allow(nil, "secret-k", "k", nil)
	_, secret, err2 := Allow(nil, "k", "k", []string{"secret:read"})
	if err != nil || err2 != nil || key == secret {
		t.Errorf("names %q and %q", key, secret)
	}
}

// TestAllowQuotesSecretNames: a secret's name may hold what means something in
// Cedar; it must come out as one literal.
func TestAllowQuotesSecretNames(t *testing.T) {
	for _, name := range []string{`x"`, `x", action, resource) when { true }; /* `, `\u{41}`, `a\`, "näme", "e\u0301", "\u0301x", `*`} {
		out, _, err := Allow(nil, "app1", name, []string{"secret:read"})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		s := mustParse(t, string(out))
		if len(s.Policies()) != 1 {
			t.Errorf("%q became %d policies", name, len(s.Policies()))
		}
		for other, want := range map[string]bool{name: true, "db": false} {
			r := at("secret:read", "", app("app1", nil))
			r.Resource = Resource{Type: "Secret", Name: other}
			if got := s.Decide(r).Allowed; got != want {
				t.Errorf("grant for %q, request for %q: %v", name, other, got)
			}
		}
	}
}

func TestAllowRefuses(t *testing.T) {
	tests := []struct {
		name, source, who, key string
		only                   []string
	}{
		{"nobody", "", "", "k", nil},
		{"everybody", "", "*", "k", nil},
		{"upper case", "", "App1", "k", nil},
		{"two workloads", "", "app1,app2", "k", nil},
		{"space", "", "app1 ", "k", nil},
		{"slash at the end", "", "team/", "k", nil},
		{"dots", "", "team/../app1", "k", nil},
		{"half a SPIFFE id", "", "spiffe://acme.example/app1", "k", nil},
		{"quote", "", `app1"`, "k", nil},
		{"line break", "", "app1\n", "k", nil},
		{"other alphabet", "", "аpp1", "k", nil},
		{"literal", "", `Admin::"alice"`, "k", nil},
		{"no key", "", "app1", "", nil},
		{"all keys", "", "app1", "*", nil},
		{"a folder", "", "app1", "payments/", nil},
		{"a pattern", "", "app1", "payments/*", nil},
		{"key with a quote", "", "app1", `k"`, nil},
		{"key with upper case", "", "app1", "Payments", nil},
		{"empty list", "", "app1", "k", []string{}},
		{"empty action", "", "app1", "k", []string{""}},
		{"unknown action", "", "app1", "k", []string{"encrpyt"}},
		{"keys and secrets", "", "app1", "k", []string{"encrypt", "secret:read"}},
		{"secret with dots", "", "app1", "a/../b", []string{"secret:read"}},
		{"broken source", "permit (", "app1", "k", nil},
		{"unfinished comment", "/* ", "app1", "k", nil},
		{"full source", strings.Repeat(" ", MaxSource), "app1", "k", nil},
	}
	for _, test := range tests {
		if out, _, err := Allow([]byte(test.source), test.who, test.key, test.only); err == nil {
			t.Errorf("%s: accepted\n%s", test.name, out)
		}
	}
	if _, _, err := Allow(nil, "app1", "k", []string{}); err == nil || !strings.Contains(err.Error(), "the list of actions is empty") {
		t.Errorf("empty list: %v", err)
	}
}
