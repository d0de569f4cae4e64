// SPDX-License-Identifier: Apache-2.0

package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/clock"
)

// settled waits for a fetch that runs.
func (v *Verifier) settled() {
	for _, is := range v.issuers {
		is.keys.mu.Lock()
		wait := is.keys.running
		is.keys.mu.Unlock()
		if wait != nil {
			<-wait
		}
	}
}

// TestSetIsKept: once for many tokens, again when it is old, and old ones for a day
// while the issuer is away.
func TestSetIsKept(t *testing.T) {
	p := newProvider(t)
	c := clock.NewManual(began())
	v := p.verifier(c)
	text := func() string {
		claims := without(p.claims(), map[string]any{"exp": c.Now().Add(time.Hour).Unix(), "iat": c.Now().Unix()})
		return p.sign(t, es256, "ec", claims)
	}
	check := func(what string, want error, fetches int64) {
		t.Helper()
		_, err := v.Verify(t.Context(), "login", text())
		v.settled()
		if !errors.Is(err, want) || p.fetched.Load() != fetches {
			t.Errorf("%s: %v after %d fetches, want %d", what, err, p.fetched.Load(), fetches)
		}
	}
	check("first", nil, 1)
	check("again", nil, 1)
	c.Advance(defFresh - time.Second)
	check("still fresh", nil, 1)
	c.Advance(time.Second)
	check("old", nil, 2)
	p.answers(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	c.Advance(defFresh)
	check("the issuer is away", nil, 3)
	check("not asked at once again", nil, 3)
	c.Advance(retry)
	check("asked again", nil, 4)
	c.Advance(MaxStale - 2*retry)
	check("for a day", nil, 5)
	c.Advance(retry)
	check("no longer", authn.ErrAway, 6)
	p.answers(nil)
	check("not at once", authn.ErrAway, 6)
	c.Advance(retry)
	check("back", nil, 7)
}

// TestUnknownKey: a new key id has the set fetched again, strangers' ids do so
// seldom, and a key that is gone from the set counts no more.
func TestUnknownKey(t *testing.T) {
	p := newProvider(t)
	c := clock.NewManual(began())
	v := p.verifier(c)
	try := func(kid string, key string) error {
		p.keys[kid] = p.keys[key]
		text := p.sign(t, es256, kid, p.claims())
		if kid != key {
			delete(p.keys, kid)
		}
		_, err := v.Verify(t.Context(), "login", text)
		v.settled()
		return err
	}
	if err := try("ec", "ec"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := try("new", "ec"); !errors.Is(err, authn.ErrRefused) {
			t.Fatal(err)
		}
	}
	if n := p.fetched.Load(); n != 1 {
		t.Errorf("strangers had it fetched %d times", n)
	}
	c.Advance(retry)
	p.keys["new"] = p.keys["ec"]
	if err := try("new", "new"); err != nil || p.fetched.Load() != 2 {
		t.Errorf("a new key: %v after %d fetches", err, p.fetched.Load())
	}
	old := p.sign(t, es256, "ec", p.claims())
	delete(p.keys, "ec")
	c.Advance(defFresh)
	if _, err := v.Verify(t.Context(), "login", old); err != nil { // the old set, while the new one comes
		t.Error(err)
	}
	v.settled()
	later := p.verifier(c)
	for _, v := range []*Verifier{v, later} {
		if _, err := v.Verify(t.Context(), "login", old); !errors.Is(err, authn.ErrRefused) || errors.Is(err, authn.ErrAway) {
			t.Errorf("a key that was withdrawn: %v", err)
		}
	}
}

// TestOneFetch: many tokens at once have the set fetched once, and a caller that
// gives up doesn't end it for the others.
func TestOneFetch(t *testing.T) {
	p := newProvider(t)
	v := p.verifier(clock.NewManual(began()))
	begun, release := make(chan struct{}), make(chan struct{})
	p.answers(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-release
		w.Write(p.set())
	})
	text := p.sign(t, es256, "ec", p.claims())
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := v.Verify(ctx, "login", text)
		gone <- err
	}()
	<-begun
	cancel()
	if err := <-gone; !errors.Is(err, authn.ErrAway) {
		t.Errorf("who gave up: %v", err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := v.Verify(t.Context(), "login", text); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	all.Wait()
	if n := p.fetched.Load(); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

// TestHostileIssuer: what a server may not answer. Nothing of it is taken, and the
// log says why.
func TestHostileIssuer(t *testing.T) {
	p := newProvider(t)
	elsewhere := newProvider(t)
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/jwks", http.StatusFound)
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound); w.Write(p.set()) },
		"too much": func(w http.ResponseWriter, _ *http.Request) {
			w.Write(append(p.set(), bytes.Repeat([]byte(" "), maxSet)...))
		},
		"huge headers": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 2*maxHeader))
			w.Write(p.set())
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) },
		"no keys": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) },
		"truncated": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99999")
			w.Write(p.set())
		},
	} {
		p.answers(answer)
		var log bytes.Buffer
		v := New(Options{
			Issuers: []Issuer{{URL: p.URL, Audience: "claviger", Use: "login"}}, Clock: clock.NewManual(began()),
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if _, err := v.Verify(t.Context(), "login", p.sign(t, es256, "ec", p.claims())); !errors.Is(err, authn.ErrAway) {
			t.Errorf("%s: %v", name, err)
		}
		v.settled()
		if !strings.Contains(log.String(), "could not be fetched") {
			t.Errorf("%s: the log says %q", name, log.String())
		}
	}
	if elsewhere.fetched.Load() != 0 {
		t.Error("the redirect was followed")
	}
}

// TestDiscovery: an issuer speaks for itself alone.
func TestDiscovery(t *testing.T) {
	p := newProvider(t)
	v := New(Options{Clock: clock.NewManual(began()), Issuers: []Issuer{
		{URL: p.URL + "/other", Audience: "claviger", Use: "login"}, // 404
		{URL: p.URL + "/", Audience: "claviger", Use: "login"},      // describes itself without the slash
		{URL: "elsewhere", JWKS: p.URL + "/jwks", Audience: "claviger", Use: "login"},
		{URL: "ftp", JWKS: "ftp://127.0.0.1/jwks", Audience: "claviger", Use: "login"},
	}})
	for issuer, want := range map[string]error{p.URL + "/other": authn.ErrAway, p.URL + "/": authn.ErrAway, "elsewhere": nil, "ftp": authn.ErrAway, p.URL: authn.ErrRefused} {
		if _, err := v.Verify(t.Context(), "login", p.sign(t, es256, "ec", without(p.claims(), map[string]any{"iss": issuer}))); !errors.Is(err, want) {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}

// through sends every request to one server, whatever its address says.
type through struct{ to *httptest.Server }

func (t through) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	to, err := url.Parse(t.to.URL)
	if err != nil {
		return nil, err
	}
	r.URL.Scheme, r.URL.Host = to.Scheme, to.Host
	return http.DefaultTransport.RoundTrip(r)
}

// TestDiscoveryLeadsHere: an issuer elsewhere can't have the server ask this machine.
func TestDiscoveryLeadsHere(t *testing.T) {
	p := newProvider(t)
	const issuer = "https://id.example"
	said := ""
	lying := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/openid-configuration" {
			json.NewEncoder(w).Encode(map[string]any{"issuer": issuer, "jwks_uri": said})
			return
		}
		p.fetched.Add(1)
		w.Write(p.set())
	}))
	t.Cleanup(lying.Close)
	for _, said = range []string{p.URL + "/jwks", "http://localhost:1/jwks", "https://localhost:1/jwks", "https://LOCALHOST./jwks", "https://[::1]/jwks", "https://0.0.0.0/jwks", "https://keys.example/jwks"} {
		before := p.fetched.Load()
		v := New(Options{Clock: clock.NewManual(began()), Issuers: []Issuer{{URL: issuer, Audience: "claviger", Use: "login"}}, Transport: through{lying}})
		_, err := v.Verify(t.Context(), "login", p.sign(t, es256, "ec", without(p.claims(), map[string]any{"iss": issuer})))
		v.settled()
		if good := said == "https://keys.example/jwks"; good != (err == nil) || good != (p.fetched.Load() > before) {
			t.Errorf("%s: %v, %d fetches", said, err, p.fetched.Load()-before)
		}
	}
}

