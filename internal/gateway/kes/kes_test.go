// SPDX-License-Identifier: Apache-2.0

package kes_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"testing"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
	"claviger/internal/gateway/kes"
)

// clientCertificate makes what any KES client has: a certificate of nobody's.
func clientCertificate(r *gatewaytest.Rig) *tls.Certificate {
	r.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.T.Fatal(err)
	}
	now := clock.System().Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "minio"}, NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 0, 1),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		r.T.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func put(path, body string) gatewaytest.Request {
	return gatewaytest.Request{Method: "PUT", Path: path, Body: []byte(body)}
}

func get(path string) gatewaytest.Request {
	return gatewaytest.Request{Method: "GET", Path: path}
}

// named makes a request with a key's name that is new each time.
func named(method, path string) func(*gatewaytest.Rig) gatewaytest.Request {
	return func(*gatewaytest.Rig) gatewaytest.Request {
		var tag [8]byte
		rand.Read(tag[:])
		return gatewaytest.Request{Method: method, Path: fmt.Sprintf("%s/k%x", path, tag)}
	}
}

// prepare makes keys, and a ciphertext of a canary for the case that decrypts it.
func prepare(r *gatewaytest.Rig) {
	r.T.Helper()
	r.CreateKey("storage/minio", authority.AES256)
	r.CreateKey("storage/macs", authority.HMACSHA)
	r.Allow("permit(principal, action, resource);")
	body := fmt.Sprintf(`{"plaintext":%q,"context":%q}`, b64(r.Canary()), b64([]byte("c")))
	reply := r.Call(&gatewaytest.Case{Route: "encrypt"}, put("/v1/key/encrypt/minio", body))
	var out struct{ Ciphertext string }
	if err := json.Unmarshal(reply.Body, &out); err != nil || reply.Status != http.StatusOK {
		r.T.Fatalf("%d %s", reply.Status, reply.Body)
	}
	r.Kept["decrypt"] = fmt.Sprintf(`{"ciphertext":%q,"context":%q,"version":"v1"}`, out.Ciphertext, b64([]byte("c")))
}

