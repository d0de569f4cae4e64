// SPDX-License-Identifier: Apache-2.0

// Package oidctest is an issuer of tokens on this machine, for tests of doors: its
// tokens and key sets are made by another implementation (go-jose) than the one that
// verifies them.
package oidctest

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"claviger/internal/clock"
)

// Issuer signs tokens with RS256 and serves its key set and discovery document.
type Issuer struct {
	*httptest.Server
	key *rsa.PrivateKey
	t   testing.TB
}

// keyID names the one key.
const keyID = "key-1"

// New starts an issuer; its URL is the token's "iss".
func New(t testing.TB) *Issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{key: key, t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.JWKS()})
	})
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: keyID, Use: "sig", Algorithm: string(jose.RS256)}}})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

// JWKS is the URL of the key set.
func (i *Issuer) JWKS() string { return i.URL + "/jwks" }

// Token signs claims; iss, iat and exp are added unless they are there. A claim
// that is nil is left out.
func (i *Issuer) Token(claims map[string]any) string {
	i.t.Helper()
	now := clock.System().Now()
	all := map[string]any{"iss": i.URL, "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix()}
	for name, value := range claims {
		all[name] = value
		if value == nil {
			delete(all, name)
		}
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: i.key, KeyID: keyID}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		i.t.Fatal(err)
	}
	data, err := json.Marshal(all)
	if err != nil {
		i.t.Fatal(err)
	}
	signed, err := signer.Sign(data)
	if err != nil {
		i.t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}
