// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"claviger/internal/authn/oidc/oidctest"
	"claviger/internal/authority"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
)

const (
	own      = "https://kacls.example.com/v1"
	client   = "workspace-client"
	resource = "//googleapis.com/drive/files/1"
)

const everything = `permit(principal, action, resource);`

// workspace is a customer's Workspace: Google, the customer's identity provider and
// the key service that was used before.
type workspace struct {
	google, idp *oidctest.Issuer
	old         *oldService
	made        map[string]string // tokens, by their claims

	dek, wrapped, private []byte // a key, as it is wrapped, and a wrapped private key
	spki                  []byte
	encrypted             []byte // to that private key
}

// oldService answers privilegedunwrap with a key that it doesn't look up.
type oldService struct {
	*httptest.Server
	mu     sync.Mutex
	key    []byte
	asked  []map[string]string
	answer http.HandlerFunc // instead
}

func newOldService(t testing.TB) *oldService {
	o := &oldService{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.answer != nil {
			o.answer(w, r)
			return
		}
		var in map[string]string
		if r.URL.Path != "/v1/privilegedunwrap" || r.Method != "POST" || json.NewDecoder(r.Body).Decode(&in) != nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		o.asked = append(o.asked, in)
		_ = json.NewEncoder(w).Encode(plainKey{o.key})
	}))
	t.Cleanup(o.Close)
	return o
}

func (o *oldService) base() string { return o.Server.URL + "/v1" }

func (o *oldService) answers(h http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answer = h
}

// with adds to or replaces claims or members.
func with(base map[string]any, change map[string]any) map[string]any {
	out := maps.Clone(base)
	maps.Copy(out, change)
	return out
}

// authorized is Google's token for a role, authenticated the identity provider's.
func (k *workspace) authorized(role string, change map[string]any) string {
	return k.token(k.google, with(map[string]any{
		"aud": audienceGoogle, "email": "Alice@Example.com", "role": role, "kacls_url": own, "kacls_owner_domain": "example.com",
		"resource_name": resource, "perimeter_id": "eu", "spki_hash": encode(k.spki), "spki_hash_algorithm": "SHA-256",
	}, change))
}

// token signs claims, once.
func (k *workspace) token(by *oidctest.Issuer, claims map[string]any) string {
	name := by.URL + string(body(claims))
	if k.made[name] == "" {
		k.made[name] = by.Token(claims)
	}
	return k.made[name]
}

func (k *workspace) authenticated(email string, change map[string]any) string {
	return k.token(k.idp, with(map[string]any{"aud": client, "sub": "1", "email": email, "email_verified": true, "groups": []string{"staff"}}, change))
}

