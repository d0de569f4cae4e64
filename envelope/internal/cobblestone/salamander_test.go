// SPDX-License-Identifier: Apache-2.0

package cobblestone

import (
	"bytes"
	"crypto/aes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"testing"

	"claviger/internal/secret"
)

// element is a member of GF(2^128) in GCM's bit order (SP 800-38D, section
// 6.3): the first bit of hi is the coefficient of x^0.
type element struct{ hi, lo uint64 }

func toElement(b []byte) element {
	return element{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:16])}
}

func (a element) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, a.hi), a.lo)
}

func (a element) add(b element) element { return element{a.hi ^ b.hi, a.lo ^ b.lo} }

func (a element) mul(b element) element {
	var z element
	for i := range 128 {
		bit := a.hi >> (63 - i%64) & 1
		if i >= 64 {
			bit = a.lo >> (63 - i%64) & 1
		}
		if bit == 1 {
			z = z.add(b)
		}
		carry := b.lo & 1
		b = element{b.hi >> 1, b.lo>>1 | b.hi<<63}
		if carry == 1 {
			b.hi ^= 0xe1 << 56
		}
	}
	return z
}

// inverse is a^(2^128-2).
func (a element) inverse() element {
	result := element{hi: 1 << 63}
	for range 127 {
		a = a.mul(a)
		result = result.mul(a)
	}
	return result
}

func (a element) pow(n int) element {
	result := element{hi: 1 << 63}
	for range n {
		result = result.mul(a)
	}
	return result
}

// side is one of the two keys of a forgery: its hash key and the mask of its tag.
type side struct{ h, mask element }

func newSide(t *testing.T, key, nonce []byte) side {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	var h, mask [16]byte
	block.Encrypt(h[:], h[:])
	block.Encrypt(mask[:], append(bytes.Clone(nonce), 0, 0, 0, 1))
	return side{toElement(h[:]), toElement(mask[:])}
}

// tag is GCM's tag of ct, which must be whole blocks, without additional data.
func (s side) tag(ct []byte) element {
	var y element
	for i := 0; i < len(ct); i += 16 {
		y = y.add(toElement(ct[i:])).mul(s.h)
	}
	length := element{lo: uint64(len(ct)) * 8}
	return y.add(length).mul(s.h).add(s.mask)
}

// forge makes a GCM ciphertext that is authentic under both keys (Dodis,
// Grubbs, Ristenpart and Woodage, "Fast message franking", 2018): a tag is linear
// in each block, so one free block solves for equal tags.
func forge(a, b side, ct []byte) []byte {
	n := len(ct)/16 - 1 // the last block is the free one
	copy(ct[n*16:], make([]byte, 16))
	gap := a.tag(ct).add(b.tag(ct))
	// The last block is multiplied by h twice: once itself, once with the length.
	slope := a.h.pow(2).add(b.h.pow(2))
	copy(ct[n*16:], gap.mul(slope.inverse()).bytes())
	return append(ct, a.tag(ct).bytes()...)
}

// TestSalamander builds a chunk that AES-GCM takes under two keys, shows that
// it does, and that the commitment keeps the message from opening under both.
func TestSalamander(t *testing.T) {
	first, second := newKey(t), newKey(t)
	m1 := first.New([]byte("context"))
	m2 := second.withSalt(m1.prefix[:saltSize], []byte("context"))

	ct := make([]byte, 64)
	rand.Read(ct)
	chunk := forge(expose(t, first, m1), expose(t, second, m2), ct)
	p1, err1 := m1.OpenRun(nil, 0, chunk, true)
	p2, err2 := m2.OpenRun(nil, 0, chunk, true)
	if err1 != nil || err2 != nil || bytes.Equal(p1, p2) {
		t.Fatalf("the forgery is no two-key ciphertext: %v, %v", err1, err2)
	}

	message := append(m1.Prefix(), chunk...)
	if _, err := first.Open(nil, message, []byte("context")); err != nil {
		t.Errorf("first key: %v", err)
	}
	if _, err := second.Open(nil, message, []byte("context")); !errors.Is(err, ErrMessage) {
		t.Errorf("second key opened the same message: %v", err)
	}
}

// expose derives the raw AES key and nonce again, since a Message doesn't give
// them away.
func expose(t *testing.T, k *Key, m *Message) side {
	t.Helper()
	block := k.mac.Sum([]byte(infoPrefix), m.prefix[:saltSize], []byte("context"), []byte{1})
	return newSide(t, block[:KeySize], m.base[:])
}

func newKey(t testing.TB) *Key {
	t.Helper()
	input := secret.Random(KeySize)
	defer input.Wipe()
	k, err := NewKey(input)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Wipe)
	return k
}
