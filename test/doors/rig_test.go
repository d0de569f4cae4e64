// SPDX-License-Identifier: Apache-2.0

// Package doors tests what all doors promise together: one key, many protocols, and
// one switch.
package doors

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"claviger/internal/authn/oidc/oidctest"
	"claviger/internal/authn/sigv4"
	"claviger/internal/authority"
	"claviger/internal/authority/endpoints"
	"claviger/internal/cli/doors"
	"claviger/internal/clock"
	"claviger/internal/gateway"
	"claviger/internal/gateway/doorcert"
	"claviger/internal/keyserver/keyservertest"
	"claviger/internal/secret"
)

// rig is a key server with every kind of door on one port, and a client of each.
type rig struct {
	*keyservertest.Rig
	address string
	roots   *x509.CertPool
	cert    *tls.Certificate // of the clients that have one
	issuer  *oidctest.Issuer
	signer  sigv4.Signer
	token   string // of Vault
	doors   []door
}

// door is one protocol's use of the key.
type door struct {
	name string
	call func(ctx context.Context) error // nil: the key worked
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Rig: keyservertest.New(t), roots: x509.NewCertPool(), issuer: oidctest.New(t)}
	own, err := doorcert.Open(t.TempDir(), "", clock.System())
	if err != nil {
		t.Fatal(err)
	}
	r.roots.AppendCertsFromPEM(own.PEM())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.address = l.Addr().String()
	server := gateway.New(gateway.Options{Keys: r.Server.Server, Kinds: doors.Kinds(), Certificate: own, Clock: clock.System()})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	r.cert = r.certificate()
	r.CreateKey("shared/k", authority.AES256)
	r.CreateKey("office/k", authority.RSA2048)
	r.Allow(`permit(principal, action, resource);`)
	r.xks()
	r.vault()
	r.kes()
	r.salesforce()
	r.kacls()
	r.dke()
	return r
}

// set makes an endpoint.
func (r *rig) set(e authority.Endpoint) {
	r.T.Helper()
	e.Rate = 1_000_000
	if err := doors.Kinds().Check(&e); err != nil {
		r.T.Fatal(err)
	}
	r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: e})
}

// credential has the server keep a new credential of a kind.
func (r *rig) credential(kind, use, subject string) gateway.Secret {
	r.T.Helper()
	k, _ := doors.Kinds().Named(kind)
	made, err := k.Credential(use, subject)
	if err != nil {
		r.T.Fatal(err)
	}
	made.Credential.Material = endpoints.MaterialHash(made.Material.Expose())
	if status, body := r.AsAdmin("POST", "/v1/admin/material", slices.Clone(made.Material.Expose())); status != 200 {
		r.T.Fatalf("%d %s", status, body)
	}
	return made
}

func (r *rig) certificate() *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.T.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"}, NotAfter: clock.System().Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		r.T.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// client finds every host at the port.
func (r *rig) client(host string) *http.Client {
	config := &tls.Config{RootCAs: r.roots}
	if host != "" {
		config.Certificates = []tls.Certificate{*r.cert}
	}
	tr := &http.Transport{TLSClientConfig: config, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, r.address)
	}}
	r.T.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// call is one request of a client; sign gives it its credential.
type call struct {
	client      *http.Client
	method, url string
	body        func() any
	sign        func(req *http.Request, body []byte)
	right       string // a text of the answer that shows that the key worked
}

