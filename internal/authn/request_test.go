// SPDX-License-Identifier: Apache-2.0

package authn_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"claviger/internal/authn"
	"claviger/internal/pki/pkitest"
	"claviger/internal/wire"
)

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func csrFor(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func parse(t testing.TB, typ string, msg []byte) *wire.Signed {
	t.Helper()
	s, err := wire.ParseSigned(typ, msg, wire.MaxRequest)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *world) request(edit func(*wire.Request)) []byte {
	r := wire.Request{
		Type: wire.TypeRequest, Domain: w.domain, Client: app, HPKE: make([]byte, wire.PublicKeySize),
		Items:    []wire.Item{{Name: "payments/cards", Purpose: wire.PurposeData, Operations: []string{"encrypt"}}},
		NotAfter: w.now.Add(30 * time.Second).UnixMilli(),
	}
	if edit != nil {
		edit(&r)
	}
	return wire.Marshal(r)
}

func (w *world) signRequest(payload []byte, chain [][]byte, key crypto.Signer) *wire.Signed {
	w.t.Helper()
	msg, err := wire.SignChain(wire.TypeRequest, payload, chain, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return parse(w.t, wire.TypeRequest, msg)
}

func TestVerifyRequest(t *testing.T) {
	w := newWorld(t)
	got, req, err := w.trust.VerifyRequest(w.signRequest(w.request(nil), w.app.Chain, w.app.Key), w.now)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Proved() || got.Kind != authn.Workload || got.ID != app || got.Key != wire.KeyHash(w.app.Cert.PublicKey) {
		t.Errorf("caller %+v", got)
	}
	if req.Client != app || req.Items[0].Name != "payments/cards" {
		t.Errorf("request %+v", req)
	}
}

func TestVerifyRequestRefuses(t *testing.T) {
	w := newWorld(t)
	good := w.request(nil)
	newer := w.ca.Leaf(pkitest.Spec{ID: app}) // the same name, another key
	two, err := wire.SignChain(wire.TypeRequest, good, w.app.Chain, w.app.Key)
	if err != nil {
		t.Fatal(err)
	}
	if two, err = wire.AddSignature(two, wire.TypeRequest, wire.MaxRequest, w.other.Key); err != nil {
		t.Fatal(err)
	}
	renew, err := wire.SignChain(wire.TypeRenew, good, w.app.Chain, w.app.Key)
	if err != nil {
		t.Fatal(err)
	}
	changed := w.signRequest(good, w.app.Chain, w.app.Key)
	changed.Payload = w.request(func(r *wire.Request) { r.Items[0].Name = "payments/root" })
	edited := func(edit func(*wire.Request)) *wire.Signed {
		return w.signRequest(w.request(edit), w.app.Chain, w.app.Key)
	}
	at := func(d time.Duration) func(*wire.Request) {
		return func(r *wire.Request) { r.NotAfter = w.now.Add(d).UnixMilli() }
	}
	for name, signed := range map[string]*wire.Signed{
		"no chain":                            w.signRequest(good, nil, w.app.Key),
		"another client's certificate":        w.signRequest(good, w.other.Chain, w.other.Key),
		"claims another's name":               edited(func(r *wire.Request) { r.Client = "spiffe://acme.example/workload/other" }),
		"signed by the victim, newer stapled": w.signRequest(good, newer.Chain, w.app.Key),
		"stapled the victim's, signed by X":   w.signRequest(good, w.app.Chain, w.other.Key),
		"two signers":                         parse(t, wire.TypeRequest, two),
		"of another type":                     parse(t, wire.TypeRenew, renew),
		"of another type, relabelled":         parse(t, wire.TypeRequest, renew),
		"changed after signing":               changed,
		"other domain":                        edited(func(r *wire.Request) { r.Domain = w.otherDomain }),
		"expired":                             edited(at(0)),
		"long expired":                        edited(at(-time.Hour)),
		"valid for too long":                  edited(at(61 * time.Second)),
		"no items":                            edited(func(r *wire.Request) { r.Items = nil }),
		"no request at all":                   w.signRequest([]byte{0x80}, w.app.Chain, w.app.Key),
	} {
		t.Run(name, func(t *testing.T) {
			c, req, err := w.trust.VerifyRequest(signed, w.now)
			wantRefused(t, c, err)
			if req != nil {
				t.Error("a refused request came back")
			}
		})
	}
	t.Run("revoked", func(t *testing.T) {
		w.revoked[app] = true
		c, _, err := w.trust.VerifyRequest(w.signRequest(good, w.app.Chain, w.app.Key), w.now)
		wantRefused(t, c, err)
		if !errors.Is(err, authn.ErrRevoked) {
			t.Errorf("error %v doesn't say revoked", err)
		}
	})
}

// renewal is a signed renewal, to be spoilt in parts.
type renewal struct {
	label    string // the type that is signed
	client   string
	csr      []byte
	domain   wire.DomainID
	notAfter time.Time
	chain    [][]byte
	current  crypto.Signer
	second   []crypto.Signer
}

func (w *world) renewal(next crypto.Signer) renewal {
	return renewal{
		label: wire.TypeRenew, client: app, csr: csrFor(w.t, next), domain: w.domain, notAfter: w.now.Add(time.Minute),
		chain: w.app.Chain, current: w.app.Key, second: []crypto.Signer{next},
	}
}

func (r renewal) sign(t testing.TB) *wire.Signed {
	t.Helper()
	payload := wire.Marshal(wire.Renew{
		Type: wire.TypeRenew, Domain: r.domain, Client: r.client, CSR: r.csr,
		HPKE: make([]byte, wire.PublicKeySize), NotAfter: r.notAfter.UnixMilli(),
	})
	msg, err := wire.SignChain(r.label, payload, r.chain, r.current)
	if err != nil {
		t.Fatal(err)
	}
	if msg, err = wire.AddSignature(msg, r.label, wire.MaxEnroll, r.second...); err != nil {
		t.Fatal(err)
	}
	return parse(t, r.label, msg)
}

func TestVerifyRenew(t *testing.T) {
	w := newWorld(t)
	next, stranger := newKey(t), newKey(t)
	got, req, err := w.trust.VerifyRenew(w.renewal(next).sign(t), w.now)
	if err != nil {
		t.Fatal(err)
	}
	if got.ID != app || got.Key != wire.KeyHash(w.app.Cert.PublicKey) || req.Client != app {
		t.Errorf("caller %+v, request %+v", got, req)
	}
	for name, spoil := range map[string]func(*renewal){
		"with another client's certificate": func(r *renewal) { r.chain, r.current = w.other.Chain, w.other.Key },
		"current key is not the leaf's":     func(r *renewal) { r.current = w.other.Key },
		"new key didn't sign":               func(r *renewal) { r.second = []crypto.Signer{stranger} },
		"current key alone":                 func(r *renewal) { r.second = nil },
		"a third signature":                 func(r *renewal) { r.second = append(r.second, stranger) },
		"other domain":                      func(r *renewal) { r.domain = w.otherDomain },
		"expired":                           func(r *renewal) { r.notAfter = w.now },
		"broken certificate request":        func(r *renewal) { r.csr = []byte{1} },
		"no chain":                          func(r *renewal) { r.chain = nil },
		"signed as another type":            func(r *renewal) { r.label = wire.TypeRequest },
		"new key is the leaf's, a stranger stapled": func(r *renewal) {
			r.current, r.csr, r.second = stranger, csrFor(t, w.app.Key), []crypto.Signer{w.app.Key}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.renewal(next)
			spoil(&r)
			c, _, err := w.trust.VerifyRenew(r.sign(t), w.now)
			wantRefused(t, c, err)
		})
	}
	t.Run("revoked", func(t *testing.T) {
		w.revoked[app] = true
		c, _, err := w.trust.VerifyRenew(w.renewal(next).sign(t), w.now)
		wantRefused(t, c, err)
	})
}

// enrolment is a signed enrolment, to be spoilt in parts.
type enrolment struct {
	label    string // the type that is signed
	csr      []byte
	domain   wire.DomainID
	notAfter time.Time
	signers  []crypto.Signer
}

func (e enrolment) sign(t testing.TB) *wire.Signed {
	t.Helper()
	payload := wire.Marshal(wire.Enroll{
		Type: wire.TypeEnroll, Domain: e.domain, Invite: wire.BodyID{7}, CSR: e.csr,
		HPKE: make([]byte, wire.PublicKeySize), NotAfter: e.notAfter.UnixMilli(),
	})
	msg, err := wire.Sign(e.label, payload, e.signers...)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, e.label, msg)
}

