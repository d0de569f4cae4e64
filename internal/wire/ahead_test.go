// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"testing"

	"claviger/internal/wire"
)

// parsed is a message that some keys signed, the signatures of others broken.
func parsed(t *testing.T, broken int, keys ...crypto.Signer) *wire.Signed {
	t.Helper()
	msg, err := wire.Sign("t", []byte("payload"), keys...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := wire.ParseSigned("t", msg, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	if broken >= 0 {
		s.Signatures[broken].Value[7] ^= 1
	}
	return s
}

// TestVerifyAhead: what was verified once is good from then on, for its key alone;
// what was not verified is looked at.
func TestVerifyAhead(t *testing.T) {
	ed, ec := newKeys(t)
	s := parsed(t, 1, ed, ec)
	if s.Verified() != 0 {
		t.Fatalf("%b at first", s.Verified())
	}
	if err := s.VerifyAhead(ed.Public()); err != nil || s.Verified() != 1 {
		t.Errorf("a good signature: %v, %b", err, s.Verified())
	}
	if err := s.VerifyAhead(ec.Public()); !errors.Is(err, wire.ErrSignature) || s.Verified() != 1 {
		t.Errorf("a false signature: %v, %b", err, s.Verified())
	}
	if err := s.Verify(ec.Public()); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("a false signature, asked again: %v", err)
	}
	stranger, _ := newKeys(t)
	if err := s.VerifyAhead(stranger.Public()); !errors.Is(err, wire.ErrSignature) || s.Verified() != 1 {
		t.Errorf("a key that has not signed: %v, %b", err, s.Verified())
	}
	// That it is not verified again can be seen only by what nobody may do.
	s.Signatures[0].Value[7] ^= 1
	if err := s.Verify(ed.Public()); err != nil {
		t.Errorf("verified a second time: %v", err)
	}
}

func TestVerifyLeavesNoMark(t *testing.T) {
	ed, _ := newKeys(t)
	s := parsed(t, -1, ed)
	if err := s.Verify(ed.Public()); err != nil || s.Verified() != 0 {
		t.Errorf("%v, %b", err, s.Verified())
	}
}

// TestTrust: a mark stands for one signature of the message, and marks beyond its
// signatures for nothing.
func TestTrust(t *testing.T) {
	ed, ec := newKeys(t)
	s := parsed(t, 0, ed, ec)
	s.Trust(1<<1 | 1<<9)
	if err := s.Verify(ed.Public()); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("the signature beside: %v", err)
	}
	s.Trust(1)
	if err := s.Verify(ed.Public()); err != nil {
		t.Errorf("a trusted signature: %v", err)
	}
	stranger, _ := newKeys(t)
	if err := s.Verify(stranger.Public()); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("a stranger: %v", err)
	}
}

func TestKeyHashIsThatOfTheEncodedKey(t *testing.T) {
	ed, ec := newKeys(t)
	for _, pub := range []crypto.PublicKey{ed.Public(), ec.Public()} {
		der, err := x509.MarshalPKIXPublicKey(pub)
		if err != nil {
			t.Fatal(err)
		}
		want, got := sha256.Sum256(der), wire.KeyHash(pub)
		if !bytes.Equal(want[:], got[:]) {
			t.Errorf("%T: %s, want %x", pub, got, want)
		}
	}
}
