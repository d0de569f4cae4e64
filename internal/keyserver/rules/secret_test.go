// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/keyserver/policyset"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// TestSecret: policy speaks of the secret, and the state of the key that backs it
// decides after that.
func TestSecret(t *testing.T) {
	parsed, err := policy.Parse([]byte(`permit (principal, action == Action::"secret:read", resource in Folder::"a/k");
permit (principal, action == Action::"secret:write", resource == Secret::"a/k/db");
permit (principal, action, resource == Key::"a/k");`))
	if err != nil {
		t.Fatal(err)
	}
	set := &policyset.Set{Set: parsed}
	disabled, leaving := keyOf(wire.StateActive), keyOf(wire.StateDeactivated, wire.StateActive)
	disabled.Disabled, leaving.Versions[0].DestroyAt = true, 5
	resting := keyOf(wire.StateDeactivated)
	for _, c := range []struct {
		name, secret, action string
		key                  *authority.Key
		sealed               uint64
		writes               bool
		version              uint64 // 0: refused
		cause                Cause
	}{
		{"read", "a/k/x", "secret:read", keyOf(wire.StateDeactivated, wire.StateActive), 1, false, 1, ""},
		{"write", "a/k/db", "secret:write", keyOf(wire.StateDeactivated, wire.StateActive), 1, true, 2, ""},
		{"write the first", "a/k/db", "secret:write", keyOf(wire.StateActive), 0, true, 1, ""},
		{"no policy", "a/k/x", "secret:write", keyOf(wire.StateActive), 0, true, 0, CausePolicy},
		{"the key's own permission", "a/k", "secret:write", keyOf(wire.StateActive), 0, true, 0, CausePolicy},
		{"elsewhere", "a/kk/x", "secret:read", keyOf(wire.StateActive), 0, false, 0, CausePolicy},
		{"disabled", "a/k/x", "secret:read", disabled, 1, false, 0, CauseDisabled},
		{"what is going can't be read", "a/k/x", "secret:read", leaving, 1, false, 0, CauseState},
		{"nor written on", "a/k/db", "secret:write", leaving, 1, true, 0, CauseState},
		{"nothing is sealed by a version at rest", "a/k/db", "secret:write", resting, 1, true, 0, CauseState},
		{"no key", "a/k/x", "secret:read", nil, 0, false, 0, CausePolicy},
	} {
		f := Facts{Caller: authn.LocalCaller("x"), Domain: "test", Epoch: wire.Epoch{Generation: 1, Position: 1}}
		f.Caller.ID = "spiffe://test/workload/app"
		r := f.Secret(set, Ask{Now: time.Unix(1_800_000_000, 0), Route: "vault", Secret: c.secret}, c.action, c.key, c.sealed, c.writes)
		if r.Allowed != (c.version != 0) || r.Allowed && r.Version.Number != c.version || !r.Allowed && (r.Cause != c.cause || r.Reason == "") {
			t.Errorf("%s: %+v", c.name, r)
		}
		if c.key == nil && r.Reason != ReasonNone {
			t.Errorf("%s: %q", c.name, r.Reason)
		}
		f.Revoked = true
		if r := f.Secret(set, Ask{Now: time.Unix(1_800_000_000, 0), Secret: c.secret}, c.action, c.key, c.sealed, c.writes); r.Allowed || r.Cause != CauseRevoked {
			t.Errorf("%s: everything is revoked: %+v", c.name, r)
		}
	}
}

// TestSecretOfASubject: a door reaches the secrets of the keys that its endpoint may
// touch, and no others: those are as what isn't there. Its claims decide too.
func TestSecretOfASubject(t *testing.T) {
	set := setOf(t, everything)
	a := now()
	a.Secret = "a/k/db"
	for _, c := range []struct {
		list    []string
		reaches bool
	}{{nil, true}, {[]string{"a/k"}, true}, {[]string{"a/"}, true}, {[]string{"a/k/"}, false}, {[]string{"b/"}, false}} {
		f := subjectFacts(c.list...)
		r := f.Secret(set, a, "secret:read", keyOf(wire.StateActive), 0, false)
		absent := f.Secret(set, a, "secret:read", nil, 0, false)
		if r.Allowed != c.reaches || absent.Allowed || !c.reaches && (r.Known || r.Reason != absent.Reason || r.Cause != absent.Cause) {
			t.Errorf("%v: %+v, absent %+v", c.list, r, absent)
		}
		if len(r.Record) == 0 {
			t.Errorf("%v: no record of what was proved", c.list)
		}
		f.endpoint.Disabled = true
		if r := f.Secret(set, a, "secret:read", keyOf(wire.StateActive), 0, false); r.Allowed || r.Cause != CauseRevoked {
			t.Errorf("%v: the endpoint is disabled: %+v", c.list, r)
		}
	}
	claims := setOf(t, `permit (principal in Endpoint::"xks-prod", action == Action::"secret:read", resource in Folder::"a/k") when { principal has account && principal.account == "1" };`)
	if r := subjectFacts().Secret(claims, a, "secret:read", keyOf(wire.StateActive), 0, false); !r.Allowed {
		t.Errorf("what is proved: %+v", r)
	}
	if r := subjectFacts().Secret(claims, a, "secret:write", keyOf(wire.StateActive), 0, true); r.Allowed {
		t.Errorf("writing: %+v", r)
	}
}
