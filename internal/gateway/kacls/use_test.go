// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
)

// TestResourceKeyHash is known answers (openssl).
func TestResourceKeyHash(t *testing.T) {
	for perimeter, want := range map[string]string{
		"my_perimeter": "EfRLb/AKdtsPSfX+vZ/Pi8h6bmKhBTu4egOABRnEdCg=", "": "6z59eJWO6NBfXSe5y83JAJULRRbuWLelUIhRY7Hs6g8=",
	} {
		if got := base64.StdEncoding.EncodeToString(resourceKeyHash([]byte{0xf0, 0x0d}, "my_resource", perimeter)); got != want {
			t.Errorf("%q: %s", perimeter, got)
		}
	}
}

// TestWrapped: a wrapped key comes back, also after a rotation, and is bound to what
// it was wrapped for.
func TestWrapped(t *testing.T) {
	k, r := serve(t, everything)
	reading := func(wrapped []byte) map[string]any {
		return k.asUser(roleReader, map[string]any{"wrapped_key": wrapped})
	}
	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: r.KeyOf("gw/wrap").ID})
	if got := k.must(r, "unwrap", "key", reading(k.wrapped)); !bytes.Equal(got, k.dek) {
		t.Error("another key")
	}
	for _, size := range []int{1, 16, 128} {
		key := bytes.Repeat([]byte{7}, size)
		wrapped := k.must(r, "wrap", "wrapped_key", k.asUser(roleUpgrader, map[string]any{"key": key}))
		if got := k.must(r, "unwrap", "key", reading(wrapped)); !bytes.Equal(got, key) || len(encode(wrapped)) > 1024 {
			t.Errorf("%d bytes: %x in %d", size, got, len(encode(wrapped)))
		}
	}
	for name, key := range map[string]any{"none": "", "long": make([]byte, 129), "bad": "A", "of the URL kind": "_-__", "with a line end": "AAAA\n"} {
		claim{name, nil, 400, ""}.judge(t, "wrap", k.send(r, post("wrap", k.asUser(roleWriter, map[string]any{"key": key}))))
	}
	changed := bytes.Clone(k.wrapped)
	changed[len(changed)-1] ^= 1
	for name, wrapped := range map[string][]byte{"none": nil, "changed": changed, "cut": k.wrapped[:20], "long": make([]byte, 1025), "another": []byte("wrapped")} {
		claim{name, nil, 400, ""}.judge(t, "unwrap", k.send(r, post("unwrap", reading(wrapped))))
	}
	long := k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped, "reason": strings.Repeat("r", 1025)})
	claim{"a long reason", nil, 400, "reason"}.judge(t, "unwrap", k.send(r, post("unwrap", long)))
}

// TestPerimeterInside: the perimeter that counts is the one that was wrapped: another
// record, whose perimeters are others, doesn't open it.
func TestPerimeterInside(t *testing.T) {
	k, r := serve(t, everything)
	e := r.Endpoint
	e.Name, e.Options = "other", nil
	for _, o := range r.Endpoint.Options {
		if o.Name == optionPerimeters {
			o.Value = "us"
		}
		e.Options = append(e.Options, o)
	}
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: e})
	r.Endpoint.Name = "other"
	defer func() { r.Endpoint.Name = "door" }()
	for path, members := range map[string]map[string]any{
		"unwrap":           k.asUser(roleReader, map[string]any{"authorization": k.authorized(roleReader, map[string]any{"perimeter_id": nil})}),
		"privilegedunwrap": k.asAdmin(map[string]any{"resource_name": resource}),
		"digest":           k.asGoogle(roleVerifier, nil),
	} {
		members["wrapped_key"] = k.wrapped
		claim{"of eu", nil, 403, "outside of the perimeter"}.judge(t, path, k.send(r, post(path, members)))
	}
}

