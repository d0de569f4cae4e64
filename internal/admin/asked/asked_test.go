// SPDX-License-Identifier: Apache-2.0

package asked

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"claviger/internal/admin"
	"claviger/internal/authority"
	"claviger/internal/authority/authoritytest"
	"claviger/internal/policy"
	"claviger/internal/wire"
)

// TestDecisionsAboutSecrets: a plan asks the policy what it was asked about secrets,
// also about a folder that has a key's name.
func TestDecisionsAboutSecrets(t *testing.T) {
	d := authoritytest.New(t)
	d.Create(d.Log, wire.KeyID{1}, "secrets/app")
	leaf := func(action, resource, operation string) admin.Leaf {
		return admin.Leaf{
			Kind: "decision", Time: "2026-11-21T12:00:00Z", Caller: "spiffe://acme/workload/app", Action: action, Resource: resource,
			Operations: []string{operation}, Route: "vault",
		}
	}
	outcome := leaf("secret:write", "secrets/app/db", "put")
	outcome.Kind = "outcome"
	var asked []policy.Request
	d.Log.View(func(s *authority.State) {
		asked = Decisions(s, []admin.Leaf{
			leaf("secret:read", "secrets/app/db", "read"), leaf("secret:read", "secrets/app/db", "describe"), leaf("secret:write", "secrets/app/db", "put"), outcome,
			leaf("secret:read", "secrets/app", "describe"), leaf("secret:read", "secrets/app", "list"), leaf("secret:read", "a//b", "read"),
		})
	})
	want := []string{"secret:read secrets/app/db", "secret:write secrets/app/db", "secret:read secrets/app", "secret:read secrets/app/*"}
	if len(asked) != len(want) {
		t.Fatalf("%d requests: %+v", len(asked), asked)
	}
	old, err := policy.Parse([]byte(`permit (principal, action, resource in Folder::"secrets");`))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range asked {
		if got := r.Action + " " + r.Resource.Name; got != want[i] || r.Resource.Type != "Secret" {
			t.Errorf("%d: %s", i, got)
		}
		if d := old.Decide(r); !d.Allowed || len(d.Errors) > 0 {
			t.Errorf("%s: %+v", want[i], d)
		}
	}
}

// TestDecisionsOfSubjects: what was recorded is put again as it was asked, each
// question once, and decided by what was proved and said then.
func TestDecisionsOfSubjects(t *testing.T) {
	d := authoritytest.New(t)
	d.Create(d.Log, wire.KeyID{1}, "storage/k")
	d.Append(d.Log, authority.KindEndpointSet, authority.EndpointSet{Endpoint: authority.Endpoint{Name: "kes", Kind: "kes"}}, d.Admin)
	var leaves []admin.Leaf
	if err := json.Unmarshal([]byte(`[
{"time":"2026-11-21T12:00:00Z","kind":"decision","caller":"kes:ci","action":"encrypt","operations":["encrypt"],"resource":"storage/k","purpose":"data","route":"kes","attributes":{"principal":"Subject","proved":{"kind":"kes","account":"1","groups":["ops","dev"]},"asked":{"kmsOperation":"Encrypt"}}},
{"time":"2026-11-21T12:00:01Z","kind":"decision","caller":"kes:ci","action":"encrypt","operations":["encrypt"],"resource":"storage/k","purpose":"data","route":"kes","attributes":{"principal":"Subject","proved":{"groups":["ops","dev"],"account":"1","kind":"kes"},"asked":{"kmsOperation":"Encrypt"}}},
{"time":"2026-11-21T12:00:02Z","kind":"decision","caller":"kes:ci","action":"encrypt","operations":["encrypt"],"resource":"storage/k","purpose":"data","route":"kes","attributes":{"principal":"Subject","proved":{"kind":"kes","account":"2"},"asked":{"kmsOperation":"Encrypt"}}},
{"time":"2026-11-21T12:00:03Z","kind":"decision","caller":"kes:ci","action":"encrypt","operations":["encrypt"],"resource":"storage/k","purpose":"data","route":"kes","attributes":{"principal":"Subject","proved":{"kind":"kes","account":"1"},"asked":{"kmsOperation":"Decrypt"}}},
{"time":"2026-11-21T12:00:04Z","kind":"decision","caller":"kes:old","action":"encrypt","operations":["encrypt"],"resource":"storage/k","purpose":"data","route":"kes"}
]`), &leaves); err != nil {
		t.Fatal(err)
	}
	var asked []policy.Request
	d.Log.View(func(s *authority.State) { asked = Decisions(s, leaves) })
	set, err := policy.Parse([]byte(`permit (principal in Endpoint::"kes", action, resource) when {
  principal has account && principal.account == "1" && principal has groups && principal.groups.contains("ops") && context has kmsOperation && context.kmsOperation == "Encrypt" };`))
	if err != nil {
		t.Fatal(err)
	}
	var got []bool
	for _, r := range asked {
		d := set.Decide(r)
		if d.Alarm {
			t.Errorf("%+v", d)
		}
		got = append(got, d.Allowed)
	}
	if !slices.Equal(got, []bool{true, false, false, false}) {
		t.Errorf("%v of %d", got, len(asked))
	}
}

// TestAbout: a secret is decided on by its own name, and its key is the one that it
// was written under or that its name begins with.
func TestAbout(t *testing.T) {
	d := authoritytest.New(t)
	for i, name := range []string{"secrets", "secrets/app", "other"} {
		d.Create(d.Log, wire.KeyID{byte(i + 1)}, name)
		d.Version(wire.KeyID{byte(i + 1)}, 1)
	}
	d.Append(d.Log, authority.KindSecret, authority.SecretWritten{Name: "secrets/app/old", Revision: 1, Slot: wire.Sum("x"), Key: wire.KeyID{1}, Version: 1}, d.Server)
	for _, c := range []struct{ operation, name, kind, key string }{
		{"encrypt", "secrets/app", "Key", "secrets/app"}, {"encrypt", "secrets/app/db", "", ""},
		{"secret:read", "secrets/app/db", "Secret", "secrets/app"}, {"secret:read", "secrets/app", "Secret", "secrets/app"},
		{"secret:write", "secrets/x/y z", "Secret", "secrets"}, {"secret:read", "secrets/app/old", "Secret", "secrets"},
		{"secret:read", "none/db", "", ""}, {"secret:read", "secrets//db", "", ""},
	} {
		d.Log.View(func(s *authority.State) {
			r, key, err := About(s, c.operation, c.name)
			if (err != nil) != (c.kind == "") || err != nil && !errors.Is(err, admin.ErrNotFound) {
				t.Errorf("%s %s: %v", c.operation, c.name, err)
			} else if err == nil && (r.Type != c.kind || r.Name != c.name || key.Name != c.key) {
				t.Errorf("%s %s: %+v, key %s", c.operation, c.name, r, key.Name)
			}
		})
	}
}
