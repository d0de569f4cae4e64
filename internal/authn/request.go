// SPDX-License-Identifier: Apache-2.0

package authn

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"claviger/internal/wire"
)

// VerifyRequest reads a key request that came out of its seal (a wire.Signed of
// type wire.TypeRequest). It holds that there is one signature, that the stapled
// leaf's key made it, that the leaf names the request's Client, that the request
// is for this domain and not expired or made for longer than
// wire.MaxRequestLife. The descriptor it was sealed to, and whether it was seen
// before, are the caller's to check.
func (t Trust) VerifyRequest(signed *wire.Signed, now time.Time) (*Caller, *wire.Request, error) {
	if signed.Type != wire.TypeRequest || len(signed.Signatures) != 1 {
		return nil, nil, refused("not a request with one signature")
	}
	req, err := wire.ParseRequest(signed.Payload)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := t.addressed(req.Domain, req.NotAfter, now); err != nil {
		return nil, nil, err
	}
	caller, err := t.signer(signed, signed.Signatures[0], req.Client, now)
	if err != nil {
		return nil, nil, err
	}
	return caller, req, nil
}

// VerifyRenew reads a renewal (wire.TypeRenew): what VerifyRequest holds, and a
// second signature by the key of the certificate request, so that nobody gets a
// certificate for a key that isn't theirs. The new key differs from the current
// one: a key signs a message once.
func (t Trust) VerifyRenew(signed *wire.Signed, now time.Time) (*Caller, *wire.Renew, error) {
	if signed.Type != wire.TypeRenew || len(signed.Signatures) != 2 {
		return nil, nil, refused("not a renewal with two signatures")
	}
	req, err := wire.ParseRenew(signed.Payload)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := t.addressed(req.Domain, req.NotAfter, now); err != nil {
		return nil, nil, err
	}
	newKey, err := requestKey(req.CSR)
	if err != nil {
		return nil, nil, err
	}
	if err := signed.Verify(newKey); err != nil {
		return nil, nil, fmt.Errorf("%w: the new key: %w", ErrRefused, err)
	}
	current := signed.Signatures[0]
	if current.KID == wire.KeyHash(newKey) {
		current = signed.Signatures[1]
	}
	caller, err := t.signer(signed, current, req.Client, now)
	if err != nil {
		return nil, nil, err
	}
	return caller, req, nil
}

// VerifyEnroll reads an enrolment (wire.TypeEnroll). It holds that it is signed
// by the key of the invite it names and by the key of its certificate request,
// and by nobody else: who relays it can't put in another key. inviteKey gives
// the public key of an invite that is open now, or an error; whether it was used
// before is decided when its use is written to the authority log.
func (t Trust) VerifyEnroll(signed *wire.Signed, inviteKey func(wire.BodyID) (crypto.PublicKey, error), now time.Time) (*wire.Enroll, error) {
	if signed.Type != wire.TypeEnroll || len(signed.Signatures) != 2 {
		return nil, refused("not an enrolment with two signatures")
	}
	req, err := wire.ParseEnroll(signed.Payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := t.addressed(req.Domain, req.NotAfter, now); err != nil {
		return nil, err
	}
	newKey, err := requestKey(req.CSR)
	if err != nil {
		return nil, err
	}
	invite, err := inviteKey(req.Invite)
	if err != nil {
		return nil, errInvite
	}
	// Were both the same, one of the two signatures would be a stranger's.
	if wire.KeyHash(invite) == wire.KeyHash(newKey) {
		return nil, refused("the invite's key asks for a certificate for itself")
	}
	if signed.Verify(invite) != nil {
		return nil, errInvite
	}
	if err := signed.Verify(newKey); err != nil {
		return nil, fmt.Errorf("%w: enrolment: %w", ErrRefused, err)
	}
	return req, nil
}

// errInvite is all that a stranger learns who guesses at invites: not whether one
// is there (T-77).
var errInvite = refused("the invite is not open, or this is not signed with it")

// addressed holds that a message is for this domain and this minute.
func (t Trust) addressed(domain wire.DomainID, notAfter int64, now time.Time) error {
	ahead := notAfter - now.UnixMilli()
	switch {
	case domain != t.Domain:
		return refused("for another trust domain")
	case ahead <= 0:
		return refused("expired")
	case ahead > wire.MaxRequestLife:
		return refused("valid for too long")
	}
	return nil
}

// signer holds that sig was made by the leaf of its own stapled chain, and that
// this leaf names client.
func (t Trust) signer(signed *wire.Signed, sig wire.Signature, client string, now time.Time) (*Caller, error) {
	caller, id, err := t.workload(sig.Chain, now)
	if err != nil {
		return nil, err
	}
	// Security: name and key must both be this certificate's (T-12, T-27).
	if id.ID != client {
		return nil, refused("the certificate names another client")
	}
	if caller.Key != sig.KID {
		return nil, refused("signed with another key than the certificate's")
	}
	if err := signed.Verify(id.Leaf.PublicKey); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return caller, nil
}

// requestKey reads the key of a certificate request whose size is checked. Its
// own signature is judged by the CA that certifies it.
func requestKey(csr []byte) (crypto.PublicKey, error) {
	parsed, err := x509.ParseCertificateRequest(csr)
	if err != nil || wire.KeyHash(parsed.PublicKey).IsZero() {
		return nil, refused("certificate request")
	}
	return parsed.PublicKey, nil
}