// TestWhoDecides: policy sees the user, what is known of him and the stated reason;
// the log tells of the user, the resource and the reason.
func TestWhoDecides(t *testing.T) {
	permit := func(when string) string {
		return `permit(principal, action == Action::"decrypt", resource) when { ` + when + ` };`
	}
	k, r := serve(t, everything)
	for policy, works := range map[string]bool{
		`permit(principal == Subject::"door:alice@example.com", action == Action::"decrypt", resource == Key::"gw/wrap");`: true,
		`permit(principal == Subject::"door:bob@example.com", action, resource);`:                                          false,
		`permit(principal, action == Action::"encrypt", resource);`:                                                        false,
		permit(`principal has groups && principal.groups.contains("staff")`):                                               true,
		permit(`principal has groups && principal.groups.contains("board")`):                                               false,
		permit(`principal has email && principal.email like "*@example.com"`):                                              true,
		permit(`context has reason && context.reason like "*drive*"`):                                                      true,
		permit(`context has reason && context.reason like "*mail*"`):                                                       false,
		permit(`context has route && context.route == "kacls"`):                                                            true,
	} {
		r.Allow(policy)
		reply := k.send(r, post("unwrap", k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped})))
		if works != (reply.Status == 200) || !works && !answered(reply, 403, "policy does not permit") {
			t.Errorf("%s: %d %s", policy, reply.Status, reply.Body)
		}
	}
	status, leaves := r.AsAdmin("GET", "/v1/admin/audit?n=1000", nil)
	if status != 200 || !strings.Contains(string(leaves), `{\"client\":\"drive\"}`) {
		t.Errorf("no leaf keeps the stated reason: %s", leaves)
	}
	log := r.Log()
	for _, text := range []string{`"user":"alice@example.com"`, `"resource":"` + resource + `"`, `"reason":"{\"client\":\"drive\"}"`, `"operation":"unwrap"`} {
		if !strings.Contains(log, text) {
			t.Errorf("the log doesn't have %s", text)
		}
	}
}

// TestPages: Google's page may read answers and errors; others get nothing done.
func TestPages(t *testing.T) {
	k, r := serve(t, everything)
	req := post("unwrap", k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped}))
	bad := post("unwrap", nil)
	for origin, status := range map[string]int{
		pageOrigin: 200, "https://evil.example.com": 403, "null": 403, "http://client-side-encryption.google.com": 403, pageOrigin + ".evil.example.com": 403, "": 403,
	} {
		req.Header, bad.Header = http.Header{"Origin": {origin}}, http.Header{"Origin": {origin}}
		want := ""
		if status == 200 {
			want = pageOrigin
		}
		for _, reply := range []gatewaytest.Reply{k.send(r, req), k.send(r, bad)} {
			if reply.Header.Get("Access-Control-Allow-Origin") != want || reply.Header.Get("Vary") != "Origin" || reply.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%q: %v", origin, reply.Header)
			}
		}
		if reply := k.send(r, req); reply.Status != status {
			t.Errorf("%q: %d %s", origin, reply.Status, reply.Body)
		}
		for _, path := range []string{"wrap", "rewrap", "takeout_unwrap", "privatekeysign", "status", "certs"} {
			ask := gatewaytest.Request{Method: "OPTIONS", Path: "/" + path, Header: http.Header{
				"Origin": {origin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"content-type,x-thing"},
				"Access-Control-Request-Private-Network": {"true"},
			}}
			reply := k.send(r, ask)
			if (reply.Status == 204) != (status == 200) || reply.Header.Get("Access-Control-Allow-Origin") != want ||
				status == 200 && (reply.Header.Get("Access-Control-Allow-Headers") != "content-type,x-thing" || reply.Header.Get("Access-Control-Allow-Private-Network") != "true") {
				t.Errorf("%q, %s: %d %v", origin, path, reply.Status, reply.Header)
			}
		}
	}
	req.Header = http.Header{"Origin": {pageOrigin, "https://evil.example.com"}}
	if reply := k.send(r, req); reply.Status != 403 {
		t.Errorf("two origins: %d", reply.Status)
	}
	if reply := k.send(r, gatewaytest.Request{Method: "OPTIONS", Path: "/wrap", Header: http.Header{"Origin": {pageOrigin}, "Access-Control-Request-Headers": {"x\u00e9"}}}); reply.Header.Get("Access-Control-Allow-Headers") != "Content-Type" {
		t.Errorf("%v", reply.Header)
	}
}

func TestProbe(t *testing.T) {
	_, r := serve(t, everything)
	target := gateway.ProbeTarget{
		Site: gateway.Site{Endpoint: r.Endpoint, Base: r.Base(), Clock: clock.System()}, Address: r.Doors, TLS: &tls.Config{RootCAs: r.Roots},
	}
	checks := probe(t.Context(), target)
	for _, c := range checks {
		if c.Err != nil || c.Note == "" || c.Latency <= 0 {
			t.Errorf("%+v", c)
		}
	}
	if len(checks) != 7 {
		t.Errorf("%d steps", len(checks))
	}
	r.Allow(`permit(principal == Subject::"door:alice@example.com", action, resource);`)
	if checks := probe(t.Context(), target); checks[6].Err == nil || !strings.Contains(checks[6].Err.Error(), "anyone") {
		t.Errorf("certs that nobody may see: %+v", checks[6])
	}
	target.Site.Base += "/nothing"
	if checks := probe(t.Context(), target); len(checks) != 1 || checks[0].Err == nil {
		t.Errorf("%+v", checks)
	}
}

