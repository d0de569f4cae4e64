// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const domain = "acme.example"

func id(path string) string { return "spiffe://" + domain + "/workload/" + path }

// app is a workload of the test domain with what was proved about it.
func app(path string, claims map[string]any) Principal {
	return Workload(id(path), domain).Prove(claims)
}

func at(action, key string, p Principal) Request {
	return Request{
		Principal: p, Action: action, Resource: Resource{Type: "Key", Name: key},
		Context: Context{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Purpose: "data", Route: "direct"},
	}
}

func mustParse(t testing.TB, source string) *Set {
	t.Helper()
	s, err := Parse([]byte(source))
	if err != nil {
		t.Fatalf("Parse: %v\n%s", err, source)
	}
	return s
}

func TestDecide(t *testing.T) {
	const all = `permit (principal, action, resource);`
	secret := func(r Request) Request { r.Resource = Resource{Type: "Secret", Name: "db/main"}; return r }
	tests := []struct {
		name, source string
		request      Request
		allowed      bool
		reason       string
	}{
		{"empty set", ``, at("encrypt", "k", app("app1", nil)), false, "no policy allows it"},
		{"only comments", "// nothing\n/* here */", at("encrypt", "k", app("app1", nil)), false, "no policy allows it"},
		{"permit everything", all, at("encrypt", "k", app("app1", nil)), true, "policy policy1 permits it"},
		{"by SPIFFE id", `@id("a") permit (principal == Workload::"spiffe://acme.example/workload/app1", action == Action::"encrypt", resource == Key::"payments/cards");`,
			at("encrypt", "payments/cards", app("app1", nil)), true, "policy a permits it"},
		{"another action", `permit (principal, action == Action::"encrypt", resource);`, at("decrypt", "k", app("app1", nil)), false, ReasonNone},
		{"another key", `permit (principal, action, resource == Key::"payments/cards");`, at("encrypt", "payments/card", app("app1", nil)), false, ReasonNone},
		{"another workload", `permit (principal == Workload::"spiffe://acme.example/workload/app1", action, resource);`, at("encrypt", "k", app("app2", nil)), false, ReasonNone},
		{"in a folder", `permit (principal, action, resource in Folder::"payments");`, at("encrypt", "payments/eu/cards", app("app1", nil)), true, "policy policy1 permits it"},
		{"in a nested folder", `permit (principal, action, resource in Folder::"payments/eu");`, at("encrypt", "payments/eu/cards", app("app1", nil)), true, "policy policy1 permits it"},
		{"folder of the same beginning", `permit (principal, action, resource in Folder::"pay");`, at("encrypt", "payments/cards", app("app1", nil)), false, ReasonNone},
		{"a key isn't in the folder of its own name", `permit (principal, action, resource in Folder::"payments/cards");`, at("encrypt", "payments/cards", app("app1", nil)), false, ReasonNone},
		{"in a path", `permit (principal in Path::"billing", action, resource);`, at("encrypt", "k", app("billing/eu/api", nil)), true, "policy policy1 permits it"},
		{"a workload isn't in the path of its own name", `permit (principal in Path::"billing", action, resource);`, at("encrypt", "k", app("billing", nil)), false, ReasonNone},
		{"path word", `permit (principal, action, resource) when { principal has path && principal.path == "app1" };`, at("encrypt", "k", app("app1", nil)), true, "policy policy1 permits it"},
		{"path word of another domain", `permit (principal, action, resource) when { principal has path && principal.path == "app1" };`,
			at("encrypt", "k", Workload("spiffe://evil.example/workload/app1", domain)), false, ReasonNone},
		{"forbid wins", all + `@id("stop") forbid (principal, action == Action::"decrypt", resource);`, at("decrypt", "k", app("app1", nil)), false, "policy stop forbids it"},
		{"forbid of another action", all + `@id("stop") forbid (principal, action == Action::"decrypt", resource);`, at("encrypt", "k", app("app1", nil)), true, "policy policy1 permits it"},
		{"claims", `permit (principal, action, resource) when { principal has region && ["eu-1","eu-2"].contains(principal.region) };`,
			at("encrypt", "k", app("app1", map[string]any{"region": "eu-2"})), true, "policy policy1 permits it"},
		{"level", `permit (principal, action, resource) when { principal has attestation && principal.attestation >= 2 };`,
			at("encrypt", "k", app("app1", map[string]any{"attestation": 1})), false, ReasonNone},
		{"time", `permit (principal, action, resource) when { context.time < datetime("2026-01-01") };`, at("encrypt", "k", app("app1", nil)), false, ReasonNone},
		{"secret", `permit (principal, action == Action::"secret:read", resource in Folder::"db");`, secret(at("secret:read", "", app("app1", nil))), true, "policy policy1 permits it"},
		{"subject in endpoint", `permit (principal in Endpoint::"aws-prod", action, resource);`, at("wrap", "k", Subject("aws-prod", "arn:aws:iam::1:root", "xks")), true, "policy policy1 permits it"},
		{"subject of another endpoint", `permit (principal == Subject::"mail:alice@acme.example", action, resource);`, at("wrap", "k", Subject("evil", "alice@acme.example", "kacls")), false, ReasonNone},
		{"admin reads", `permit (principal == Admin::"alice", action in [Action::"audit:read", Action::"state:read"], resource is Domain);`,
			Request{Principal: Admin("alice", ""), Action: "audit:read", Resource: Resource{Type: "Domain", Name: domain}, Context: Context{Time: time.Unix(1, 0)}}, true, "policy policy1 permits it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := mustParse(t, test.source).Decide(test.request)
			if d.Allowed != test.allowed || d.Reason != test.reason || d.Alarm || len(d.Errors) != 0 {
				t.Errorf("got %+v, want allowed %v, %q", d, test.allowed, test.reason)
			}
		})
	}
}

