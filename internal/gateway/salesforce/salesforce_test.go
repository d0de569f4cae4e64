// SPDX-License-Identifier: Apache-2.0

package salesforce

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
)

const (
	issuer   = "https://org.my.salesforce.com"
	audience = "https://keys.example.com"
	signer   = "Claviger_Signer"
)

// org is a Salesforce org: a certificate for keys, and one that signs tokens.
type org struct {
	recipient, token *rsa.PrivateKey
}

func certificate(t testing.TB, key *rsa.PrivateKey) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "org"}, NotAfter: clock.System().Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func newKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign makes a token as Salesforce does, with another implementation.
func (o *org) sign(t testing.TB, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	now := clock.System().Now()
	all := map[string]any{"iss": issuer, "aud": audience, "sub": "claviger", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: signer}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(data)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func (o *org) endpoint(t testing.TB) authority.Endpoint {
	return authority.Endpoint{
		Issuers: []authority.Issuer{{URL: issuer, Audience: audience, Use: useToken}},
		Certificates: []endpoints.Certificate{
			{Use: useRecipient, DER: certificate(t, o.recipient)}, {Use: useToken, DER: certificate(t, o.token)},
		},
		Options: []authority.Tag{gatewaytest.Tag(gateway.OptionFolder, "crm/"), gatewaytest.Tag(optionSigner, signer)},
	}
}

// fetching is a request with an id of its own.
func fetching(kid string) gatewaytest.Request {
	id := make([]byte, 16)
	rand.Read(id)
	return gatewaytest.Request{Method: "GET", Path: "/" + kid + "?requestId=" + hex.EncodeToString(id)}
}

func (o *org) suite(t testing.TB) gatewaytest.Suite {
	o.recipient, o.token = newKey(t), newKey(t)
	return gatewaytest.Suite{
		Kind: Kind(), Endpoint: o.endpoint(t), Policy: `permit(principal in Endpoint::"door", action, resource);`,
		After: func(r *gatewaytest.Rig) { r.CreateKey("crm/data", authority.AES256) },
		Sign: func(r *gatewaytest.Rig, req *http.Request, _ []byte) {
			req.Header.Set("Authorization", "Bearer "+o.sign(r.T, o.token, nil))
		},
		Wrong: map[gateway.Failure]gatewaytest.Expect{
			gateway.Malformed: gatewaytest.Status(400, `"error":"`), gateway.Unauthenticated: gatewaytest.Status(401, `"error":"`),
			gateway.Denied: gatewaytest.Status(403, `"error":"policy`), gateway.KeyOff: gatewaytest.Status(403, "disabled"),
			gateway.EndpointOff: gatewaytest.Status(403, "switched off"), gateway.NoRoute: gatewaytest.Status(404, `"error":"`),
			gateway.NoMethod: gatewaytest.Status(405, `"error":"`), gateway.TooLarge: gatewaytest.Status(413, `"error":"`),
			gateway.TooSlow: gatewaytest.Status(503, `"error":"`), gateway.TooMany: gatewaytest.Status(429, `"error":"`),
			gateway.Unavailable: gatewaytest.Status(503, `"error":"`), gateway.Sealed: gatewaytest.Status(503, `"error":"`),
		},
		Cases: []gatewaytest.Case{{Route: "key", Keys: []string{"crm/data"}, Make: func(*gatewaytest.Rig) gatewaytest.Request { return fetching("data-v1") }}},
	}
}

func serve(t *testing.T, policy string, change func(*authority.Endpoint)) (*org, *gatewaytest.Rig) {
	t.Helper()
	o := new(org)
	s := o.suite(t)
	s.Endpoint.Name, s.Endpoint.Kind = "door", "salesforce"
	if change != nil {
		change(&s.Endpoint)
	}
	r := gatewaytest.New(t, &s)
	r.Allow(policy)
	return o, r
}

const everything = `permit(principal, action, resource);`

func (o *org) send(r *gatewaytest.Rig, req gatewaytest.Request, token string) gatewaytest.Reply {
	r.T.Helper()
	out := r.NewRequest(req, bytes.NewReader(nil))
	if token != "" {
		out.Header.Set("Authorization", "Bearer "+token)
	}
	reply, err := r.Send(r.Client(nil), out)
	if err != nil {
		r.T.Fatal(err)
	}
	return reply
}

// open opens an answer as Salesforce does, with another implementation.
func (o *org) open(r *gatewaytest.Rig, reply gatewaytest.Reply) (kid string, header jose.Header, protected string, key []byte) {
	r.T.Helper()
	var answer struct{ KID, JWE string }
	if reply.Status != 200 || json.Unmarshal(reply.Body, &answer) != nil {
		r.T.Fatalf("%d %s", reply.Status, reply.Body)
	}
	jwe, err := jose.ParseEncryptedCompact(answer.JWE, []jose.KeyAlgorithm{jose.RSA_OAEP}, []jose.ContentEncryption{jose.A256GCM})
	if err != nil {
		r.T.Fatal(err)
	}
	if key, err = jwe.Decrypt(o.recipient); err != nil {
		r.T.Fatal(err)
	}
	first, _, _ := strings.Cut(answer.JWE, ".")
	text, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		r.T.Fatal(err)
	}
	return answer.KID, jwe.Header, string(text), key
}

