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
	for kind, payload := range map[string]any{
		authority.KindKeyCreate: keyCreate("storage/k"),
		authority.KindEndpointSet: authority.EndpointSet{Endpoint: authority.Endpoint{
			Name: "kes", Kind: "kes", Credentials: []authority.Credential{{ID: "a", Subject: "ci", Material: wire.Hash{1}}, {ID: "b", Subject: "ci", Material: wire.Hash{2}}},
		}},
	} {
		if _, err := alice.Propose(t.Context(), kind, payload); err != nil {
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
	if !slices.Equal(names, []string{"Subject kes:ci", "Subject kes:*"}) {
		t.Errorf("%v", names)
	}
	for who, want := range map[string]string{"kes:ci": "kes:ci", "none:ci": "", "app1": "spiffe://" + st.Members.Genesis.Name + "/workload/app1", "kes:": "", "spiffe://a.example/workload/b": "spiffe://a.example/workload/b"} {
		if id, err := CallerID(st, who); id != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", who, id, err)
		}
	}
}