func suite() gatewaytest.Suite {
	message := func(status int, text string) gatewaytest.Expect {
		return gatewaytest.Status(status, fmt.Sprintf(`{"message":%q}`, text))
	}
	return gatewaytest.Suite{
		Kind:     kes.Kind(),
		Endpoint: authority.Endpoint{Host: "kes.example.com", Options: []authority.Tag{gatewaytest.Tag("folder", "storage/")}},
		Cert:     clientCertificate,
		After:    prepare,
		Wrong: map[gateway.Failure]gatewaytest.Expect{
			gateway.Malformed:       message(400, "invalid request body"),
			gateway.Unauthenticated: message(400, "tls: client certificate is required"),
			gateway.Denied:          message(403, "not authorized: insufficient permissions"),
			gateway.Revoked:         message(403, "not authorized: insufficient permissions"),
			gateway.KeyOff:          message(403, "not authorized: key is disabled"),
			gateway.EndpointOff:     message(503, "this endpoint is disabled"),
			gateway.NoRoute:         message(404, "not found"),
			gateway.NoMethod:        message(405, "method not allowed"),
			gateway.TooLarge:        message(413, "request body too large"),
			gateway.TooSlow:         message(408, "request timed out"),
			gateway.TooMany:         message(429, "too many requests"),
			gateway.Unavailable:     message(502, "key store is unavailable"),
			gateway.Sealed:          message(503, "key store is sealed"),
		},
		Cases: []gatewaytest.Case{
			{Route: "version", Open: true, Make: func(*gatewaytest.Rig) gatewaytest.Request { return get("/version") }, Want: gatewaytest.Status(200, `"version"`)},
			{Route: "ready", Open: true, Make: func(*gatewaytest.Rig) gatewaytest.Request { return get("/v1/ready") }},
			{Route: "status", Unlogged: true, Make: func(*gatewaytest.Rig) gatewaytest.Request { return get("/v1/status") }, Want: gatewaytest.Status(200, `"uptime"`)},
			{Route: "api", Unlogged: true, Make: func(*gatewaytest.Rig) gatewaytest.Request { return get("/v1/api") }, Want: gatewaytest.Status(200, `"path":"/v1/key/create/"`)},
			{Route: "identity", Unlogged: true, Make: func(*gatewaytest.Rig) gatewaytest.Request { return get("/v1/identity/self/describe") }, Want: gatewaytest.Status(200, `"identity":"`)},
			{
				Route: "list", Make: func(*gatewaytest.Rig) gatewaytest.Request { return get("/v1/key/list/mi*") }, Want: gatewaytest.Status(200, `["minio"]`),
				Wrong: map[gateway.Failure]gatewaytest.Expect{gateway.Denied: gatewaytest.Status(200, `[]`)},
			},
			{Route: "describe", Make: func(*gatewaytest.Rig) gatewaytest.Request { return get("/v1/key/describe/minio") }, Want: gatewaytest.Status(200, `"AES256"`)},
			{Route: "create", Make: named("POST", "/v1/key/create")},
			{
				Route: "import", Unlogged: true, Want: message(501, "import is not supported: keys are derived under the customer's root and never come from outside"),
				Make: func(r *gatewaytest.Rig) gatewaytest.Request {
					return put("/v1/key/import/x", fmt.Sprintf(`{"key":%q,"cipher":"AES256"}`, b64(r.Canary())))
				},
			},
			{
				Route: "delete", Make: func(r *gatewaytest.Rig) gatewaytest.Request {
					req := named("DELETE", "/v1/key/delete")(r)
					r.CreateKey("storage/"+req.Path[len("/v1/key/delete/"):], authority.AES256)
					return req
				},
			},
			{
				Route: "generate", Keys: []string{"storage/minio"}, Bodyless: true, Want: gatewaytest.Status(200, `"plaintext"`),
				Make: func(*gatewaytest.Rig) gatewaytest.Request {
					return put("/v1/key/generate/minio", fmt.Sprintf(`{"context":%q}`, b64([]byte("c"))))
				},
			},
			{
				Route: "encrypt", Keys: []string{"storage/minio"}, Want: gatewaytest.Status(200, `"ciphertext"`),
				Make: func(r *gatewaytest.Rig) gatewaytest.Request {
					return put("/v1/key/encrypt/minio", fmt.Sprintf(`{"plaintext":%q,"context":%q}`, b64(r.Canary()), b64([]byte("c"))))
				},
			},
			{Route: "decrypt", Keys: []string{"storage/minio"}, Make: func(r *gatewaytest.Rig) gatewaytest.Request { return put("/v1/key/decrypt/minio", r.Kept["decrypt"]) }, Want: gatewaytest.Status(200, `"plaintext"`)},
			{
				Route: "hmac", Keys: []string{"storage/macs"}, Want: gatewaytest.Status(200, `"hmac"`),
				Make: func(*gatewaytest.Rig) gatewaytest.Request {
					return put("/v1/key/hmac/macs", fmt.Sprintf(`{"message":%q}`, b64([]byte("m"))))
				},
			},
		},
	}
}

func TestConformance(t *testing.T) { gatewaytest.Run(t, suite()) }

func FuzzBodies(f *testing.F) { gatewaytest.FuzzBodies(f, suite()) }

// TestProbe: the steps that endpoint test takes, with a client that may and one that
// nobody knows.
func TestProbe(t *testing.T) {
	s := suite()
	s.Endpoint.Name, s.Endpoint.Kind = "door", "kes"
	r := gatewaytest.New(t, &s)
	r.Allow(fmt.Sprintf("permit(principal == Subject::%q, action, resource);", "door:"+identity(t, r)))
	target := gateway.ProbeTarget{
		Site:    gateway.Site{Endpoint: r.Endpoint, Base: r.Base(), Clock: clock.System()},
		Address: r.Doors, TLS: &tls.Config{RootCAs: r.Roots}, Key: "minio",
	}
	for name, cert := range map[string]*tls.Certificate{"known": r.Certificate(), "unknown": nil} {
		target.Cert = cert
		checks := kes.Kind().Probe(t.Context(), target)
		if len(checks) < 5 {
			t.Errorf("%s: %d steps", name, len(checks))
		}
		for _, c := range checks {
			if c.Err != nil || c.Latency == 0 {
				t.Errorf("%s: %s: %v after %v", name, c.Name, c.Err, c.Latency)
			}
		}
	}
	r.Allow("forbid(principal, action, resource);")
	target.Cert = r.Certificate()
	checks := kes.Kind().Probe(t.Context(), target)
	if last := checks[len(checks)-1]; last.Err == nil {
		t.Errorf("without a policy: %+v", checks)
	}
}