func TestConformance(t *testing.T) { gatewaytest.Run(t, new(org).suite(t)) }

// TestKey: an answer opens with the org's key, holds exactly what Salesforce takes,
// and one key id is one key for ever.
func TestKey(t *testing.T) {
	o, r := serve(t, everything, nil)
	req := fetching("data-v1")
	_, id, _ := strings.Cut(req.Path, "=")
	kid, _, protected, key := o.open(r, o.send(r, req, ""))
	if want := `{"alg":"RSA-OAEP","enc":"A256GCM","kid":"data-v1","jti":"` + id + `"}`; protected != want || kid != "data-v1" || len(key) != 32 {
		t.Errorf("%s, %s, %d bytes", protected, kid, len(key))
	}
	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: r.KeyOf("crm/data").ID})
	_, _, again, same := o.open(r, o.send(r, fetching("data-v1"), ""))
	_, _, _, next := o.open(r, o.send(r, fetching("data-v2"), ""))
	if !bytes.Equal(key, same) || bytes.Equal(key, next) || again == protected {
		t.Error("version 1 changed, or version 2 is the same")
	}
	for path, status := range map[string]int{"data-v3": 410, "data-v0": 404, "data": 404, "data-v01": 404, "Data-v1": 404, "none-v1": 403, "data-v99999999999": 404} {
		if reply := o.send(r, fetching(path), ""); reply.Status != status {
			t.Errorf("%s: %d %s", path, reply.Status, reply.Body)
		}
	}
	r.Propose(authority.KindKeyDestroy, authority.Destroy{ID: r.KeyOf("crm/data").ID, Number: 1})
	if reply := o.send(r, fetching("data-v1"), ""); reply.Status != 410 {
		t.Errorf("destroyed: %d %s", reply.Status, reply.Body)
	}
}

// TestReplay: an id is answered once, and has to be there.
func TestReplay(t *testing.T) {
	o, r := serve(t, everything, nil)
	req := fetching("data-v1")
	if reply := o.send(r, req, ""); reply.Status != 200 {
		t.Fatalf("%d %s", reply.Status, reply.Body)
	}
	if reply := o.send(r, req, ""); reply.Status != 409 {
		t.Errorf("again: %d %s", reply.Status, reply.Body)
	}
	for _, path := range []string{"/data-v1", "/data-v1?requestId=", "/data-v1?requestId=short", "/data-v1?requestId=%0a234567890123456", req.Path + "&requestId=12345678901234567890", "/data-v1?requestId=%zz"} {
		if reply := o.send(r, gatewaytest.Request{Method: "GET", Path: path}, ""); reply.Status != 400 {
			t.Errorf("%s: %d %s", path, reply.Status, reply.Body)
		}
	}
	watch := clock.NewManual(clock.System().Now())
	seen := &replays{clock: watch}
	if seen.use("a") != nil || seen.use("a") == nil {
		t.Error("used twice")
	}
	watch.Advance(remember)
	if seen.use("a") == nil {
		t.Error("used again after an hour")
	}
	watch.Advance(2 * remember)
	if seen.use("a") != nil {
		t.Error("remembered for ever")
	}
	for i := range maxIDs {
		_ = seen.use(strconv.Itoa(i))
	}
	if err := seen.use("one more"); err == nil || gateway.FailureOf(err) != gateway.Busy {
		t.Errorf("too many: %v", err)
	}
	o, r = serve(t, everything, func(e *authority.Endpoint) {
		e.Options = []authority.Tag{e.Options[0], gatewaytest.Tag(optionReplay, "off"), e.Options[1]}
	})
	if _, _, protected, _ := o.open(r, o.send(r, gatewaytest.Request{Method: "GET", Path: "/data-v1"}, "")); strings.Contains(protected, "jti") {
		t.Error(protected)
	}
}