// userKey is a user's RSA key, made once.
var userKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func curveKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pemOf(key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// body is a request's, as JSON.
func body(members map[string]any) []byte {
	out, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return out
}

// asUser is a request of alice's in a role.
func (k *workspace) asUser(role string, more map[string]any) map[string]any {
	return with(map[string]any{
		"authentication": k.authenticated("alice@example.com", nil), "authorization": k.authorized(role, nil), "reason": `{"client":"drive"}`,
	}, more)
}

func (k *workspace) asAdmin(more map[string]any) map[string]any {
	return with(map[string]any{"authentication": k.authenticated("admin@example.com", nil), "reason": "{}"}, more)
}

func (k *workspace) asGoogle(role string, more map[string]any) map[string]any {
	return with(map[string]any{"authorization": k.authorized(role, nil), "reason": "{}"}, more)
}

func post(path string, members map[string]any) gatewaytest.Request {
	return gatewaytest.Request{Method: "POST", Path: "/" + path, Body: body(members)}
}

func (k *workspace) send(r *gatewaytest.Rig, req gatewaytest.Request) gatewaytest.Reply {
	r.T.Helper()
	reply, err := r.Send(r.Client(nil), r.NewRequest(req, bytes.NewReader(req.Body)))
	if err != nil {
		r.T.Fatal(err)
	}
	return reply
}

// must makes a request that has to work, and gives a member of the answer.
func (k *workspace) must(r *gatewaytest.Rig, path, member string, members map[string]any) []byte {
	r.T.Helper()
	reply := k.send(r, post(path, members))
	for tries := 0; reply.Status == http.StatusTooManyRequests && tries < 100_000; tries++ {
		reply = k.send(r, post(path, members)) // an endpoint with a low rate
	}
	var out map[string][]byte
	if reply.Status != 200 || json.Unmarshal(reply.Body, &out) != nil || len(out[member]) == 0 {
		r.T.Fatalf("%s: %d %s", path, reply.Status, reply.Body)
	}
	return out[member]
}

func (k *workspace) endpoint(t testing.TB) authority.Endpoint {
	k.made = map[string]string{}
	k.google, k.idp, k.old = oidctest.New(t), oidctest.New(t), newOldService(t)
	return authority.Endpoint{
		Issuers: []authority.Issuer{
			{URL: k.google.URL, JWKS: k.google.JWKS(), Use: useAuthorization},
			{URL: k.idp.URL, Audience: client, Use: useAuthentication},
			{URL: k.old.base(), Use: useMigration},
		},
		Options: []authority.Tag{
			gatewaytest.Tag(optionDomain, "example.com"), gatewaytest.Tag(optionKey, "gw/wrap"), gatewaytest.Tag(optionPerimeters, "eu, us"),
			gatewaytest.Tag(optionPrivileged, "admin@example.com"), gatewaytest.Tag(optionSigning, "gw/sign"), gatewaytest.Tag(optionURL, own),
		},
	}
}

// prepare makes keys, and what requests bring that must have been wrapped before.
func (k *workspace) prepare(r *gatewaytest.Rig) {
	r.CreateKey("gw/wrap", authority.AES256)
	r.CreateKey("gw/sign", authority.ECDSAP256)
	r.Allow(everything)
	for _, name := range []string{k.authenticated("alice@example.com", nil), k.authorized(roleWriter, nil)} {
		r.Hide([]byte(name))
	}
	r.Hide(userKey().D.Bytes())
	k.dek = r.Canary()
	k.old.key = r.Canary()
	k.wrapped = k.must(r, "wrap", "wrapped_key", k.asUser(roleWriter, map[string]any{"key": k.dek}))
	der, err := x509.MarshalPKIXPublicKey(userKey().Public())
	if err != nil {
		r.T.Fatal(err)
	}
	sum := sha256.Sum256(der)
	k.spki = sum[:]
	k.private = k.must(r, "wrapprivatekey", "wrapped_private_key", k.asAdmin(map[string]any{"private_key": pemOf(userKey()), "perimeter_id": "eu"}))
	if k.encrypted, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, &userKey().PublicKey, k.dek, []byte("label")); err != nil {
		r.T.Fatal(err)
	}
	r.Allow(`forbid(principal, action, resource);`)
}

// strip takes the tokens out of a request.
func strip(req *http.Request) {
	text, err := io.ReadAll(req.Body)
	var members map[string]any
	if err != nil || json.Unmarshal(text, &members) != nil {
		return
	}
	for _, name := range []string{"authentication", "authorization"} {
		if members[name] != nil {
			members[name] = ""
		}
	}
	text = body(members)
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
}