// TestTraps holds the cases in which Cedar alone would allow.
func TestTraps(t *testing.T) {
	const all = `permit (principal, action, resource);`
	allowed := `permit (principal, action, resource) when { principal has files && ["a","b"].containsAll(principal.files) };`
	overflow := `forbid (principal, action, resource) when { resource has attestation && resource.attestation * 9223372036854775807 > 0 };`
	deep := at("encrypt", "k", app("app1", nil))
	deep.Resource.Attributes = map[string]any{"attestation": 3}
	tests := []struct {
		name, source string
		request      Request
		allowed      bool
		alarm        bool
	}{
		{"claim missing in a permit", `permit (principal, action, resource) when { principal has region && principal.region == "eu" };`, at("encrypt", "k", app("app1", nil)), false, false},
		{"claim of the wrong type", all, at("encrypt", "k", app("app1", map[string]any{"attestation": "3"})), false, true},
		{"claim of a type Cedar hasn't", all, at("encrypt", "k", app("app1", map[string]any{"region": 1.5})), false, true},
		{"misspelt claim", all, at("encrypt", "k", app("app1", map[string]any{"regoin": "eu"})), false, true},
		{"files measured", allowed, at("encrypt", "k", app("app1", map[string]any{"files": []string{"a"}})), true, false},
		{"files with a stranger", allowed, at("encrypt", "k", app("app1", map[string]any{"files": []string{"a", "x"}})), false, false},
		{"files not measured", allowed, at("encrypt", "k", app("app1", nil)), false, false},
		{"empty set", allowed, at("encrypt", "k", app("app1", map[string]any{"files": []string{}})), false, true},
		{"empty set, read back", allowed, at("encrypt", "k", app("app1", map[string]any{"files": []any{}})), false, true},
		{"empty word", all, at("encrypt", "k", app("app1", map[string]any{"region": ""})), false, true},
		{"failing forbid", all + overflow, deep, false, true},
		{"failing forbid that doesn't apply", all + overflow, at("encrypt", "k", app("app1", nil)), true, false},
		{"guarded forbid, claim missing", all + `forbid (principal, action, resource) unless { principal has region && principal.region == "eu" };`, at("encrypt", "k", app("app1", nil)), false, false},
		{"contradiction", all, at("encrypt", "k", app("app1", map[string]any{"region": "eu"}).Prove(map[string]any{"region": "us"})), false, true},
		{"said twice", all, at("encrypt", "k", app("app1", map[string]any{"region": "eu"}).Prove(map[string]any{"region": "eu"})), true, false},
		{"number as it was stored", all, at("encrypt", "k", app("app1", map[string]any{"attestation": uint64(2)})), true, false},
		{"number too large", all, at("encrypt", "k", app("app1", map[string]any{"attestation": uint64(1 << 63)})), false, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := mustParse(t, test.source).Decide(test.request)
			if d.Allowed != test.allowed || d.Alarm != test.alarm || d.Alarm != (len(d.Errors) > 0) {
				t.Errorf("got %+v, want allowed %v, alarm %v", d, test.allowed, test.alarm)
			}
			if d.Alarm && (d.Reason != ReasonError || d.Policies != nil) {
				t.Errorf("an error left reason %q and policies %v", d.Reason, d.Policies)
			}
		})
	}
}

