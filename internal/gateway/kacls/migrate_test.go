// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"

	"claviger/internal/authn/oidc/oidctest"
	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/gateway/gatewaytest"
)

func (k *workspace) rewrapping(more map[string]any) map[string]any {
	return k.asGoogle(roleMigrator, with(map[string]any{"wrapped_key": k.wrapped, "original_kacls_url": k.old.base()}, more))
}

// migrating is a token of the door's for another service.
func (k *workspace) migrating(t *testing.T, r *gatewaytest.Rig) string {
	t.Helper()
	r.Allow(everything)
	k.must(r, "rewrap", "wrapped_key", k.rewrapping(nil))
	return k.old.asked[len(k.old.asked)-1]["authentication"]
}

// TestRewrap: a key moves here from another service, which is shown a token that it
// can verify and nothing else.
func TestRewrap(t *testing.T) {
	k, r := serve(t, everything)
	reply := k.send(r, post("rewrap", k.rewrapping(map[string]any{"original_kacls_url": k.old.base() + "/"})))
	var out keyHash
	if reply.Status != 200 || json.Unmarshal(reply.Body, &out) != nil || !bytes.Equal(out.Hash, resourceKeyHash(k.old.key, resource, "eu")) {
		t.Fatalf("%d %s", reply.Status, reply.Body)
	}
	in := k.old.asked[0]
	if in["resource_name"] != resource || in["wrapped_key"] != encode(k.wrapped) || in["reason"] != "{}" || len(in) != 4 {
		t.Errorf("%v", in)
	}
	claims := k.opened(r, in["authentication"])
	if claims["iss"] != own || claims["aud"] != audienceMigration || claims["kacls_url"] != k.old.base() || claims["resource_name"] != resource ||
		claims["exp"].(float64)-claims["iat"].(float64) > 5*60 || claims["email"] != nil {
		t.Errorf("%v", claims)
	}
	if got := k.must(r, "unwrap", "key", k.asUser(roleReader, map[string]any{"wrapped_key": out.Wrapped})); !bytes.Equal(got, k.old.key) {
		t.Error("another key")
	}
	if got := k.must(r, "digest", "resource_key_hash", k.asGoogle(roleVerifier, map[string]any{"wrapped_key": out.Wrapped})); !bytes.Equal(got, out.Hash) {
		t.Error("another hash")
	}
}

// TestRewrapFrom: nobody is asked whom the record doesn't name.
func TestRewrapFrom(t *testing.T) {
	k, r := serve(t, everything)
	host := strings.TrimPrefix(k.old.Server.URL, "http://")
	other := newOldService(t)
	other.key = k.dek
	for _, url := range []string{
		"", "/", other.base(), k.old.Server.URL, k.old.base() + "/x", k.old.base() + "?x", k.old.base() + "#x", "http://user@" + host + "/v1",
		"HTTP://" + host + "/v1", k.old.base() + "//", "http://127.0.0.1:1/v1", "file:///etc/passwd", "http://" + host + "/v1/../v1", "//" + host + "/v1",
	} {
		claim{url, nil, 403, "names no such key service"}.judge(t, "rewrap", k.send(r, post("rewrap", k.rewrapping(map[string]any{"original_kacls_url": url}))))
	}
	if len(k.old.asked)+len(other.asked) > 0 {
		t.Error("somebody was asked")
	}
	// A hostile one gets us nowhere, and nothing else.
	for name, answer := range map[string]http.HandlerFunc{
		"refuses": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"sends on": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.base()+"/privilegedunwrap", http.StatusTemporaryRedirect)
		},
		"no JSON":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"no key":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) },
		"two keys": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"key":"AAAA","key":"AAAB"}`)) },
		"too long a key": func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(plainKey{make([]byte, 129)})
		},
		"an endless one": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), 1<<20)) },
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		},
		"another encoding": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"key":"AA-_"}`)) },
	} {
		k.old.answers(answer)
		claim{name, nil, 502, "other key service"}.judge(t, "rewrap", k.send(r, post("rewrap", k.rewrapping(nil))))
	}
	k.old.Close()
	claim{"away", nil, 502, "can't be reached"}.judge(t, "rewrap", k.send(r, post("rewrap", k.rewrapping(nil))))
	if len(other.asked) > 0 {
		t.Error("it was sent on")
	}
}

