// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger/internal/clock"
)

func began() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

// provider is an issuer on this machine whose tokens another implementation signs.
type provider struct {
	*httptest.Server
	keys    map[string]crypto.Signer // by kid
	only    map[string]string        // the algorithm that a published key names
	fetched atomic.Int64

	mu     sync.Mutex
	answer http.HandlerFunc // in the place of the key set
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newProvider(t *testing.T) *provider {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{keys: map[string]crypto.Signer{"rsa": rsaKey(), "ec": ec, "ed": ed}, only: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/jwks", "response_types_supported": []string{"id_token"}})
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, r *http.Request) {
		p.fetched.Add(1)
		p.mu.Lock()
		answer := p.answer
		p.mu.Unlock()
		if answer != nil {
			answer(w, r)
			return
		}
		w.Write(p.set())
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) answers(f http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

// set is the key set, as the other implementation writes it.
func (p *provider) set() []byte {
	var set jose.JSONWebKeySet
	for kid, k := range p.keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: kid, Use: "sig", Algorithm: p.only[kid]})
	}
	data, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	return data
}

// claims are those of a token that is good.
func (p *provider) claims() map[string]any {
	return map[string]any{
		"iss": p.URL, "sub": "alice", "aud": "claviger", "exp": began().Add(time.Hour).Unix(), "iat": began().Unix(),
		"email": "alice@acme.example", "email_verified": true,
	}
}

// sign has the other implementation sign claims.
func (p *provider) sign(t *testing.T, algorithm, kid string, claims map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT")
	key := jose.JSONWebKey{Key: p.keys[kid], KeyID: kid}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(algorithm), Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(data)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// without is claims with some changed; a nil takes one away.
func without(claims map[string]any, change map[string]any) map[string]any {
	out := maps.Clone(claims)
	for name, v := range change {
		if out[name] = v; v == nil {
			delete(out, name)
		}
	}
	return out
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// verifier believes p for the audience claviger and the use login.
func (p *provider) verifier(c clock.Clock) *Verifier {
	return New(Options{Issuers: []Issuer{{URL: p.URL, Audience: "claviger", Use: "login"}}, Clock: c})
}
