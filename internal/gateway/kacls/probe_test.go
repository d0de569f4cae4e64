// SPDX-License-Identifier: Apache-2.0

package kacls

import (
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"claviger/internal/authority"
	"claviger/internal/clock"
	"claviger/internal/gateway"
)

// testIssuer is a key set of one key, and the certificate that the probe is given.
func testIssuer(t *testing.T, key crypto.Signer) (url string, cert *tls.Certificate) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test-1"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "test-1", Use: "sig"}}})
	}))
	t.Cleanup(s.Close)
	return s.URL, &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestProbeAsUser: with a test issuer the probe is Google, the identity provider and
// a user.
func TestProbeAsUser(t *testing.T) {
	for name, key := range map[string]crypto.Signer{"RSA": userKey(), "EC": curveKey(t)} {
		k, r := serve(t, `permit(principal == Subject::"test:endpoint-test@example.com", action, resource == Key::"gw/wrap");
permit(principal, action == Action::"verify", resource);`)
		url, cert := testIssuer(t, key)
		e := r.Endpoint
		e.Name, e.Issuers = "test", []authority.Issuer{
			{URL: url, JWKS: url, Use: useAuthorization}, {URL: url, Audience: client, JWKS: url, Use: useAuthentication},
		}
		r.Propose(authority.KindEndpointSet, authority.EndpointSet{Endpoint: e})
		target := gateway.ProbeTarget{
			Site:    gateway.Site{Endpoint: e, Base: strings.TrimSuffix(r.Base(), "door") + "test", Clock: clock.System()},
			Address: r.Doors, TLS: &tls.Config{RootCAs: r.Roots}, Cert: cert,
		}
		checks := probe(t.Context(), target)
		for _, c := range checks {
			if c.Err != nil || c.Note == "" {
				t.Errorf("%s: %+v", name, c)
			}
		}
		if len(checks) != 11 {
			t.Errorf("%s: %d steps", name, len(checks))
		}
		r.Allow(`permit(principal, action == Action::"verify", resource);`)
		checks = probe(t.Context(), target)
		if last := checks[len(checks)-1]; last.Name != "wrap" || last.Err == nil || !strings.Contains(last.Err.Error(), "policy") {
			t.Errorf("%s, without a policy: %+v", name, last)
		}
		target.Site.Endpoint.Issuers = k.idpAlone()
		checks = probe(t.Context(), target)
		if last := checks[len(checks)-1]; last.Name != "test issuer" || last.Err == nil {
			t.Errorf("%s, where Google counts: %+v", name, last)
		}
	}
}

func (k *workspace) idpAlone() []authority.Issuer {
	return []authority.Issuer{{URL: k.idp.URL, Audience: client, Use: useAuthentication}}
}
