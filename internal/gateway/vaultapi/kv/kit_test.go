// SPDX-License-Identifier: Apache-2.0

package kv_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"testing"

	"claviger/internal/authn"
	"claviger/internal/authn/clientcert"
	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/gatewaytest"
	"claviger/internal/gateway/vaultapi/call"
	"claviger/internal/gateway/vaultapi/kv"
)

// door has the mounts of its endpoint's options and nothing else; a client
// certificate takes the place of a token.
type door struct{ routes []gateway.Route }

func (d door) Routes() []gateway.Route                                { return d.routes }
func (d door) Fail(w http.ResponseWriter, _ *http.Request, err error) { call.Fail(w, err) }

func newDoor(s gateway.Site) (gateway.Door, error) {
	mounts, err := kv.New(s.Endpoint.Options)
	if err != nil {
		return nil, err
	}
	who := func(_ context.Context, r *gateway.Request) (*authn.Caller, any, error) {
		c, err := clientcert.Caller(s.Endpoint.Name, s.Endpoint.Kind, r.TLS, s.Clock.Now())
		return c, nil, err
	}
	var d door
	for _, m := range mounts {
		d.routes = append(d.routes, call.Mount(s, who, m.Routes())...)
	}
	return d, nil
}

func kind() *gateway.Kind {
	return &gateway.Kind{Name: "vault", NeedsClientCert: true, Options: []string{"kv.*"}, New: newDoor}
}

