// SPDX-License-Identifier: Apache-2.0

package authn_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/clock"
	"claviger/internal/pki"
	"claviger/internal/pki/pkitest"
	"claviger/internal/pki/tlscert"
	"claviger/internal/wire"
)

const app = "spiffe://acme.example/workload/app"

// world is a trust domain with one outside CA and two workloads.
type world struct {
	t           testing.TB
	ca          *pkitest.CA
	app, other  *pkitest.Leaf
	revoked     map[string]bool
	trust       authn.Trust
	now         time.Time
	domain      wire.DomainID
	otherDomain wire.DomainID
}

func newWorld(t testing.TB) *world {
	t.Helper()
	ca := pkitest.NewRoot(t, pkitest.Spec{Name: "root"})
	w := &world{
		t: t, ca: ca, now: pkitest.Now, revoked: map[string]bool{},
		app:    ca.Leaf(pkitest.Spec{ID: app}),
		other:  ca.Leaf(pkitest.Spec{ID: "spiffe://acme.example/workload/other", Key: "ED25519"}),
		domain: wire.DomainID{1}, otherDomain: wire.DomainID{2},
	}
	v, err := pki.NewVerifier("acme.example", []pki.Anchor{{
		Prefix: "spiffe://acme.example/workload/", Roots: []*x509.Certificate{ca.Cert}, MaxLifetime: pki.ShortLived,
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.trust = authn.Trust{Domain: w.domain, Chains: v, Revocations: w}
	return w
}

// Revoked implements authn.Revocations.
func (w *world) Revoked(id string) bool { return w.revoked[id] }

func wantRefused(t *testing.T, caller *authn.Caller, err error) {
	t.Helper()
	if !errors.Is(err, authn.ErrRefused) || caller != nil {
		t.Fatalf("got %+v and error %v, want a refusal", caller, err)
	}
}

func TestCallerIsProvedHereOnly(t *testing.T) {
	var none *authn.Caller
	for _, c := range []*authn.Caller{none, {}, {Kind: authn.Admin, ID: "alice"}, {Kind: authn.Workload, ID: app}} {
		if c.Proved() {
			t.Errorf("%+v counts as proved", c)
		}
	}
	local := authn.LocalCaller("health")
	if !local.Proved() || local.Kind != authn.Local || local.ID != "local/health" {
		t.Errorf("local caller %+v", local)
	}
	for k, name := range map[authn.Kind]string{authn.Unknown: "Unknown", authn.Workload: "Workload", authn.Admin: "Admin", authn.Local: "Local", 99: "Unknown"} {
		if k.String() != name {
			t.Errorf("kind %d is called %s", k, k)
		}
	}
}

// connect runs a real handshake and returns the server's view of it.
func connect(t *testing.T, identity *tls.Certificate, edit func(*tls.Config)) tls.ConnectionState {
	t.Helper()
	cert, hash, err := tlscert.SelfSigned(clock.NewManual(pkitest.Now))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server, client := tlscert.ServerConfig(cert), tlscert.ClientConfig(hash, identity)
	if edit != nil {
		edit(server)
		edit(client)
	}
	done := make(chan error, 1)
	go func() {
		conn, err := tls.Dial("tcp", l.Addr().String(), client)
		if err == nil {
			// The server's word that it took the certificate.
			_, err = conn.Read(make([]byte, 1))
			conn.Close()
		}
		done <- err
	}()
	raw, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Server(raw, server)
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState()
}

func TestFromTLS(t *testing.T) {
	w := newWorld(t)
	identity := &tls.Certificate{Certificate: w.app.Chain, PrivateKey: w.app.Key}
	state := connect(t, identity, nil)
	got, err := w.trust.FromTLS(&state, w.now)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Proved() || got.Kind != authn.Workload || got.ID != app || got.ReadOnly || len(got.Chain) != 1 {
		t.Errorf("caller %+v", got)
	}
	if got.Attributes["spiffe"] != app || got.Attributes["path"] != "app" || len(got.Attributes) != 2 {
		t.Errorf("attributes %v", got.Attributes)
	}
	if got.Key != wire.KeyHash(w.app.Cert.PublicKey) || !got.NotAfter.Equal(w.app.Cert.NotAfter) {
		t.Errorf("key %v until %v", got.Key, got.NotAfter)
	}

	t.Run("expired", func(t *testing.T) {
		c, err := w.trust.FromTLS(&state, w.app.Cert.NotAfter.Add(time.Second))
		wantRefused(t, c, err)
	})
	t.Run("revoked by name", func(t *testing.T) {
		w.revoked[app] = true
		defer delete(w.revoked, app)
		c, err := w.trust.FromTLS(&state, w.now)
		wantRefused(t, c, err)
		if !errors.Is(err, authn.ErrRevoked) {
			t.Errorf("error %v doesn't say revoked", err)
		}
	})
	t.Run("no certificate", func(t *testing.T) {
		bare := connect(t, nil, nil)
		c, err := w.trust.FromTLS(&bare, w.now)
		wantRefused(t, c, err)
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		old := connect(t, identity, func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 })
		c, err := w.trust.FromTLS(&old, w.now)
		wantRefused(t, c, err)
	})
	t.Run("unfinished handshake", func(t *testing.T) {
		early := state
		early.HandshakeComplete = false
		c, err := w.trust.FromTLS(&early, w.now)
		wantRefused(t, c, err)
	})
	t.Run("plain connection", func(t *testing.T) {
		c, err := w.trust.FromTLS(nil, w.now)
		wantRefused(t, c, err)
	})
	t.Run("strangers' CA", func(t *testing.T) {
		stranger := pkitest.NewRoot(t, pkitest.Spec{Name: "root"}).Leaf(pkitest.Spec{ID: app})
		other := connect(t, &tls.Certificate{Certificate: stranger.Chain, PrivateKey: stranger.Key}, nil)
		c, err := w.trust.FromTLS(&other, w.now)
		wantRefused(t, c, err)
		if !errors.Is(err, pki.ErrUntrusted) {
			t.Errorf("the reason is lost: %v", err)
		}
	})
}

func TestRevokedFunc(t *testing.T) {
	var r authn.Revocations = authn.RevokedFunc(func(id string) bool { return id == app })
	if !r.Revoked(app) || r.Revoked("") {
		t.Error("RevokedFunc doesn't ask its function")
	}
}
