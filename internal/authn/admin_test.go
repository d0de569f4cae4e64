// SPDX-License-Identifier: Apache-2.0

package authn_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/clock"
	"claviger/internal/members"
	"claviger/internal/pki/pkitest"
	"claviger/internal/wire"
)

var _ authn.Admins = (*members.State)(nil)

// office is a server with two admins and a holder of the recovery quorum.
type office struct {
	t          testing.TB
	clk        *clock.Manual
	domain     wire.DomainID
	tls        wire.Hash
	alice, bob crypto.Signer
	rex        crypto.Signer
	admins     keyring
	revoked    map[string]bool
	verifier   *authn.AdminVerifier
}

type keyring map[wire.Hash]person

type person struct {
	name    string
	pub     crypto.PublicKey
	recover bool // of the recovery quorum, no admin
}

// Admin implements authn.Admins.
func (k keyring) Admin(hash wire.Hash) (members.Key, crypto.PublicKey, bool) {
	p := k[hash]
	return members.Key{Name: p.name}, p.pub, p.pub != nil && !p.recover
}

// Recoverer implements authn.Admins.
func (k keyring) Recoverer(hash wire.Hash) (members.Key, crypto.PublicKey, bool) {
	p := k[hash]
	return members.Key{Name: p.name}, p.pub, p.recover
}

func (k keyring) add(p person) { k[wire.KeyHash(p.pub)] = p }

// Revoked implements authn.Revocations.
func (o *office) Revoked(id string) bool { return o.revoked[id] }

func newOffice(t testing.TB) *office {
	t.Helper()
	token, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	o := &office{
		t: t, clk: clock.NewManual(pkitest.Now), domain: wire.DomainID{1}, tls: wire.Hash{2},
		alice: newKey(t), bob: token, rex: newKey(t), admins: keyring{}, revoked: map[string]bool{},
	}
	o.admins.add(person{name: "alice", pub: o.alice.Public()})
	o.admins.add(person{name: "bob", pub: o.bob.Public()})
	o.admins.add(person{name: "rex", pub: o.rex.Public(), recover: true})
	o.verifier = authn.NewAdminVerifier(o.domain, o.tls, o.clk)
	return o
}

func (o *office) signer(key crypto.Signer) authn.AdminSigner {
	return authn.AdminSigner{Domain: o.domain, TLS: o.tls, Key: key, Clock: o.clk}
}

func (o *office) session(authority crypto.Signer, life time.Duration) authn.AdminSigner {
	o.t.Helper()
	key, session, err := authn.NewSession(o.domain, authority, life, o.clk)
	if err != nil {
		o.t.Fatal(err)
	}
	s := o.signer(key)
	s.Session = session
	return s
}

// send signs a request and gives what arrives at the server.
func (o *office) send(s authn.AdminSigner, method, target string, body []byte) authn.AdminRequest {
	o.t.Helper()
	header, err := s.Sign(method, target, body)
	if err != nil {
		o.t.Fatal(err)
	}
	signed, session, err := authn.ParseAuthorization(header)
	if err != nil {
		o.t.Fatal(err)
	}
	return authn.AdminRequest{Signed: signed, Session: session, Method: method, Target: target, Body: body}
}

func (o *office) verify(r authn.AdminRequest) (*authn.Caller, error) {
	return o.verifier.Verify(o.admins, o, r)
}

func TestAdminRequest(t *testing.T) {
	o := newOffice(t)
	for name, key := range map[string]crypto.Signer{"alice": o.alice, "bob": o.bob} {
		got, err := o.verify(o.send(o.signer(key), "POST", "/v1/bodies?x=1", []byte("body")))
		if err != nil {
			t.Fatal(err)
		}
		hash := wire.KeyHash(key.Public())
		if !got.Proved() || got.Kind != authn.Admin || got.ID != name || got.ReadOnly || got.Key != hash {
			t.Errorf("caller %+v", got)
		}
		if got.Attributes["key"] != hash.String() || len(got.Attributes) != 1 {
			t.Errorf("attributes %v", got.Attributes)
		}
		if got.NotAfter.After(o.clk.Now().Add(authn.Skew)) {
			t.Errorf("one request proves its sender until %v", got.NotAfter)
		}
	}
}

