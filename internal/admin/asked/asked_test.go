// SPDX-License-Identifier: Apache-2.0

package asked

import (
	"encoding/json"
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
