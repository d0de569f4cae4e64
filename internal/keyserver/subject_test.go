// SPDX-License-Identifier: Apache-2.0

package keyserver_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/keyserver"
	"claviger/internal/keyserver/api"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/keyserver/rules"
	"claviger/internal/wire"
)

// claimsOf are what the credential of alice at xks-prod proves.
func claimsOf(account string) authn.SubjectClaims {
	return authn.SubjectClaims{
		Endpoint: "xks-prod", EndpointKind: "xks", Name: "alice", Attributes: map[string]any{"account": account},
	}
}

// withEndpoint is a domain with the endpoint xks-prod, which may touch what lies
// in storage, a key there, and one beside it.
func withEndpoint(t *testing.T) *keyservertest.Rig {
	r := keyservertest.New(t)
	r.CreateKey("storage/k", authority.AES256)
	r.CreateKey("other/k", authority.AES256)
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: authority.Endpoint{Name: "xks-prod", Kind: "xks", Keys: []string{"storage/"}}})
	r.Allow(`permit(principal in Endpoint::"xks-prod", action, resource) when { principal has account && principal.account == "1" };`)
	return r
}

func sealWith(key string) *keyserver.Use {
	return &keyserver.Use{
		Operation: "seal", Item: wire.Item{Name: key}, Input: []byte("data"), Route: "xks", Asked: map[string]string{"kmsOperation": "Encrypt"},
	}
}

// TestSubject: a door's caller uses keys that policy gives to what its credential
// proved, within its endpoint's list, and does nothing else.
func TestSubject(t *testing.T) {
	r := withEndpoint(t)
	alice := authn.SubjectCaller(claimsOf("1"))
	a, err := r.AskAs(alice, sealWith("storage/k"))
	if err != nil {
		t.Fatal(err)
	}
	sealed := a.(*keyserver.Used)
	for range 2 { // whatever is remembered
		_, err = r.AskAs(authn.SubjectCaller(claimsOf("2")), sealWith("storage/k"))
		is(t, "another account", err, keyserver.ErrDenied, keyserver.CausePolicy)
		if _, err = r.AskAs(alice, sealWith("storage/k")); err != nil {
			t.Error(err)
		}
	}
	open := &keyserver.Use{Operation: "open", Item: wire.Item{Name: "storage/k", Version: sealed.Version}, Input: sealed.Output, Route: "xks"}
	all, err := r.AskAs(alice, &keyserver.UseAll{Uses: []*keyserver.Use{open, sealWith("other/k")}})
	if err != nil {
		t.Fatal(err)
	}
	results := all.(*keyserver.UsedAll).Results
	if results[0].Err != nil || string(results[0].Used.Output) != "data" {
		t.Errorf("%+v", results[0])
	}
	_, absent := r.AskAs(alice, sealWith("other/none"))
	is(t, "no such key", absent, keyserver.ErrDenied, keyserver.CausePolicy)
	_, err = r.AskAs(alice, sealWith("storage/none"))
	is(t, "no such key where the caller may use any", err, keyserver.ErrDenied, keyserver.CauseAbsent)
	_, err = r.AskAs(authn.SubjectCaller(claimsOf("2")), sealWith("storage/none"))
	is(t, "no such key where the caller may use none", err, keyserver.ErrDenied, keyserver.CausePolicy)
	is(t, "beyond the endpoint's list", results[1].Err, keyserver.ErrDenied, keyserver.CausePolicy)
	if beyond := strings.Replace(results[1].Err.Error(), "other/k", "other/none", 1); beyond != absent.Error() {
		t.Errorf("%s; of no such key %v", beyond, absent)
	}
	_, err = r.AskAs(alice, &keyserver.Describe{Name: "other/k", Route: "xks"})
	is(t, "describe beyond the list", err, keyserver.ErrDenied, keyserver.CausePolicy)
	listed, err := r.AskAs(alice, &keyserver.List{})
	if keys := listed.(*keyserver.Listed).Keys; err != nil || len(keys) != 1 || keys[0].Name != "storage/k" {
		t.Errorf("%+v, %v", keys, err)
	}
	if _, err := r.AskAs(alice, &keyserver.CreateKey{Name: "storage/new", Algorithm: authority.AES256, Route: "xks"}); err != nil {
		t.Error(err)
	}
	_, err = r.AskAs(alice, &keyserver.CreateKey{Name: "other/new", Algorithm: authority.AES256, Route: "xks"})
	is(t, "create beyond the list", err, keyserver.ErrDenied, keyserver.CausePolicy)
	for name, op := range map[string]keyserver.Op{
		"a release": &keyserver.Release{}, "a renewal": &keyserver.Certify{Renew: &wire.Renew{}}, "a proposal": &keyserver.Propose{},
		"records": &keyserver.ReadRecords{}, "status": &keyserver.ReadStatus{}, "audit": &keyserver.ReadAudit{}, "a backup": &keyserver.MakeBackup{},
	} {
		_, err := r.AskAs(alice, op)
		is(t, name, err, keyserver.ErrDenied, keyserver.CausePolicy)
	}
}

