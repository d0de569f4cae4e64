// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const explained = `
@id("eu") permit (principal is Workload, action in [Action::"encrypt", Action::"decrypt"], resource in Folder::"pay")
when { principal has region && ["eu-1", "eu-2"].contains(principal.region) }
unless { context.partition == "closed" || context has reason };
@id("ops") permit (principal == Admin::"alice", action == Action::"key:rotate", resource);
@id("night") forbid (principal, action, resource == Key::"pay/night") when { context.time >= datetime("2026-01-01") };
`

func TestExplainNear(t *testing.T) {
	s := mustParse(t, explained)
	eu := map[string]any{"region": "eu-1"}
	change := func(r Request, f func(*Request)) Request { f(&r); return r }
	tests := []struct {
		name          string
		request       Request
		policy, part  string
		wanted, found string
	}{
		{"condition", at("encrypt", "pay/cards", app("app1", map[string]any{"region": "us-1"})), "eu", "when",
			`["eu-1", "eu-2"].contains(principal.region)`, `principal.region is "us-1"`},
		{"claim not proved", at("encrypt", "pay/cards", app("app1", nil)), "eu", "when",
			`principal has region`, `principal.region is absent`},
		{"unless", change(at("encrypt", "pay/cards", app("app1", eu)), func(r *Request) { r.Context.Partition = "closed" }), "eu", "unless",
			`context.partition == "closed"`, `context.partition is "closed"`},
		{"second alternative of unless", change(at("encrypt", "pay/cards", app("app1", eu)), func(r *Request) { r.Context.Reason = `say "please"` }), "eu", "unless",
			`context has reason`, `context.reason is "say \"please\""`},
		{"action", at("sign", "pay/cards", app("app1", eu)), "eu", "action",
			`action in [Action::"encrypt", Action::"decrypt"]`, `action is Action::"sign"`},
		{"resource", at("encrypt", "play/cards", app("app1", eu)), "eu", "resource",
			`resource in Folder::"pay"`, `resource is Key::"play/cards"`},
		{"principal", at("key:rotate", "k", Admin("bob", "")), "ops", "principal",
			`principal == Admin::"alice"`, `principal is Admin::"bob"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := s.Explain(test.request)
			if e.Decision.Reason != ReasonNone || len(e.Near) == 0 {
				t.Fatalf("got %+v", e)
			}
			n := e.Near[0]
			if n.Policy.ID != test.policy || n.Part != test.part || n.Wanted != test.wanted || n.Found != test.found {
				t.Errorf("got  %s %s: %s, but %s\nwant %s %s: %s, but %s", n.Policy.ID, n.Part, n.Wanted, n.Found, test.policy, test.part, test.wanted, test.found)
			}
		})
	}
}

func TestExplainDeciding(t *testing.T) {
	s := mustParse(t, explained)
	e := s.Explain(at("encrypt", "pay/cards", app("app1", map[string]any{"region": "eu-1"})))
	if !e.Decision.Allowed || len(e.Deciding) != 1 || e.Deciding[0].ID != "eu" || e.Deciding[0].Position.Line != 2 || e.Near != nil {
		t.Errorf("permit: %+v", e)
	}
	e = s.Explain(at("encrypt", "pay/night", app("app1", map[string]any{"region": "eu-1"})))
	if e.Decision.Allowed || len(e.Deciding) != 1 || e.Deciding[0].ID != "night" || e.Near != nil {
		t.Errorf("forbid: %+v", e)
	}
	e = s.Explain(at("encrpyt", "pay/night", app("app1", nil)))
	if !e.Decision.Alarm || e.Deciding != nil || e.Near != nil {
		t.Errorf("error: %+v", e)
	}
	if e = s.Explain(at("mac", "play/x", Admin("bob", ""))); e.Near != nil {
		t.Errorf("nothing is near, but got %+v", e.Near)
	}
}