func (c call) do(ctx context.Context) error {
	var body []byte
	if c.body != nil {
		var err error
		if body, err = json.Marshal(c.body()); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.sign != nil {
		c.sign(req, body)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(c.right)) {
		return fmt.Errorf("%d %.200s", resp.StatusCode, text)
	}
	return nil
}

func (r *rig) add(name string, c call) { r.doors = append(r.doors, door{name, c.do}) }

func (r *rig) base() string { return "https://" + r.address }

func tag(name, value string) authority.Tag { return authority.Tag{Name: name, Value: value} }

func (r *rig) xks() {
	made := r.credential("xks", "", "")
	r.set(authority.Endpoint{Name: "aws", Kind: "xks", Credentials: []authority.Credential{made.Credential}, Options: []authority.Tag{tag("folder", "shared/")}})
	r.signer = sigv4.Signer{ID: made.Credential.ID, Secret: secret.Take([]byte(made.Show)), Region: "eu-west-1", Service: "kms-xks-proxy"}
	r.add("xks", call{
		client: r.client(""), method: "POST", url: r.base() + "/aws/kms/xks/v1/keys/k/encrypt", right: "ciphertextMetadata",
		body: func() any {
			return map[string]any{"plaintext": []byte("data key"), "encryptionAlgorithm": "AES_GCM", "requestMetadata": map[string]string{
				"awsPrincipalArn": "arn:aws:iam::1:role/a", "kmsOperation": "Encrypt", "kmsRequestId": rand.Text(), "kmsKeyArn": "arn:aws:kms:eu-west-1:1:key/1",
			}}
		},
		sign: func(req *http.Request, body []byte) { r.signer.Sign(req, body, clock.System().Now()) },
	})
}

func (r *rig) vault() {
	made := r.credential("vault", "token", "ci")
	r.set(authority.Endpoint{Name: "vault", Kind: "vault", Credentials: []authority.Credential{made.Credential}, Options: []authority.Tag{tag("transit.prefix", "shared/")}})
	r.token = made.Show
	sign := func(req *http.Request, _ []byte) { req.Header.Set("X-Vault-Token", r.token) }
	r.add("vault", call{
		client: r.client(""), method: "PUT", url: r.base() + "/v1/transit/encrypt/k", right: "vault:v1:",
		body: func() any { return map[string]any{"plaintext": []byte("data key")} }, sign: sign,
	})
}

func (r *rig) kes() {
	r.set(authority.Endpoint{Name: "minio", Kind: "kes", Host: "kes.example.com", Options: []authority.Tag{tag("folder", "shared/")}})
	r.add("kes", call{
		client: r.client("kes.example.com"), method: "PUT", url: "https://kes.example.com/v1/key/generate/k", right: "plaintext",
		body: func() any { return map[string]any{} },
	})
}

func (r *rig) salesforce() {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		r.T.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: clock.System().Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		r.T.Fatal(err)
	}
	r.set(authority.Endpoint{
		Name: "crm", Kind: "salesforce", Issuers: []authority.Issuer{{URL: r.issuer.URL, JWKS: r.issuer.JWKS(), Audience: "crm", Use: "token"}},
		Certificates: []endpoints.Certificate{{Use: "recipient", DER: der}}, Options: []authority.Tag{tag("folder", "shared/"), tag("replay", "off")},
	})
	r.add("salesforce", call{
		client: r.client(""), method: "GET", url: r.base() + "/crm/k-v1", right: `"jwe"`, sign: r.bearer(map[string]any{"aud": "crm", "sub": "org"}),
	})
}

func (r *rig) bearer(claims map[string]any) func(*http.Request, []byte) {
	token := r.issuer.Token(claims)
	return func(req *http.Request, _ []byte) { req.Header.Set("Authorization", "Bearer "+token) }
}

func (r *rig) kacls() {
	google := oidctest.New(r.T)
	const own = "https://kacls.example.com"
	r.set(authority.Endpoint{
		Name: "google", Kind: "kacls", Issuers: []authority.Issuer{
			{URL: google.URL, JWKS: google.JWKS(), Use: "authorization"}, {URL: r.issuer.URL, JWKS: r.issuer.JWKS(), Audience: "workspace", Use: "authentication"},
		},
		Options: []authority.Tag{tag("domain", "example.com"), tag("key", "shared/k"), tag("url", own)},
	})
	message := map[string]any{
		"authentication": r.issuer.Token(map[string]any{"aud": "workspace", "sub": "1", "email": "alice@example.com", "email_verified": true}),
		"authorization": google.Token(map[string]any{
			"aud": "cse-authorization", "email": "alice@example.com", "role": "writer", "kacls_url": own, "resource_name": "file", "perimeter_id": "",
		}),
		"key": []byte("0123456789abcdef0123456789abcdef"), "reason": "{}",
	}
	r.add("kacls", call{client: r.client(""), method: "POST", url: r.base() + "/google/wrap", right: "wrapped_key", body: func() any { return message }})
}

// dke has a key of its own: it needs an RSA key.
func (r *rig) dke() {
	r.set(authority.Endpoint{
		Name: "office", Kind: "dke", Issuers: []authority.Issuer{{URL: r.issuer.URL, JWKS: r.issuer.JWKS(), Audience: "office", Use: "token"}},
		Options: []authority.Tag{tag("folder", "office/")},
	})
	r.add("dke", call{client: r.client(""), method: "GET", url: r.base() + "/office/k", right: `"kty":"RSA"`})
}
