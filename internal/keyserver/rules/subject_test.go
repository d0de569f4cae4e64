// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"slices"
	"testing"
	"time"

	"claviger/internal/audit/attributes"
	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// subjectFacts are those of a subject of an endpoint that may touch some keys.
func subjectFacts(keys ...string) *Facts {
	caller := authn.SubjectCaller(authn.SubjectClaims{
		Endpoint: "xks-prod", EndpointKind: "xks", Name: "alice", Attributes: map[string]any{"account": "1"},
	})
	return &Facts{
		Caller: caller, Epoch: wire.Epoch{Generation: 1, Position: 5}, Domain: "acme.example",
		endpoint: &authority.EndpointState{Endpoint: authority.Endpoint{Name: "xks-prod", Kind: "xks", Keys: keys}},
	}
}

func setOf(t *testing.T, source string) *policyset.Set {
	t.Helper()
	s, err := policy.Parse([]byte(source))
	if err != nil {
		t.Fatal(err)
	}
	return &policyset.Set{Set: s}
}

func now() Ask { return Ask{Now: time.Unix(1_800_000_000, 0), Route: "xks"} }

const everything = `permit (principal, action, resource);`

// TestSubjectBarred: a subject gets nothing unless its endpoint serves now, is of
// its kind, and neither of them is revoked.
func TestSubjectBarred(t *testing.T) {
	set := setOf(t, everything)
	for name, change := range map[string]func(*Facts){
		"no such endpoint":       func(f *Facts) { f.endpoint = nil },
		"removed":                func(f *Facts) { f.endpoint.Removed = true },
		"disabled":               func(f *Facts) { f.endpoint.Disabled = true },
		"of another kind now":    func(f *Facts) { f.endpoint.Kind = "kes" },
		"the subject is revoked": func(f *Facts) { f.client = &authority.Client{Revoked: true} },
		"everything is revoked":  func(f *Facts) { f.Revoked = true },
	} {
		f := subjectFacts()
		change(f)
		if f.Barred() == "" {
			t.Errorf("%s: not barred", name)
		}
		key := keyOf(wire.StateActive)
		if r := f.Rule(set, now(), dataItem(0, "encrypt"), key); r.Allowed || r.Known || r.Cause != CauseRevoked || r.Reason == "" {
			t.Errorf("%s: %+v", name, r)
		}
		if r := f.Permit(set, now(), "key:rotate", key); r.Allowed || r.Cause != CauseRevoked {
			t.Errorf("%s: permit %+v", name, r)
		}
		if ops, r := f.Permitted(set, now(), key); r.Allowed || len(ops) > 0 || r.Cause != CauseRevoked {
			t.Errorf("%s: permitted %v %+v", name, ops, r)
		}
	}
	f := subjectFacts()
	f.client = &authority.Client{} // revoked once, and enabled again
	if why := f.Barred(); why != "" {
		t.Error(why)
	}
}

// TestSubjectReaches: a key beyond the endpoint's list is as one that isn't there.
func TestSubjectReaches(t *testing.T) {
	set := setOf(t, everything)
	for _, c := range []struct {
		list    []string
		key     string
		reaches bool
	}{
		{nil, "a/k", true},
		{[]string{"a/k"}, "a/k", true},
		{[]string{"a/k"}, "a/kk", false},
		{[]string{"a/k"}, "a/k/b", false},
		{[]string{"a/"}, "a/k", true},
		{[]string{"a/"}, "a/b/k", true},
		{[]string{"a/"}, "ab/k", false},
		{[]string{"a/"}, "a", false},
		{[]string{"x", "a/"}, "a/k", true},
		{[]string{"x"}, "a/k", false},
	} {
		f := subjectFacts(c.list...)
		if f.Reaches(c.key) != c.reaches {
			t.Errorf("%v reaches %s: %v", c.list, c.key, !c.reaches)
		}
		key := keyOf(wire.StateActive)
		key.Name = c.key
		item := dataItem(0, "encrypt")
		item.Name = c.key
		r := f.Rule(set, now(), item, key)
		if r.Allowed != c.reaches || r.Known != c.reaches || (r.Key != nil) != c.reaches {
			t.Errorf("%v, %s: %+v", c.list, c.key, r)
		}
		if absent := f.Rule(set, now(), item, nil); !c.reaches && (r.Reason != absent.Reason || r.Cause != absent.Cause || !slices.Equal(r.Policies, absent.Policies)) {
			t.Errorf("%v, %s: %+v, absent %+v", c.list, c.key, r, absent)
		}
		if p := f.Permit(set, now(), "key:create", key); p.Allowed != c.reaches || !p.Allowed && p.Reason != ReasonNone {
			t.Errorf("create %s by %v: %+v", c.key, c.list, p)
		}
	}
	workload := Facts{Caller: &authn.Caller{Kind: authn.Workload}}
	if !workload.Reaches("a/k") {
		t.Error("a workload's reach is policy's alone")
	}
}

// TestSubjectLeaf: the leaf brings the record of what decided, and a workload's
// brings none.
func TestSubjectLeaf(t *testing.T) {
	set := setOf(t, `permit (principal, action, resource) when { context has kmsOperation && context.kmsOperation == "Encrypt" };`)
	f := subjectFacts()
	for operation, allowed := range map[string]bool{"Encrypt": true, "Decrypt": false} {
		a := now()
		a.Asked = map[string]string{"kmsOperation": operation}
		r := f.Rule(set, a, dataItem(0, "encrypt"), keyOf(wire.StateActive))
		leaf := f.Leaf(set, a, dataItem(0, "encrypt"), r)
		record, err := attributes.Parse(leaf.Record)
		if err != nil || r.Allowed != allowed || leaf.Allowed() != allowed || record.Asked()["kmsOperation"] != operation || record.Proved()["account"] != "1" {
			t.Errorf("%s: %+v, %+v, %v", operation, leaf, record, err)
		}
		if leaf.Caller != "xks-prod:alice" || leaf.Route != "xks" {
			t.Errorf("%+v", leaf)
		}
	}
	// What can't be recorded is not decided.
	a := now()
	a.Asked = map[string]string{"kmsOperation": ""}
	if r := f.Rule(setOf(t, everything), a, dataItem(0, "encrypt"), keyOf(wire.StateActive)); r.Allowed || len(r.Errors) != 1 {
		t.Errorf("%+v", r)
	}
	w := Facts{Caller: &authn.Caller{Kind: authn.Workload, ID: "spiffe://acme.example/workload/app1"}, Domain: "acme.example", Epoch: f.Epoch}
	r := w.Rule(setOf(t, everything), now(), dataItem(0, "encrypt"), keyOf(wire.StateActive))
	if leaf := w.Leaf(set, now(), dataItem(0, "encrypt"), r); !r.Allowed || leaf.Record != nil {
		t.Errorf("%+v %+v", r, leaf)
	}
}

// TestAbsentByID: an id that no key has is refused like a name that none has.
func TestAbsentByID(t *testing.T) {
	f := subjectFacts()
	id := wire.KeyID{9}
	item := wire.Item{ID: id[:], Purpose: wire.PurposeData, Operations: []string{"decrypt"}}
	if r := f.Rule(setOf(t, everything), now(), item, nil); r.Allowed || r.Reason != ReasonNone || len(r.Errors) != 0 {
		t.Errorf("%+v", r)
	}
}
