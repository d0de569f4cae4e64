// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"testing"

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
	leaf := func(action, resource, operation string) Leaf {
		return Leaf{
			Kind: "decision", Time: "2026-11-21T12:00:00Z", Caller: "spiffe://acme/workload/app", Action: action, Resource: resource,
			Operations: []string{operation}, Route: "vault",
		}
	}
	outcome := leaf("secret:write", "secrets/app/db", "put")
	outcome.Kind = "outcome"
	var asked []policy.Request
	d.Log.View(func(s *authority.State) {
		asked = Decisions(s, []Leaf{
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