// TestPeer: another service fetches a key of ours.
func TestPeer(t *testing.T) {
	k := new(workspace)
	s := k.suite(t)
	s.Endpoint.Name, s.Endpoint.Kind = "door", "kacls"
	fresh, stranger := oidctest.New(t), oidctest.New(t)
	s.Endpoint.Issuers = append(s.Endpoint.Issuers, authority.Issuer{URL: fresh.URL, JWKS: fresh.JWKS(), Use: useMigration})
	r := gatewaytest.New(t, &s)
	r.Allow(`permit(principal == Subject::"door:` + fresh.URL + `", action == Action::"decrypt", resource == Key::"gw/wrap");`)
	shown := func(by *oidctest.Issuer, change map[string]any) map[string]any {
		token := by.Token(with(map[string]any{"aud": audienceMigration, "kacls_url": own, "resource_name": resource}, change))
		return map[string]any{"authentication": token, "resource_name": resource, "wrapped_key": k.wrapped, "reason": "{}"}
	}
	if got := k.must(r, "privilegedunwrap", "key", shown(fresh, nil)); !bytes.Equal(got, k.dek) {
		t.Error("another key")
	}
	for _, c := range []claim{
		{"another service's", map[string]any{"kacls_url": "https://other.example.com"}, 403, "another key service or resource"},
		{"no service's", map[string]any{"kacls_url": nil}, 403, "another key service or resource"},
		{"another resource", map[string]any{"resource_name": "other"}, 403, "another key service or resource"},
		{"no resource", map[string]any{"resource_name": nil}, 403, "another key service or resource"},
		{"another audience", map[string]any{"aud": client}, 401, ""},
		{"made at no time", map[string]any{"iat": nil}, 401, ""},
	} {
		c.judge(t, "privilegedunwrap", k.send(r, post("privilegedunwrap", shown(fresh, c.change))))
	}
	claim{"a stranger", nil, 401, ""}.judge(t, "privilegedunwrap", k.send(r, post("privilegedunwrap", shown(stranger, nil))))
	claim{"a stranger by its name", nil, 401, ""}.judge(t, "privilegedunwrap", k.send(r, post("privilegedunwrap", shown(stranger, map[string]any{"iss": fresh.URL}))))
	// It may fetch, and do nothing else.
	r.Allow(everything)
	wrap := with(shown(fresh, map[string]any{"email": "admin@example.com"}), map[string]any{"key": k.dek})
	claim{"wrapping", nil, 401, ""}.judge(t, "privilegedwrap", k.send(r, post("privilegedwrap", wrap)))
	wrap["authorization"] = k.authorized(roleReader, nil)
	claim{"as a user", nil, 401, ""}.judge(t, "unwrap", k.send(r, post("unwrap", wrap)))
}

// TestTwoDoors: a real migration, from one door to another, over TLS with a root that
// the records pin. The signing key is RSA.
func TestTwoDoors(t *testing.T) {
	k, r := serve(t, everything)
	r.CreateKey("new/wrap", authority.AES256)
	r.CreateKey("new/sign", authority.RSA2048)
	origin := strings.TrimSuffix(r.Base(), "/door")
	block, _ := pem.Decode(r.PEM())
	root := []endpoints.Certificate{{Use: usePeer, DER: block.Bytes}}
	door := func(name, peer string) authority.Endpoint {
		e := authority.Endpoint{Name: name, Kind: "kacls", Certificates: root, Issuers: []authority.Issuer{
			{URL: k.google.URL, JWKS: k.google.JWKS(), Use: useAuthorization}, {URL: k.idp.URL, Audience: client, Use: useAuthentication},
			{URL: origin + "/" + peer, Use: useMigration},
		}}
		e.Options = []authority.Tag{
			gatewaytest.Tag(optionDomain, "example.com"), gatewaytest.Tag(optionKey, name+"/wrap"), gatewaytest.Tag(optionURL, origin+"/"+name),
		}
		if name == "new" {
			e.Options = []authority.Tag{e.Options[0], e.Options[1], gatewaytest.Tag(optionSigning, "new/sign"), e.Options[2]}
		}
		if err := (Kind()).Check(&e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	r.CreateKey("old/wrap", authority.AES256)
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: door("old", "new")})
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: door("new", "old")})
	dek := make([]byte, 32)
	rand.Read(dek)
	at := func(name, path, member string, members map[string]any) []byte {
		t.Helper()
		r.Endpoint.Name = name
		defer func() { r.Endpoint.Name = "door" }()
		return k.must(r, path, member, members)
	}
	asking := func(name, role string) map[string]any {
		return k.asUser(role, map[string]any{"authorization": k.authorized(role, map[string]any{"kacls_url": origin + "/" + name, "perimeter_id": nil})})
	}
	wrapped := at("old", "wrap", "wrapped_key", with(asking("old", roleWriter), map[string]any{"key": dek}))
	again := at("new", "rewrap", "wrapped_key", with(asking("new", roleMigrator), map[string]any{"wrapped_key": wrapped, "original_kacls_url": origin + "/old"}))
	if got := at("new", "unwrap", "key", with(asking("new", roleReader), map[string]any{"wrapped_key": again})); !bytes.Equal(got, dek) {
		t.Error("another key")
	}
	before := at("old", "digest", "resource_key_hash", with(asking("old", roleVerifier), map[string]any{"wrapped_key": wrapped}))
	after := at("new", "digest", "resource_key_hash", with(asking("new", roleVerifier), map[string]any{"wrapped_key": again}))
	if !bytes.Equal(before, after) {
		t.Error("another hash")
	}
}