// TestWho: the pinned key's tokens count, for this endpoint; and what leaves takes
// what a release takes.
func TestWho(t *testing.T) {
	o, r := serve(t, everything, nil)
	for name, token := range map[string]string{
		"another key": o.sign(t, newKey(t), nil), "the recipient's key": o.sign(t, o.recipient, nil),
		"another audience": o.sign(t, o.token, map[string]any{"aud": "https://other.example.com"}), "another issuer": o.sign(t, o.token, map[string]any{"iss": "https://other.my.salesforce.com"}),
		"ended": o.sign(t, o.token, map[string]any{"exp": clock.System().Now().Add(-time.Hour).Unix()}),
	} {
		s := *r.Suite
		s.Sign = func(_ *gatewaytest.Rig, req *http.Request, _ []byte) {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		r.Suite = &s
		if reply := o.send(r, fetching("data-v1"), token); reply.Status != 401 {
			t.Errorf("%s: %d %s", name, reply.Status, reply.Body)
		}
	}
	for policy, works := range map[string]bool{
		`permit(principal, action == Action::"unwrap", resource);`:                                                  false,
		`permit(principal, action == Action::"release", resource);`:                                                 false,
		`permit(principal == Subject::"door:claviger", action in [Action::"release", Action::"unwrap"], resource);`: true,
		`permit(principal == Subject::"door:other", action, resource);`:                                             false,
	} {
		o, r := serve(t, policy, nil)
		if reply := o.send(r, fetching("data-v1"), ""); (reply.Status == 200) != works {
			t.Errorf("%s: %d %s", policy, reply.Status, reply.Body)
		}
	}
}

// TestClientCertificate: without an issuer the certificate of the handshake counts.
func TestClientCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "org"}, NotAfter: clock.System().Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	o, r := serve(t, everything, func(e *authority.Endpoint) {
		e.Issuers, e.Certificates, e.Host, e.ClientCAs, e.Options = nil, e.Certificates[:1], "crm.example.com", [][]byte{der}, e.Options[:1]
	})
	cert := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	out, err := http.NewRequestWithContext(t.Context(), "GET", r.Base()+fetching("data-v1").Path, nil)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := r.Send(r.Client(cert), out)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, k := o.open(r, reply); len(k) != 32 {
		t.Errorf("%d bytes", len(k))
	}
	target := gateway.ProbeTarget{
		Site: gateway.Site{Endpoint: r.Endpoint, Base: r.Base(), Clock: clock.System()}, Address: r.Doors, TLS: &tls.Config{RootCAs: r.Roots}, Key: "data-v1", Cert: cert,
	}
	if checks := probe(t.Context(), target); len(checks) != 1 || checks[0].Err != nil {
		t.Errorf("%+v", checks)
	}
}

func TestProbe(t *testing.T) {
	_, r := serve(t, everything, nil)
	target := gateway.ProbeTarget{
		Site: gateway.Site{Endpoint: r.Endpoint, Base: r.Base(), Clock: clock.System()}, Address: r.Doors, TLS: &tls.Config{RootCAs: r.Roots}, Key: "data-v1",
	}
	checks := probe(t.Context(), target)
	for _, c := range checks {
		if c.Err != nil || c.Note == "" || c.Latency <= 0 {
			t.Errorf("%+v", c)
		}
	}
	if len(checks) != 2 {
		t.Errorf("%d steps", len(checks))
	}
}

func TestCheck(t *testing.T) {
	o := &org{recipient: newKey(t), token: newKey(t)}
	good := o.endpoint(t)
	if err := check(&good); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*authority.Endpoint){
		"no recipient": func(e *authority.Endpoint) { e.Certificates = e.Certificates[1:] }, "two": func(e *authority.Endpoint) {
			e.Certificates = append(e.Certificates[:2:2], endpoints.Certificate{Use: useRecipient, DER: certificate(t, o.token)})
		},
		"no token key": func(e *authority.Endpoint) { e.Certificates = e.Certificates[:1] }, "nobody": func(e *authority.Endpoint) { e.Issuers, e.Certificates = nil, e.Certificates[:1] },
		"no signer": func(e *authority.Endpoint) { e.Options = nil }, "no audience": func(e *authority.Endpoint) {
			e.Issuers = []authority.Issuer{{URL: issuer}}
		},
		"two issuers": func(e *authority.Endpoint) {
			e.Issuers = append(e.Issuers[:1:1], authority.Issuer{URL: "https://other.my.salesforce.com", Audience: audience})
		},
		"replay": func(e *authority.Endpoint) { e.Options = append(e.Options[:2:2], gatewaytest.Tag(optionReplay, "on")) },
	} {
		e := good
		change(&e)
		if check(&e) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