func certificate(r *gatewaytest.Rig) *tls.Certificate {
	r.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.T.Fatal(err)
	}
	now := clock.System().Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(0, 0, 1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		r.T.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

const merge = "application/merge-patch+json"

func request(method, path, body string) gatewaytest.Request {
	r := gatewaytest.Request{Method: method, Path: "/v1/secret" + path, Body: []byte(body)}
	if method == "PATCH" {
		r.Header = http.Header{"Content-Type": {merge}}
	}
	return r
}

// suite is that of a mount "secret" on the key secrets/app.
func suite() gatewaytest.Suite {
	s := gatewaytest.Suite{
		Kind:     kind(),
		Endpoint: authority.Endpoint{Host: "vault.example.com", Options: []authority.Tag{gatewaytest.Tag("kv.secret", "secrets/app")}},
		Cert:     certificate,
		After:    prepare,
		Wrong: map[gateway.Failure]gatewaytest.Expect{
			gateway.Malformed:       gatewaytest.Status(400, `{"errors":["`),
			gateway.Unauthenticated: gatewaytest.Status(403, `{"errors":["permission denied"]}`),
			gateway.Denied:          gatewaytest.Status(403, `{"errors":["permission denied"]}`),
			gateway.KeyOff:          gatewaytest.Status(400, `{"errors":["the key is disabled"]}`),
			gateway.EndpointOff:     gatewaytest.Status(403, `{"errors":["permission denied"]}`),
			gateway.NoRoute:         gatewaytest.Status(404, `{"errors":["1 error occurred:\n\t* unsupported path\n\n"]}`),
			gateway.NoMethod:        gatewaytest.Status(405, `unsupported operation`),
			gateway.TooLarge:        gatewaytest.Status(413, `{"errors":["`),
			gateway.TooSlow:         gatewaytest.Status(408, `{"errors":["`),
			gateway.TooMany:         gatewaytest.Status(429, `{"errors":["`),
			gateway.Unavailable:     gatewaytest.Status(500, `{"errors":["internal error"]}`),
			gateway.Sealed:          gatewaytest.Status(503, `{"errors":["Vault is sealed"]}`),
		},
	}
	patchable := map[gateway.Failure]gatewaytest.Expect{gateway.NoMethod: gatewaytest.Status(415, "application/merge-patch+json")}
	add := func(route, method, path, body string, edit func(*gatewaytest.Case)) {
		c := gatewaytest.Case{Route: "kv-" + route, Keys: []string{"secrets/app"}, Deep: true, Make: func(*gatewaytest.Rig) gatewaytest.Request {
			return request(method, path, body)
		}}
		if edit != nil {
			edit(&c)
		}
		s.Cases = append(s.Cases, c)
	}
	beside := func(c *gatewaytest.Case) { c.Wrong = patchable }
	itself := func(free ...string) func(*gatewaytest.Case) {
		return func(c *gatewaytest.Case) {
			c.Free, c.Wrong = free, map[gateway.Failure]gatewaytest.Expect{gateway.NoMethod: func(gatewaytest.Reply) error { return nil }}
		}
	}
	add("read", "GET", "/data/kept", "", beside)
	add("write", "POST", "", "", func(c *gatewaytest.Case) {
		c.Wrong, c.Free = patchable, []string{"data.a"}
		c.Make = func(r *gatewaytest.Rig) gatewaytest.Request {
			return request("POST", fmt.Sprintf("/data/new/%x", random()), `{"data":{"a":"`+canary(r)+`"},"options":{"cas":0}}`)
		}
	})
	add("patch", "PATCH", "/data/kept", `{"data":{"b":"x"},"options":{}}`, itself("data.b"))
	add("delete", "DELETE", "/data/other", "", beside)
	add("delete-versions", "POST", "/delete/other", `{"versions":[1]}`, func(c *gatewaytest.Case) { c.Free = []string{"versions"} })
	add("undelete", "PUT", "/undelete/other", `{"versions":[1]}`, func(c *gatewaytest.Case) { c.Free = []string{"versions"} })
	add("destroy", "POST", "/destroy/other", `{"versions":["7"]}`, func(c *gatewaytest.Case) { c.Free = []string{"versions"} })
	add("subkeys", "GET", "/subkeys/kept", "", nil)
	add("list", "LIST", "/metadata/folder/", "", beside)
	add("list-top", "GET", "/metadata?list=true", "", func(c *gatewaytest.Case) { c.Deep = true })
	add("metadata-read", "GET", "/metadata/kept", "", beside)
	add("metadata-write", "POST", "/metadata/kept", `{"max_versions":20,"cas_required":false,"delete_version_after":"1h","custom_metadata":{"a":"b"}}`, func(c *gatewaytest.Case) {
		c.Wrong, c.Free, c.Bodyless = patchable, []string{"delete_version_after", "custom_metadata.a"}, true
	})
	add("metadata-patch", "PATCH", "/metadata/kept", `{"max_versions":30,"cas_required":false,"custom_metadata":{"c":"d"}}`, func(c *gatewaytest.Case) {
		itself("custom_metadata.c")(c)
		c.Bodyless = true
	})
	add("metadata-delete", "DELETE", "/metadata/other", "", beside)
	add("config-read", "GET", "/config", "", func(c *gatewaytest.Case) { c.Deep = false })
	add("config-write", "POST", "/config", `{"max_versions":10,"cas_required":false,"delete_version_after":"0s"}`, func(c *gatewaytest.Case) {
		c.Deep, c.Free, c.Bodyless = false, []string{"delete_version_after"}, true
	})
	return s
}

func random() []byte {
	var b [8]byte
	rand.Read(b[:])
	return b[:]
}

func canary(r *gatewaytest.Rig) string { return base64.RawURLEncoding.EncodeToString(r.Canary()) }

// prepare makes the key and what is there to be read.
func prepare(r *gatewaytest.Rig) {
	r.T.Helper()
	r.CreateKey("secrets/app", authority.AES256)
	r.Allow("permit(principal, action, resource);")
	for _, path := range []string{"kept", "other", "folder/in"} {
		reply := r.Call(&gatewaytest.Case{Route: "prepare"}, request("POST", "/data/"+path, `{"data":{"a":"`+canary(r)+`"}}`))
		if reply.Status != http.StatusOK && reply.Status != http.StatusTooManyRequests { // where the endpoint's rate is tried
			r.T.Fatalf("%d %s", reply.Status, reply.Body)
		}
	}
}

// TestConformance tries everything that must not work on every route.
func TestConformance(t *testing.T) { gatewaytest.Run(t, suite()) }

// FuzzBodies hands any body to every route.
func FuzzBodies(f *testing.F) { gatewaytest.FuzzBodies(f, suite()) }

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		options []authority.Tag
		mounts  int // -1: refused
	}{
		"none":             {[]authority.Tag{{Name: "transit.mount", Value: "t"}}, 0},
		"two":              {[]authority.Tag{{Name: "kv.a", Value: "x/a"}, {Name: "kv.b", Value: "x/b"}}, 2},
		"no mount":         {[]authority.Tag{{Name: "kv.", Value: "x/a"}}, -1},
		"no key":           {[]authority.Tag{{Name: "kv.a", Value: "x/"}}, -1},
		"the same key":     {[]authority.Tag{{Name: "kv.a", Value: "x"}, {Name: "kv.b", Value: "x"}}, -1},
		"a path for mount": {[]authority.Tag{{Name: "kv.a/b", Value: "x"}}, -1},
	} {
		mounts, err := kv.New(c.options)
		if (err != nil) != (c.mounts < 0) || err == nil && len(mounts) != c.mounts {
			t.Errorf("%s: %d, %v", name, len(mounts), err)
		}
	}
	mounts, err := kv.New([]authority.Tag{{Name: "kv.a", Value: "x/a"}})
	if err != nil || mounts[0].At() != "a" || mounts[0].Key() != "x/a" {
		t.Errorf("%+v, %v", mounts, err)
	}
}
