// SPDX-License-Identifier: Apache-2.0

package hierarchy

import (
	"bytes"
	"testing"

	"claviger/internal/secret"
)

func TestSealRoundTrip(t *testing.T) {
	key := secret.Random(keySize)
	at := place{[32]byte{1}, kindVersion, [][]byte{{1, 2}, {3}}}
	for _, n := range []int{1, 32, 5000} {
		plaintext := bytes.Repeat([]byte{7}, n)
		blob := seal(key, at, plaintext)
		if len(blob) != n+sealOverhead || bytes.Contains(blob, plaintext[:min(n, 8)]) && n > 1 {
			t.Fatalf("%d bytes: blob of %d", n, len(blob))
		}
		got, err := unseal(key, at, blob)
		must(t, err)
		if !bytes.Equal(got.Expose(), plaintext) {
			t.Fatal("other plaintext")
		}
		if bytes.Equal(blob, seal(key, at, plaintext)) {
			t.Fatal("two blobs are equal")
		}
	}
}

// TestSealBinds changes every part of a place, the key and every byte.
func TestSealBinds(t *testing.T) {
	key := secret.Random(keySize)
	at := place{[32]byte{1}, kindVersion, [][]byte{{1, 2}, {3}}}
	blob := seal(key, at, []byte("secret"))
	for name, other := range map[string]place{
		"domain":        {[32]byte{2}, at.kind, at.fields},
		"kind":          {at.domain, kindMaterial, at.fields},
		"field":         {at.domain, at.kind, [][]byte{{1, 2}, {4}}},
		"field missing": {at.domain, at.kind, [][]byte{{1, 2}}},
		"field split":   {at.domain, at.kind, [][]byte{{1}, {2, 3}}},
		"field order":   {at.domain, at.kind, [][]byte{{3}, {1, 2}}},
		"field more":    {at.domain, at.kind, [][]byte{{1, 2}, {3}, {}}},
	} {
		if _, err := unseal(key, other, blob); err == nil {
			t.Errorf("opens in another place: %s", name)
		}
	}
	_, err := unseal(secret.Random(keySize), at, blob)
	wantErr(t, err, errSealed)
	for i := range blob {
		changed := bytes.Clone(blob)
		changed[i] ^= 0x40
		if _, err := unseal(key, at, changed); err == nil {
			t.Fatalf("opens with byte %d changed", i)
		}
	}
	for n := range blob {
		if _, err := unseal(key, at, blob[:n]); err == nil {
			t.Fatalf("opens cut to %d", n)
		}
	}
	if _, err := unseal(key, at, append(bytes.Clone(blob), 0)); err == nil {
		t.Fatal("opens with a byte more")
	}
}

// TestBlobCommitsToKey makes a blob whose ciphertext fits one key while its
// commitment is another key's: it must open under neither.
func TestBlobCommitsToKey(t *testing.T) {
	one, two := secret.Random(keySize), secret.Random(keySize)
	at := place{[32]byte{1}, kindVersion, nil}
	blob := seal(one, at, []byte("secret"))
	salt := blob[1 : 1+saltSize]
	commitment := sealKey(two, at, salt).Expose()[keySize:]
	copy(blob[1+saltSize:], commitment[:])
	for _, key := range []*secret.Bytes{one, two} {
		_, err := unseal(key, at, blob)
		wantErr(t, err, errSealed)
	}
}

func FuzzUnseal(f *testing.F) {
	key := secret.Take(bytes.Repeat([]byte{1}, keySize))
	at := place{[32]byte{1}, kindVersion, nil}
	f.Add([]byte{})
	f.Add(make([]byte, sealOverhead+1))
	f.Add(seal(key, at, []byte("x")))
	f.Fuzz(func(t *testing.T, blob []byte) {
		if p, err := unseal(key, at, blob); err == nil {
			if p.Len()+sealOverhead != len(blob) {
				t.Fatal("length")
			}
			p.Wipe()
		}
	})
}