// TestRequestsOutsideTheSchema: each of them would be allowed by the set if it
// reached evaluation.
func TestRequestsOutsideTheSchema(t *testing.T) {
	s := mustParse(t, `permit (principal, action, resource);`)
	change := func(f func(*Request)) Request { r := at("encrypt", "k", app("app1", nil)); f(&r); return r }
	long := strings.Repeat("x", maxValueBytes+1)
	tests := map[string]Request{
		"unknown action":         change(func(r *Request) { r.Action = "encrpyt" }),
		"no action":              change(func(r *Request) { r.Action = "" }),
		"unknown principal type": change(func(r *Request) { r.Principal.Type = "Robot" }),
		"folder as principal":    change(func(r *Request) { r.Principal = Principal{Type: "Folder", ID: "x"} }),
		"empty id":               change(func(r *Request) { r.Principal.ID = "" }),
		"path as workload":       change(func(r *Request) { r.Principal.ID = "app1" }),
		"dots in the id":         change(func(r *Request) { r.Principal.ID = id("a/../b") }),
		"upper case in the id":   change(func(r *Request) { r.Principal.ID = id("App1") }),
		"path claim with dots":   change(func(r *Request) { r.Principal.Attributes = map[string]any{"path": "a/../b"} }),
		"workload with parents":  change(func(r *Request) { r.Principal.Parents = []Ref{{"Path", "admin"}} }),
		"subject without endpoint": change(func(r *Request) {
			r.Principal = Subject("aws", "x", "xks")
			r.Principal.Parents = nil
		}),
		"subject in another endpoint": change(func(r *Request) {
			r.Principal = Subject("aws", "x", "xks")
			r.Principal.Parents = []Ref{{"Endpoint", "gcp"}}
		}),
		"subject in a workload": change(func(r *Request) {
			r.Principal = Subject("aws", "x", "xks")
			r.Principal.Parents = []Ref{{"Workload", "aws"}}
		}),
		"subject in two endpoints": change(func(r *Request) {
			r.Principal = Subject("aws", "x", "xks")
			r.Principal.Parents = append(r.Principal.Parents, Ref{"Endpoint", "gcp"})
		}),
		"secret for a key action": change(func(r *Request) { r.Resource.Type = "Secret" }),
		"folder as resource":      change(func(r *Request) { r.Resource = Resource{Type: "Folder", Name: "x"} }),
		"empty part in the name":  change(func(r *Request) { r.Resource.Name = "payments//cards" }),
		"slash at the end":        change(func(r *Request) { r.Resource.Name = "payments/" }),
		"dots in the name":        change(func(r *Request) { r.Resource.Name = "public/../payments/cards" }),
		"unknown key attribute":   change(func(r *Request) { r.Resource.Attributes = map[string]any{"owner": "x"} }),
		"empty tag name":          change(func(r *Request) { r.Resource.Tags = map[string]string{"": "x"} }),
		"long tag":                change(func(r *Request) { r.Resource.Tags = map[string]string{"a": long} }),
		"too many tags": change(func(r *Request) {
			r.Resource.Tags = map[string]string{}
			for i := range maxTags + 1 {
				r.Resource.Tags[fmt.Sprint(i)] = "x"
			}
		}),
		"too many files": change(func(r *Request) {
			r.Principal = r.Principal.Prove(map[string]any{"files": slices.Repeat([]string{"x"}, maxSetItems+1)})
		}),
		"empty file":      change(func(r *Request) { r.Principal = r.Principal.Prove(map[string]any{"files": []string{""}}) }),
		"list of numbers": change(func(r *Request) { r.Principal = r.Principal.Prove(map[string]any{"files": []any{1}}) }),
		"no time":         change(func(r *Request) { r.Context.Time = time.Time{} }),
		"long reason":     change(func(r *Request) { r.Context.Reason = long }),
		"long partition":  change(func(r *Request) { r.Context.Partition = long }),
	}
	for name, r := range tests {
		if d := s.Decide(r); d.Allowed || !d.Alarm || len(d.Errors) != 1 || d.Reason != ReasonError {
			t.Errorf("%s: %+v", name, d)
		}
	}
	domainTags := Request{Principal: Admin("a", ""), Action: "state:read", Resource: Resource{Type: "Domain", Name: "d", Tags: map[string]string{"a": "b"}}, Context: Context{Time: time.Unix(1, 0)}}
	if d := s.Decide(domainTags); d.Allowed {
		t.Errorf("tags on a domain: %+v", d)
	}
}