func (k *workspace) suite(t testing.TB) gatewaytest.Suite {
	wrapping, signing := []string{"gw/wrap"}, []string{"gw/sign"}
	digest := sha256.Sum256([]byte("message"))
	open := map[gateway.Failure]gatewaytest.Expect{gateway.Unauthenticated: gatewaytest.Status(200, `"kty":"EC"`)}
	// making builds a request anew each time: tokens name the private key.
	making := func(path string, members func() map[string]any) func(*gatewaytest.Rig) gatewaytest.Request {
		return func(*gatewaytest.Rig) gatewaytest.Request { return post(path, members()) }
	}
	decrypting := func(more map[string]any) map[string]any {
		return with(map[string]any{
			"algorithm": "RSA/ECB/OAEPwithSHA-256andMGF1Padding", "encrypted_data_encryption_key": k.encrypted, "rsa_oaep_label": []byte("label"),
			"wrapped_private_key": k.private,
		}, more)
	}
	return gatewaytest.Suite{
		Kind: Kind(), Endpoint: k.endpoint(t), Policy: `permit(principal in Endpoint::"door", action, resource);`,
		After: k.prepare, Strip: strip, Wrong: wrong(),
		Cases: []gatewaytest.Case{
			{Route: "wrap", Keys: wrapping, Make: making("wrap", func() map[string]any { return k.asUser(roleWriter, map[string]any{"key": k.dek}) })},
			{Route: "unwrap", Keys: wrapping, Make: making("unwrap", func() map[string]any { return k.asUser(roleReader, map[string]any{"wrapped_key": k.wrapped}) })},
			{Route: "privilegedwrap", Keys: wrapping, Make: making("privilegedwrap", func() map[string]any {
				return k.asAdmin(map[string]any{"key": k.dek, "resource_name": resource, "perimeter_id": "us"})
			})},
			{Route: "privilegedunwrap", Keys: wrapping, Make: making("privilegedunwrap", func() map[string]any {
				return k.asAdmin(map[string]any{"wrapped_key": k.wrapped, "resource_name": resource})
			})},
			{Route: "takeout-unwrap", Keys: wrapping, Make: making("takeout_unwrap", func() map[string]any {
				return k.asAdmin(map[string]any{"wrapped_key": k.wrapped, "resource_name": resource})
			})},
			{Route: "digest", Keys: wrapping, Make: making("digest", func() map[string]any { return k.asGoogle(roleVerifier, map[string]any{"wrapped_key": k.wrapped}) })},
			{Route: "rewrap", Keys: []string{"gw/sign", "gw/wrap"}, Make: making("rewrap", func() map[string]any {
				return k.asGoogle(roleMigrator, map[string]any{"wrapped_key": k.wrapped, "original_kacls_url": k.old.base()})
			})},
			{Route: "delegate", Keys: signing, Make: making("delegate", func() map[string]any {
				return k.asUser(roleReader, map[string]any{"authorization": k.authorized(roleReader, map[string]any{"delegated_to": "room@example.com"})})
			})},
			{Route: "wrapprivatekey", Keys: wrapping, Make: making("wrapprivatekey", func() map[string]any {
				return k.asAdmin(map[string]any{"private_key": pemOf(userKey()), "perimeter_id": "eu"})
			})},
			{Route: "privatekeysign", Keys: wrapping, Make: making("privatekeysign", func() map[string]any {
				return k.asUser(roleSigner, map[string]any{"algorithm": "SHA256withRSA/PSS", "digest": digest[:], "rsa_pss_salt_length": 32, "wrapped_private_key": k.private})
			})},
			{Route: "privatekeydecrypt", Keys: wrapping, Make: making("privatekeydecrypt", func() map[string]any { return k.asUser(roleDecrypter, decrypting(nil)) })},
			{Route: "privilegedprivatekeydecrypt", Keys: wrapping, Make: making("privilegedprivatekeydecrypt", func() map[string]any {
				return k.asAdmin(decrypting(map[string]any{"spki_hash": k.spki, "spki_hash_algorithm": "SHA-256"}))
			})},
			{Route: "certs", Keys: signing, Wrong: open, Make: func(*gatewaytest.Rig) gatewaytest.Request { return gatewaytest.Request{Method: "GET", Path: "/certs"} }},
			{Route: "status", Open: true, Make: func(*gatewaytest.Rig) gatewaytest.Request { return gatewaytest.Request{Method: "GET", Path: "/status"} }},
			{Route: "preflight", Open: true, Make: func(*gatewaytest.Rig) gatewaytest.Request {
				return gatewaytest.Request{Method: "OPTIONS", Path: "/wrap", Header: http.Header{"Origin": {pageOrigin}, "Access-Control-Request-Method": {"POST"}}}
			}},
		},
	}
}

func wrong() map[gateway.Failure]gatewaytest.Expect {
	expect := func(status int, text string) gatewaytest.Expect {
		return func(r gatewaytest.Reply) error {
			var f struct {
				Code             int
				Message, Details string
			}
			if err := json.Unmarshal(r.Body, &f); err != nil || f.Code != r.Status || f.Message == "" {
				return gatewaytest.Status(0, "an error of the protocol")(r)
			}
			return gatewaytest.Status(status, text)(r)
		}
	}
	return map[gateway.Failure]gatewaytest.Expect{
		gateway.Malformed: expect(400, ""), gateway.MediaType: expect(415, "JSON"), gateway.Unauthenticated: expect(401, "token"),
		gateway.Denied: expect(403, "policy does not permit"), gateway.Revoked: expect(403, "revoked"), gateway.KeyOff: expect(403, "the key is disabled"),
		gateway.EndpointOff: expect(403, "switched off"), gateway.NoRoute: expect(404, ""), gateway.NoMethod: expect(405, ""),
		gateway.TooLarge: expect(413, ""), gateway.TooSlow: expect(503, ""), gateway.TooMany: expect(429, ""),
		gateway.Unavailable: expect(503, ""), gateway.Sealed: expect(503, ""),
	}
}

// serve is a door with a policy.
func serve(t *testing.T, policy string) (*workspace, *gatewaytest.Rig) {
	t.Helper()
	k := new(workspace)
	s := k.suite(t)
	s.Endpoint.Name, s.Endpoint.Kind = "door", "kacls"
	r := gatewaytest.New(t, &s)
	r.Allow(policy)
	return k, r
}

func TestConformance(t *testing.T) { gatewaytest.Run(t, new(workspace).suite(t)) }

func FuzzBodies(f *testing.F) { gatewaytest.FuzzBodies(f, new(workspace).suite(f)) }

// answered is what a refused request is told.
func answered(reply gatewaytest.Reply, status int, text string) bool {
	return reply.Status == status && strings.Contains(string(reply.Body), text)
}