// TestExplainNearestFirst: among many permits those for the same workload and key
// come before those of strangers.
func TestExplainNearestFirst(t *testing.T) {
	source := rulesFor(50, rulesByPath) + `@id("mine") permit (principal is Workload, action == Action::"sign", resource == Key::"k7") when { principal has path && principal.path == "b" };
@id("other") permit (principal is Workload, action, resource == Key::"k8") when { principal has path && principal.path == "b" };
@id("late") permit (principal is Workload, action, resource == Key::"k7") when { principal has path && principal.path == "b" && context.time < datetime("2020-01-01") };`
	e := mustParse(t, source).Explain(at("encrypt", "k7", app("b", nil)))
	var ids []string
	for _, n := range e.Near {
		ids = append(ids, n.Policy.ID)
	}
	if !slices.Equal(ids, []string{"late", "mine", "other", "policy8"}) {
		t.Errorf("near %v", ids)
	}
	if n := e.Near[0]; n.Wanted != `context.time < datetime("2020-01-01")` || !strings.HasPrefix(n.Found, `context.time is datetime("2026-03-01`) {
		t.Errorf("late: %+v", n)
	}
	many := mustParse(t, strings.Repeat(`permit (principal, action == Action::"mac", resource);`, 3*maxNear))
	if e := many.Explain(at("sign", "k", app("a", nil))); len(e.Near) != maxNear {
		t.Errorf("%d near, want %d", len(e.Near), maxNear)
	}
}

func TestExplainFoundKinds(t *testing.T) {
	tests := []struct{ condition, found string }{
		{`resource.hasTag("pci")`, `resource.getTag("pci") is absent`},
		{`resource.hasTag("t") && resource.getTag("t") == "b"`, `resource.getTag("t") is "a"`},
		{`resource in Folder::"x"`, `resource is Key::"p/k"`},
		{`principal == Admin::"x"`, `principal is Workload::"spiffe://acme.example/workload/app1"`},
		{`principal != principal`, `principal is Workload::"spiffe://acme.example/workload/app1"`},
		{`action == Action::"mac"`, `action is Action::"encrypt"`},
		{`principal is Admin`, `principal is Workload::"spiffe://acme.example/workload/app1"`},
		{`resource is Key in Folder::"x"`, `resource is Key::"p/k"`},
		{`1 > 2`, ``},
		{`context.partition == "x" || context has reason`, `context.partition is "` + strings.Repeat("p", maxShown-1) + `…, context.reason is absent`},
	}
	for _, test := range tests {
		q := at("encrypt", "p/k", app("app1", nil))
		q.Resource.Tags = map[string]string{"t": "a"}
		q.Context.Partition = strings.Repeat("p", 2*maxShown)
		e := mustParse(t, "permit (principal, action, resource) when { "+test.condition+" };").Explain(q)
		if len(e.Near) != 1 || e.Near[0].Found != test.found {
			t.Errorf("%s: %+v", test.condition, e.Near)
		}
	}
}

func TestReplayAndLocksOut(t *testing.T) {
	old := mustParse(t, `permit (principal in Path::"a", action, resource);`)
	next := mustParse(t, `permit (principal in Path::"a", action == Action::"encrypt", resource); permit (principal in Path::"b", action, resource);`)
	broken := mustParse(t, `permit (principal, action, resource); forbid (principal, action, resource is Key) when { resource has attestation && resource.attestation * 9223372036854775807 > 0 };`)
	requests := []Request{
		at("encrypt", "k", app("a/1", nil)), at("decrypt", "k", app("a/1", nil)),
		at("encrypt", "k", app("b/1", nil)), at("encrypt", "k", app("c/1", nil)),
	}
	changes := Replay(old, next, requests)
	if len(changes) != 2 || changes[0].Request.Action != "decrypt" || !changes[0].Before.Allowed || changes[0].After.Reason != ReasonNone ||
		changes[1].Request.Principal.ID != id("b/1") || !changes[1].After.Allowed {
		t.Errorf("changes %+v", changes)
	}
	out := LocksOut(old, next, requests)
	if len(out) != 1 || out[0].Action != "decrypt" {
		t.Errorf("locked out %+v", out)
	}
	if out := LocksOut(next, old, requests); len(out) != 1 || out[0].Principal.ID != id("b/1") {
		t.Errorf("locked out the other way %+v", out)
	}
	if out := LocksOut(old, old, requests); out != nil {
		t.Errorf("the same set locks out %+v", out)
	}
	requests[0].Resource.Attributes = map[string]any{"attestation": 3}
	if out := LocksOut(old, broken, requests[:1]); len(out) != 1 {
		t.Errorf("a set that fails to evaluate locks out, got %+v", out)
	}
	requests[0].Context.Time = time.Time{}
	if out := LocksOut(old, next, requests[:1]); out != nil {
		t.Errorf("a record that was never permitted: %+v", out)
	}
}

