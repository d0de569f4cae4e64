// SPDX-License-Identifier: Apache-2.0

package dke

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"hash"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"claviger/internal/authn/oidc/oidctest"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
)

// office is Office with a user's token.
type office struct {
	issuer *oidctest.Issuer
	token  string
	sealed []byte // the body of a decryption with version 1
}

const resource = "https://dke.example.com"

func (o *office) suite(t testing.TB) gatewaytest.Suite {
	o.issuer = oidctest.New(t)
	o.token = o.issuer.Token(map[string]any{"aud": resource, "email": "Alice@Example.com", "groups": []string{"legal", "board"}})
	return gatewaytest.Suite{
		Kind: Kind(),
		Endpoint: authority.Endpoint{
			Issuers: []authority.Issuer{{URL: o.issuer.URL, JWKS: o.issuer.JWKS(), Use: useToken}},
			Options: []authority.Tag{gatewaytest.Tag(optionAudience, resource), gatewaytest.Tag(optionCache, "3600"), gatewaytest.Tag(gateway.OptionFolder, "office/")},
		},
		Policy: `permit(principal in Endpoint::"door", action, resource);`,
		After: func(r *gatewaytest.Rig) {
			r.CreateKey("office/k", authority.RSA2048)
			r.Hide([]byte(o.token))
			r.Allow(everything)
			o.sealed = o.encrypt(r, sha256.New, r.Canary())
			r.Allow(`forbid(principal, action, resource);`)
		},
		Sign: func(_ *gatewaytest.Rig, req *http.Request, _ []byte) {
			req.Header.Set("Authorization", "Bearer "+o.token)
		},
		Wrong: map[gateway.Failure]gatewaytest.Expect{
			gateway.Malformed: gatewaytest.Status(400, `"error":"`), gateway.MediaType: gatewaytest.Status(400, `"error":"`),
			gateway.Unauthenticated: challenged, gateway.Denied: gatewaytest.Status(403, `"error":"`), gateway.Revoked: gatewaytest.Status(403, `"error":"`),
			gateway.KeyOff: gatewaytest.Status(403, "the key is disabled"), gateway.EndpointOff: gatewaytest.Status(403, "switched off"),
			gateway.NoRoute: gatewaytest.Status(404, `"error":"`), gateway.NoMethod: gatewaytest.Status(405, `"error":"`),
			gateway.TooLarge: gatewaytest.Status(413, `"error":"`), gateway.TooSlow: gatewaytest.Status(503, `"error":"`),
			gateway.TooMany: gatewaytest.Status(429, `"error":"`), gateway.Unavailable: gatewaytest.Status(503, `"error":"`), gateway.Sealed: gatewaytest.Status(503, `"error":"`),
		},
		Cases: []gatewaytest.Case{
			{Route: "public-key", Keys: []string{"office/k"}, Make: func(*gatewaytest.Rig) gatewaytest.Request { return gatewaytest.Request{Method: "GET", Path: "/k"} },
				// Anybody may ask: a stranger gets what Office gets.
				Wrong: map[gateway.Failure]gatewaytest.Expect{gateway.Unauthenticated: gatewaytest.Status(200, `"kty":"RSA"`)}},
			{Route: "decrypt", Keys: []string{"office/k"}, Make: func(*gatewaytest.Rig) gatewaytest.Request { return o.decrypt("1", o.sealed) }},
		},
	}
}

const everything = `permit(principal, action, resource);`

// challenged expects 401 as the sample gives it.
func challenged(r gatewaytest.Reply) error {
	want := `Bearer resource="` + resource + `", authorization="` + defaultAuthority + `", realm="` + resource + `"`
	if r.Header.Get("WWW-Authenticate") != want || r.Header.Get("Resource") != resource || r.Header.Get("Authorization") != defaultAuthority {
		return gatewaytest.Status(401, want)(gatewaytest.Reply{Status: r.Status, Body: []byte(r.Header.Get("WWW-Authenticate"))})
	}
	return gatewaytest.Status(401, `"error":"`)(r)
}

func (o *office) decrypt(version string, body []byte) gatewaytest.Request {
	return gatewaytest.Request{Method: "POST", Path: "/k/" + version + "/Decrypt", Body: body}
}

func (o *office) send(r *gatewaytest.Rig, req gatewaytest.Request) gatewaytest.Reply {
	r.T.Helper()
	reply, err := r.Send(r.Client(nil), r.NewRequest(req, bytes.NewReader(req.Body)))
	if err != nil {
		r.T.Fatal(err)
	}
	return reply
}

// key fetches the public key.
func (o *office) key(r *gatewaytest.Rig) given {
	r.T.Helper()
	reply := o.send(r, gatewaytest.Request{Method: "GET", Path: "/k"})
	var g given
	if reply.Status != 200 || json.Unmarshal(reply.Body, &g) != nil {
		r.T.Fatalf("%d %s", reply.Status, reply.Body)
	}
	return g
}