// TestSubjectProved: nothing but a verifier's caller, and none whose credential
// has ended.
func TestSubjectProved(t *testing.T) {
	r := withEndpoint(t)
	ended := claimsOf("1")
	ended.NotAfter = clock.System().Now().Add(-time.Second)
	for name, c := range map[string]*authn.Caller{
		"nobody": nil, "a literal": {Kind: authn.Subject, ID: "xks-prod:alice", Endpoint: "xks-prod", EndpointKind: "xks"},
		"no name": authn.SubjectCaller(authn.SubjectClaims{Endpoint: "xks-prod", EndpointKind: "xks"}), "ended": authn.SubjectCaller(ended),
	} {
		_, err := r.AskAs(c, sealWith("storage/k"))
		is(t, name, err, keyserver.ErrUnproved, "")
	}
}

// TestSubjectRevoked: by its name, with its endpoint, with everything; each time
// from the next request on, recorded, and with a cause that doors can tell.
func TestSubjectRevoked(t *testing.T) {
	r := withEndpoint(t)
	alice := authn.SubjectCaller(claimsOf("1"))
	leaves := func() int { return r.Leaves("encrypt") }
	want := func(what string, cause rules.Cause) {
		t.Helper()
		before := leaves()
		_, err := r.AskAs(alice, sealWith("storage/k"))
		if cause == "allowed" {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		} else {
			is(t, what, err, keyserver.ErrDenied, cause)
		}
		if leaves() != before+1 {
			t.Errorf("%s: no leaf", what)
		}
	}
	want("at first", "allowed")
	key := r.KeyOf("storage/k").ID
	r.Propose(authority.KindKeyDisable, authority.KeyRef{ID: key})
	want("the key is disabled", keyserver.CauseDisabled)
	r.Propose(authority.KindKeyEnable, authority.KeyRef{ID: key})
	r.Propose(authority.KindClientRevoke, authority.Subject{Client: "xks-prod:alice"})
	want("the subject is revoked", keyserver.CauseRevoked)
	_, err := r.AskAs(alice, &keyserver.List{})
	is(t, "a revoked subject lists", err, keyserver.ErrDenied, keyserver.CauseRevoked)
	r.Propose(authority.KindClientEnable, authority.Subject{Client: "xks-prod:alice"})
	want("enabled", "allowed")
	r.Propose(authority.KindEndpointDisable, authority.EndpointDisable{Name: "xks-prod"})
	want("the endpoint is disabled", keyserver.CauseRevoked)
	r.Propose(authority.KindEndpointEnable, authority.EndpointRef{Name: "xks-prod"})
	want("the endpoint is enabled", "allowed")
	r.Propose(authority.KindRevokeAll, authority.Subject{})
	want("everything is revoked", keyserver.CauseRevoked)
	r.Propose(authority.KindEnableAll, authority.Subject{})
	r.Propose(authority.KindEndpointRemove, authority.EndpointRef{Name: "xks-prod"})
	want("the endpoint is removed", keyserver.CauseRevoked)
}

// TestSubjectsDecisionsAreShown: an admin who reads the audit log sees what was
// known of a subject, and can put the same question again.
func TestSubjectsDecisionsAreShown(t *testing.T) {
	r := withEndpoint(t)
	for account, good := range map[string]bool{"1": true, "2": false} {
		if _, err := r.AskAs(authn.SubjectCaller(claimsOf(account)), sealWith("storage/k")); (err == nil) != good {
			t.Errorf("account %s: %v", account, err)
		}
	}
	status, body := r.AsAdmin("GET", "/v1/admin/audit?n=1000", nil)
	var out struct{ Leaves []api.LeafInfo }
	if err := json.Unmarshal(body, &out); err != nil || status != 200 {
		t.Fatalf("%d %v", status, err)
	}
	shown := map[string]bool{}
	for _, l := range out.Leaves {
		if a := l.Attributes; l.Action == "encrypt" {
			if a == nil || a.Principal != "Subject" || a.Proved["kind"] != "xks" || a.Asked["kmsOperation"] != "Encrypt" {
				t.Fatalf("%+v", a)
			}
			shown[a.Proved["account"].(string)+" "+l.Decision] = true
		} else if a != nil {
			t.Errorf("%s has a record", l.Action)
		}
	}
	if len(shown) != 2 || !shown["1 allowed"] || !shown["2 denied"] {
		t.Errorf("%v", shown)
	}
}
