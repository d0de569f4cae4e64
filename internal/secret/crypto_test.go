// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"testing"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// take is Take that leaves the source.
func take(p []byte) *Bytes { return Take(bytes.Clone(p)) }

func TestSelfTest(t *testing.T) {
	if err := SelfTest(); err != nil {
		t.Fatalf("the primitives of this toolchain can't be placed: %v", err)
	}
}

func stdGCM(t testing.TB, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	var gcm cipher.AEAD
	fips140.WithoutEnforcement(func() { gcm, err = cipher.NewGCM(block) })
	if err != nil {
		t.Fatal(err)
	}
	return gcm
}

func TestAEADAgainstStandardLibrary(t *testing.T) {
	for _, placed := range []bool{true, false} {
		raw := randomBytes(KeySize)
		key := take(raw)
		a := new(AEAD)
		err := a.expand(key, placed)
		if err != nil {
			t.Fatal(err)
		}
		key.Wipe() // the AEAD doesn't need it any more
		want := stdGCM(t, raw)
		for _, n := range []int{0, 1, 15, 16, 17, 1000, 16 << 10} {
			nonce, text, aad := randomBytes(NonceSize), randomBytes(n), randomBytes(n%50)
			sealed := a.Seal([]byte("head"), nonce, text, aad)
			if !bytes.Equal(sealed, want.Seal([]byte("head"), nonce, text, aad)) {
				t.Fatalf("placed=%v: Seal of %d bytes differs", placed, n)
			}
			sealed = sealed[4:]
			if len(sealed) != n+Overhead {
				t.Fatalf("placed=%v: %d bytes became %d", placed, n, len(sealed))
			}
			got, err := a.Open(nil, nonce, sealed, aad)
			if err != nil || !bytes.Equal(got, text) {
				t.Fatalf("placed=%v: Open of %d bytes: %v", placed, n, err)
			}
			for _, i := range []int{0, len(sealed) - 1} {
				sealed[i] ^= 0x80
				if _, err := a.Open(nil, nonce, sealed, aad); err == nil {
					t.Errorf("placed=%v: Open took a changed byte %d", placed, i)
				}
				sealed[i] ^= 0x80
			}
			if _, err := a.Open(nil, nonce, sealed, append(aad, 0)); err == nil {
				t.Errorf("placed=%v: Open took another aad", placed)
			}
		}
		a.Wipe()
		a.Wipe()
		mustPanic(t, "Seal", "after Wipe", func() { a.Seal(nil, make([]byte, NonceSize), nil, nil) })
		mustPanic(t, "Open", "after Wipe", func() { _, _ = a.Open(nil, make([]byte, NonceSize), nil, nil) })
	}
	var none *AEAD
	none.Wipe()
	mustPanic(t, "zero AEAD", "AEAD", func() { new(AEAD).Seal(nil, make([]byte, NonceSize), nil, nil) })
}

func TestAEADInPlace(t *testing.T) {
	a, err := NewAEAD(Random(KeySize))
	if err != nil {
		t.Fatal(err)
	}
	nonce := randomBytes(NonceSize)
	inner := Random(32)
	buf := append(make([]byte, 0, 48), inner.Expose()...)
	sealed := a.Seal(buf[:0], nonce, buf, nil)
	if &sealed[0] != &buf[0] {
		t.Error("Seal didn't work in place")
	}
	out := New(32)
	got, err := a.Open(out.Expose()[:0], nonce, sealed, nil)
	if err != nil || &got[0] != &out.Expose()[0] || !out.Equal(inner) {
		t.Errorf("Open into protected memory: %v", err)
	}
}

func TestNewAEADKeySizes(t *testing.T) {
	for _, n := range []int{0, 16, 24, 31, 33, 64} {
		if _, err := NewAEAD(New(n)); err == nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
	}
}

// stdHMAC is crypto/hmac, also for keys that FIPS 140-only mode refuses.
func stdHMAC(key, text []byte) (mac []byte) {
	fips140.WithoutEnforcement(func() {
		m := hmac.New(sha512.New, key)
		m.Write(text)
		mac = m.Sum(nil)
	})
	return mac
}

// layouts are the ways to compute a hash: placed, and the fallback.
func layouts(t *testing.T) map[string]*sha512Layout {
	l, err := probeSHA512()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*sha512Layout{"placed": l, "plain": nil}
}

func TestHMACAgainstStandardLibrary(t *testing.T) {
	text := randomBytes(1000)
	for name, l := range layouts(t) {
		h := newHasher(l)
		for _, keyLen := range []int{0, 1, 20, 32, 64, 127, 128, 129, 255, 256, 1000} {
			for _, n := range []int{0, 1, 55, 110, 111, 112, 113, 127, 128, 129, 239, 240, 256, 1000} {
				key := randomBytes(keyLen)
				want := stdHMAC(key, text[:n])
				var got [64]byte
				h.key(h.state, key)
				h.mac(got[:], h.state, text[:n/2], nil, text[n/2:n])
				if !hmac.Equal(got[:], want) {
					t.Errorf("%s: HMAC, key of %d bytes, text of %d: differs", name, keyLen, n)
				}
				h.clean()
			}
		}
	}
}

func TestHMACType(t *testing.T) {
	raw := randomBytes(77)
	key := take(raw)
	m := NewHMAC(key)
	key.Wipe()
	want := hmac.New(sha512.New, raw)
	want.Write([]byte("ab"))
	for range 2 { // a second Sum starts afresh
		if got := m.Sum([]byte("a"), []byte("b")); !hmac.Equal(got[:], want.Sum(nil)) {
			t.Fatal("Sum differs from crypto/hmac")
		}
	}
	out := m.Expand([]byte("info"), 100)
	std, err := hkdf.Expand(sha512.New, raw, "info", 100)
	if err != nil || !bytes.Equal(out.Expose(), std) {
		t.Errorf("HMAC.Expand differs from crypto/hkdf: %v", err)
	}
	m.Wipe()
	m.Wipe()
	mustPanic(t, "Sum", "after Wipe", func() { m.Sum() })
	var none *HMAC
	none.Wipe()
}

func TestHKDFAgainstStandardLibrary(t *testing.T) {
	for _, n := range []int{0, 1, 13, 32, 64, 128, 129, 300} {
		salt, ikm, info := randomBytes(n), randomBytes(n+14), randomBytes(n)
		wantPRK := stdHMAC(salt, ikm) // the definition of Extract
		prk := Extract(salt, take(ikm))
		if !bytes.Equal(prk.Expose(), wantPRK) {
			t.Errorf("Extract with a salt of %d bytes differs", n)
		}
		if !ExtractSecret(take(salt), take(ikm)).Equal(prk) {
			t.Errorf("ExtractSecret with a salt of %d bytes differs", n)
		}
		for _, size := range []int{0, 1, 32, 63, 64, 65, 128, 200, maxExpand} {
			want, err := hkdf.Expand(sha512.New, wantPRK, string(info), size)
			if err != nil {
				t.Fatal(err)
			}
			if got := Expand(prk, info, size); !bytes.Equal(got.Expose(), want) {
				t.Errorf("Expand to %d bytes differs", size)
			}
		}
	}
	if !Extract(nil, take(make([]byte, 32))).Equal(Extract(make([]byte, 64), take(make([]byte, 32)))) {
		t.Error("a nil salt isn't 64 zeros")
	}
	mustPanic(t, "Expand", "at most", func() { Expand(New(64), nil, maxExpand+1) })
	mustPanic(t, "Expand", "negative", func() { Expand(New(64), nil, -1) })
}
