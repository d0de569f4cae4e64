// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"testing"
)

func TestDecrypt(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	v := w.add(h, 1, 1, AlgRSA2048)
	pub, err := h.PublicKey(t.Context(), v, nil)
	must(t, err)
	to256, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, pub.(*rsa.PublicKey), []byte("key"), nil)
	must(t, err)
	to1, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, pub.(*rsa.PublicKey), []byte("key"), nil)
	must(t, err)
	for scheme, text := range map[string][]byte{"": to256, SchemeOAEP256: to256, SchemeOAEP1: to1} {
		got, err := h.Decrypt(t.Context(), v, scheme, text)
		if err != nil || string(got) != "key" {
			t.Errorf("%s: %q, %v", scheme, got, err)
		}
	}
	wrong := append([]byte(nil), to256...)
	wrong[len(wrong)-1] ^= 1
	for name, c := range map[string]struct {
		v      Version
		scheme string
		text   []byte
	}{
		"another hash": {v, SchemeOAEP1, to256}, "changed": {v, "", wrong}, "cut": {v, "", to256[:255]}, "nothing": {v, "", nil},
		"no scheme": {v, "pkcs1v15", to256}, "no RSA": {w.add(h, 1, 2, AlgP256), "", to256},
	} {
		if got, err := h.Decrypt(t.Context(), c.v, c.scheme, c.text); got != nil {
			t.Errorf("%s: %q", name, got)
		} else {
			wantErr(t, err, ErrInvalid)
		}
	}
}

func TestPrehashed(t *testing.T) {
	w := newWorld(t)
	h := w.first(1, newMemFS())
	sum := sha256.Sum256([]byte("message"))
	for i, alg := range []string{AlgP256, AlgRSA2048} {
		v := w.add(h, 1, uint64(i)+1, alg)
		sig, err := h.Sign(t.Context(), v, Use{Prehashed: true}, sum[:])
		must(t, err)
		must(t, h.Verify(t.Context(), v, Use{}, []byte("message"), sig))
		must(t, h.Verify(t.Context(), v, Use{Prehashed: true}, sum[:], sig))
		wantErr(t, h.Verify(t.Context(), v, Use{}, sum[:], sig), ErrSignature)
		_, err = h.Sign(t.Context(), v, Use{Prehashed: true}, sum[:31])
		wantErr(t, err, ErrInvalid)
	}
	_, err := h.Sign(t.Context(), w.add(h, 1, 3, AlgEd25519), Use{Prehashed: true}, sum[:])
	wantErr(t, err, ErrInvalid)
}