func TestCheck(t *testing.T) {
	good := func() authority.Endpoint {
		return authority.Endpoint{Name: "gw", Kind: "kacls", Issuers: []authority.Issuer{{URL: "https://idp.example.com", Audience: client, Use: useAuthentication}},
			Options: []authority.Tag{gatewaytest.Tag(optionDomain, "example.com"), gatewaytest.Tag(optionKey, "gw/wrap"), gatewaytest.Tag(optionSigning, "gw/sign")}}
	}
	e := good()
	if err := check(&e); err != nil {
		t.Error(err)
	}
	issuer := func(i authority.Issuer) func(*authority.Endpoint) {
		return func(e *authority.Endpoint) { e.Issuers = append(e.Issuers, i) }
	}
	option := func(name, value string) func(*authority.Endpoint) {
		return func(e *authority.Endpoint) { e.Options = append(e.Options, gatewaytest.Tag(name, value)) }
	}
	for name, change := range map[string]func(*authority.Endpoint){
		"no identity provider": func(e *authority.Endpoint) { e.Issuers = nil }, "a credential": func(e *authority.Endpoint) { e.Credentials = make([]authority.Credential, 1) },
		"no domain and key": func(e *authority.Endpoint) { e.Options = nil }, "no audience": issuer(authority.Issuer{URL: "https://x.example.com", Use: useAuthentication}),
		"an issuer for nothing":                          issuer(authority.Issuer{URL: "https://x.example.com"}),
		"a service with a key set of its own and no URL": issuer(authority.Issuer{URL: "old", JWKS: "https://x.example.com/certs", Use: useMigration}),
		"a service without https":                        issuer(authority.Issuer{URL: "http://x.example.com", Use: useMigration}),
		"a service with an audience":                     issuer(authority.Issuer{URL: "https://x.example.com", Audience: "a", Use: useMigration}),
		"a service with a slash":                         issuer(authority.Issuer{URL: "https://x.example.com/", Use: useMigration}),
		"a service with a query":                         issuer(authority.Issuer{URL: "https://x.example.com/?a", Use: useMigration}),
		"http":                                           option(optionURL, "http://x.example.com"), "a slash": option(optionURL, "https://x.example.com/"), "guests": option(optionGuests, "no"),
		"an origin with a path": option(optionOrigins, "https://x.example.com/a"), "an origin without https": option(optionOrigins, "http://x.example.com"),
		"an admin in capitals": option(optionPrivileged, "Admin@example.com"), "an admin without a name": option(optionPrivileged, "a@b.example, "),
		"a perimeter without a name": option(optionPerimeters, "a,,b"), "a key's name": option(optionKey, "A B"),
		"a certificate that is none": func(e *authority.Endpoint) {
			e.Certificates = []endpoints.Certificate{{Use: usePeer, DER: []byte("x")}}
		},
	} {
		e := good()
		change(&e)
		if check(&e) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	text := guide(gateway.Site{Base: "https://keys.example.com/gw", Endpoint: e}, nil)
	for _, want := range []string{"https://keys.example.com/gw\n", pageOrigin, `Endpoint::"gw"`, "gw/sign"} {
		if !strings.Contains(text, want) {
			t.Errorf("the guide doesn't have %s", want)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add((&thing{perimeter: "eu", key: []byte("key")}).pack())
	f.Add([]byte{1, 255, 0})
	f.Fuzz(func(t *testing.T, packed []byte) {
		var got thing
		if got.unpack(packed) == nil && (len(got.key) == 0 || !bytes.Equal(got.pack(), packed)) {
			t.Errorf("%x", packed)
		}
	})
}

// TestStatus: what Google reads first.
func TestStatus(t *testing.T) {
	k, r := serve(t, `forbid(principal, action, resource);`)
	var s struct {
		Type       string   `json:"server_type"`
		Vendor     string   `json:"vendor_id"`
		Version    string   `json:"version"`
		Operations []string `json:"operations_supported"`
	}
	reply := k.send(r, gatewaytest.Request{Method: "GET", Path: "/status"})
	if err := json.Unmarshal(reply.Body, &s); err != nil || s.Type != "KACLS" || s.Vendor == "" || s.Version == "" || len(s.Operations) != 14 {
		t.Errorf("%s", reply.Body)
	}
}