// TestTenThousandRules: the index leaves one rule to look at.
func TestTenThousandRules(t *testing.T) {
	for _, format := range []string{rulesByID, rulesByPath} {
		source := rulesFor(MaxPolicies, format)
		s := mustParse(t, source[:lastLine(source)])
		if len(s.rules) < 8000 {
			t.Fatalf("only %d rules fit", len(s.rules))
		}
		f, err := at("encrypt", "k4711", app("a4711", nil)).facts()
		if err != nil {
			t.Fatal(err)
		}
		if got := s.index.candidates(f); len(got) != 1 || got[0] != 4711 {
			t.Errorf("candidates %v", got)
		}
	}
}

// TestActionsAreSortedOut: rules for other actions aren't even looked at.
func TestActionsAreSortedOut(t *testing.T) {
	s := mustParse(t, strings.Repeat(`permit (principal, action in [Action::"sign", Action::"mac"], resource);`+"\n", 100)+
		`permit (principal, action == Action::"encrypt", resource); permit (principal, action, resource); permit (principal, action in Action::"encrypt", resource);`)
	f, err := at("encrypt", "k", app("a", nil)).facts()
	if err != nil {
		t.Fatal(err)
	}
	if got := s.index.candidates(f); !slices.Equal(got, []int32{100, 101, 102}) {
		t.Errorf("candidates %v", got)
	}
}

// TestPathIndexNeedsTheFirstPlace: where something stands before the path, or the
// path isn't required, the rule is always looked at.
func TestPathIndexNeedsTheFirstPlace(t *testing.T) {
	for condition, want := range map[string]bool{
		`when { principal has path && principal.path == "b" }`:                                  true,
		`when { principal has path && principal.path == "b" && context.partition == "" }`:       true,
		`when { (principal has path && principal.path == "b") && context.partition == "" }`:     true,
		`when { principal has path && (principal.path == "b" && context.partition == "") }`:     true,
		`when { principal has path && principal.path == "b" } unless { context has reason }`:    true,
		`unless { principal has path && principal.path == "b" }`:                                false,
		`when { context.partition == "" && principal has path && principal.path == "b" }`:       false,
		`when { principal has path && principal.path != "b" }`:                                  false,
		`when { principal has path && principal.path == "b" || context.partition == "" }`:       false,
		`when { principal has path && !(principal.path == "b") }`:                               false,
		`when { !(principal has path && principal.path == "b") }`:                               false,
		`when { principal has spiffe && principal.spiffe == "b" }`:                              false,
		`when { principal has path && principal has spiffe && principal.path == "b" }`:          false,
		`when { context.partition == "" } when { principal has path && principal.path == "b" }`: false,
		`when { principal has path && principal.path == principal.path }`:                       false,
		`when { principal has path && context.partition == "b" }`:                               false,
		`when { principal has path }`:                                                           false,
	} {
		s := mustParse(t, "forbid (principal is Workload, action, resource) "+condition+";")
		if _, ok := pathLiteral(s.rules[0].ast); ok != want {
			t.Errorf("%s: indexed %v", condition, ok)
		}
	}
}

func ExampleSet_Explain() {
	s, err := Parse([]byte(`@id("cards") permit (principal is Workload, action, resource == Key::"payments/cards")
when { principal has region && principal.region == "eu-central-1" };`))
	if err != nil {
		fmt.Println(err)
		return
	}
	e := s.Explain(Request{
		Principal: Workload("spiffe://acme.example/workload/app1", "acme.example"),
		Action:    "encrypt",
		Resource:  Resource{Type: "Key", Name: "payments/cards"},
		Context:   Context{Time: time.Unix(1_800_000_000, 0)},
	})
	fmt.Println(e.Decision.Reason)
	for _, n := range e.Near {
		fmt.Printf("%s (line %d) wants %s, but %s\n", n.Policy.ID, n.Policy.Position.Line, n.Wanted, n.Found)
	}
	// Output:
	// no policy allows it
	// cards (line 1) wants principal has region, but principal.region is absent
}
