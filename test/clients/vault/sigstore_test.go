// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/hashivault"

	"claviger/internal/authority"
)

// TestSigstore: what cosign does with hashivault://KEY: it makes a key, fetches its
// public half, signs and verifies, in two versions of the key.
func TestSigstore(t *testing.T) {
	w := newWorld(t)
	t.Setenv("VAULT_ADDR", w.root())
	t.Setenv("VAULT_TOKEN", w.token)
	t.Setenv("VAULT_CACERT", w.ca)
	for algorithm, is := range map[string]func(any) bool{
		"ecdsa-p256": func(k any) bool { _, ok := k.(*ecdsa.PublicKey); return ok },
		"ed25519":    func(k any) bool { _, ok := k.(ed25519.PublicKey); return ok },
		"rsa-2048":   func(k any) bool { _, ok := k.(*rsa.PublicKey); return ok },
	} {
		t.Run(algorithm, func(t *testing.T) {
			hash := crypto.SHA256
			if algorithm == "ed25519" {
				hash = crypto.Hash(0)
			}
			s, err := hashivault.LoadSignerVerifier("hashivault://"+algorithm, hash)
			if err != nil {
				t.Fatal(err)
			}
			public, err := s.CreateKey(t.Context(), algorithm)
			if err != nil || !is(public) {
				t.Fatalf("%T, %v", public, err)
			}
			message := []byte("an image's digest")
			first, err := s.SignMessage(bytes.NewReader(message))
			if err != nil {
				t.Fatal(err)
			}
			// Anybody verifies with the public key alone.
			v, err := signature.LoadVerifier(public, crypto.SHA256)
			if err != nil {
				t.Fatal(err)
			}
			if err := v.VerifySignature(bytes.NewReader(first), bytes.NewReader(message)); err != nil {
				t.Errorf("with the public key: %v", err)
			}
			// The library signs with RSA in PKCS #1 v1.5 and doesn't say so when it
			// verifies: Vault, and the door, take that for PSS.
			err = s.VerifySignature(bytes.NewReader(first), bytes.NewReader(message))
			if (err != nil) != (algorithm == "rsa-2048") {
				t.Errorf("by the door: %v", err)
			}
			if s.VerifySignature(bytes.NewReader(first), bytes.NewReader([]byte("another"))) == nil {
				t.Error("another message verifies")
			}
			w.Propose(authority.KindKeyRotate, authority.KeyRef{ID: w.KeyOf("apps/" + algorithm).ID})
			if _, err := s.SignMessage(bytes.NewReader(message)); err != nil {
				t.Errorf("after a rotation: %v", err)
			}
		})
	}
}