// TestRecoveryRequest: a key of the recovery quorum makes a caller of a kind of
// its own, never an admin, with a session as without.
func TestRecoveryRequest(t *testing.T) {
	o := newOffice(t)
	for name, c := range map[string]struct {
		by     authn.AdminSigner
		method string
	}{"key": {o.signer(o.rex), "POST"}, "session": {o.session(o.rex, time.Hour), "GET"}} {
		got, err := o.verify(o.send(c.by, c.method, "/v1/records", nil))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !got.Proved() || got.Kind != authn.Recovery || got.Kind.String() != "Recovery" || got.ID != "recovery/rex" || got.ReadOnly != (name == "session") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	c, err := o.verify(o.send(o.session(o.rex, time.Hour), "POST", "/v1/entries", nil))
	wantRefused(t, c, err)
	delete(o.admins, wire.KeyHash(o.rex.Public()))
	c, err = o.verify(o.send(o.signer(o.rex), "GET", "/v1/records", nil))
	wantRefused(t, c, err)
}

func TestAdminRequestRefuses(t *testing.T) {
	o := newOffice(t)
	const target = "/v1/keys?name=a"
	body := []byte("body")
	base := o.signer(o.alice)
	wrong := func(edit func(*authn.AdminSigner)) func() authn.AdminRequest {
		return func() authn.AdminRequest {
			s := base
			edit(&s)
			return o.send(s, "POST", target, body)
		}
	}
	spoilt := func(edit func(*authn.AdminRequest)) func() authn.AdminRequest {
		return func() authn.AdminRequest {
			r := o.send(base, "POST", target, body)
			edit(&r)
			return r
		}
	}
	late := clock.NewManual(o.clk.Now().Add(-authn.Skew - time.Millisecond))
	early := clock.NewManual(o.clk.Now().Add(authn.Skew + time.Millisecond))
	for name, make := range map[string]func() authn.AdminRequest{
		"a stranger's key":     wrong(func(s *authn.AdminSigner) { s.Key = newKey(t) }),
		"other domain":         wrong(func(s *authn.AdminSigner) { s.Domain = wire.DomainID{9} }),
		"other server":         wrong(func(s *authn.AdminSigner) { s.TLS = wire.Hash{9} }),
		"issued too early":     wrong(func(s *authn.AdminSigner) { s.Clock = late }),
		"issued in the future": wrong(func(s *authn.AdminSigner) { s.Clock = early }),
		"another method":       spoilt(func(r *authn.AdminRequest) { r.Method = "DELETE" }),
		"method in lower case": spoilt(func(r *authn.AdminRequest) { r.Method = "post" }),
		"another path":         spoilt(func(r *authn.AdminRequest) { r.Target = "/v1/key?name=a" }),
		"another query":        spoilt(func(r *authn.AdminRequest) { r.Target = "/v1/keys?name=b" }),
		"longer body":          spoilt(func(r *authn.AdminRequest) { r.Body = append(r.Body, 0) }),
		"no body":              spoilt(func(r *authn.AdminRequest) { r.Body = nil }),
		"damaged":              spoilt(func(r *authn.AdminRequest) { r.Signed[len(r.Signed)-1] ^= 1 }),
		"nothing signed":       spoilt(func(r *authn.AdminRequest) { r.Signed = nil }),
		"two signatures": spoilt(func(r *authn.AdminRequest) {
			msg, err := wire.AddSignature(r.Signed, wire.TypeAdminRequest, wire.MaxAdminRequest, o.bob)
			if err != nil {
				t.Fatal(err)
			}
			r.Signed = msg
		}),
		"another message type": spoilt(func(r *authn.AdminRequest) {
			signed := parse(t, wire.TypeAdminRequest, r.Signed)
			msg, err := wire.Sign(wire.TypeBody, signed.Payload, o.alice)
			if err != nil {
				t.Fatal(err)
			}
			r.Signed = msg
		}),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := o.verify(make())
			wantRefused(t, c, err)
		})
	}
	t.Run("revoked", func(t *testing.T) {
		o.revoked["alice"] = true
		defer delete(o.revoked, "alice")
		c, err := o.verify(o.send(base, "POST", target, body))
		wantRefused(t, c, err)
		if !errors.Is(err, authn.ErrRevoked) {
			t.Errorf("error %v doesn't say revoked", err)
		}
	})
	t.Run("removed", func(t *testing.T) {
		r := o.send(base, "POST", target, body)
		delete(o.admins, wire.KeyHash(o.alice.Public()))
		c, err := o.verify(r)
		wantRefused(t, c, err)
	})
}