// encrypt makes the body of a decryption.
func (o *office) encrypt(r *gatewaytest.Rig, hashed func() hash.Hash, plaintext []byte) []byte {
	r.T.Helper()
	g := o.key(r)
	text, err := rsa.EncryptOAEP(hashed(), rand.Reader, &rsa.PublicKey{N: new(big.Int).SetBytes(g.Key.Modulus), E: g.Key.Exponent}, plaintext, nil)
	if err != nil {
		r.T.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"alg": "RSA-OAEP-256", "value": text})
	if err != nil {
		r.T.Fatal(err)
	}
	return body
}

func serve(t *testing.T, policy string) (*office, *gatewaytest.Rig) {
	t.Helper()
	o := new(office)
	s := o.suite(t)
	s.Endpoint.Name, s.Endpoint.Kind = "door", "dke"
	r := gatewaytest.New(t, &s)
	r.Allow(policy)
	return o, r
}

func TestConformance(t *testing.T) { gatewaytest.Run(t, new(office).suite(t)) }

func FuzzBodies(f *testing.F) { gatewaytest.FuzzBodies(f, new(office).suite(f)) }

// TestVersions: several keys behind one name, the newest given out, all open.
func TestVersions(t *testing.T) {
	o, r := serve(t, everything)
	first := o.key(r)
	if first.Key.Type != "RSA" || first.Key.Algorithm != "RS256" || first.Key.Exponent != 65537 || first.Key.ID != r.Base()+"/k/1" {
		t.Errorf("%+v", first.Key)
	}
	var cache struct{ Cache struct{ Exp string } }
	if err := json.Unmarshal(o.send(r, gatewaytest.Request{Method: "GET", Path: "/k"}).Body, &cache); err != nil {
		t.Fatal(err)
	}
	if until, err := time.Parse("2006-01-02T15:04:05", cache.Cache.Exp); err != nil || until.Before(clock.System().Now().Add(50*time.Minute)) {
		t.Errorf("%v, %v", cache, err)
	}
	old := o.encrypt(r, sha256.New, []byte("old"))
	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: r.KeyOf("office/k").ID})
	if next := o.key(r); next.Key.ID != r.Base()+"/k/2" || bytes.Equal(next.Key.Modulus, first.Key.Modulus) {
		t.Errorf("%s", next.Key.ID)
	}
	body := o.encrypt(r, sha256.New, []byte("new"))
	for version, c := range map[string]struct {
		body []byte
		want string
	}{"1": {old, `{"value":"b2xk"}`}, "2": {body, `{"value":"bmV3"}`}} {
		for _, word := range []string{"decrypt", "Decrypt", "DECRYPT"} {
			req := gatewaytest.Request{Method: "POST", Path: "/k/" + version + "/" + word, Body: c.body}
			if reply := o.send(r, req); reply.Status != 200 || string(reply.Body) != c.want {
				t.Errorf("%s: %d %s", req.Path, reply.Status, reply.Body)
			}
		}
	}
	refused := map[string]gatewaytest.Request{
		"another version": o.decrypt("1", body), "no version": o.decrypt("3", body), "version 0": o.decrypt("0", body), "version 01": o.decrypt("01", body),
		"other hash": o.decrypt("2", o.encrypt(r, sha1.New, []byte("x"))), "upper case": {Method: "POST", Path: "/K/2/Decrypt", Body: body},
		"other alg": o.decrypt("2", bytes.Replace(body, []byte("RSA-OAEP-256"), []byte("RSA-OAEP"), 1)),
	}
	for name, req := range refused {
		if reply := o.send(r, req); reply.Status != 400 && !(name == "no version" && reply.Status == 403) {
			t.Errorf("%s: %d %s", name, reply.Status, reply.Body)
		}
	}
	if reply := o.send(r, gatewaytest.Request{Method: "POST", Path: "/k/2/sign", Body: body}); reply.Status != 404 {
		t.Errorf("sign: %d", reply.Status)
	}
	// What doesn't open and what is of another key are one answer.
	a, b := o.send(r, o.decrypt("1", body)), o.send(r, o.decrypt("2", refused["other hash"].Body))
	if !bytes.Equal(a.Body, b.Body) {
		t.Errorf("%s, %s", a.Body, b.Body)
	}
}

