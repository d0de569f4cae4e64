// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"slices"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/wire"
)

// withEndpoint is the state of a domain with a key and an endpoint that gave a
// credential to ci.
func withEndpoint(t *testing.T) *authority.State {
	t.Helper()
	_, alice, _ := two(t)
	for _, change := range []struct {
		kind    string
		payload any
	}{
		{authority.KindKeyCreate, keyCreate("storage/k")},
		{authority.KindEndpointSet, authority.EndpointSet{Endpoint: authority.Endpoint{
			Name: "kes", Kind: "kes", Credentials: []authority.Credential{{ID: "a", Subject: "ci", Material: wire.Hash{1}}, {ID: "b", Subject: "ci", Material: wire.Hash{2}}},
		}}},
		{authority.KindEndpointSet, authority.EndpointSet{Endpoint: authority.Endpoint{
			Name: "vault", Kind: "vault", Credentials: []authority.Credential{{ID: "a", Use: "token", Subject: "ci", Material: wire.Hash{3}}, {ID: "b", Use: "token-key", Material: wire.Hash{4}}},
		}}},
	} {
		if _, err := alice.Propose(t.Context(), change.kind, change.payload); err != nil {
			t.Fatal(err)
		}
	}
	return alice.State()
}

func TestCandidates(t *testing.T) {
	st := withEndpoint(t)
	var names []string
	for _, p := range Candidates(st) {
		names = append(names, p.Type+" "+p.ID)
	}
	if !slices.Equal(names, []string{"Subject kes:ci", "Subject kes:*", "Subject vault:token:ci", "Subject vault:*"}) {
		t.Errorf("%v", names)
	}
	for who, want := range map[string]string{"kes:ci": "kes:ci", "none:ci": "", "app1": "spiffe://" + st.Members.Genesis.Name + "/workload/app1", "kes:": "", "spiffe://a.example/workload/b": "spiffe://a.example/workload/b"} {
		if id, err := CallerID(st, who); id != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", who, id, err)
		}
	}
}