// TestPartitionsAreBytes: a partition that isn't text has to stay visible to a
// forbid, and is compared byte for byte.
func TestPartitionsAreBytes(t *testing.T) {
	s := mustParse(t, `permit (principal, action, resource); forbid (principal, action, resource) when { context.partition like "secret*" };`)
	for partition, want := range map[string]bool{"": true, "public": true, "secret": false, "secret\xff": false, "Secret": true} {
		r := at("encrypt", "k", app("app1", nil))
		r.Context.Partition = partition
		if d := s.Decide(r); d.Allowed != want || d.Alarm {
			t.Errorf("partition %q: %+v", partition, d)
		}
	}
}

// TestNamesAreVerbatim: what looks like Cedar inside a name stays a name.
func TestNamesAreVerbatim(t *testing.T) {
	names := []string{
		`x"`, `x", action, resource); permit (principal == Subject::"idp:y`, `\u{41}`, `a\`, `*`, "näme", "名前", `'`, "a b", "// x", "/* x", "\u00e9", "e\u0301",
	}
	for _, name := range names {
		quoted := quote("idp:" + name)
		s := mustParse(t, `permit (principal == Subject::`+quoted+`, action, resource);`)
		for _, other := range names {
			if d := s.Decide(at("encrypt", "k", Subject("idp", other, "kacls"))); d.Allowed != (name == other) {
				t.Errorf("policy for %q, request by %q: %+v", name, other, d)
			}
		}
	}
	for _, name := range []string{"a\nb", "a\x00b", "a\u202eb", "a\u200bb", "\xff", ""} {
		s := mustParse(t, `permit (principal, action, resource);`)
		if d := s.Decide(at("encrypt", "k", Subject("idp", name, "kacls"))); d.Allowed || !d.Alarm {
			t.Errorf("invisible name %q: %+v", name, d)
		}
	}
}

// quote writes a Cedar string literal by Cedar's rules for \u{…}.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch r {
		case '"', '\\', '\'':
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
	return b.String()
}

func TestTags(t *testing.T) {
	s := mustParse(t, `permit (principal, action, resource) when { resource.hasTag("pci") && resource.getTag("pci") == "yes" };`)
	for _, test := range []struct {
		tags map[string]string
		want bool
	}{{nil, false}, {map[string]string{"pci": "no"}, false}, {map[string]string{"pci": "yes", "x": "y"}, true}} {
		r := at("encrypt", "k", app("app1", nil))
		r.Resource.Tags = test.tags
		if d := s.Decide(r); d.Allowed != test.want || d.Alarm {
			t.Errorf("tags %v: %+v", test.tags, d)
		}
	}
}

func TestDecidingPoliciesInOrder(t *testing.T) {
	s := mustParse(t, `
@id("z") permit (principal, action, resource);
@id("b") forbid (principal, action == Action::"sign", resource);
@id("a") permit (principal in Path::"team", action, resource);
@id("c") forbid (principal, action in [Action::"sign"], resource == Key::"k");`)
	d := s.Decide(at("encrypt", "k", app("team/app1", nil)))
	if !d.Allowed || strings.Join(d.Policies, " ") != "z a" || d.Reason != "policy z permits it" {
		t.Errorf("permits: %+v", d)
	}
	d = s.Decide(at("sign", "k", app("team/app1", nil)))
	if d.Allowed || strings.Join(d.Policies, " ") != "b c" || d.Reason != "policy b forbids it" {
		t.Errorf("forbids: %+v", d)
	}
}

// TestProveKeepsItsReceiver: a principal may be shared between requests.
func TestProveKeepsItsReceiver(t *testing.T) {
	p := Workload(id("app1"), domain)
	p.Prove(map[string]any{"region": "eu"})
	if _, ok := p.Attributes["region"]; ok {
		t.Error("Prove wrote into its receiver")
	}
}