// identity asks the door who the suite's client is.
func identity(t *testing.T, r *gatewaytest.Rig) string {
	t.Helper()
	reply := r.Call(&gatewaytest.Case{Route: "identity"}, get("/v1/identity/self/describe"))
	var out struct{ Identity string }
	if err := json.Unmarshal(reply.Body, &out); err != nil || len(out.Identity) != 64 {
		t.Fatalf("%d %s", reply.Status, reply.Body)
	}
	return out.Identity
}

// TestVersions: a ciphertext stays readable after a rotation, and opens as the
// version that it is of, or as none that is named.
func TestVersions(t *testing.T) {
	s := suite()
	s.Endpoint.Name, s.Endpoint.Kind = "door", "kes"
	r := gatewaytest.New(t, &s)
	c := &gatewaytest.Case{Route: "decrypt"}
	old := r.Kept["decrypt"]
	r.CreateKey("storage/other", authority.AES256)
	r.Propose(authority.KindKeyRotate, authority.KeyRef{ID: r.KeyOf("storage/minio").ID})
	reply := r.Call(c, put("/v1/key/generate/minio", "{}"))
	var made struct{ Ciphertext, Version string }
	if err := json.Unmarshal(reply.Body, &made); err != nil || made.Version != "v2" {
		t.Fatalf("%d %s", reply.Status, reply.Body)
	}
	const refused = "decryption failed: ciphertext is not authentic"
	for name, x := range map[string]struct {
		path, body string
		want       gatewaytest.Expect
	}{
		"old":                       {"/v1/key/decrypt/minio", old, gatewaytest.Status(200, "plaintext")},
		"new":                       {"/v1/key/decrypt/minio", fmt.Sprintf(`{"ciphertext":%q,"version":"v2"}`, made.Ciphertext), gatewaytest.Status(200, "plaintext")},
		"without a version":         {"/v1/key/decrypt/minio", fmt.Sprintf(`{"ciphertext":%q}`, made.Ciphertext), gatewaytest.Status(200, "plaintext")},
		"as another version":        {"/v1/key/decrypt/minio", fmt.Sprintf(`{"ciphertext":%q,"version":"v1"}`, made.Ciphertext), gatewaytest.Status(400, refused)},
		"another context":           {"/v1/key/decrypt/minio", fmt.Sprintf(`{"ciphertext":%q,"context":"eA=="}`, made.Ciphertext), gatewaytest.Status(400, refused)},
		"another key":               {"/v1/key/decrypt/other", old, gatewaytest.Status(400, refused)},
		"no ciphertext":             {"/v1/key/decrypt/minio", `{"ciphertext":"AAAA"}`, gatewaytest.Status(400, refused)},
		"no name":                   {"/v1/key/decrypt/-minio", fmt.Sprintf(`{"ciphertext":%q}`, made.Ciphertext), gatewaytest.Status(400, "the key's name")},
		"another folder":            {"/v1/key/decrypt/..%2Fminio", fmt.Sprintf(`{"ciphertext":%q}`, made.Ciphertext), gatewaytest.Status(404, "not found")},
		"a MAC with a key for data": {"/v1/key/hmac/minio", `{"message":"eA=="}`, gatewaytest.Status(409, "key does not support HMAC")},
		"a data key of one for MACs": {"/v1/key/generate/macs", `{}`, func(got gatewaytest.Reply) error {
			if got.Status/100 != 4 {
				return fmt.Errorf("%d %s", got.Status, got.Body)
			}
			return nil
		}},
		"made twice": {"/v1/key/create/minio", "", gatewaytest.Status(400, "key already exists")},
		"none":       {"/v1/key/generate/none", "{}", gatewaytest.Status(404, "key does not exist")},
		"gone":       {"/v1/key/delete/gone", "", gatewaytest.Status(404, "key does not exist")},
	} {
		req := put(x.path, x.body)
		if name == "gone" {
			req.Method = "DELETE"
		}
		if err := x.want(r.Call(c, req)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