func TestVerifyEnroll(t *testing.T) {
	w := newWorld(t)
	invite, key, mallory := newKey(t), newKey(t), newKey(t)
	csr, otherCSR := csrFor(t, key), csrFor(t, mallory)
	closed := errors.New("invite was used")
	lookup := func(id wire.BodyID) (crypto.PublicKey, error) {
		if id != (wire.BodyID{7}) {
			return nil, closed
		}
		return invite.Public(), nil
	}
	good := enrolment{label: wire.TypeEnroll, csr: csr, domain: w.domain, notAfter: w.now.Add(time.Minute), signers: []crypto.Signer{invite, key}}
	req, err := w.trust.VerifyEnroll(good.sign(t), lookup, w.now)
	if err != nil || req.Invite != (wire.BodyID{7}) {
		t.Fatal(req, err)
	}
	for name, spoil := range map[string]func(*enrolment){
		"relay put in its own key":   func(e *enrolment) { e.csr, e.signers = otherCSR, []crypto.Signer{mallory, key} },
		"relay re-signed for itself": func(e *enrolment) { e.csr, e.signers = otherCSR, []crypto.Signer{mallory} },
		"without the invite's key":   func(e *enrolment) { e.signers = []crypto.Signer{key, mallory} },
		"without the new key":        func(e *enrolment) { e.signers = []crypto.Signer{invite, mallory} },
		"invite's key alone":         func(e *enrolment) { e.signers = []crypto.Signer{invite} },
		"a third signature":          func(e *enrolment) { e.signers = append(e.signers, mallory) },
		"invite's key certified":     func(e *enrolment) { e.csr, e.signers = csrFor(t, invite), []crypto.Signer{invite, mallory} },
		"other domain":               func(e *enrolment) { e.domain = w.otherDomain },
		"expired":                    func(e *enrolment) { e.notAfter = w.now },
		"valid for too long":         func(e *enrolment) { e.notAfter = w.now.Add(2 * time.Minute) },
		"signed as another type":     func(e *enrolment) { e.label = wire.TypeRenew },
		"broken request":             func(e *enrolment) { e.csr = nil },
	} {
		t.Run(name, func(t *testing.T) {
			e := good
			spoil(&e)
			if req, err := w.trust.VerifyEnroll(e.sign(t), lookup, w.now); !errors.Is(err, authn.ErrRefused) || req != nil {
				t.Errorf("got %+v, %v", req, err)
			}
		})
	}
	t.Run("invite not open", func(t *testing.T) {
		none := func(wire.BodyID) (crypto.PublicKey, error) { return nil, closed }
		_, err := w.trust.VerifyEnroll(good.sign(t), none, w.now)
		if !errors.Is(err, authn.ErrRefused) || errors.Is(err, closed) {
			t.Fatalf("got %v", err)
		}
		guessed := good
		guessed.signers = []crypto.Signer{mallory, key}
		if _, other := w.trust.VerifyEnroll(guessed.sign(t), lookup, w.now); other == nil || other.Error() != err.Error() {
			t.Errorf("an invite that is there is told from one that isn't: %v; %v", other, err)
		}
	})
	t.Run("of another type", func(t *testing.T) {
		s := good.sign(t)
		s.Type = wire.TypeRenew
		if _, err := w.trust.VerifyEnroll(s, lookup, w.now); !errors.Is(err, authn.ErrRefused) {
			t.Errorf("got %v", err)
		}
	})
}

func BenchmarkVerifyRequest(b *testing.B) {
	w := newWorld(b)
	signed := w.signRequest(w.request(nil), w.app.Chain, w.app.Key)
	for b.Loop() {
		if _, _, err := w.trust.VerifyRequest(signed, w.now); err != nil {
			b.Fatal(err)
		}
	}
}