// TestAddresses: key sets come over https, or from this machine.
func TestAddresses(t *testing.T) {
	for address, may := range map[string]bool{
		"https://id.example/jwks": true, "https://id.example:8443/jwks?x=1": true, "http://127.0.0.1:8080/jwks": true, "http://[::1]/jwks": true, "http://localhost/jwks": true,
		"http://id.example/jwks": false, "http://127.0.0.1.example/jwks": false, "http://localhost.example/": false, "http://10.0.0.1/jwks": false,
		"https://user@id.example/jwks": false, "https://user:pw@id.example/jwks": false, "https:id.example": false, "file:///etc/passwd": false, "ftp://127.0.0.1/": false,
		"http://0.0.0.0/jwks": false, "https://": false, "": false, "//id.example/jwks": false, "https://id.example/#x": false,
	} {
		if got := mayFetch(address); got != may {
			t.Errorf("%q: %v", address, got)
		}
	}
	for header, want := range map[string]time.Duration{
		"": defFresh, "max-age=60": minFresh, "public, max-age=7200, must-revalidate": 2 * time.Hour, "Max-Age=999999999": maxFresh, "max-age=-1": defFresh,
		"no-store": defFresh, "max-age=99999999999999999999": defFresh, "s-maxage=60": defFresh,
	} {
		if got := freshness(header); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}