func TestSession(t *testing.T) {
	o := newOffice(t)
	s := o.session(o.bob, authn.MaxSession)
	for _, method := range []string{"GET", "HEAD"} {
		got, err := o.verify(o.send(s, method, "/v1/status", nil))
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != "bob" || !got.ReadOnly || got.Key != wire.KeyHash(s.Key.Public()) {
			t.Errorf("caller %+v", got)
		}
		if got.Attributes["key"] != wire.KeyHash(o.bob.Public()).String() {
			t.Errorf("attributes %v", got.Attributes)
		}
		if want := o.clk.Now().Add(authn.MaxSession); !got.NotAfter.Equal(want) {
			t.Errorf("proved until %v, want the session's end %v", got.NotAfter, want)
		}
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "get", ""} {
		t.Run("may not "+method, func(t *testing.T) {
			c, err := o.verify(o.send(s, method, "/v1/status", nil))
			wantRefused(t, c, err)
		})
	}
	t.Run("request by another key", func(t *testing.T) {
		other := s
		other.Key = newKey(t)
		c, err := o.verify(o.send(other, "GET", "/v1/status", nil))
		wantRefused(t, c, err)
	})
	t.Run("session key without its session", func(t *testing.T) {
		r := o.send(s, "GET", "/v1/status", nil)
		r.Session = nil
		c, err := o.verify(r)
		wantRefused(t, c, err)
	})
	t.Run("damaged session", func(t *testing.T) {
		r := o.send(s, "GET", "/v1/status", nil)
		r.Session[len(r.Session)-1] ^= 1
		c, err := o.verify(r)
		wantRefused(t, c, err)
	})
	t.Run("ends", func(t *testing.T) {
		o.clk.Advance(authn.MaxSession - time.Millisecond)
		if _, err := o.verify(o.send(s, "GET", "/v1/status", nil)); err != nil {
			t.Fatal(err)
		}
		o.clk.Advance(time.Millisecond)
		c, err := o.verify(o.send(s, "GET", "/v1/status", nil))
		wantRefused(t, c, err)
	})
}

func TestSessionRefuses(t *testing.T) {
	o := newOffice(t)
	raw := func(authority crypto.Signer, edit func(*wire.AdminSession)) authn.AdminSigner {
		key := newKey(t)
		now := o.clk.Now().UnixMilli()
		m := wire.AdminSession{Type: wire.TypeAdminSession, Domain: o.domain, Key: key.Public().(ed25519.PublicKey), Issued: now, NotAfter: now + 1000}
		edit(&m)
		session, err := wire.Sign(wire.TypeAdminSession, wire.Marshal(m), authority)
		if err != nil {
			t.Fatal(err)
		}
		s := o.signer(key)
		s.Session = session
		return s
	}
	aliceKey := o.alice.Public().(ed25519.PublicKey)
	stolen := raw(o.bob, func(m *wire.AdminSession) { m.Key = aliceKey })
	stolen.Key = o.alice
	rexKey := o.rex.Public().(ed25519.PublicKey)
	kept := raw(o.bob, func(m *wire.AdminSession) { m.Key = rexKey })
	kept.Key = o.rex
	two := raw(o.alice, func(*wire.AdminSession) {})
	var err error
	if two.Session, err = wire.AddSignature(two.Session, wire.TypeAdminSession, wire.MaxAdminRequest, o.bob); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]authn.AdminSigner{
		"by a stranger":            raw(newKey(t), func(*wire.AdminSession) {}),
		"other domain":             raw(o.alice, func(m *wire.AdminSession) { m.Domain = wire.DomainID{9} }),
		"too long":                 raw(o.alice, func(m *wire.AdminSession) { m.NotAfter = m.Issued + wire.MaxSessionLife + 1 }),
		"from the future":          raw(o.alice, func(m *wire.AdminSession) { m.Issued += 61_000; m.NotAfter += 61_000 }),
		"over":                     raw(o.alice, func(m *wire.AdminSession) { m.Issued -= 1000; m.NotAfter -= 1000 }),
		"another's authority key":  stolen,
		"a recovery key":           kept,
		"signed twice":             two,
		"short key":                raw(o.alice, func(m *wire.AdminSession) { m.Key = m.Key[:31] }),
		"no session, but a string": {Domain: o.domain, TLS: o.tls, Key: o.alice, Clock: o.clk, Session: []byte("x")},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := o.verify(o.send(s, "GET", "/v1/status", nil))
			wantRefused(t, c, err)
		})
	}
	// A session can't sign another session.
	first := o.session(o.alice, time.Hour)
	second := raw(first.Key, func(*wire.AdminSession) {})
	c, err := o.verify(o.send(second, "GET", "/v1/status", nil))
	wantRefused(t, c, err)

	for _, life := range []time.Duration{0, -time.Hour, authn.MaxSession + time.Millisecond} {
		if _, _, err := authn.NewSession(o.domain, o.alice, life, o.clk); err == nil {
			t.Errorf("made a session of %v", life)
		}
	}
}

