// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"bytes"
	"crypto/aes"
	"crypto/hkdf"
	"crypto/sha512"
	"encoding"
	"testing"
)

// needle is something that must not lie in readable memory, in all the byte
// orders in which it could. Pieces fit into one or two vector registers: a
// signal in the middle of Seal or Open may leave them where registers are
// saved, which the package's documentation admits; there they are counted
// apart. A whole key is nowhere allowed.
type needle struct {
	name  string
	forms [][]byte
	piece bool
}

func needles(t *testing.T, keys []byte) []needle {
	t.Helper()
	key, mac, ikm := keys[:32], keys[32:64], keys[64:]
	out, err := hkdf.Expand(sha512.New, mac, residueInfo, 32)
	if err != nil {
		t.Fatal(err)
	}
	prk, err := hkdf.Extract(sha512.New, ikm, mac)
	if err != nil {
		t.Fatal(err)
	}
	l := []needle{
		{"AES key", [][]byte{key}, false},
		{"AES key, first half", [][]byte{key[:16]}, true},
		{"AES key, second half", [][]byte{key[16:]}, true},
		{"HMAC key", [][]byte{mac}, false},
		{"HMAC key, first half", [][]byte{mac[:16]}, false},
		{"HMAC key, second half", [][]byte{mac[16:]}, false},
		{"HMAC key ^ ipad", [][]byte{xor(mac, 0x36)}, false},
		{"HMAC key ^ opad", [][]byte{xor(mac, 0x5c)}, false},
		{"HMAC inner state", wordForms(midState(t, mac, 0x36)[:32], 8), false},
		{"HMAC outer state", wordForms(midState(t, mac, 0x5c)[:32], 8), false},
		{"input of Extract", [][]byte{ikm}, false},
		{"extracted key", wordForms(prk[:32], 8), false},
		{"expanded key", wordForms(out, 8), false},
	}
	return append(l, scheduleNeedles(t, key)...)
}

// scheduleNeedles takes round keys and the hash table from the standard
// library's own objects.
func scheduleNeedles(t *testing.T, key []byte) []needle {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	state := contents(block)
	at := -1
	for _, form := range wordForms(key, 4) {
		if i := bytes.Index(state, form); i >= 0 {
			at = i
		}
	}
	if at < 0 {
		t.Fatal("no key found at the start of its own schedule")
	}
	l := []needle{
		{"AES round keys 2 and 3", wordForms(bytes.Clone(state[at+32:at+64]), 4), true},
		{"AES decryption round keys", wordForms(bytes.Clone(state[len(state)-64:len(state)-32]), 4), true},
	}
	gcm := contents(stdGCM(t, key))
	if len(gcm) >= len(state)+256 { // the assembly versions have one
		l = append(l, needle{"GHASH table", [][]byte{bytes.Clone(gcm[len(gcm)-256 : len(gcm)-224])}, true})
	}
	return l
}

func xor(key []byte, pad byte) []byte {
	out := bytes.Clone(key)
	for i := range out {
		out[i] ^= pad
	}
	return out
}

// midState is SHA-512's chaining value after the key, padded, big-endian.
func midState(t *testing.T, key []byte, pad byte) []byte {
	t.Helper()
	d := sha512.New()
	d.Write(xor(append(bytes.Clone(key), make([]byte, hashBlock-len(key))...), pad))
	saved, err := d.(encoding.BinaryAppender).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return saved[4 : 4+hashSize]
}

// wordForms is p as bytes and as words of the given size in the other order.
func wordForms(p []byte, word int) [][]byte {
	swapped := bytes.Clone(p)
	for i := 0; i+word <= len(p); i += word {
		for j := range word {
			swapped[i+j] = p[i+word-1-j]
		}
	}
	return [][]byte{p, swapped}
}
