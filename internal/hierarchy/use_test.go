// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"testing"

	"claviger/internal/kdf"
	"claviger/internal/secret"
)

func TestSignVerify(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, dir)
	var number uint64
	for _, tc := range []struct {
		algorithm string
		schemes   []string
		derived   bool
	}{
		{AlgEd25519, []string{"", SchemeEd25519}, true},
		{AlgP256, []string{"", SchemeECDSA}, true},
		{AlgRSA2048, []string{"", SchemePSS, SchemePKCS1}, false},
		{AlgRSA3072, []string{""}, false},
	} {
		t.Run(tc.algorithm, func(t *testing.T) {
			number++
			v := w.add(h, 1, number, tc.algorithm)
			if v.Stored == tc.derived {
				t.Fatalf("stored: %t", v.Stored)
			}
			pub, err := h.PublicKey(t.Context(), v, nil)
			must(t, err)
			again, err := w.open(1, dir).PublicKey(t.Context(), v, nil)
			must(t, err)
			if !pub.(interface{ Equal(x crypto.PublicKey) bool }).Equal(again) {
				t.Fatal("public key changes")
			}
			for _, scheme := range tc.schemes {
				u := Use{Scheme: scheme}
				sig, err := h.Sign(t.Context(), v, u, []byte("message"))
				must(t, err)
				must(t, h.Verify(t.Context(), v, u, []byte("message"), sig))
				wantErr(t, h.Verify(t.Context(), v, u, []byte("massage"), sig), ErrSignature)
				sig[len(sig)-1] ^= 1
				wantErr(t, h.Verify(t.Context(), v, u, []byte("message"), sig), ErrSignature)
			}
			_, err = h.Sign(t.Context(), v, Use{Scheme: "other"}, nil)
			wantErr(t, err, ErrInvalid)
			if tc.derived {
				other, err := h.PublicKey(t.Context(), v, []byte("p"))
				must(t, err)
				if pub.(interface{ Equal(x crypto.PublicKey) bool }).Equal(other) {
					t.Fatal("partition doesn't matter")
				}
				return
			}
			_, err = h.Sign(t.Context(), v, Use{Partition: []byte("p")}, nil)
			wantErr(t, err, ErrInvalid)
			_, err = h.Leaf(t.Context(), v, PurposeSign, nil)
			wantErr(t, err, ErrStored)
		})
	}
}

func TestMAC(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	v := w.add(h, 1, 1, AlgHMAC)
	leaf, err := h.Leaf(t.Context(), v, PurposeMAC, []byte("p"))
	must(t, err)
	reference := hmac.New(sha256.New, leaf.Expose())
	reference.Write([]byte("message"))
	got, err := h.MAC(t.Context(), v, []byte("p"), []byte("message"))
	must(t, err)
	if !bytes.Equal(got[:], reference.Sum(nil)) {
		t.Fatal("not HMAC-SHA256 under the leaf")
	}
	must(t, h.VerifyMAC(t.Context(), v, []byte("p"), []byte("message"), got[:]))
	wantErr(t, h.VerifyMAC(t.Context(), v, []byte("q"), []byte("message"), got[:]), ErrSignature)
	wantErr(t, h.VerifyMAC(t.Context(), v, []byte("p"), []byte("message"), got[:31]), ErrSignature)
}

func TestHMACAgainstStandardLibrary(t *testing.T) {
	for _, keyLen := range []int{1, 16, 32, 63, 64, 65, 200} {
		for _, n := range []int{0, 1, 55, 56, 63, 64, 65, 1000} {
			key, message := make([]byte, keyLen), make([]byte, n)
			rand.Read(key)
			rand.Read(message)
			reference := hmac.New(sha256.New, key)
			reference.Write(message)
			if got := secret.HMACSHA256(secret.Take(key), message); !bytes.Equal(got[:], reference.Sum(nil)) {
				t.Fatalf("key of %d, message of %d bytes", keyLen, n)
			}
		}
	}
}

func pkcs8(t *testing.T, key any) *secret.Bytes {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	return secret.Take(der)
}