func TestAuthorization(t *testing.T) {
	signed, session, err := authn.ParseAuthorization(authn.FormatAuthorization([]byte("abc"), []byte("de")))
	if err != nil || string(signed) != "abc" || string(session) != "de" {
		t.Errorf("got %q %q %v", signed, session, err)
	}
	if _, session, err := authn.ParseAuthorization(authn.FormatAuthorization([]byte("abc"), nil)); err != nil || len(session) > 0 {
		t.Errorf("without session: %q %v", session, err)
	}
	long := authn.FormatAuthorization(make([]byte, 3*wire.MaxAdminRequest), nil)
	for _, bad := range []string{"", "Claviger ", "Claviger .", "Claviger .YWJj", "Claviger YWJj.", "Bearer YWJj", "claviger YWJj", "Claviger YWJj=", "Claviger YW\nJj", "Claviger YWI.YWJ", "Claviger YR", "Claviger YWJj.YWJj.YWJj", long} {
		if _, _, err := authn.ParseAuthorization(bad); err == nil {
			t.Errorf("accepted %.40q", bad)
		}
	}
}

// FuzzParseAuthorization holds that a header that is accepted has one spelling.
func FuzzParseAuthorization(f *testing.F) {
	f.Add("Claviger YWJj.YWJj")
	f.Add("Claviger YWJj")
	f.Add("Claviger YW\nJj")
	f.Fuzz(func(t *testing.T, value string) {
		signed, session, err := authn.ParseAuthorization(value)
		if err == nil && authn.FormatAuthorization(signed, session) != value {
			t.Fatalf("%q has a second spelling", value)
		}
	})
}

// FuzzAdminVerify sends damaged messages: nothing but the good one is accepted,
// and that once.
func FuzzAdminVerify(f *testing.F) {
	o := newOffice(f)
	good := o.send(o.session(o.alice, time.Hour), "GET", "/v1/status", nil)
	f.Add(good.Signed, good.Session)
	f.Add(good.Session, good.Signed)
	f.Add(good.Signed, []byte{})
	f.Fuzz(func(t *testing.T, signed, session []byte) {
		r := good
		r.Signed, r.Session = signed, session
		c, err := authn.NewAdminVerifier(o.domain, o.tls, o.clk).Verify(o.admins, o, r)
		if err != nil {
			wantRefused(t, c, err)
			return
		}
		if string(signed) != string(good.Signed) || string(session) != string(good.Session) || !c.ReadOnly {
			t.Fatalf("accepted another message as %s", c.ID)
		}
	})
}

func BenchmarkAdminVerify(b *testing.B) {
	o := newOffice(b)
	s := o.session(o.alice, time.Hour)
	for b.Loop() {
		r := o.send(s, "GET", "/", nil)
		if _, err := authn.NewAdminVerifier(o.domain, o.tls, o.clk).Verify(o.admins, o, r); err != nil {
			b.Fatal(err)
		}
	}
}
