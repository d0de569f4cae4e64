// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"slices"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/policy"
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

// TestDecisionsOfSubjects: what was recorded is put again as it was asked, each
// question once, and decided by what was proved and said then.
func TestDecisionsOfSubjects(t *testing.T) {
	st := withEndpoint(t)
	var leaves []Leaf
	if err := json.Unmarshal([]byte(`[
{"time":"2026-11-21T12:00:00Z","kind":"decision","caller":"kes:ci","action":"encrypt","operations":["encrypt"],"resource":"storage/k","purpose":"data","route":"kes","attributes":{"principal":"Subject","proved":{"kind":"kes","account":"1","groups":["ops","dev"]},"asked":{"kmsOperation":"Encrypt"}}},
{"time":"2026-11-21T12:00:01Z","kind":"decision","caller":"kes:ci","action":"encrypt","operations":["encrypt"],"resource":"storage/k","purpose":"data","route":"kes","attributes":{"principal":"Subject","proved":{"groups":["ops","dev"],"account":"1","kind":"kes"},"asked":{"kmsOperation":"Encrypt"}}},
{"time":"2026-11-21T12:00:02Z","kind":"decision","caller":"kes:ci","action":"encrypt","operations":["encrypt"],"resource":"storage/k","purpose":"data","route":"kes","attributes":{"principal":"Subject","proved":{"kind":"kes","account":"2"},"asked":{"kmsOperation":"Encrypt"}}},
{"time":"2026-11-21T12:00:03Z","kind":"decision","caller":"kes:ci","action":"encrypt","operations":["encrypt"],"resource":"storage/k","purpose":"data","route":"kes","attributes":{"principal":"Subject","proved":{"kind":"kes","account":"1"},"asked":{"kmsOperation":"Decrypt"}}},
{"time":"2026-11-21T12:00:04Z","kind":"decision","caller":"kes:old","action":"encrypt","operations":["encrypt"],"resource":"storage/k","purpose":"data","route":"kes"}
]`), &leaves); err != nil {
		t.Fatal(err)
	}
	asked := Decisions(st, leaves)
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