func TestImport(t *testing.T) {
	w := newWorld(t)
	dir := newMemFS()
	h := w.first(1, dir)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	for i, tc := range []struct {
		name, algorithm string
		material        *secret.Bytes
		ok              bool
	}{
		{"aes", AlgAES256, secret.Random(32), true},
		{"aes of 16 bytes", AlgAES256, secret.Random(16), false},
		{"hmac", AlgHMAC, secret.Random(100), true},
		{"short hmac", AlgHMAC, secret.Random(15), false},
		{"long hmac", AlgHMAC, secret.Random(1025), false},
		{"ed25519", AlgEd25519, pkcs8(t, ed), true},
		{"p256", AlgP256, pkcs8(t, p256), true},
		{"p384", AlgP256, pkcs8(t, p384), false},
		{"ed25519 as p256", AlgP256, pkcs8(t, ed), false},
		{"rsa", AlgRSA2048, pkcs8(t, rsa2048), true},
		{"rsa of another size", AlgRSA3072, pkcs8(t, rsa2048), false},
		{"no key", AlgRSA2048, secret.Random(64), false},
		{"too long", AlgRSA2048, secret.Random(maxMaterial + 1), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, err := h.Import(t.Context(), [16]byte{1}, uint64(i+1), tc.algorithm, tc.material)
			if !tc.ok {
				wantErr(t, err, ErrInvalid)
				return
			}
			must(t, err)
			w.versions[v.Ref()] = v
			if !v.Stored || v.RootGeneration != 0 {
				t.Fatalf("%+v", v)
			}
			got, err := h.Material(t.Context(), v)
			must(t, err)
			if !got.Equal(tc.material) {
				t.Fatal("other material")
			}
			_, err = h.Leaf(t.Context(), v, PurposeData, nil)
			wantErr(t, err, ErrStored)
		})
	}
	// They survive an erasure, and die by one.
	victim := VersionRef{KeyID: [16]byte{1}, Number: 1}
	before := w.versions[victim]
	kc, err := h.Commit(t.Context(), before, "", nil)
	must(t, err)
	item, k, err := h.storedItem(t.Context(), &before)
	must(t, err)
	if kc != kdf.Commit(k, w.domain) || item.Len() != 64 {
		t.Fatal("kc of stored material")
	}
	w.destroy(victim, h)
	_, err = h.Material(t.Context(), w.versions[victim])
	wantErr(t, err, ErrErased)
	for ref, v := range w.versions {
		if ref != victim {
			_, err := w.open(1, dir).Material(t.Context(), v)
			must(t, err)
		}
	}
	got := w.attacker().reaches(before)
	if got[0] {
		t.Fatal("attacker reaches destroyed material")
	}
}

// TestImportedKeysInteroperate: imported material is used as it is.
func TestImportedKeysInteroperate(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	v, err := h.Import(t.Context(), [16]byte{1}, 1, AlgEd25519, pkcs8(t, priv))
	must(t, err)
	sig, err := h.Sign(t.Context(), v, Use{}, []byte("m"))
	must(t, err)
	if !ed25519.Verify(pub, []byte("m"), sig) {
		t.Fatal("signature of the imported key doesn't verify")
	}
	raw := bytes.Repeat([]byte{9}, 40)
	m, err := h.Import(t.Context(), [16]byte{2}, 1, AlgHMAC, secret.Take(bytes.Clone(raw)))
	must(t, err)
	got, err := h.MAC(t.Context(), m, nil, []byte("m"))
	must(t, err)
	reference := hmac.New(sha256.New, raw)
	reference.Write([]byte("m"))
	if !bytes.Equal(got[:], reference.Sum(nil)) {
		t.Fatal("MAC of the imported key differs")
	}
}

func TestCommitOfLeaf(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	v := w.add(h, 1, 1, AlgAES256)
	leaf, err := h.Leaf(t.Context(), v, PurposeData, []byte("p"))
	must(t, err)
	kc, err := h.Commit(t.Context(), v, PurposeData, []byte("p"))
	must(t, err)
	if kc != kdf.Commit(leaf, w.domain) {
		t.Fatal("kc is not of the leaf")
	}
}