// TestWho: e-mail and groups decide, and only tokens for this endpoint count.
func TestWho(t *testing.T) {
	permit := func(what string) string {
		return `permit(principal == Subject::"door:anyone", action == Action::"wrap", resource); permit(principal, action == Action::"unwrap", resource)` + what + `;`
	}
	for policy, works := range map[string]bool{
		`permit(principal == Subject::"door:anyone", action == Action::"wrap", resource);`: false,
		permit(``): true,
		permit(` when { principal has groups && principal.groups.contains("legal") }`):        true,
		permit(` when { principal has groups && principal.groups.contains("sales") }`):        false,
		permit(` when { principal has issuer && principal.issuer like "http://127.0.0.1*" }`): true,
		`permit(principal == Subject::"door:alice@example.com", action, resource);`:           true,
		`permit(principal == Subject::"door:bob@example.com", action, resource);`:             false,
	} {
		o, r := serve(t, policy)
		if reply := o.send(r, o.decrypt("1", o.sealed)); (reply.Status == 200) != works || !works && reply.Status != 403 {
			t.Errorf("%s: %d %s", policy, reply.Status, reply.Body)
		}
	}
	o, r := serve(t, everything)
	stranger := oidctest.New(t)
	for name, token := range map[string]string{
		"other audience": o.issuer.Token(map[string]any{"aud": "https://other.example.com", "email": "a@example.com"}),
		"ended":          o.issuer.Token(map[string]any{"aud": resource, "email": "a@example.com", "exp": clock.System().Now().Add(-time.Hour).Unix()}),
		"other issuer":   stranger.Token(map[string]any{"aud": resource, "email": "a@example.com"}),
		"claimed issuer": stranger.Token(map[string]any{"aud": resource, "email": "a@example.com", "iss": o.issuer.URL}),
		"nothing":        "",
	} {
		o.token = token
		if err := challenged(o.send(r, o.decrypt("1", o.sealed))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	o.token = o.issuer.Token(map[string]any{"aud": resource, "sub": "a"})
	if reply := o.send(r, o.decrypt("1", o.sealed)); reply.Status != 400 || !strings.Contains(string(reply.Body), "names nobody") {
		t.Errorf("no e-mail: %d %s", reply.Status, reply.Body)
	}
	o.token = o.issuer.Token(map[string]any{"aud": resource, "upn": "Bob@Example.com"})
	if reply := o.send(r, o.decrypt("1", o.sealed)); reply.Status != 200 {
		t.Errorf("upn: %d %s", reply.Status, reply.Body)
	}
}

// TestNamesDontMeet: one spelling of a name is one user, in whatever case, and no
// other letter turns into one of somebody else's.
func TestNamesDontMeet(t *testing.T) {
	if got := lower("Alice.K@EXAMPLE.com"); got != "alice.k@example.com" {
		t.Error(got)
	}
	for _, other := range []string{"alice.\u212a@example.com", "al\u0130ce.k@example.com"} { // Kelvin sign, dotted I
		if lower(other) == "alice.k@example.com" {
			t.Errorf("%q reads as somebody else", other)
		}
	}
}

func TestProbe(t *testing.T) {
	_, r := serve(t, everything)
	target := gateway.ProbeTarget{
		Site: gateway.Site{Endpoint: r.Endpoint, Base: r.Base(), Clock: clock.System()}, Address: r.Doors, TLS: &tls.Config{RootCAs: r.Roots}, Key: "k",
	}
	checks := probe(t.Context(), target)
	for _, c := range checks {
		if c.Err != nil || c.Note == "" || c.Latency <= 0 {
			t.Errorf("%+v", c)
		}
	}
	if len(checks) != 4 {
		t.Errorf("%d steps", len(checks))
	}
	target.Key = "none"
	if checks := probe(t.Context(), target); len(checks) != 1 || checks[0].Err == nil {
		t.Errorf("%+v", checks)
	}
}

func TestCheck(t *testing.T) {
	good := authority.Endpoint{Name: "d", Kind: "dke", Issuers: []authority.Issuer{{URL: "https://sts.windows.net/t/"}}}
	if err := check(&good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*authority.Endpoint){
		"no issuer": func(e *authority.Endpoint) { e.Issuers = nil },
		"two issuers": func(e *authority.Endpoint) {
			e.Issuers = append(e.Issuers[:1:1], authority.Issuer{URL: "https://sts.windows.net/partner/"})
		},
		"credential": func(e *authority.Endpoint) { e.Credentials = make([]authority.Credential, 1) },
		"url":        func(e *authority.Endpoint) { e.Options = []authority.Tag{gatewaytest.Tag(optionURL, "http://x")} },
		"cache":      func(e *authority.Endpoint) { e.Options = []authority.Tag{gatewaytest.Tag(optionCache, "1 day")} },
	} {
		e := good
		change(&e)
		if check(&e) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if text := guide(gateway.Site{Base: "https://keys.example.com/dke", Endpoint: good}, nil); !strings.Contains(text, "https://keys.example.com\n") || !strings.Contains(text, "https://keys.example.com/dke/NAME") {
		t.Error(text)
	}
}
