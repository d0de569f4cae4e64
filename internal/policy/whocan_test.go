// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strings"
	"testing"
)

func TestWhoCan(t *testing.T) {
	s := mustParse(t, `
@id("always") permit (principal in Path::"core", action, resource);
@id("eu") permit (principal is Workload, action == Action::"encrypt", resource) when { principal has region && principal.region == "eu" && context has route && context.route == "direct" };
@id("day") permit (principal is Admin, action, resource) when { context.time < datetime("2030-01-01") };
@id("no") forbid (principal == Workload::"spiffe://acme.example/workload/core/bad", action, resource);
@id("shut") forbid (principal in Path::"core/night", action, resource) unless { context.time > datetime("2020-01-01") };
@id("sum") permit (principal == Workload::"spiffe://acme.example/workload/core/sum", action, resource) when { context.time.offset(duration("1d")) > context.time };
@id("sum2") permit (principal == Workload::"spiffe://acme.example/workload/core/sum2", action, resource) when { context.time.offset(duration("1d")) > context.time } when { principal has region };
@id("broken") forbid (principal == Workload::"spiffe://acme.example/workload/core/broken", action, resource) when { 9223372036854775807 + 1 > 0 };
@id("late") forbid (principal == Workload::"spiffe://acme.example/workload/core/late", action, resource) when { context.partition == "x" && 9223372036854775807 + 1 > 0 };
`)
	tests := []struct {
		who        Principal
		verdict    Verdict
		policies   string
		conditions string
		errors     int
	}{
		{app("core/a", nil), Yes, "always", "", 0},
		{app("core/a", map[string]any{"region": "eu"}), Yes, "always", "", 0},
		{app("edge/a", map[string]any{"region": "eu"}), Depends, "eu", `when { principal has region && principal.region == "eu" && context has route && context.route == "direct" }`, 0},
		{app("edge/a", map[string]any{"region": "us"}), No, "", "", 0},
		{app("edge/a", nil), No, "", "", 0},
		{Admin("alice", ""), Depends, "day", `when { context.time < datetime("2030-01-01") }`, 0},
		{app("core/bad", nil), No, "no", "", 0},
		{app("core/night/x", nil), Depends, "shut", `unless { context.time > datetime("2020-01-01") }`, 0},
		{app("core/sum", nil), Depends, "sum", `when { context.time.offset(duration("1d")) > context.time }`, 0},
		// The second condition is false, but the first may fail, and then everything is refused.
		{app("core/sum2", nil), Depends, "sum2", `when { context.time.offset(duration("1d")) > context.time }`, 0},
		{app("core/broken", nil), No, "", "", 1},
		{app("core/late", nil), Depends, "late", `when { context.partition == "x" && 9223372036854775807 + 1 > 0 }`, 0},
		{app("core/a", map[string]any{"regoin": "eu"}), No, "", "", 1},
	}
	candidates := make([]Principal, len(tests))
	for i, test := range tests {
		candidates[i] = test.who
	}
	answers := s.WhoCan("encrypt", Resource{Type: "Key", Name: "k"}, candidates)
	for i, test := range tests {
		a := answers[i]
		if a.Principal.ID != test.who.ID || a.Verdict != test.verdict || strings.Join(a.Policies, " ") != test.policies ||
			strings.Join(a.Conditions, " ") != test.conditions || len(a.Errors) != test.errors {
			t.Errorf("%s: got %+v, want %+v", test.who.ID, a, test)
		}
	}
	if answers := s.WhoCan("encrpyt", Resource{Type: "Key", Name: "k"}, candidates[:1]); answers[0].Verdict != No || len(answers[0].Errors) != 1 {
		t.Errorf("unknown action: %+v", answers)
	}
}

// TestTruth holds the three-valued logic: T and F are known, U asks the context,
// E fails for certain.
func TestTruth(t *testing.T) {
	words := strings.NewReplacer(
		"T", `(principal has path)`,
		"F", `(principal has region)`,
		"U", `(context.partition == "x")`,
		"E", `(9223372036854775807 + 1 > 0)`,
	)
	for expression, want := range map[string]string{
		"T": "yes", "F": "no", "U": "depends", "E": "error",
		"T && U": "depends", "F && U": "no", "U && T": "depends", "U && F": "no", "U && U": "depends",
		"T || U": "yes", "F || U": "depends", "U || T": "yes", "U || F": "depends",
		"!T || U": "depends", "!(U && F)": "yes", "!(U || T)": "no", "!U": "depends",
		"F && E": "no", "T && E": "error", "T || E": "yes", "F || E": "error",
		"U && E": "depends", "U || E": "depends", "E && U": "error",
		"(U && E) && F": "depends", "(U || E) || T": "depends",
		"if T then U else F": "depends", "if F then U else T": "yes", "if U then T else T": "depends",
		"if E then U else U": "error", "if T then (T || U) else U": "yes",
	} {
		s := mustParse(t, "permit (principal is Workload, action, resource) when { "+words.Replace(expression)+" };")
		a := s.WhoCan("encrypt", Resource{Type: "Key", Name: "k"}, []Principal{app("a", nil)})[0]
		got := string(a.Verdict)
		if len(a.Errors) > 0 {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", expression, got, want)
		}
	}
}

// TestCanFail: what Parse lets through can fail by arithmetic only.
func TestCanFail(t *testing.T) {
	for condition, want := range map[string]bool{
		`context.partition == "x" && context.time < datetime("2026-01-01")`: false,
		`resource.hasTag("a") && resource.getTag("a") like "x*"`:            false,
		`principal has attestation && principal.attestation >= 2`:           false,
		`principal has attestation && principal.attestation + 1 >= 2`:       true,
		`principal has attestation && principal.attestation * 2 >= 2`:       true,
		`principal has attestation && 2 - principal.attestation >= 2`:       true,
		`principal has attestation && -principal.attestation >= 2`:          true,
		`context.time.offset(duration("1d")) > context.time`:                true,
	} {
		s := mustParse(t, "permit (principal is Workload, action, resource) when { "+condition+" };")
		if got := canFail(s.rules[0].ast); got != want {
			t.Errorf("%s: %v", condition, got)
		}
	}
	if !slices.Contains(safeCalls(), "datetime") {
		t.Error("datetime literals are checked by Parse")
	}
}
