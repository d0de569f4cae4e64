// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/veraison/go-cose"

	"claviger/internal/wire"
)

func newKeys(t *testing.T) (ed25519.PrivateKey, *ecdsa.PrivateKey) {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ed, ec
}

func TestSignatureIsBoundToTypePayloadAndKey(t *testing.T) {
	ed, ec := newKeys(t)
	other, _ := newKeys(t)
	msg, err := wire.Sign("type-a", []byte("payload"), ed, ec)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := wire.ParseSigned("type-a", msg, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	for _, pub := range []crypto.PublicKey{ed.Public(), ec.Public()} {
		if err := parsed.Verify(pub); err != nil {
			t.Errorf("own signature: %v", err)
		}
	}
	if err := parsed.Verify(other.Public()); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("foreign key: got %v", err)
	}
	asB, err := wire.ParseSigned("type-b", msg, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	if err := asB.Verify(ed.Public()); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("other type: got %v", err)
	}
	parsed.Payload = []byte("payloae")
	if err := parsed.Verify(ec.Public()); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("other payload: got %v", err)
	}
}

func TestOneKeySignsOnce(t *testing.T) {
	ed, _ := newKeys(t)
	twice, err := wire.Sign("t", []byte("p"), ed, ed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.ParseSigned("t", twice, 1<<16); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("duplicate signer: got %v", err)
	}
	once, _ := wire.Sign("t", []byte("p"), ed)
	if _, err := wire.AddSignature(once, "t", 1<<16, ed); err == nil {
		t.Error("added a second signature of one key")
	}
}

func TestEveryFlippedBitIsRefused(t *testing.T) {
	ed, ec := newKeys(t)
	msg, err := wire.Sign("t", []byte("payload"), ed, ec)
	if err != nil {
		t.Fatal(err)
	}
	for i := range msg {
		for bit := range 8 {
			bad := append([]byte(nil), msg...)
			bad[i] ^= 1 << bit
			parsed, err := wire.ParseSigned("t", bad, 1<<16)
			if err != nil {
				continue
			}
			if parsed.Verify(ed.Public()) == nil && parsed.Verify(ec.Public()) == nil {
				t.Fatalf("byte %d bit %d: both signatures still verify", i, bit)
			}
		}
	}
}

// TestSecondImplementation has veraison/go-cose verify what Sign made.
func TestSecondImplementation(t *testing.T) {
	ed, ec := newKeys(t)
	msg, err := wire.Sign("type", []byte("payload"), ed, ec)
	if err != nil {
		t.Fatal(err)
	}
	var sm cose.SignMessage
	if err := sm.UnmarshalCBOR(msg); err != nil {
		t.Fatal(err)
	}
	v1, err := cose.NewVerifier(cose.AlgorithmEdDSA, ed.Public())
	if err != nil {
		t.Fatal(err)
	}
	v2, err := cose.NewVerifier(cose.AlgorithmES256, ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	if err := sm.Verify([]byte("type"), v1, v2); err != nil {
		t.Errorf("go-cose: %v", err)
	}
	if err := sm.Verify([]byte("epyt"), v1, v2); err == nil {
		t.Error("go-cose verified another type")
	}
}

func TestMergeJoinsSignatures(t *testing.T) {
	ed, ec := newKeys(t)
	a, _ := wire.Sign("t", []byte("p"), ed)
	b, _ := wire.Sign("t", []byte("p"), ec)
	both, err := wire.Merge("t", a, b, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := wire.ParseSigned("t", both, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	if len(parsed.Signatures) != 2 || parsed.Verify(ed.Public()) != nil || parsed.Verify(ec.Public()) != nil {
		t.Errorf("merged message has %d signatures", len(parsed.Signatures))
	}
	other, _ := wire.Sign("t", []byte("q"), ec)
	if _, err := wire.Merge("t", a, other, 1<<16); err == nil {
		t.Error("merged signatures over other bytes")
	}
}
