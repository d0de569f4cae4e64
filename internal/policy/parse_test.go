// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cedar-policy/cedar-go"
)

func TestParseRefuses(t *testing.T) {
	when := func(condition string) string {
		return "permit (principal, action, resource) when { " + condition + " };"
	}
	nested := func(n int) string { return when(strings.Repeat("(", n) + "true" + strings.Repeat(")", n)) }
	tests := []struct{ name, source, want string }{
		// Syntax and limits.
		{"syntax", "permit (principal, action);", "line 1"},
		{"no semicolon", "permit (principal, action, resource)", "line 1: the last policy has no end"},
		{"rubbish behind", "permit (principal, action, resource); x", "no end"},
		{"unclosed comment", "/* x", "comment without end"},
		{"unclosed string", when(`context.reason == "x`), "string"},
		{"string over lines", when("context.partition == \"x\ny\""), "line 1"},
		{"not UTF-8", "// \xff", "not UTF-8"},
		{"NUL", "// \x00", "U+0000"},
		{"bidi in a comment", "// a\u202eb", `\u{202e}`},
		{"zero width in a string", when("context.partition == \"a\u200bb\""), "U+200B"},
		{"byte order mark", "\ufeffpermit (principal, action, resource);", "U+FEFF"},
		{"bare carriage return", "// hidden\rpermit (principal, action, resource);", "carriage return"},
		{"line separator", "// a\u2028b", "U+2028"},
		{"invisible letter", "// a\u3164b", "U+3164"},
		{"depth", nested(maxDepth), "nested deeper"},
		{"ifs", when(strings.Repeat("if true then true else ", maxDepth+1) + "true"), "nested deeper"},
		{"operators", when("true" + strings.Repeat(" && true", maxOperators)), "operators"},
		{"signs", when("!!!!!true"), "signs in a row"},
		{"signs apart", when("! ! /* x */ ! ! ! true"), "signs in a row"},
		{"dots", when("principal has a.b.c.d.e.f.g.h.i.j"), "dots in a row"},
		{"dots apart", when("principal has a /**/ .b.c.d\n.e.f.g.h.i.j"), "dots in a row"},
		{"size", strings.Repeat(" ", MaxSource+1), "more than 1048576"},
		{"one policy's size", when(`context.partition == "` + strings.Repeat("x", MaxPolicyText) + `"`), "a policy of more than"},
		// Words.
		{"entity type", `permit (principal == Wrokload::"x", action, resource);`, "no entity type is called Wrokload"},
		{"entity type in is", `permit (principal is Wrokload, action, resource);`, "no entity type is called Wrokload"},
		{"entity type in a condition", when(`!(principal is Wrokload)`), "no entity type is called Wrokload"},
		{"entity type in unless", `forbid (principal, action, resource) unless { resource in Fodler::"x" };`, "Fodler"},
		{"action", `permit (principal, action == Action::"encrpyt", resource);`, "encrpyt"},
		{"action in a list", `permit (principal, action in [Action::"encrypt", Action::"encrpyt"], resource);`, "encrpyt"},
		{"action in a condition", when(`action == Action::"encrpyt"`), "encrpyt"},
		{"attribute", when(`principal.regoin == "eu"`), "no attribute regoin"},
		{"attribute behind has", when(`principal has regoin && principal.regoin == "eu"`), "no attribute regoin"},
		{"attribute behind not has", when(`!(principal has regoin)`), "no attribute regoin"},
		{"attribute in dead code", when(`true || principal has regoin`), "no attribute regoin"},
		{"context attribute", when(`!(context has raeson)`), "no attribute raeson"},
		{"resource attribute", when(`resource has owner`), "no attribute owner"},
		{"action attribute", when(`action has name`), "no attribute name"},
		{"attribute of another type", `permit (principal is Admin, action, resource) when { principal has path };`, "Admin"},
		{"attribute of a named entity", when(`Workload::"spiffe://d/workload/x" has region`), "only principal, resource and context"},
		{"attribute of an attribute", when(`context has reason.text`), "only principal, resource and context"},
		{"attribute of a record", when(`{a: 1} has b`), "only principal, resource and context"},
		{"tag of principal", when(`principal.hasTag("x")`), "only resource has tags"},
		{"tag of a named key", when(`Key::"x".hasTag("x")`), "only resource has tags"},
		{"too many tags", when(`resource.hasTag("a")` + strings.Repeat(` || resource.hasTag("a")`, maxTagWords)), "hasTag"},
		{"too many tags in all", strings.Repeat(when(`resource.hasTag("a")`+strings.Repeat(` || resource.hasTag("a")`, maxTagWords-1))+"\n", maxTagWork/maxTagWords/maxTagWords+1), "tags too often"},
		{"annotation", `@leaseTLL("300") permit (principal, action, resource);`, "@leaseTLL is unknown"},
		// Ids that nothing can have.
		{"workload by path", `permit (principal == Workload::"app1", action, resource);`, "SPIFFE id"},
		{"key with upper case", `forbid (principal, action, resource == Key::"Payments/cards");`, "key's name"},
		{"folder with a slash at the end", `forbid (principal, action, resource in Folder::"payments/");`, "Folder"},
		{"folder pattern", `forbid (principal, action, resource in Folder::"payments//x");`, "Folder"},
		{"path with dots", `forbid (principal in Path::"../x", action, resource);`, "path"},
		{"subject without endpoint", `permit (principal == Subject::"alice@acme.example", action, resource);`, "ENDPOINT:NAME"},
		{"key in a condition", when(`resource == Key::"a b"`), "key's name"},
		{"escaped control in an id", `permit (principal == Subject::"idp:a\u{202e}b", action, resource);`, "ENDPOINT:NAME"},
		// What can never be true.
		{"principal of a resource's type", `permit (principal == Key::"x", action, resource);`, "applicable action"},
		{"principal in a folder", `permit (principal in Folder::"x", action, resource);`, "applicable action"},
		{"condition: principal equals a key", when(`principal == Key::"x"`), "never a Key"},
		{"condition: turned round", when(`Key::"x" != principal`), "never a Key"},
		{"condition: context equals a key", when(`context == Key::"x"`), "never a Key"},
		{"condition: principal in a folder", when(`!(principal in Folder::"x")`), "never in a Folder"},
		{"condition: resource is a workload", when(`resource is Workload`), "never a Workload"},
		{"condition: admin under a workload scope", `permit (principal is Workload, action, resource) when { principal is Admin };`, "never a Admin"},
		{"secret action on a key", `permit (principal, action == Action::"secret:read", resource == Key::"x");`, "applicable action"},
		{"no actions", `permit (principal, action in [], resource);`, "empty set"},
		// Types and guards.
		{"unguarded permit", when(`principal.region == "eu"`), "region"},
		{"unguarded forbid", `forbid (principal is Workload, action, resource) when { principal.region == "eu" };`, "region"},
		{"unguarded unless", `forbid (principal is Workload, action, resource) unless { principal.region == "eu" };`, "region"},
		{"unguarded context", `forbid (principal, action, resource) when { context.reason == "x" };`, "reason"},
		{"guard on the wrong side", `forbid (principal is Workload, action, resource) when { principal.region == "eu" && principal has region };`, "region"},
		{"guard of another attribute", `forbid (principal is Workload, action, resource) when { principal has node && principal.region == "eu" };`, "region"},
		{"guard under or", `forbid (principal is Workload, action, resource) when { principal has region || principal.region == "eu" };`, "region"},
		{"unguarded tag", `forbid (principal, action, resource is Key) when { resource.getTag("x") == "y" };`, "tag"},
		{"wrong type", when(`context.partition == 5`), "compatible"},
		{"level as text", `permit (principal is Workload, action, resource) when { principal has attestation && principal.attestation == "3" };`, "compatible"},
		{"order of text", when(`context.partition < "x"`), "expected"},
		{"condition isn't Boolean", when(`context.partition`), "Bool"},
		{"contains on text", `permit (principal is Workload, action, resource) when { principal has region && principal.region.contains("eu") };`, "Set"},
		{"bad date", when(`context.time < datetime("soon")`), "datetime"},
		{"date from the caller", when(`context has reason && datetime(context.reason) < context.time`), "non-literal"},
		{"empty set literal", when(`[].contains(context.partition)`), "empty set"},
		// Names.
		{"two of one name", `@id("a") permit (principal, action, resource); @id("a") forbid (principal, action, resource);`, "taken"},
		{"name of a number", `permit (principal, action, resource); @id("policy1") permit (principal, action, resource);`, "taken"},
		{"empty name", `@id("") permit (principal, action, resource);`, "@id"},
		{"name without value", `@id permit (principal, action, resource);`, "@id"},
		{"name with a space", `@id("a b") permit (principal, action, resource);`, "@id"},
		{"name with an escape sequence", `@id("a\u{1b}[31m") permit (principal, action, resource);`, "@id"},
		{"long name", `@id("` + strings.Repeat("x", maxIDBytes+1) + `") permit (principal, action, resource);`, "@id"},
		{"description with an escape sequence", `@description("a\u{1b}[31m") permit (principal, action, resource);`, "@description"},
		{"annotation twice", `@id("a") @id("b") permit (principal, action, resource);`, "duplicate"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Parse([]byte(test.source))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	when := func(condition string) string {
		return "permit (principal, action, resource) when { " + condition + " };"
	}
	for name, source := range map[string]string{
		"nothing":           "",
		"white space":       " \r\n\t\n",
		"comment at end":    "// x",
		"crlf":              "// x\r\npermit (principal, action, resource);\r\n",
		"depth":             when(strings.Repeat("(", maxDepth-2) + "true" + strings.Repeat(")", maxDepth-2)),
		"semicolon in text": when(`context.partition == "a;b // \" ) }"`),
		"bracket in a list": when(`["a", "b"].contains(context.partition)`),
		"comment inside":    "permit (principal, /* ; */ action, resource // ;\n);",
		"annotations":       `@id("a.b_c:d/e-f") @description("Wer darf, darf: ¡sí!") permit (principal, action, resource);`,
		"escaped id":        `permit (principal == Subject::"idp:\"\u{e9}\\", action, resource);`,
		"four signs":        when("!!!!true"),
		"tags":              when(`resource.hasTag("a") && resource.getTag("a") == "b"`),
		"shared level":      `forbid (principal is Workload, action, resource is Key) when { resource has attestation && !(principal has attestation && principal.attestation >= resource.attestation) };`,
		"any type's claim":  when(`principal has email && principal.email like "*@acme.example"`),
		"every action":      `permit (principal, action in [Action::"` + strings.Join(Actions(), `", Action::"`) + `"], resource);`,
		"time of day":       when(`context.time.toTime() < duration("18h")`),
	} {
		if _, err := Parse([]byte(source)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseReportsEachProblemWithItsPlace(t *testing.T) {
	_, err := Parse([]byte("permit (principal, action, resource) when { principal has a };\n\n" +
		`@id("second") forbid (principal, action, resource)` + "\nwhen { resource has b };\n"))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"policy policy1, line 1: ", "policy second, line 3: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q lacks %q", err, want)
		}
	}
	_, err = Parse([]byte(strings.Repeat("permit (principal, action, resource) when { principal has a };\n", 100)))
	if err == nil || strings.Count(err.Error(), "\n")+1 != maxErrors {
		t.Errorf("%d problems reported, want %d", strings.Count(err.Error(), "\n")+1, maxErrors)
	}
}

// TestAgree: a difference between the two readers of a source is an error.
func TestAgree(t *testing.T) {
	const one = "permit (principal, action, resource);"
	list, err := cedar.NewPolicyListFromBytes("", []byte(one+one))
	if err != nil {
		t.Fatal(err)
	}
	n := len(one)
	for _, test := range []struct {
		spans []span
		want  bool
	}{
		{[]span{{0, n}, {n, 2 * n}}, true},
		{[]span{{0, 2 * n}}, false},
		{[]span{{0, n}, {n + 1, 2 * n}}, false},
		{[]span{{1, n}, {n, 2 * n}}, false},
		{nil, false},
	} {
		if err := agree(list, test.spans); (err == nil) != test.want {
			t.Errorf("spans %v: %v", test.spans, err)
		}
	}
}

func TestParseNumberOfPolicies(t *testing.T) {
	one := "permit (principal, action, resource);\n"
	if _, err := Parse([]byte(strings.Repeat(one, MaxPolicies+1))); err == nil || !strings.Contains(err.Error(), "more than 10000 policies") {
		t.Errorf("too many policies: %v", err)
	}
}

func TestPolicies(t *testing.T) {
	source := "// first\n@id(\"one\")\n@description(\"why\")\npermit (principal, action, resource);\n// second\n  forbid (principal, action, resource) when { context.partition == \";\" }; // end\n"
	s := mustParse(t, source)
	got := s.Policies()
	want := []PolicyInfo{
		{ID: "one", Description: "why", Position: Position{Line: 2, Column: 1, Offset: 9}, Effect: "permit",
			Text: "@id(\"one\")\n@description(\"why\")\npermit (principal, action, resource);"},
		{ID: "policy2", Position: Position{Line: 6, Column: 3, Offset: strings.Index(source, "forbid")}, Effect: "forbid",
			Text: `forbid (principal, action, resource) when { context.partition == ";" };`},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if string(s.Source()) != source || s.Hash() != sha256.Sum256([]byte(source)) {
		t.Error("source or hash differ")
	}
}

// TestSetKeepsItsSource: the hash names what was checked, whatever the caller
// does with its slices afterwards.
func TestSetKeepsItsSource(t *testing.T) {
	source := []byte("permit (principal, action, resource);")
	s, err := Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	before := s.Hash()
	source[0] = 'X'
	s.Source()[0] = 'Y'
	if s.Hash() != before || s.Policies()[0].Text[0] != 'p' {
		t.Error("a caller's slice reaches into the set")
	}
}

func TestSchema(t *testing.T) {
	if SchemaHash() != sha256.Sum256([]byte(Schema)) {
		t.Error("SchemaHash isn't the hash of Schema")
	}
	want := "audit:read decrypt encrypt export key:create key:retire key:rotate mac release secret:read secret:write sign state:read unwrap verify wrap"
	if got := strings.Join(Actions(), " "); got != want {
		t.Errorf("actions %s", got)
	}
	v := words()
	if got := fmt.Sprint(v.principalTypes(), v.resourceTypes()); got != "[Admin Endpoint Subject Workload] [Domain Key Secret]" {
		t.Errorf("types %s", got)
	}
	for uid, a := range v.actions {
		if len(a.principals) == 0 || len(a.resources) == 0 || a.bit == 0 {
			t.Errorf("%s applies to nothing", uid)
		}
	}
	for _, bad := range []string{"entity", "entity A in [B];", "entity A { b: { c: Long } };", "entity A; action x appliesTo { principal: A, resource: A, context: { r: A } };"} {
		if _, err := readVocabulary(bad); err == nil {
			t.Errorf("schema %q accepted", bad)
		}
	}
}
